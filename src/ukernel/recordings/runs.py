"""From batches to runs: batches whose times lie on one line are one message, and nothing is said of them that is not so."""

from __future__ import annotations

import math

from ukernel.protocol.pipestream import Batch, BatchRow

from .format import Run

__all__ = ["MAX_RUN_BYTES", "RunJoiner", "join_row"]

MAX_RUN_S = 0.25  # between the two ends of what was joined: a reader of a second looks that much further
MAX_RUN_BYTES = 1 << 16
# A frame may lie off the line by this part of the error that its time has anyhow; the error of the run is larger by as much.
SLACK = 1 / 8
ERROR_RATIO = 1.5  # between the errors of batches in a run, which has the largest: none becomes much worse by it


def join_row(row: BatchRow) -> Batch | None:
    """Return these batches as one, under the rules of a `RunJoiner`; None where they are none. It takes NumPy."""
    import numpy as np

    batches = row.as_records()
    first, last, errors = batches["first"], batches["last"], batches["error"]
    frames, error = row.batches * row.frames, float(errors.max())
    began, ended = float(first[0]), float(last[-1])
    if not 0.0 <= ended - began <= MAX_RUN_S or frames * row.size > MAX_RUN_BYTES or error > ERROR_RATIO * float(errors.min()):
        return None
    off = 0.0
    if error < math.inf:
        at = np.arange(row.batches) * row.frames
        step = (ended - began) / (frames - 1)
        off = float(max(np.abs(began + at * step - first).max(), np.abs(began + (at + row.frames - 1) * step - last).max()))
        if off > float(errors.min()) * SLACK:
            return None
    return Batch(batches["data"].tobytes(), row.size, frames, (began, ended, error + off))


class RunJoiner:
    """The run that grows, of one channel. ``first``: the number of its first frame."""

    __slots__ = (
        "_began", "_ended", "_high", "_largest", "_least", "_low", "_parts", "_size_bytes", "_sizes", "first", "frames",
    )  # fmt: skip

    def __init__(self) -> None:
        self.first = 0
        self.frames = 0
        self._size_bytes = 0
        self._parts: list[bytes | memoryview] = []
        self._sizes: list[tuple[int, int]] = []  # frames, and the size of each
        self._began = self._ended = 0.0  # times
        self._least = self._largest = 0.0  # errors
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
        self._low, self._high = 0.0, math.inf
        if frames > 1:
            slack = error * SLACK
            self._low, self._high = max(0.0, (ended - began - slack) / (frames - 1)), (ended - began + slack) / (frames - 1)
        return run

    def _join(self, first: int, frames: int, size: int, ends: tuple[float, float, float], data: bytes | memoryview) -> bool:
        began, ended, error = ends
        least, largest = self._least, self._largest
        if error < least:
            least = error
        elif error > largest:
            largest = error
        begin, before = self._began, self.frames
        if (
            largest > ERROR_RATIO * least
            or first != self.first + before
            or not 0.0 <= ended - begin <= MAX_RUN_S
            or self._size_bytes + len(data) > MAX_RUN_BYTES
        ):
            return False
        last = before + frames - 1
        slack, pace = error * SLACK, (ended - begin) / last
        low, high = (began - begin - slack) / before, (began - begin + slack) / before
        if not (self._low <= pace <= self._high and low <= pace <= high):
            return False
        slack /= last
        self._low, self._high = max(self._low, low, pace - slack), min(self._high, high, pace + slack)
        self.frames = last + 1
        self._size_bytes += len(data)
        self._parts.append(data)
        if self._sizes[-1][1] == size:
            self._sizes[-1] = self._sizes[-1][0] + frames, size
        else:
            self._sizes.append((frames, size))
        self._ended, self._least, self._largest = ended, least, largest
        return True

    def take(self) -> Run | None:
        """Return the run as it is, and begin anew; None where there is none."""
        if not self.frames:
            return None
        parts, sizes = self._parts, self._sizes
        if len(parts) == 1:
            run = Run(self.first, self.frames, self._began, self._ended, self._largest, (sizes[0][1],), parts[0])
        else:
            every = (sizes[0][1],) if len(sizes) == 1 else tuple(size for frames, size in sizes for _ in range(frames))
            error = self._largest * (1 + SLACK)
            run = Run(self.first, self.frames, self._began, self._ended, error, every, b"".join(parts))
        self.frames, self._parts = 0, []
        return run
