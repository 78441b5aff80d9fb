"""What the hub holds of the frames that pipes have brought: for readers that are behind, or come late. Bounded, and what it cannot hold
any more is counted."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from typing import Generic, Protocol, TypeVar

from ukernel.link.clock import Times

__all__ = ["MAX_ALL_BYTES", "MAX_ENDED", "MAX_PIPE_BYTES", "Batch", "Gap", "ReplayBuffer", "ReplayBuffers"]

MAX_PIPE_BYTES = 16 << 20  # of one opening: three minutes of a 921600 baud line
MAX_ALL_BYTES = 64 << 20  # of all openings together, those included that have ended
MAX_ENDED = 32  # openings that have ended, and are kept
BATCH_BYTES = 400  # what a batch costs beside its data, so that tiny ones are bounded too
JOINED_BYTES = 1 << 16  # batches of one size are joined up to here: 4-byte samples then cost 4 bytes
JOINED_S = 1.0  # and up to here: between its two ends, a batch knows no times


T = TypeVar("T", bound="Ended")


class Batch:
    """Frames of one size in a row: ``count`` of them, the first one's being ``number``, end to end in ``data``.

    ``times``: when they were written; where the board was not asked, when they came, and an infinite error.
    """

    __slots__ = ("count", "data", "number", "size", "times")

    def __init__(self, number: int, count: int, size: int, data: bytes | bytearray, times: Times):
        self.number = number
        self.count = count
        self.size = size
        self.data = data
        self.times = times

    def part(self, start: int, stop: int) -> Batch:
        """Return the frames of it from number ``start`` up to ``stop``."""
        skip, count = max(start - self.number, 0), min(stop - self.number, self.count)
        if not skip and count == self.count:
            return self
        step = (self.times.last - self.times.first) / max(self.count - 1, 1)
        times = Times(self.times.first + skip * step, self.times.first + (count - 1) * step, self.times.error)
        data = bytes(memoryview(self.data)[skip * self.size : count * self.size])
        return Batch(self.number + skip, count - skip, self.size, data, times)


class Gap:
    """Frames that were lost before they came here: ``count`` of them, the first one's number, and the cause."""

    __slots__ = ("cause", "count", "number")
    data = b""

    def __init__(self, number: int, count: int, cause: str):
        self.number = number
        self.count = count
        self.cause = cause

    def part(self, start: int, stop: int) -> Gap:
        """Return what of it lies between the numbers ``start`` and ``stop``."""
        first, last = max(start, self.number), min(stop, self.number + self.count)
        return Gap(first, last - first, self.cause)


_DROPPED = Gap(0, 0, "")  # in the place of what a buffer holds no more


class ReplayBuffer:
    """The frames of one opening from number ``start`` up to ``stop``, and the gaps between them.

    ``lost``: of those before ``start``, how many never came here, by cause.
    """

    def __init__(self, start: int = 0):
        self.start = self.stop = start
        self.size_bytes = 0
        self.lost: Counter[str] = Counter()
        self._batches: list[Batch | Gap] = []
        self._first = 0  # those before it are dropped; they leave the list once there are many of them

    def add(self, batch: Batch | Gap) -> None:
        """Put in what comes next."""
        last = self._batches[-1] if self._batches else _DROPPED
        if isinstance(last, Batch) and isinstance(batch, Batch) and _fit(last, batch):
            if isinstance(last.data, bytes):
                last.data = bytearray(last.data)
            last.data += batch.data
            last.count += batch.count
            last.times = Times(last.times.first, batch.times.last, batch.times.error)
            self.size_bytes += len(batch.data)
        else:
            self._batches.append(batch)
            self.size_bytes += BATCH_BYTES + len(batch.data)
        self.stop += batch.count

    def get(self, start: int, stop: int) -> Batch | Gap:
        """Return the frames held from number ``start`` on, up to ``stop`` at most; more may follow."""
        index = bisect_right(self._batches, start, self._first, key=_number) - 1
        return self._batches[index].part(start, stop)

    def lost_before(self, number: int) -> Counter[str]:
        """Return how many of the frames before this one never came here, by cause; of those that are dropped, all."""
        lost = Counter(self.lost)
        for batch in self._batches[self._first :]:
            if batch.number >= number:
                break
            if isinstance(batch, Gap):
                lost[batch.cause] += min(batch.count, number - batch.number)
        return lost

    def shrink(self, limit_bytes: int) -> None:
        """Drop the oldest frames until no more than so many bytes are held."""
        while self.size_bytes > limit_bytes:
            batch = self._batches[self._first]
            self._batches[self._first] = _DROPPED
            self._first += 1
            self.start += batch.count
            self.size_bytes -= BATCH_BYTES + len(batch.data)
            if isinstance(batch, Gap):
                self.lost[batch.cause] += batch.count
        if self._first > len(self._batches) // 2:
            del self._batches[: self._first]
            self._first = 0


def _number(batch: Batch | Gap) -> int:
    return batch.number


def _fit(last: Batch, batch: Batch) -> bool:
    """Whether they may become one, with nothing known about either forgotten that matters."""
    return (
        last.size == batch.size
        and last.times.error == batch.times.error == float("inf")
        and batch.times.last - last.times.first < JOINED_S
        and len(last.data) + len(batch.data) <= JOINED_BYTES
    )


class Ended(Protocol):
    """What is known here of an opening that has ended: what it holds."""

    buffer: ReplayBuffer


class ReplayBuffers(Generic[T]):
    """The replay buffers of all openings, which share a bound; ``ended`` are the openings that have ended, oldest first."""

    def __init__(self) -> None:
        self.ended: deque[T] = deque()
        self._open: dict[T, ReplayBuffer] = {}
        self._size_bytes = 0

    def open(self, opening: T, start: int) -> ReplayBuffer:
        """Begin one whose first frame will have the number ``start``."""
        buffer = self._open[opening] = ReplayBuffer(start)
        return buffer

    def add(self, buffer: ReplayBuffer, batch: Batch | Gap) -> None:
        """Put in what comes next, and drop for it what has no room any more."""
        before = buffer.size_bytes
        buffer.add(batch)
        self._size_bytes += buffer.size_bytes - before
        if buffer.size_bytes > MAX_PIPE_BYTES:
            self._shrink(buffer, MAX_PIPE_BYTES)
        if self._size_bytes > MAX_ALL_BYTES:
            self._make_room()

    def end(self, opening: T) -> None:
        """An opening has ended; it is kept for a while."""
        self.ended.append(opening)
        self._open.pop(opening, None)
        if len(self.ended) > MAX_ENDED:
            self._shrink(self.ended.popleft().buffer, 0)

    def _make_room(self) -> None:
        for opening in self.ended:
            self._shrink(opening.buffer, 0)
            if self._size_bytes <= MAX_ALL_BYTES:
                return
        while self._size_bytes > MAX_ALL_BYTES:
            largest = max(self._open.values(), key=lambda buffer: buffer.size_bytes)
            self._shrink(largest, max(largest.size_bytes - (self._size_bytes - MAX_ALL_BYTES), 0))

    def _shrink(self, buffer: ReplayBuffer, limit_bytes: int) -> None:
        before = buffer.size_bytes
        buffer.shrink(limit_bytes)
        self._size_bytes += buffer.size_bytes - before
