"""How what a board has is called, and what it does in a sentence: MicroPython's modules, from a generated table (see
scripts/make_signatures.py), and µcore's own board functions, from their source. Read when first asked for.
"""

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ucore import wire
from ukernel.protocol.identifiers import DOTTED, NAME

from .firmwaremodules import MODULES, UCORE_API, module_of

if TYPE_CHECKING:
    import ast

__all__ = ["Entry", "Names", "class_of", "find", "names"]

_BOARD = Path(wire.__file__).parent
_MAKERS = {"ucore.open_pipe": "ucore.Pipe"}  # functions whose values are of a class of the table
_OPENING = "_Opening.write"  # what `Pipe.write` is
# Where the stubs hold all that CPython has: what MicroPython has too is what its documentation says a word about.
_PADDED = ("asyncio", "os", "ssl", "sys")
_IMPORT = re.compile(rf"^[ \t]*(?:from[ \t]+({DOTTED})[ \t]+)?import\b[ \t]*(\([^)]*|[^\n#;]*)", re.MULTILINE)
_COMMENT = re.compile("#.*")
_AS = re.compile(rf"\s*({DOTTED})(?:\s+as\s+({NAME}))?\s*\Z")


class Entry(NamedTuple):
    """What is known of a name: its arguments as they are written, "(x, /)", empty where it is not called; and a sentence, or none."""

    signature: str
    help: str


def find(name: str) -> Entry | None:
    """Return what is known of a full dotted name, such as "machine.Pin.irq"."""
    found = _table().get(name)
    return Entry(*found) if found else None


def names(owner: str) -> set[str]:
    """Return what a module or a class has, by its full dotted name."""
    found = _children().get(owner, set())
    if owner in _PADDED:
        return {name for name in found if _table()[f"{owner}.{name}"][1]}
    return set(found)


def class_of(kind: str) -> str:
    """Return the full name of a class, or of a module, as a board tells it: "module.Name", with nothing before the dot
    where the firmware has made the class; empty where it is none of these, a program's own.
    """
    module, dot, name = kind.rpartition(".")
    if not dot:
        return module_of(name) or ""
    top = module.split(".")[0]
    if top in MODULES and f"{top}.{name}" in _table():
        return f"{top}.{name}"
    # The firmware's own, or a virtual board's stand-in for it.
    return _classes().get(name, "") if not top or top.startswith("_virtual") else ""


class Names:
    """What the names in a program mean that its text binds: what it imports, and variables that it assigns an object to.

    ``texts``: of the cells, the latest first.
    """

    def __init__(self, texts: list[str]):
        self._texts = texts
        self._imported: dict[str, str] = {}
        for text in texts:
            for module, what in _IMPORT.findall(text):
                self._add_import(module_of(module) if module else "", what)

    def _add_import(self, module: str | None, what: str) -> None:
        if module is None:
            return  # a module of the program's own
        for part in _COMMENT.sub("", what).strip("( \t").split(","):
            if part.strip() == "*" and module:
                self._imported = {name: f"{module}.{name}" for name in names(module)} | self._imported
            match = _AS.match(part)
            if not match:
                continue
            known = f"{module}.{match[1]}" if module else module_of(match[1])
            if known:
                self._imported.setdefault(match[2] or match[1], known)

    def full(self, name: str) -> str:
        """Return the dotted name with a module of the firmware for its first part, empty where it means none.

        "Pin().irq" is `irq` of what a call of `Pin` makes.
        """
        maker, call, rest = name.partition("().")
        if call:
            made = self.made_by(maker)
            return f"{made}.{rest}" if made else ""
        first, dot, rest = name.partition(".")
        known = self._imported.get(first) or module_of(first) or self._class_of_variable(first)
        return known + dot + rest if known else ""

    def _class_of_variable(self, name: str) -> str:
        """Return the class of which a variable is made, `pin = Pin(2)`; empty where that is not seen."""
        assigned = re.compile(rf"^[ \t]*{re.escape(name)}[ \t]*=[ \t]*({DOTTED})[ \t]*\(", re.MULTILINE)
        for text in self._texts:
            found = assigned.findall(text)
            if found:
                return self.made_by(found[-1])
        return ""

    def made_by(self, name: str) -> str:
        """Return the class of what a call of this dotted name makes, where the table knows it: of a class, or of `ucore.open_pipe`."""
        first, dot, rest = name.partition(".")
        known = (self._imported.get(first) or module_of(first) or "") + dot + rest
        return _MAKERS.get(known, known if known in _classes().values() else "")


@functools.cache
def _table() -> dict[str, list[str]]:
    generated = json.loads((Path(__file__).parent / "signatures.json").read_text(encoding="utf-8"))
    return {**generated, **_own()}


@functools.cache
def _children() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name in _table():
        owner, _, last = name.rpartition(".")
        found.setdefault(owner, set()).add(last)
    return found


@functools.cache
def _classes() -> dict[str, str]:
    """The full names of classes, by their last part; of two of one name, the one in the module that comes first."""
    found: dict[str, str] = {}
    for owner in sorted(_children()):
        if "." in owner:
            found.setdefault(owner.rpartition(".")[2], owner)
    return found


def _own() -> dict[str, list[str]]:
    """µcore's own board functions, read from their source as it is: a chip does not keep what they say."""
    import ast

    found, defined = {}, {}
    for path in sorted(_BOARD.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if any(re.search(rf"^(?:def|class) {name}\b", text, re.MULTILINE) for name in UCORE_API):
            for node in ast.parse(text).body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    defined[node.name] = node
    for name in UCORE_API:
        if name in defined:
            found[f"ucore.{name}"] = _described(defined[name])
    for node in getattr(defined.get("Pipe"), "body", ()):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[f"ucore.Pipe.{node.name}"] = _described(node)
    owner, _, name = _OPENING.partition(".")
    for node in getattr(defined.get(owner), "body", ()):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            found[f"ucore.Pipe.{name}"] = _described(node)
    return found


def _described(node: "ast.FunctionDef | ast.ClassDef") -> list[str]:
    import ast

    signature = ""  # a class that only a function of ours makes
    if isinstance(node, ast.FunctionDef):
        signature = f"({re.sub(r'^self(, )?', '', ast.unparse(node.args))})"
    doc = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].replace("`", "").split())
    return [signature, re.split(r"(?<=\.)\s", doc)[0]]
