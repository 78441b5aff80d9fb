"""What a follower hands on, and to whom: the border between reading pipes and whatever becomes of what they bring."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Opening", "Sink"]


class Opening:
    """One opening of a pipe, as a follower knows it; a pipe that is opened again is another one.

    key: from 1 on, in the order in which the follower has met them. number: of the next frame, without rollovers. facts: what the board says of
    itself. cell: whose cell ran when it was opened, and its source; None where that is not known. boot: tells this life of the board from others; empty where it does not say. Only the follower changes them.
    """

    __slots__ = ("board", "boot", "cell", "facts", "generation", "key", "number", "pipe", "port")

    def __init__(self, key: int, pipe: str, board: str, port: str, generation: int, boot: str, facts: dict[str, Any]):
        self.key = key
        self.pipe = pipe
        self.board = board
        self.port = port
        self.generation = generation
        self.boot = boot
        self.facts = facts
        self.cell: tuple[str, str] | None = None
        self.number = 0

    @property
    def identity(self) -> tuple[str, str, int]:
        """What it is known by when it is found again, by another hub or on another port."""
        return self.boot or self.board, self.pipe, self.generation


class Sink(Protocol):
    """Takes what a follower reads, in one thread. Each opening's numbers come without a hole: as frames, or as lost.

    What any of it raises ends the follower.
    """

    def opened(self, opening: Opening, unread: int) -> None:
        """Frames of it come next, from its number on; again for one that goes on after an end. ``unread``: before these, nobody's."""

    def take(self, opening: Opening, frames: int, size: int, ends: tuple[float, float, float], data: memoryview) -> None:
        """Take frames of one size, end to end, the first one's number being that of the opening.

        ends: the times of the first and of the last one, and their error, in seconds.
        """

    def lost(self, opening: Opening, count: int, cause: str) -> None:
        """Frames are missing, from the opening's number on."""

    def ended(self, opening: Opening, reason: str) -> None:
        """It has ended, or is out of reach: then it may go on later."""

    def note(self, text: str) -> None:
        """Something that people should know."""
