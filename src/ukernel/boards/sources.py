"""Where a program's code for a board stands on this computer: what tracebacks of the board say of its lines."""

import re
from collections import OrderedDict
from typing import Any, NamedTuple

from ukernel.protocol.cellnames import FRAME

__all__ = ["Source", "Sources", "format_frames", "read_program"]

MAX_SOURCES = 1000  # whose lines are kept for later errors
_FRAME = re.compile(r'\s*(?:File "|\.\.\. \d+ )')


class Source(NamedTuple):
    """A text that was sent. ``file``: where it is from; ``first``: its first line's number there."""

    text: str
    file: str
    first: int = 1

    def show(self, line: int, function: str, is_certain: bool = True) -> str:
        """Return a frame of it in Python's own form, with the source line."""
        lines = self.text.split("\n")
        where = f'  File "{self.file}", line {line + self.first - 1}' + (f", in {function}" if function else "")
        where += "" if is_certain else " (if not in an earlier cell)"
        code = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        return f"{where}\n    {code}" if code else where


class Sources:
    """The texts that one `Board` has sent, by a key each. May be used from any thread."""

    def __init__(self) -> None:
        self._sources: OrderedDict[int, Source] = OrderedDict()
        self._key = 0

    def add(self, source: Source) -> int:
        """Remember a text, and return the key by which the hub will speak of it."""
        self._key += 1
        key = self._key
        self._sources[key] = source
        while len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        return key

    def find(self, owners: list[dict[str, Any]]) -> "tuple[Source | str, bool]":
        """Return the one text that a frame is of, or in words whose it is; and whether it can be no other. ``owners`` is the hub's word."""
        found = [self._sources.get(owner.get("key", 0)) for owner in owners]
        texts = {source for source in found if source is not None}
        if len(texts) == 1:  # a hub that has begun lately does not know what ran before
            return texts.pop(), None not in found
        labels = {owner["label"] for owner in owners if owner.get("label")}
        return (f"a cell of {labels.pop()}" if len(labels) == 1 and not texts else "an earlier cell"), False


def format_frames(traceback: list[str], sources: Sources, owners: list[list[dict[str, Any]]]) -> str:
    """Return a board's traceback as text, frames of what was sent with their lines; empty where it has no frames."""
    words = iter(owners)
    shown = []
    for line in traceback:
        match = FRAME.match(line)
        if match:
            source, is_certain = sources.find(next(words, [{}]))
            number, function = int(match[2]), match[3] or ""
            if isinstance(source, Source):
                shown.append(source.show(number, function, is_certain))
            else:
                shown.append(f"  In {source}, line {number}" + (f", in {function}" if function else ""))
        elif _FRAME.match(line):
            shown.append("  " + line.strip())
    return "\n".join(shown)


def read_program(code: str, name: str, plain: bool = True) -> tuple[str, Source]:
    """Return what the board is to run for a program, and what tracebacks show of it. Its first line is for what `rewrite` puts there."""
    from .rewrite import program

    body = "\n" + code
    return program(body, plain=plain, is_cell=False).text, Source(body, name, 0)
