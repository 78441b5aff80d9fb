"""A board's traceback, made to look like IPython's: the cell's number, the source line, colours."""

import functools
import re
from collections import deque

from . import cells, syntax

__all__ = ["Sources", "format_error"]

MAX_CELLS = 200  # earlier cells kept to look up lines of functions that they defined
CONTEXT = 2  # lines shown above and below the one that failed
_FRAME = re.compile(r'^\s*File "<cell>", line (\d+)(?:, in (.*))?$')
# Our own part in running an await, and the event loop's: nobody's business where the cell's frames are there.
_MACHINERY = re.compile(r'^\s*File "(?:.*[/\\])?(?:ucore[/\\]\w+|tasks|asyncio[/\\]\w+)\.py"')
_RED, _GREEN, _BOLD, _PLAIN = "\x1b[0;31m", "\x1b[0;32m", "\x1b[1m", "\x1b[0m"


class _Source:
    """One board cell's text."""

    def __init__(self, count: int, code: str):
        self.count = count
        self.code = code
        self.lines = code.splitlines()

    @functools.cached_property
    def functions(self) -> list[tuple[str, int, int]]:
        """Name, first and last line of what the cell defined: looked up only when an error asks for it."""
        return syntax.Syntax(cells.blank_magics(self.code)).find_functions()


class Sources:
    """The texts of the board cells of a notebook. The board calls every one of them "<cell>"."""

    def __init__(self) -> None:
        self._sources: deque[_Source] = deque(maxlen=MAX_CELLS)

    def add(self, count: int, code: str) -> None:
        """Remember a cell's whole text, magic line and all, under its execution count."""
        self._sources.append(_Source(count, code))

    def texts(self) -> list[str]:
        return [source.code for source in self._sources]

    def find(self, line: int, function: str) -> "_Source | None":
        """Return the cell whose line this is: the current one, or the last one that defined the function there."""
        if function in ("<module>", ""):
            return self._sources[-1] if self._sources else None
        for source in reversed(self._sources):
            if any(name == function and first <= line <= last for name, first, last in source.functions):
                return source
        return None


def format_error(ename: str, evalue: str, traceback: list[str], sources: Sources) -> list[str]:
    """Return the lines of an error message's traceback: the board's own lines, those of cells with their source."""
    last = f"{_RED}{ename}{_PLAIN}: {evalue}" if evalue else f"{_RED}{ename}{_PLAIN}"
    lines = [line for entry in traceback for line in entry.splitlines()]
    frames = [line for line in lines if line.lstrip().startswith("File ")]
    if not frames:
        return [last]
    head = "Traceback (most recent call last)"
    result = [_RED + "-" * 75 + _PLAIN, f"{_RED}{ename}{_PLAIN}{head:>{75 - len(ename)}}"]
    for frame in [frame for frame in frames if not _MACHINERY.match(frame)] or frames:
        match = _FRAME.match(frame)
        source = sources.find(int(match[1]), match[2] or "") if match else None
        if match and source:
            result.append(_format_frame(source, int(match[1]), match[2] or ""))
        else:
            result.append(frame.strip())
    return [*result, last]


def _format_frame(source: _Source, line: int, function: str) -> str:
    # "Cell In[3], line 4": the words that front ends turn into a link to the line.
    where = f"Cell {_GREEN}In[{source.count}], line {line}{_PLAIN}"
    if function not in ("", "<module>"):
        where += f", in {function}"
    shown = [where]
    for number in range(max(1, line - CONTEXT), min(len(source.lines), line + CONTEXT) + 1):
        text = source.lines[number - 1]
        if number == line:
            shown.append(f"{_GREEN}----> {number}{_PLAIN} {_BOLD}{text}{_PLAIN}")
        else:
            shown.append(f"{number:>7} {text}")
    return "\n".join(shown) + "\n"
