"""What happened in a recording: its openings, the frames that are missing, the ends and notes, from the events of all its parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["DAMAGED", "MISSING_FILE", "NEXT_PART", "STOPPED", "TORN", "Loss", "Note", "RecordedOpening", "read_openings"]

DAMAGED = "damaged"  # the cause of frames whose chunk cannot be read
MISSING_FILE = "missing file"  # that of frames in a part that is not there
TORN = "recorder killed"  # the end of what nobody has ended
NEXT_PART = "next part"
STOPPED = "stopped"  # the recorder was


class Loss(NamedTuple):
    """Frames that are missing: ``frames`` of them from number ``first`` on. time: when the recorder noticed, seconds since 1970."""

    first: int
    frames: int
    cause: str
    time: float


class Note(NamedTuple):
    """What the recorder wrote down for people: that this computer's clock was set, for one."""

    time: float
    text: str


class RecordedOpening:
    """One opening of a pipe in a recording.

    key: from 1 on, in the order of the recording. generation: the board's number for it. began, ended: when the recorder met it and left it, seconds since 1970.
    first: the number of its first frame here. frames: the number of the one that would come next. unread: frames before the first. end_reason: why it ended, as
    in `Pipe.end_reason`, or "stopped" (the recorder was), "recorder killed". losses: what is missing between the two. breaks: times at which it was out of
    reach for a while, and why. cell, code: whose cell ran on the board when it was opened, and its source; empty where nobody knows.
    """

    __slots__ = (
        "began",
        "board",
        "breaks",
        "cell",
        "code",
        "end_reason",
        "ended",
        "first",
        "frames",
        "generation",
        "key",
        "losses",
        "pipe",
        "unread",
    )

    def __init__(self, key: int, board: str, pipe: str, generation: int, first: int, unread: int, began: float):
        self.key = key
        self.board = board
        self.pipe = pipe
        self.generation = generation
        self.first = self.frames = first
        self.unread = unread
        self.began = self.ended = began
        self.cell = self.code = ""
        self.end_reason = ""
        self.losses: list[Loss] = []
        self.breaks: list[tuple[float, str]] = []

    def __repr__(self) -> str:
        return f"<opening {self.key} of {self.pipe!r} on {self.board}: frames {self.first:,} to {self.frames:,}, {self.lost:,} lost, {self.end_reason}>"

    @property
    def lost(self) -> int:
        """Frames that are missing."""
        return sum(loss.frames for loss in self.losses)


def read_openings(events: Iterable[dict[str, Any]]) -> tuple[list[RecordedOpening], list[Note]]:
    """Return the openings and notes that these events tell of. One that makes no sense is passed over: the frames count, not what is said of them."""
    openings: dict[int, RecordedOpening] = {}
    notes: list[Note] = []
    for event in events:
        try:
            _heed(event, openings, notes)
        except (KeyError, TypeError, ValueError):
            continue
    return list(openings.values()), notes


def _heed(event: dict[str, Any], openings: dict[int, RecordedOpening], notes: list[Note]) -> None:
    kind, time = event["event"], float(event["time"])
    if kind == "note":
        notes.append(Note(time, str(event["text"])))
        return
    if kind not in ("open", "lost", "end"):
        return
    key = int(event["opening"])
    opening = openings.get(key)
    if kind == "open":
        number = int(event["number"])
        if opening is None:
            board, pipe, generation, unread = (
                str(event["board"]),
                str(event["pipe"]),
                int(event["generation"]),
                int(event["unread"]),
            )
            opening = openings[key] = RecordedOpening(key, board, pipe, generation, number, unread, time)
            opening.cell, opening.code = str(event.get("cell", "")), str(event.get("code", ""))
            return
        # It goes on where it ended, but for a part that somebody has removed.
        if opening.end_reason and number > opening.frames:
            opening.losses.append(Loss(opening.frames, number - opening.frames, MISSING_FILE, time))
        opening.frames = max(opening.frames, number)
        if opening.end_reason not in ("", NEXT_PART):
            opening.breaks.append((opening.ended, opening.end_reason))
        opening.end_reason = ""
    elif opening is not None:
        opening.ended = max(opening.ended, time)
        if kind == "lost":
            loss = Loss(int(event["first"]), int(event["count"]), str(event["cause"]), time)
            opening.losses.append(loss)
            opening.frames = max(opening.frames, loss.first + loss.frames)
        else:
            opening.frames = max(opening.frames, int(event["frames"]))
            opening.end_reason = str(event["reason"])
