"""Questions about a board's program while it is being written: which names go on here, what a name is. Pure: what only the board knows
is asked by who uses this.
"""

import keyword
import re
import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

from ukernel.protocol.identifiers import BEFORE_CURSOR, DOTTED, WORD

from . import signatures, syntax
from .firmwaremodules import MODULES, UCORE_PUBLIC

__all__ = ["Completing", "Completion", "explain", "find_name", "matches"]

HELP_WIDTH = 90  # characters: a front end's tooltip is no wider than a cell
_FUNCTIONS = ("function", "builtin_function_or_method")  # they do not tell whose they are; the cells do
_CALLED = (*_FUNCTIONS, "bound_method", "method", "builtin_method", "closure", "generator", "type")
_W = WORD
_NAME = re.compile(BEFORE_CURSOR)
_WORD = re.compile(f"{_W}*")
_NAMES = re.compile(DOTTED)
_LIST = rf"\s+(?:{_W}(?:{_W}|\.)*(?:\s+as\s+{_W}+)?\s*,\s*)*({_W}*)\Z"
_IMPORT = re.compile(r"\s*import" + _LIST)
_FROM = re.compile(rf"\s*from\s+({_W}*)\Z")
_FROM_IMPORT = re.compile(rf"\s*from\s+({_W}(?:{_W}|\.)*)\s+import\s*\(?" + _LIST.replace(r"\s+", r"\s*", 1))


class Completion(NamedTuple):
    """Names that may stand in the place of a text's characters from ``start`` to ``end``."""

    names: list[str]
    start: int
    end: int


class Completing:
    """A text, and a place in it where a name is to go on.

    ``begin``: where the board's program begins in ``code``. ``texts``: other programs of the board, the latest first.
    ``question``: what the hub is asked (a complete_request's content); None where the answer is known without the board.
    """

    def __init__(self, code: str, cursor: int, begin: int = 0, texts: Iterable[str] = ()):
        self._cursor = cursor
        self._texts = [code, *texts]
        self._known: Iterable[str] | None = None
        self.question: dict[str, Any] | None = None
        line = code[code.rfind("\n", 0, cursor) + 1 : cursor]
        module = _IMPORT.match(line) or _FROM.match(line)
        if module:
            self._owner, self._word, self._known = "", module[1], MODULES
            return
        typed = _find(_NAME, line)
        of_module = _FROM_IMPORT.match(line)
        if of_module:
            typed = f"{of_module[1]}.{of_module[2]}"
        self._owner, dot, self._word = typed.rpartition(".")
        if dot and not self._owner:  # an attribute of what only running it would tell, or of what is known to be made
            maker = _made(code[begin : cursor - len(typed)])
            made = signatures.Names(self._texts).made_by(maker) if maker else ""
            self._known = signatures.names(made) if made else ()
            return
        # The name at the cursor is all that a board can use, and lines may be slow.
        importable = bool(of_module) and self._owner.split(".")[0] in MODULES
        self.question = {"code": typed, "cursor_pos": len(typed), "importable": importable}

    def complete(self, found: Iterable[str] = ()) -> Completion:
        """Return the completion; ``found`` is what the board has said."""
        if self._known is not None:
            return matches(self._known, self._word, self._cursor)
        names = set(found)
        if not names:
            # The board is busy, or is not there, or has not run this yet: what MicroPython defines, and names that these programs use.
            names = _names_in(self._texts, self._owner) - {self._word}
            names |= signatures.names(signatures.Names(self._texts).full(self._owner) if self._owner else "") - {""}
        if self._owner == "ucore":
            names = {name for name in names if name.startswith("_")} | UCORE_PUBLIC
        elif not self._owner:
            names.update(keyword.kwlist)
        return matches(names, self._word, self._cursor)


def find_name(code: str, cursor: int, begin: int = 0) -> str:
    """Return the dotted name at a place in a text, or of the call whose arguments are written there; empty where there is none.

    One with a "(" in it is of what a call makes: of that the board knows nothing without calling it.
    """
    word = _find(_WORD, code[cursor:])
    return _name(code[begin:cursor] + word) or _called(code[begin:cursor])


def explain(name: str, answer: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """Return the content of an inspect_reply about a dotted name on a board: what the board says of it, below how it is called and a
    sentence of help where it is MicroPython's or µcore's.

    ``answer``: the board's, empty where none came. ``texts``: of the notebook's board cells, the latest first.
    """
    found, called = _lookup(name, answer, texts)
    data = dict(answer.get("data") or {})
    head = [f"Call:  {called}{found.signature}"] if found and found.signature else []
    if found and found.help:
        head.append(textwrap.fill(f"Help:  {found.help}", HELP_WIDTH, subsequent_indent=" " * 7))
    if head:
        data["text/plain"] = "\n".join([*head, *([data["text/plain"]] if "text/plain" in data else [])])
    return {"status": "ok", "found": bool(data), "data": data, "metadata": answer.get("metadata") or {}}


def _lookup(name: str, answer: dict[str, Any], texts: list[str]) -> tuple[signatures.Entry | None, str]:
    """Return what is known of a name, and how to say it."""
    owner, dot, last = name.rpartition(".")
    if answer.get("found"):
        kind = signatures.class_of(answer.get("of") or "") if dot else ""
        found = signatures.find(f"{kind}.{last}") if kind else None
        if found:  # the stubs have some properties and constants as functions
            return (found if answer.get("type") in _CALLED else found._replace(signature="")), name
        kind = signatures.class_of(answer.get("is") or "")
        found = signatures.find(kind) if kind else None
        if found:  # an object is not called as its class is
            is_class = answer.get("type") == "type"
            return (found if is_class else found._replace(signature="")), name
        if dot or answer.get("type") not in _FUNCTIONS:  # what the board says it is, it is
            return None, name
    full = signatures.Names(texts).full(name) if name else ""
    return signatures.find(full) if full else None, name


def _find(pattern: re.Pattern[str], text: str) -> str:
    """Return the first part of the text that the pattern matches; empty where there is none."""
    match = pattern.search(text)
    return match[0] if match else ""


def _name(text: str) -> str:
    """Return the dotted name that ends the text, "Pin().irq" for `Pin(2).irq`; empty where there is none."""
    name = _find(_NAME, text)
    maker = _made(text[: -len(name)]) if name.startswith(".") else ""
    return (f"{maker}()" if maker else "") + name if _NAMES.fullmatch(name.lstrip(".") if maker else name) else ""


def _made(text: str) -> str:
    """Return the dotted name that is called where the text ends, `Pin` for `Pin(2)`; empty where nothing is."""
    text = text.rstrip(" \t")
    if not text.endswith(")"):
        return ""
    places = syntax.Syntax(text[:-1]).open
    name = _find(_NAME, text[: places[-1]].rstrip(" \t")) if places and text[places[-1]] == "(" else ""
    return name if _NAMES.fullmatch(name) else ""


def _called(text: str) -> str:
    """Return the name of the innermost call whose parentheses are open where the text ends, as `_name` does; empty where there is
    none."""
    for place in reversed(syntax.Syntax(text).open):
        name = _name(text[:place].rstrip(" \t")) if text[place] == "(" else ""
        if name and not keyword.iskeyword(name):
            return name
    return ""


def _names_in(texts: list[str], owner: str) -> set[str]:
    """Return what these texts have after ``owner.``, or the first parts of all names in them where it is empty."""
    prefix = f"{owner}." if owner else ""
    names = _NAMES.findall("\n".join(texts))
    return {name[len(prefix) :].split(".", 1)[0] for name in names if name.startswith(prefix)} - {""}


def matches(names: Iterable[str], word: str, cursor: int) -> Completion:
    """Return those of the names that begin as the word before the cursor does."""
    is_asked = word.startswith("_")  # only then for names that are nobody else's business
    found = sorted(name for name in names if name.startswith(word) and (is_asked or not name.startswith("_")))
    return Completion(found, cursor - len(word), cursor)
