"""The source that a board runs for a cell, and values on their way as source. Pure: text in, text out.

What is put into a cell's text leaves every line at its number, and every string as it was.
"""

import ast
import re
import warnings
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from .cells import BoardCell

__all__ = ["CUT", "MODULES", "assignment", "board_source", "literal", "parse_value", "transform"]

SHOW = "_ucore_show"  # the board's name for "show this value as the cell's result"
CUT = " ... [cut off: too large to be sent whole]"  # ends a result of which more than a line takes at once was there
# The names that stand for what only a coroutine may do, and what they are on the board.
_AWAIT, _EACH, _WITHIN = "_ucore_await", "_ucore_each", "_ucore_within"
_HOMES = {_AWAIT: "run", _EACH: "each", _WITHIN: "Within"}
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
# What a firmware has built in: to import one of these does nothing else. A user's own module is a program.
MODULES = frozenset(
    """array asyncio binascii bluetooth builtins cmath collections cryptolib deflate dht ds18x20 errno framebuf gc hashlib heapq io json
    lwip machine math micropython neopixel network ntptime onewire os platform random re select socket ssl struct sys time uctypes vfs
    _thread esp esp32 espnow rp2 ucore""".split()  # noqa: SIM905
)
MAX_DEPTH = 50  # of a value's lists in lists; a board's stack holds no more


def board_source(cell: "BoardCell") -> str:
    """Return the source that the board is to run for a cell. Raises UsageError for an await that cannot be replaced."""
    path = cell.options.get("--save")
    if path is not None:
        return _saving_source(path, cell.body.lstrip("\n"))
    return transform(cell.body, plain="--out" in cell.options)


def _saving_source(path: str, text: str) -> str:
    """Return source that writes the text to a file on the board, and says so."""
    said = f"Saved to {path} on the board."
    return f"with open({path!r}, 'w') as _ucore_file:\n    _ucore_file.write({text!r})\nprint({said!r})\ndel _ucore_file"


def transform(body: str, plain: bool = False) -> str:
    """Return the body with its last expression shown, and its top-level awaits run by the board's event loop.

    ``plain``: it is shown by its repr, even where it has a richer one. A trailing semicolon asks for silence. What this Python cannot
    parse is returned as it is: the board has the last word on its syntax.
    """
    body = body.replace("\r\n", "\n").replace("\r", "\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in the cell is the board's business
            tree = ast.parse(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return body
    text = _Text(body)
    awaits = _Awaits(text)
    if "await" in body or "async" in body:  # the others are spared the walk
        awaits.visit(tree)
    _show_last(tree, text, plain)
    # The names are bound on the magic's own line, which is empty here.
    names = ", ".join(f"{_HOMES[name]} as {name}" for name in sorted(awaits.used))
    return (f"from ucore.tasks import {names}" if names else "") + text.edited()


def _show_last(tree: ast.Module, text: "_Text", plain: bool) -> None:
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or isinstance(last.value, (ast.Yield, ast.YieldFrom)):
        return
    start, end = text.span(last)
    if not text.body[end:].lstrip(" \t\f\\\n").startswith(";"):
        # Two pairs of parentheses: a bare `1, 2` is one value.
        text.insert(start, f"{SHOW}((")
        text.insert(end, "), True)" if plain else "))")


class _Text:
    """A cell's text, and what is to be put into it."""

    def __init__(self, body: str):
        self.body = body
        self._lines = body.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._edits: list[tuple[int, int, str]] = []  # where, how many characters go, what comes

    def span(self, node) -> tuple[int, int]:
        """Return where a node begins and ends. `ast` counts lines from 1, and columns in bytes of UTF-8."""
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        text = self._lines[min(line, len(self._lines)) - 1]
        return self._starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode(errors="ignore")))

    def insert(self, at: int, text: str) -> None:
        self._edits.append((at, 0, text))

    def replace(self, at: int, old: str, new: str) -> None:
        self._edits.append((at, len(old), new))

    def edited(self) -> str:
        parts, done = [], 0
        # What is put before a word that goes comes first: it is further out.
        for at, gone, text in sorted(self._edits, key=lambda edit: (edit[0], edit[1])):
            parts += [self.body[done:at], text]
            done = at + gone
        return "".join([*parts, self.body[done:]])


class _Awaits(ast.NodeVisitor):
    """Finds what a coroutine alone may do outside of any function, and has a plain function do it."""

    def __init__(self, text: _Text):
        self.used: set[str] = set()
        self._text = text

    def visit(self, node) -> None:
        if isinstance(node, _SCOPES):
            # Its decorators, defaults and bases are outside of it; what is in it is its own business.
            outside = [*getattr(node, "decorator_list", []), *getattr(node, "bases", [])]
            arguments = getattr(node, "args", None)
            if arguments is not None:
                outside += [*arguments.defaults, *filter(None, arguments.kw_defaults)]
            for part in outside:
                self.visit(part)
            return
        super().visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        self.generic_visit(node)
        start, end = self._text.span(node)
        self._replace_word(start, "await", _AWAIT + "(", node)
        self._text.insert(end, ")")
        self.used.add(_AWAIT)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.generic_visit(node)
        self._drop_async(self._text.span(node)[0], node)
        self._wrap(node.iter, _EACH)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.generic_visit(node)
        self._drop_async(self._text.span(node)[0], node)
        for item in node.items:
            self._wrap(item.context_expr, _WITHIN)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.generic_visit(node)
        if node.is_async:
            self._drop_async(self._text.body.rfind("async", 0, self._text.span(node.target)[0]), node.target)
            self._wrap(node.iter, _EACH)

    def _wrap(self, node: ast.expr, name: str) -> None:
        start, end = self._text.span(node)
        self._text.insert(start, name + "((")
        self._text.insert(end, "))")
        self.used.add(name)

    def _drop_async(self, start: int, node) -> None:
        word = re.compile(r"async[ \t]+(?=for|with)").match(self._text.body, start)
        self._replace_word(start, word[0] if word else "async ", "", node)

    def _replace_word(self, start: int, old: str, new: str, node) -> None:
        # Python before 3.12 does not know where things in an f-string are.
        if not self._text.body.startswith(old, start):
            raise UsageError(
                f"Line {node.lineno}: what is awaited here must stand outside of the f-string. Give it a name, and use that."
            )
        self._text.replace(start, old, new)


def assignment(name: str, text: str) -> str:
    """Return Python source that gives the name a board's value, known by its repr; the text itself if it is no value."""
    try:
        value = parse_value(text)
    except ValueError:
        value = text
    return f"{name} = {literal(value)}"


def parse_value(text: str) -> object:
    """Return the value that a board's repr stands for: what `literal` takes; an array is a list, a bytearray bytes.

    Raises ValueError for anything else.
    """
    try:
        return _evaluate(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(text) from None


def _evaluate(node: ast.expr) -> object:
    """`ast.literal_eval`, with the numbers that have a name instead of a literal."""
    if isinstance(node, ast.Name) and node.id in ("nan", "inf"):
        return float(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name):
        return -_evaluate(node.operand)  # type: ignore[operator]
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return kind(_evaluate(item) for item in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("array", "bytearray") and node.args:
        return _evaluate(node.args[-1])
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_evaluate(key): _evaluate(value) for key, value in zip(node.keys, node.values)}
    return ast.literal_eval(node)


def literal(value: object, depth: int = 0) -> str:
    """Return source for a value: None, bool, int, float, str, bytes, and lists, tuples, sets and dicts of them.

    NumPy's arrays and numbers become lists and numbers. Raises TypeError for anything else.
    """
    if depth > MAX_DEPTH:
        raise TypeError(f"lists in lists, more than {MAX_DEPTH} deep")
    for kind in (bool, int, str, bytes):
        if isinstance(value, kind):
            return kind.__repr__(value)  # a subclass, such as an enum, may say something else
    if value is None:
        return "None"
    if isinstance(value, float):
        text = float.__repr__(value)
        return text if text[-1].isdigit() else f"float({text!r})"
    if isinstance(value, (list, tuple, set, frozenset)):
        items = ", ".join([literal(item, depth + 1) for item in value])
        if isinstance(value, (set, frozenset)):
            return f"{{{items}}}" if value else "set()"
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        items = ", ".join([f"{literal(key, depth + 1)}: {literal(item, depth + 1)}" for key, item in value.items()])
        return f"{{{items}}}"
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return literal(value.tolist(), depth + 1)
    raise TypeError(f"{type(value).__name__}")
