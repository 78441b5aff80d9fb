"""The source that a board runs for a cell. Pure: text in, text out.

What is put into a cell's text leaves every line at its number, and every string as it was.
"""

import re
from typing import NamedTuple

from ukernel.errors import UsageError

from . import syntax

__all__ = ["Program", "program", "transform"]

SHOW = "_ucore_show"  # the board's name for "show this value as the cell's result"
# The names that stand for what only a coroutine may do, and what they are on the board.
_AWAIT, _EACH, _WITHIN = "_ucore_await", "_ucore_each", "_ucore_within"
_HOMES = {_AWAIT: "run", _EACH: "each", _WITHIN: "Within"}
_SCOPES = ("funcdef", "classdef", "lambdef")
# What people type after a `!`, and how a board's program says it.
_ON_BOARD = {
    "ls": "import os; os.listdir()",
    "dir": "import os; os.listdir()",
    "cat": 'print(open("FILE").read())',
    "rm": 'import os; os.remove("FILE")',
    "mkdir": 'import os; os.mkdir("FOLDER")',
    "rmdir": 'import os; os.rmdir("FOLDER")',
    "mv": 'import os; os.rename("OLD", "NEW")',
    "pwd": "import os; os.getcwd()",
    "cd": 'import os; os.chdir("FOLDER")',
    "df": 'import os; os.statvfs("/")',
}


class Program(NamedTuple):
    """What a board is to run for a cell."""

    text: str
    is_read: bool = True  # False: its syntax is not known here, so a last expression that it may have is not shown


def program(body: str, plain: bool = False, is_cell: bool = True) -> Program:
    """Return what the board is to run for a cell's body; ``plain`` as in `transform`. Raises UsageError for what belongs into another cell.

    ``is_cell``: the body's first line is that of the magic; else it is none of the program's.
    """
    text = syntax.read(body)
    _refuse_magics(text, is_cell)
    return _transform(text, plain)


def _refuse_magics(text: syntax.Syntax, is_cell: bool) -> None:
    """Say where what is IPython's belongs: nothing of the board's begins with such a sign."""
    for at in text.escapes:
        word = text.text[at:].split(None, 1)[0]
        line = text.text.count("\n", 0, at) + is_cell
        if not is_cell:
            advice = f"{word} is for the Python on your computer, and this is a board's program.{_hint(text.text[at:])}"
        elif word == "%%ucore":
            advice = "a cell has one %%ucore, above all of its code. Put what follows this one into a cell of its own."
        elif word in ("%%time", "%%capture"):
            advice = f"{word} belongs above the %%ucore."
        else:
            advice = f"{word} is for the Python on your computer. Put this line into a cell without %%ucore."
            advice += _hint(text.text[at:])
        raise UsageError(f"Line {line}: {advice}")


def _hint(text: str) -> str:
    """Return how a board's program says what the command at the text's start does; empty where that is not known."""
    command = re.match(r"[!%]+\s*(\w+)", text)
    return f" On the board, that is `{_ON_BOARD[command[1]]}`." if command and command[1] in _ON_BOARD else ""


def transform(body: str, plain: bool = False) -> str:
    """Return the body with its last expression shown, and its top-level awaits run by the board's event loop.

    ``plain``: it is given to the host as a value, not shown. A trailing semicolon asks for silence. What does not follow the grammar
    is returned as it is: the board has the last word on its syntax.
    """
    return _transform(syntax.read(body), plain).text


def _transform(text: syntax.Syntax, plain: bool) -> Program:
    body = text.text
    edits = _Edits(body)
    awaits = _Awaits(text, edits)
    try:
        result = text.find_result()
        if "await" in body or "async" in body:  # the others are spared the walk
            awaits.visit(text.tree())
    except (syntax.UnreadableError, RecursionError):
        return Program(body, False)
    if result:
        # Two pairs of parentheses: a bare `1, 2` is one value.
        edits.insert(result[0], f"{SHOW}((")
        edits.insert(result[1], "), True)" if plain else "))")
    # The names are bound on the magic's own line, which is empty here.
    names = ", ".join(f"{_HOMES[name]} as {name}" for name in sorted(awaits.used))
    return Program((f"from ucore.tasks import {names}" if names else "") + edits.edited())


class _Edits:
    """What is to be put into a text, and in the place of what."""

    def __init__(self, body: str):
        self._body = body
        self._edits: list[tuple[int, int, str]] = []  # where, how many characters go, what comes

    def insert(self, at: int, text: str) -> None:
        self._edits.append((at, 0, text))

    def replace(self, start: int, end: int, text: str) -> None:
        self._edits.append((start, end - start, text))

    def edited(self) -> str:
        parts, done = [], 0
        # What is put before a word that goes comes first: it is further out.
        for at, gone, text in sorted(self._edits, key=lambda edit: (edit[0], edit[1])):
            parts += [self._body[done:at], text]
            done = at + gone
        return "".join([*parts, self._body[done:]])


class _Awaits:
    """Finds what a coroutine alone may do outside of any function, and has a plain function do it. The nodes are parso's."""

    def __init__(self, text: syntax.Syntax, edits: _Edits):
        self.used: set[str] = set()
        self._text = text
        self._edits = edits

    def visit(self, node: syntax.Node) -> None:
        if node.type in _SCOPES:
            # Defaults and bases are outside of it, as its decorators are; what is in it is its own business.
            outside = [node.get_super_arglist()] if node.type == "classdef" else [part.default for part in node.get_params()]
            for part in filter(None, outside):
                self.visit(part)
            return
        parts = getattr(node, "children", ())
        for part in parts:
            self.visit(part)
        if not parts or parts[0].type != "keyword":
            return
        if node.type == "atom_expr" and parts[0].value == "await":
            self._replace(parts[0], f"{_AWAIT}(")
            self._edits.insert(self._text.span(node)[1], ")")
            self.used.add(_AWAIT)
        elif node.type == "async_stmt" and parts[1].type == "with_stmt":
            self._drop_async(*parts)
            for item in parts[1].children[1:-2:2]:
                self._wrap(item.children[0] if item.type == "with_item" else item, _WITHIN)
        elif (node.type == "async_stmt" and parts[1].type == "for_stmt") or (
            node.type == "comp_for" and parts[0].value == "async"
        ):
            self._drop_async(*parts)
            self._wrap(parts[1].children[3], _EACH)

    def _wrap(self, node: syntax.Node, name: str) -> None:
        start, end = self._text.span(node)
        self._edits.insert(start, name + "((")
        self._edits.insert(end, "))")
        self.used.add(name)

    def _drop_async(self, word: syntax.Node, what: syntax.Node) -> None:
        start, (following, end) = self._text.span(word)[0], self._text.span(what.children[0])
        if "\n" in self._text.text[start:following]:
            # No line may go: the words for and with come in its place.
            self._replace(word, what.children[0].value)
            self._edits.replace(following, end, "")
        else:
            self._edits.replace(start, following, "")

    def _replace(self, node: syntax.Node, text: str) -> None:
        self._edits.replace(*self._text.span(node), text)
