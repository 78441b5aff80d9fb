"""The sink that is a recording: what a follower hands on goes into files, one part after the other."""

from __future__ import annotations

import errno
import shutil
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from ukernel.errors import RecordingError, describe

from .order import Meaning, Rotation
from .part import Part
from .sink import Opening

__all__ = ["DISK_FULL", "NoRoomError", "RecordingWriter"]

DISK_FULL, NEXT_PART = "disk full", "next part"  # reasons
MAX_NOTES = 10  # the latest, for people
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


_NEVER = Rotation()


class NoRoomError(RecordingError):
    """The disk takes no more. What was safe is, and the recording can be finished."""


class RecordingWriter:
    """Writes a recording. A `Sink`; call `flush_if_due` often, and `finish` in the end.

    about: what the `ucore.recording` record says beside what is known here. flush_s: how long frames are here before they are safe.
    frames, size_bytes, losses: so far, in all parts. path: of the part that is written. Raises RecordingError where the file cannot be made, and
    from `flush_if_due` NoRoomError where the disk takes no more.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, str],
        meaning: Meaning,
        rotation: Rotation = _NEVER,
        *,
        overwrite: bool = False,
        flush_s: float = 0.0,
    ):
        self.frames = self.size_bytes = self._finished_bytes = 0
        self.losses: Counter[str] = Counter()
        self.notes: deque[str] = deque(maxlen=MAX_NOTES)
        self._meaning, self._rotation, self._overwrite, self._flush_s = meaning, rotation, overwrite, flush_s
        self._flush_at = 0.0
        self._about = {"recording": uuid4().hex, "host": socket.gethostname(), **about}
        self._first = path
        self._number = 1  # of the part
        self._parts: deque[Path] = deque([path])  # those that are there
        self._open: dict[int, Opening] = {}  # by key
        self._part = self._make_part(path)

    @property
    def path(self) -> Path:
        return self._part.path

    @property
    def file_bytes(self) -> int:
        """What has been written, in all parts."""
        return self._finished_bytes + self._part.file_bytes

    @property
    def free_bytes(self) -> int:
        """What is free on the disk."""
        try:
            return shutil.disk_usage(self.path.parent).free
        except OSError:
            return 0

    # The sink

    def opened(self, opening: Opening, unread: int) -> None:
        """See `Sink`."""
        self._open[opening.key] = opening
        self._tell_opened(opening, unread)

    def take(self, opening: Opening, frames: int, size: int, ends: tuple[float, float, float], data: memoryview) -> None:
        """See `Sink`."""
        self.frames += frames
        self.size_bytes += len(data)
        self._part.put_frames(opening, self._meaning.of, frames, size, ends, data)

    def lost(self, opening: Opening, count: int, cause: str) -> None:
        """See `Sink`."""
        self._part.put_runs(opening)
        self._part.put_event("lost", opening=opening.key, first=opening.number, count=count, cause=cause)
        self.losses[cause] += count
        self._part.losses[cause] += count

    def ended(self, opening: Opening, reason: str) -> None:
        """See `Sink`."""
        self._tell_ended(opening, reason)
        self._part.forget(opening)
        self._open.pop(opening.key, None)

    def note(self, text: str) -> None:
        """See `Sink`."""
        self.notes.append(text)
        self._part.put_event("note", text=text)

    # The file

    def flush_if_due(self, now: float) -> None:
        """Make safe what has come, and begin the next part, where it is time to; ``now`` is monotonic."""
        if now < self._flush_at:
            return
        self._flush_at = now + self._flush_s
        try:
            self._part.flush()
            limit_bytes, limit_s, _ = self._rotation
            if self._part.is_removed:
                self._replace_removed()
            elif (
                (limit_bytes is not None and self._part.file_bytes >= limit_bytes)
                or (limit_s is not None and now - self._part.began >= limit_s)
                or not self._part.has_room
            ):
                self._begin_next_part()
        except OSError as error:
            why = "the disk is full" if error.errno in _FULL else describe(error)
            raise NoRoomError(f"The recording {self.path} has ended: {why}. All that came before is in it.") from error

    def finish(self, reason: str) -> None:
        """End all that is open, and the file, for this reason. Raises RecordingError where that cannot be written: the file is torn then."""
        try:
            for opening in self._open.values():
                self._tell_ended(opening, reason)
            self._part.end(reason)
        except OSError as error:
            self._part.abandon()
            raise RecordingError(
                f"The recording {self.path} could not be finished: {describe(error)}. What is in it can be read; `ucore recover` mends it."
            ) from error

    def abandon(self) -> None:
        """Close the file as it is."""
        self._part.abandon()

    def _begin_next_part(self) -> None:
        # The new one first: where there is no room for it, this one can still be finished.
        number, path = self._number + 1, self._name(self._number + 1)
        while path.exists() and not self._overwrite:
            number, path = number + 1, self._name(number + 1)
        before = self._part
        following = self._make_part(path, number)
        try:
            for opening in self._open.values():
                self._tell_ended(opening, NEXT_PART)
            before.end(NEXT_PART, path.name)
        except OSError:
            following.abandon()
            path.unlink(missing_ok=True)
            raise
        self._finished_bytes += before.file_bytes
        self._part, self._number = following, number
        for opening in self._open.values():
            self._tell_opened(opening, 0)
        self._parts.append(path)
        while self._rotation.keep is not None and len(self._parts) > self._rotation.keep:
            old = self._parts.popleft()
            try:
                old.unlink(missing_ok=True)
            except OSError as error:  # no reason to record no more
                self.note(f"{old} could not be removed: {describe(error)}.")

    def _replace_removed(self) -> None:
        """Go on in another part, which says what is gone. Raises RecordingError where there can be none: its folder is gone, too."""
        removed = self._part
        self._begin_next_part()
        self.note(f"{removed.path} was removed while it was written, and with it {removed.frames:,} frames.")

    def _name(self, number: int) -> Path:
        return self._first.with_name(f"{self._first.stem}.{number:04}{self._first.suffix}")

    def _make_part(self, path: Path, number: int = 1) -> Part:
        return Part(path, {**self._about, "part": str(number), "started": repr(time.time())}, self._overwrite)

    def _tell_opened(self, opening: Opening, unread: int) -> None:
        self._part.describe_board(opening)
        cell = {} if opening.cell is None else {"cell": opening.cell[0], "code": opening.cell[1]}
        self._part.put_event(
            "open",
            opening=opening.key,
            board=opening.board,
            pipe=opening.pipe,
            generation=opening.generation,
            number=opening.number,
            unread=unread,
            **cell,
        )

    def _tell_ended(self, opening: Opening, reason: str) -> None:
        self._part.put_runs(opening)
        self._part.put_event("end", opening=opening.key, frames=opening.number, reason=str(reason))
