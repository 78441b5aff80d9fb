"""Text that is typed or piped, statement by statement: whether more must follow, and what is a question for help. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ukernel.protocol.identifiers import LETTER, WORD

from . import syntax

__all__ = ["completeness", "split", "split_help"]

_DOTTED = rf"{LETTER}(?:{WORD}|\.)*"
_HELP = re.compile(rf"\?{{1,2}}\s*({_DOTTED})|({_DOTTED})\s*\?{{1,2}}")
_BLOCK = re.compile(rf"@|(?:async|class|def|for|if|try|while|with)(?!{WORD})")
_GOES_ON = re.compile(rf"\s|#|\)|(?:elif|else|except|finally)(?!{WORD})|\Z")


def split_help(body: str) -> tuple[str, str] | None:
    """Return what comes before a last line that is ``name?``, and the name; None where it is no such question."""
    before, newline, last = body.rstrip().rpartition("\n")
    found = _HELP.fullmatch(last.strip())
    if not found or syntax.Syntax(body).lines[-1].row != (before + newline).count("\n"):  # it stands in a string
        return None
    return before, found[1] or found[2]


def completeness(body: str) -> dict[str, Any]:
    """Return the content of an is_complete_reply for a board cell's body."""
    if not body.strip():
        return {"status": "incomplete", "indent": ""}
    asked = split_help(body)
    text = syntax.read(asked[0] if asked else body)
    is_whole = True
    try:
        text.tree()
    except syntax.UnreadableError as error:
        if not error.at_end:
            return {"status": "invalid"}
        is_whole = False
    if asked and is_whole:
        return {"status": "complete"}
    last = text.text.rstrip(" \t").rsplit("\n", 1)[-1]
    indent = last[: len(last) - len(last.lstrip())]
    if last.rstrip().endswith(":"):
        return {"status": "incomplete", "indent": indent + "    "}
    if not is_whole or indent:  # an indented block goes on until a blank line
        return {"status": "incomplete", "indent": indent}
    return {"status": "complete"}


def split(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the statements in lines of text, each as soon as it is whole, with the number of its first line, from 1.

    A block is whole where another statement begins: blank lines are no end of it, as they are none in a file. What no statement can
    begin with is yielded as soon as that is known, and what is left at the end then.
    """
    held: list[str] = []
    first = 1
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if held and _is_block(held) and not _GOES_ON.match(line) and _is_whole(held):
            yield first, "\n".join(held)
            held = []
        if not held:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            first = number
        held.append(line)
        if not _is_block(held) and _is_whole(held):
            yield first, "\n".join(held)
            held = []
    if held:
        yield first, "\n".join(held)


def _is_block(held: list[str]) -> bool:
    return _BLOCK.match(held[0].lstrip()) is not None


def _is_whole(held: list[str]) -> bool:
    """Whether nothing must follow, or nothing can mend it."""
    try:
        syntax.Syntax("\n".join(held)).tree()
    except syntax.UnreadableError as error:
        return not error.at_end
    return True
