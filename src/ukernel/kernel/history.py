"""The texts of a notebook's board cells: their lines for tracebacks, their names for completion."""

import functools
import itertools
import re
from collections import OrderedDict
from typing import Any

from ukernel.boards import syntax
from ukernel.boards.tracebacks import MAX_NAMED, MODULE_LEVEL
from ukernel.protocol.cellnames import FRAME

from . import cellmagic

__all__ = ["CellHistory", "HistoryEntry"]

MAX_CELLS = 5000  # earlier cells whose text is kept, to look up lines of functions that they defined
MAX_CHARACTERS = 20_000_000  # the same, in all
MAX_READ = 50  # cells that are read to find one: a twentieth of a second


class HistoryEntry:
    """One board cell's text. ``count``: its execution count, None until that is known."""

    def __init__(self, code: str):
        self.count: int | None = None
        self.failed_at: int | None = None  # the line whose error has ended it
        self.code = code
        # As the board counts them: str.splitlines knows more ends of lines. Up to the magic's, only \\n is one.
        end = (cellmagic.find_magic(code) or (0, 0))[1]
        self.lines = code[:end].split("\n")[:-1] + re.split(r"\r\n?|\n", code[code.rfind("\n", 0, end) + 1 :])

    @functools.cached_property
    def functions(self) -> list[tuple[str, int, int]]:
        """Name, first and last line of what the cell defined: looked up only when an error asks for it."""
        return syntax.Syntax(cellmagic.blank_magics(self.code)).find_functions()

    @functools.cached_property
    def catching(self) -> list[tuple[int, int]]:
        """First and last line of what the cell does with errors caught."""
        try:
            return syntax.Syntax(cellmagic.blank_magics(self.code)).find_catching()
        except syntax.UnreadableError:
            return [(1, len(self.lines))]

    def fail(self, traceback: list[str]) -> None:
        """Take in the error that has ended the cell."""
        first = next(filter(None, map(FRAME.match, traceback)), None)
        self.failed_at = int(first[2]) if first and (first[3] or "") in MODULE_LEVEL else None

    def may_have(self, line: int, function: str) -> bool:
        """Whether a frame with this line and function may be this cell's."""
        if function == "<module>":  # of an error that it has caught, or of the one that has ended it, which a program has kept
            return line == self.failed_at or any(first <= line <= last for first, last in self.catching)
        if function in MODULE_LEVEL:
            return line <= len(self.lines)
        plain = syntax.plain_name(function)
        return any(name == plain and first <= line <= last for name, first, last in self.functions)


class CellHistory:
    """The texts of the board cells of a notebook, by a key each."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, HistoryEntry] = OrderedDict()
        self._characters = 0
        self._key = 0

    def add(self, code: str) -> tuple[int, HistoryEntry]:
        """Remember a cell's whole text, magic line and all; return the key by which the hub will speak of it, and what has its count."""
        self._key += 1
        entry = self._entries[self._key] = HistoryEntry(code)
        self._characters += len(code)
        while len(self._entries) > MAX_CELLS or (self._characters > MAX_CHARACTERS and len(self._entries) > 1):
            self._characters -= len(self._entries.popitem(last=False)[1].code)
        return self._key, entry

    def texts(self, count: int = 200) -> list[str]:
        """Return the latest."""
        return [entry.code for entry in itertools.islice(reversed(self._entries.values()), count)]

    def find(self, line: int, function: str, owners: list[dict[str, Any]]) -> tuple[list[HistoryEntry], list[str]]:
        """Return the cells that a frame may be of, for what the hub says of it: those of this notebook, and words for others."""
        entries: list[HistoryEntry] = []
        others: list[str] = []
        for owner in owners:
            entry = self._entries.get(owner.get("key", 0))  # there is no 0
            if entry is None:
                label = owner.get("label")
                others.append(f"a cell of {label}" if label else "an earlier cell")
            elif len(owners) == 1 or entry.may_have(line, function):
                entries.append(entry)
        if len({entry.code for entry in entries}) == 1:
            del entries[:-1]  # the same cell, run again
        if owners == [{}]:
            others = ["an earlier cell" + self._guess(line, function)]
        return entries, list(dict.fromkeys(others))

    def _guess(self, line: int, function: str) -> str:
        """Which cells of this notebook look like one of which the hub knows nothing, in words: it was started anew since."""
        if function.startswith("<"):  # any cell may have some of these
            return ""
        defines = re.compile(rf"(?:def|class)[ \t]+{re.escape(function)}[ \t]*[(:]")
        defining = (entry for entry in reversed(self._entries.values()) if defines.search(entry.code))
        found: dict[str, HistoryEntry] = {}  # by text: the same cell, run again, is one
        for entry in itertools.islice(defining, MAX_READ):
            if entry.may_have(line, function):
                found.setdefault(entry.code, entry)
        if not found or len(found) > MAX_NAMED:
            return ""
        return f" (perhaps {' or '.join(f'In[{entry.count}]' for entry in reversed(found.values()))})"
