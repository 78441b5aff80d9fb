"""The names under which a board compiles cells, and whose cells they were: what a traceback's frames mean. Pure: text in, values out.

Every new name given to `compile` stays in a board's memory for good, so there are few, and they are used again and again. Nothing
tells the board's functions apart that were compiled under one name, but the line and the function that a frame names.
"""

import re
from collections import deque
from dataclasses import dataclass

from ucore import wire

__all__ = ["FRAME", "CellNames"]

MAX_OWNERS = 400  # cells remembered for each name; a frame of an earlier one is "an earlier cell"
# A frame of a cell in a text: the name's letter, the line, the function.
FRAME = re.compile(r' *File "<cell ([a-z])>", line (\d+)(?:, in (\S+))?')
MODULE = ("<module>", None)  # what frames outside of any function say
_DEFINED = re.compile(r"\b(?:def|class)(?:\s|\\)+((?:\w|[^\x00-\x7f])+)|\b(lambda|for)\b")
# Of what a cell does outside of any function a traceback can be had only where the cell catches it, or as the cell's own end.
_CATCHES = re.compile(r"\b(?:except|with)\b")
_NAMELESS = {"lambda": ("<lambda>",), "for": ("<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>")}


@dataclass
class _Owner:
    """A cell that was compiled under a name."""

    instance: str  # whose, of all processes
    label: str  # the same, for people
    key: object  # the client's own word for the cell
    text: int  # a hash of its source
    lines: int
    functions: frozenset[str]  # all that it defines, and perhaps more
    catches: bool  # an error of its own lines, perhaps, or has ended by one: a program may have kept it

    def may_have(self, line: int, function: str | None) -> bool:
        if function == "<module>" and not self.catches:
            return False
        return line <= self.lines and (function in MODULE or function in self.functions)


class CellNames:
    """The names of one board, by number. ``is_complete``: every cell of this life of the board is known."""

    def __init__(self) -> None:
        self.clear(False)

    def clear(self, is_complete: bool) -> None:
        """The board has forgotten all cells."""
        self.is_complete = is_complete
        self._owners: list[deque[_Owner]] = [deque() for _ in range(wire.SLOTS)]
        self._forgotten = [False] * wire.SLOTS
        self._turn = 0

    def assign(self, instance: str, label: str, key: object, code: str) -> int:
        """Return the number of the name for a cell that is to run.

        Cells that define nothing leave nothing behind, and share the first one. One that runs again unchanged keeps its own.
        """
        functions = _functions(code)
        catches = bool(_CATCHES.search(code))
        owner = _Owner(instance, label, key, hash(code), code.count("\n") + 1, functions, catches)
        number = self._last(owner) if functions else 0
        if number is None:
            self._turn = number = self._choose(functions)
        owners = self._owners[number]
        if owners and (owners[-1].instance, owners[-1].text) == (instance, owner.text):
            owners.pop()
        owners.append(owner)
        if len(owners) > MAX_OWNERS:
            owners.popleft()
            self._forgotten[number] = True
        return number

    def _choose(self, functions: frozenset[str]) -> int:
        """The next name in turn under which no cell has a function of these names, if there is one; else the next."""
        turns: list[int] = [(self._turn + step) % (wire.SLOTS - 1) + 1 for step in range(wire.SLOTS - 1)]
        for number in turns:
            if all(owner.functions.isdisjoint(functions) for owner in self._owners[number]):
                return number
        return turns[0]

    def _last(self, owner: _Owner) -> int | None:
        """The name under which the same text was the last to be compiled."""
        for number, owners in enumerate(self._owners[1:], 1):
            if owners and (owners[-1].instance, owners[-1].text) == (owner.instance, owner.text):
                return number
        return None

    def find(self, text: str, instance: str, running: int | None = None) -> list[list[dict[str, object]]]:
        """Return for each frame of a cell in a text the cells that it may be of, as seen by a process: `{"key": its own}`,
        `{"label": another's}`, or an empty dict for an earlier one of which nothing is known.

        ``running``: the text is the traceback of the cell that runs under this name, so the first frame is its own.
        """
        found: list[list[dict[str, object]]] = []
        for letter, line, function in FRAME.findall(text):
            number = ord(letter) - ord("a")
            owners = self._owners[number]
            if not found and running == number and function in ("", *MODULE) and owners:
                owners[-1].catches = True
                found.append([_said(owners[-1], instance)])
                continue
            possible = [_said(owner, instance) for owner in owners if owner.may_have(int(line), function or None)]
            if self._forgotten[number] or not self.is_complete:
                possible.append({})
            unique: list[dict[str, object]] = []
            for said in possible:
                if said not in unique:
                    unique.append(said)
            found.append(unique)
        return found


def _said(owner: _Owner, instance: str) -> dict[str, object]:
    if owner.instance != instance or owner.key is None:
        return {"label": owner.label}
    return {"key": owner.key}


def _functions(code: str) -> frozenset[str]:
    names: set[str] = set()
    for name, word in _DEFINED.findall(code):
        names.update(_NAMELESS[word] if word else (name,))
    return frozenset(names)
