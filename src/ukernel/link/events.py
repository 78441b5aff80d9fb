"""What a session tells its owner: the events that come out of the line's bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from .clock import Times

__all__ = ["Console", "Event", "Gone", "Message", "PipeBatch", "PipeClosed", "PipeOpened", "Ready", "Refused"]


@dataclass
class Ready:
    """The board answered: ``resumed`` with nothing lost, else afresh; ``restarted`` where it has booted since we knew it."""

    facts: dict[str, Any]
    resumed: bool
    restarted: bool
    cell_parent: int


@dataclass
class Refused:
    """The board cannot be served; ``error`` says why and what to do."""

    error: Exception


@dataclass
class Gone:
    """The board went away, or answers no more; its requests have failed. It is looked for until it is closed."""

    error: Exception


@dataclass
class Message:
    """A message from the board, answering the request ``parent`` (0 for none)."""

    type: int
    parent: int
    content: bytes


@dataclass
class PipeOpened:
    """A pipe opened; ``number`` is that of its next frame (above 0 only where a new host learns of an old pipe).

    ``drops``: its producer does not wait where the board has no room.
    """

    id: int
    generation: int
    name: str
    number: int
    drops: bool = False


@dataclass
class PipeBatch:
    """Frames of one size: the first has ``number`` (32 bits); a gap before it is loss on the board.

    ``times``: when they were written, where that was asked for and is known.
    """

    id: int
    number: int
    size: int
    data: bytes
    times: Times | None = None


@dataclass
class PipeClosed:
    """A pipe closed after ``frames`` frames in all, lost ones included."""

    id: int
    frames: int


@dataclass
class Console:
    """Text outside of packets: boot messages, what C code prints, tracebacks of a dying program."""

    text: str


Event: TypeAlias = Ready | Refused | Gone | Message | PipeOpened | PipeBatch | PipeClosed | Console
