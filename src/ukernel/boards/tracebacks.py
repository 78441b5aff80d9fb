"""A board's traceback, made to look like IPython's: the cell's number, the source line, colours."""

import itertools
import re
from collections.abc import Sequence
from typing import Any, Protocol

from ukernel.protocol.cellnames import FRAME

__all__ = ["MAX_NAMED", "MODULE_LEVEL", "Cell", "Cells", "format_error", "format_stream"]

CONTEXT = 2  # lines shown above and below the one that failed
MAX_NAMED = 3  # cells that a frame may be of, all of them named
# Our own part in running an await, and the event loop's: nobody's business where the cell's frames are there.
_MACHINERY = re.compile(r'^\s*File "(?:ucore/|(?:(?:.*[/\\])?[Ll]ib[/\\](?:python3\.\d+[/\\])?)?asyncio[/\\]\w+\.py")')
MODULE_LEVEL = ("", "<module>")  # what a frame that is in no function has for its name
_LINE = re.compile(r'\s*(?:File "|\.\.\. \d+ (?:equal frames|frames left out) )')
_RED, _GREEN, _BOLD, _PLAIN = "\x1b[0;31m", "\x1b[0;32m", "\x1b[1m", "\x1b[0m"


class Cell(Protocol):
    """A board cell of the notebook."""

    @property
    def count(self) -> int | None:
        """Its execution count; None until that is known."""

    @property
    def lines(self) -> list[str]:
        """Its text, as the board counts its lines."""


class Cells(Protocol):
    """The notebook's board cells."""

    def find(self, line: int, function: str, owners: list[dict[str, Any]]) -> tuple[Sequence[Cell], list[str]]:
        """Return the cells that a frame may be of, for what the hub says of it: those of this notebook, and words for others."""


def format_error(
    ename: str, evalue: str, traceback: list[str], cells: Cells, owners: list[list[dict[str, Any]]] | None = None
) -> list[str]:
    """Return the lines of an error message's traceback: the board's own lines, those of cells with their source.

    ``owners``: the hub's word on whose cell each frame of a cell is, in order.
    """
    last = f"{_RED}{ename}{_PLAIN}: {evalue}" if evalue else f"{_RED}{ename}{_PLAIN}"
    rest = traceback[1:] if traceback and not traceback[0].startswith(" ") else traceback
    # The error's own text comes after them, whatever is in it.
    frames = [line for line in itertools.takewhile(lambda line: line.startswith(" "), rest) if _LINE.match(line)]
    if not frames:
        return [last]
    head = "Traceback (most recent call last)"
    result = [_RED + "-" * 75 + _PLAIN, f"{_RED}{ename}{_PLAIN}{head:>{75 - len(ename)}}"]
    words = iter(owners or ())
    shown = []
    for frame in frames:
        match = FRAME.match(frame)
        if match:
            shown.append(_format_frame(match, next(words, [{}]), cells, True))
        elif not _MACHINERY.match(frame):
            shown.append(frame.strip())
    return [*result, *(shown or [frame.strip() for frame in frames]), last]


def format_stream(content: dict[str, Any], cells: Cells) -> str:
    """Return the text that the hub says was printed, with the frames of cells in it as errors show them, in plain letters."""
    text: str = content["text"]
    words = iter(content.get("cells") or ())

    def replace(match: re.Match[str]) -> str:
        whose: list[dict[str, Any]] = next(words, [{}])
        before, after = text[: match.start()], text[match.end() :]
        if before[-1:] in ("", "\n") and after[:1] in ("", "\r", "\n"):  # a line of its own
            return _format_frame(match, whose, cells, False).rstrip("\n")
        return str(match[0])

    return FRAME.sub(replace, text) if content.get("cells") else text


def _format_frame(match: re.Match[str], owners: list[dict[str, Any]], cells: Cells, colours: bool) -> str:
    line, function = int(match[2]), match[3] or ""
    green, bold, plain = (_GREEN, _BOLD, _PLAIN) if colours else ("", "", "")
    found, others = cells.find(line, function, owners)
    # "Cell In[3], line 4": the words that front ends turn into a link to the line.
    names = [f"Cell {green}In[{cell.count or '*'}]" for cell in found]
    if others or len(names) != 1:
        names = [name + plain for name in names] + others
        where = (
            " or ".join(names) if 0 < len(names) <= MAX_NAMED else f"one of {len(names)} cells" if names else "an earlier cell"
        )
        where = f"{where[0].upper()}{where[1:]}, {green}line {line}{plain}"
        if function not in MODULE_LEVEL:
            where += f", in {function}"
        texts = {"".join(cell.lines[line - 1 : line]) for cell in found}
        if others or len(texts) != 1:
            return where
        return f"{where}\n{green}----> {line}{plain} {bold}{texts.pop()}{plain}\n"  # in all of them it is the same
    where = f"{names[0]}, line {line}{plain}"
    if function not in MODULE_LEVEL:
        where += f", in {function}"
    shown = [where]
    lines = found[0].lines
    for number in range(max(1, line - CONTEXT), min(len(lines), line + CONTEXT) + 1):
        text = lines[number - 1]
        if number == line:
            shown.append(f"{green}----> {number}{plain} {bold}{text}{plain}")
        else:
            shown.append(f"{number:>7} {text}")
    return "\n".join(shown) + "\n"
