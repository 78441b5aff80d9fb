"""From batches to runs: batches whose times lie on one line are one message, and nothing is said of them that is not so."""

from __future__ import annotations

import math

from .format import Run

__all__ = ["RunJoiner"]

MAX_RUN_S = 0.25  # between the two ends of what was joined: a reader of a second looks that much further
MAX_RUN_BYTES = 1 << 16
# A frame may lie off the line by this part of the error that its time has anyhow; the error of the run is larger by as much.
SLACK = 1 / 8
ERROR_RATIO = 1.5  # between the errors of batches in a run, which has the largest: none becomes much worse by it


class RunJoiner:
    """The run that grows, of one channel. ``first``: the number of its first frame."""

    def __init__(self) -> None:
        self.first = 0
        self.frames = 0
        self._size_bytes = 0
        self._parts: list[bytes | memoryview] = []
        self._sizes: list[tuple[int, int]] = []  # frames, and the size of each
        self._began = self._ended = 0.0  # times
        self._least = self._largest = 0.0  # errors
        self._batches = 0
        self._low, self._high = 0.0, math.inf  # seconds a frame: a line between the two passes all frames near enough

    def add(self, first: int, frames: int, size: int, ends: tuple[float, float, float], data: bytes | memoryview) -> Run | None:
        """Take in a batch; returns the run before it where the two do not join."""
        if self.frames and self._join(first, frames, size, ends, data):
            return None
        run = self.take()
        began, ended, error = ends
        self.first, self.frames, self._size_bytes = first, frames, len(data)
        self._parts, self._sizes = [data], [(frames, size)]
        self._began, self._ended, self._least, self._largest = began, ended, error, error
        self._batches, self._low, self._high = 1, 0.0, math.inf
        if frames > 1:
            slack = error * SLACK
            self._low, self._high = max(0.0, (ended - began - slack) / (frames - 1)), (ended - began + slack) / (frames - 1)
        return run

    def _join(self, first: int, frames: int, size: int, ends: tuple[float, float, float], data: bytes | memoryview) -> bool:
        began, ended, error = ends
        begin, before = self._began, self.frames
        if (
            first != self.first + before
            or not 0.0 <= ended - begin <= MAX_RUN_S
            or self._size_bytes + len(data) > MAX_RUN_BYTES
            or max(self._largest, error) > ERROR_RATIO * min(self._least, error)
        ):
            return False
        last = before + frames - 1
        slack = error * SLACK
        low = max(self._low, (began - begin - slack) / before, (ended - begin - slack) / last)
        high = min(self._high, (began - begin + slack) / before, (ended - begin + slack) / last)
        if not low <= (ended - begin) / last <= high:
            return False
        self._low, self._high = low, high
        self.frames += frames
        self._size_bytes += len(data)
        self._parts.append(data)
        if self._sizes[-1][1] == size:
            self._sizes[-1] = self._sizes[-1][0] + frames, size
        else:
            self._sizes.append((frames, size))
        self._ended, self._batches = ended, self._batches + 1
        self._least, self._largest = min(self._least, error), max(self._largest, error)
        return True

    def take(self) -> Run | None:
        """Return the run as it is, and begin anew; None where there is none."""
        if not self.frames:
            return None
        sizes = (
            (self._sizes[0][1],)
            if len(self._sizes) == 1
            else tuple(size for frames, size in self._sizes for _ in range(frames))
        )
        error = self._largest if self._batches == 1 else self._largest * (1 + SLACK)
        run = Run(self.first, self.frames, self._began, self._ended, error, sizes, b"".join(self._parts))
        self.frames, self._parts = 0, []
        return run
