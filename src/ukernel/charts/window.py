"""The samples a chart shows: the latest ones of a pipe, what is missing between them, and of a long time its history.

One thread adds, any may look.
"""

import math
import threading
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "Floats", "Gap", "History", "Rows", "Window", "merge", "sample_times", "without_infinities"]

Floats: TypeAlias = npt.NDArray[np.float64]

MAX_SPREAD_S = 0.25  # a block that arrives after a longer silence was not on its way all that time
HUGE = 1e300  # values beyond it are gaps, as infinities are: sums and differences of limits must stay finite
BINS = 1 << 14  # of a history: far more than a screen has columns, so that one can zoom
MAX_HELD = 100_000  # samples held of a window in time, for `LivePlot.data`
MAX_GAPS = 1 << 14  # known one by one


def sample_times(count: int, arrived_at: float, previous_at: float) -> Floats:
    """When the samples of a block were taken, as far as one can tell from when it arrived: an array of `count` seconds,
    spread evenly since the block before, the last at `arrived_at`."""
    spread = min(arrived_at - previous_at, MAX_SPREAD_S)
    return arrived_at - spread * (np.arange(count - 1, -1, -1) / count)


def without_infinities(values: Floats) -> Floats:
    """The values, with NaN for what no axis can show."""
    return np.where(np.abs(values) < HUGE, values, np.nan)


class Gap(NamedTuple):
    """What is missing between two samples: before the one with this number.

    lost: frames; 0 where none are known to be. why: part of a sentence. began_at, ended_at: when the samples around it were taken.
    """

    number: int
    lost: int
    why: str
    began_at: float
    ended_at: float


class Rows:
    """The latest rows of a table, `size` at most. Rows are numbered for good: from `first` up to `stop`."""

    def __init__(self, size: int, columns: int):
        self.size = size
        self.columns = columns
        self.stop = 0
        self._kept = 0
        # Twice the room, so that rows move once in `size` rows and not at every block.
        self._table = np.empty((2 * size, columns))
        self._end = 0  # of the rows in the table

    @property
    def first(self) -> int:
        return self.stop - self._kept

    def append(self, rows: Floats) -> None:
        self.stop += len(rows)
        rows = rows[-self.size :]
        if self._end + len(rows) > len(self._table):
            kept = min(self.size - len(rows), self._kept)
            self._table[:kept] = self._table[self._end - kept : self._end]
            self._end = kept
        self._table[self._end : self._end + len(rows)] = rows
        self._end += len(rows)
        self._kept = min(self.size, self._kept + len(rows))

    def cut(self, stop: int) -> None:
        """Forget the rows from number `stop` on; where there is a gap before it, all of them."""
        dropped = self.stop - stop
        if 0 <= dropped <= self._kept:
            self._end -= dropped
            self._kept -= dropped
        else:
            self._end = self._kept = 0
        self.stop = stop

    def clear(self) -> None:
        """Forget all rows; the numbers go on."""
        self._end = self._kept = 0

    def since(self, number: int) -> Floats:
        """The rows from this number on, or from the first one kept. A view: valid until the next `append`."""
        return self._table[self._end - (self.stop - max(number, self.first)) : self._end]


class Window:
    """The latest samples of a pipe, `size` at most; `seen` counts all of them.

    span_s: of a window in time; None for one that counts samples. Then the samples of that time are held, `size` at most, and
        beyond them their `history`.
    """

    def __init__(self, size: int, span_s: float | None = None):
        self.size = size if span_s is None else min(size, MAX_HELD)
        self.span_s = span_s
        self.history: History | None = None
        self.cleared, self.cleared_at = 0, -math.inf  # samples before this number, and up to this time, are forgotten
        self._rows: Rows | None = None  # time and values; made when it is known how many values a sample has
        self._newest_at = -math.inf  # when the newest sample was taken
        self._gaps: deque[Gap] = deque()
        self._lock = threading.Lock()

    @property
    def seen(self) -> int:
        return self._rows.stop if self._rows else 0

    @property
    def first(self) -> int:
        """The number of the first sample held."""
        return self._rows.first if self._rows else 0

    @property
    def channels(self) -> int:
        """Values a sample; 0 before the first."""
        return self._rows.columns - 1 if self._rows else 0

    def add(self, block: Floats, at: Floats | float, gaps: Iterable[tuple[int, int, str]] = ()) -> None:
        """Add samples, an array of shape (n,) or (n, channels).

        at: when each was taken, an array of shape (n,), seconds of any one clock; or one number, when all of them
            arrived. Times that run backwards (where arrival was all that was known of those before) are held.
        gaps: what is missing: before which of these samples (0 is the first), how many frames, and why.
        """
        if not len(block):
            return
        values = block.reshape(len(block), -1)
        times = sample_times(len(values), at, self._newest_at) if isinstance(at, float | int) else at
        table = np.empty((len(values), 1 + values.shape[1]))
        np.maximum.accumulate(np.maximum(times, self._newest_at), out=table[:, 0])
        table[:, 1:] = values
        with self._lock:
            rows = self._rows or Rows(self.size, table.shape[1])
            for place, lost, why in gaps:
                self._add_gap(rows, table, place, lost, why)
            self._newest_at = table[-1, 0]
            rows.append(table)
            if self.span_s is not None:
                self.history = self.history or History(self.span_s, values.shape[1])
                self.history.add(table[:, 0], without_infinities(table[:, 1:]))
            self._rows = rows
            self._forget_gaps(rows)

    def clear(self) -> None:
        """Forget what it holds; the numbers go on."""
        with self._lock:
            if self._rows is not None:
                self._rows.clear()
                self.cleared, self.cleared_at = self._rows.stop, self._newest_at
            if self.history is not None:
                self.history.clear()
            self._gaps.clear()

    def copy(self, channels: int = 1) -> Floats:
        """The samples, oldest first: an array of shape (n, channels); `channels` is for as long as there are none."""
        with self._lock:
            if self._rows is None:
                return np.empty((0, max(channels, 1)))
            rows = self._rows.since(0)
            if self.span_s is not None:
                rows = rows[np.searchsorted(rows[:, 0], self._newest_at - self.span_s) :]
            samples: Floats = rows[:, 1:].copy()
        return samples

    def since(self, number: int) -> tuple[int, Floats]:
        """Return the number of the first sample kept from `number` on, and from there a table of times and values."""
        with self._lock:
            if self._rows is None:
                return 0, np.empty((0, 1))
            return max(number, self._rows.first), self._rows.since(number).copy()

    def history_since(self, number: int) -> tuple[int, Floats, int, Floats, float]:
        """Return the number of the first bin of the history kept from `number` on, from there its table, how many samples have
        been seen by then, the newest of them (its values), and when the oldest one that the history knows was taken."""
        with self._lock:
            if self.history is None or self._rows is None:
                return 0, np.empty((0, 3)), 0, np.empty((0, 0)), math.inf
            rows, newest = self.history.rows, self._rows.since(self._rows.stop - 1)[:, 1:].copy()
            oldest_at = rows.since(0)[0, 1] if rows.first < rows.stop else math.inf
            return max(number, rows.first), rows.since(number).copy(), self._rows.stop, newest, oldest_at

    def gaps(self, after: int = 0) -> list[Gap]:
        """What is missing before samples with numbers above this one, as far as it is still in the window."""
        with self._lock:
            found = []
            for gap in reversed(self._gaps):
                if gap.number <= after:
                    break
                found.append(gap)
            return found[::-1]

    def means(self) -> Floats:
        """The mean of each channel, over what is finite in the window; NaN where nothing is."""
        with self._lock:
            if self._rows is None:
                return np.empty(0)
            if self.history is not None:
                return self.history.means(self._newest_at - self.history.span_s)
            values = self._rows.since(0)[:, 1:]
            with np.errstate(all="ignore"):
                found: Floats = values.mean(axis=0) if len(values) else np.full(self.channels, np.nan)
                if not np.isfinite(found).all():
                    finite = without_infinities(values)
                    found = np.nansum(finite, axis=0) / np.isfinite(finite).sum(axis=0)
            return found

    def _add_gap(self, rows: Rows, table: Floats, place: int, lost: int, why: str) -> None:
        number = rows.stop + place
        began_at = table[place - 1, 0] if place else self._newest_at
        if number > rows.first:  # before the first sample there is nothing that it could interrupt
            self._gaps.append(Gap(number, lost, why, float(began_at), float(table[place, 0])))

    def _forget_gaps(self, rows: Rows) -> None:
        gaps = self._gaps
        if self.span_s is None:
            while gaps and gaps[0].number <= rows.first:
                gaps.popleft()
        else:
            while gaps and gaps[0].ended_at <= self._newest_at - self.span_s:
                gaps.popleft()
        while len(self._gaps) > MAX_GAPS:  # more than any screen shows: of two neighbours the later one tells of both
            known = list(self._gaps)
            pairs = [late._replace(lost=early.lost + late.lost) for early, late in zip(known[::2], known[1::2])]
            self._gaps = deque(pairs + known[len(pairs) * 2 :])


class History:
    """A long time in bins: of each the times of its first and its last sample, and by channel the lowest and the highest value,
    the sum, and how many were finite. A bin without samples has no row."""

    def __init__(self, span_s: float, channels: int):
        self.span_s = span_s
        self.width_s = span_s / BINS
        self.channels = channels
        # Bin number, first and last time; lowest and highest values, sums, counts.
        self.rows = Rows(BINS + 2, 3 + 4 * channels)

    def add(self, times: Floats, values: Floats) -> None:
        """Add samples; times do not run backwards, values are finite or NaN."""
        bins = np.floor(times / self.width_s)
        starts = np.flatnonzero(np.diff(bins, prepend=-np.inf))
        ends = np.append(starts[1:], len(times)) - 1
        finite = ~np.isnan(values)
        table = np.hstack(
            (
                bins[starts, None],
                times[starts, None],
                times[ends, None],
                np.fmin.reduceat(values, starts),
                np.fmax.reduceat(values, starts),
                np.add.reduceat(np.where(finite, values, 0.0), starts),
                np.add.reduceat(finite.astype(float), starts),
            )
        )
        last = self.rows.since(self.rows.stop - 1)
        if len(last) and last[-1, 0] == table[0, 0]:
            table[0] = merge(np.vstack((last[-1], table[0])), np.zeros(1, np.intp), self.channels)[0]
            self.rows.cut(self.rows.stop - 1)
        self.rows.append(table)

    def clear(self) -> None:
        self.rows.clear()

    def means(self, since: float) -> Floats:
        """The mean of each channel from this time on."""
        table = self.rows.since(0)
        table = table[np.searchsorted(table[:, 2], since) :]
        sums, counts = (table[:, 3 + part * self.channels : 3 + (part + 1) * self.channels].sum(axis=0) for part in (2, 3))
        with np.errstate(all="ignore"):
            means: Floats = sums / counts
        return means


def merge(table: Floats, starts: npt.NDArray[np.intp], channels: int) -> Floats:
    """Rows of a history made into fewer: one from each of these places up to the next."""
    ends = np.append(starts[1:], len(table)) - 1
    lows, highs, sums = (table[:, 3 + part * channels : 3 + (part + 1) * channels] for part in (0, 1, 2))
    counts = table[:, 3 + 3 * channels :]
    return np.hstack(
        (
            table[starts, :2],
            table[ends, 2:3],
            np.fmin.reduceat(lows, starts),
            np.fmax.reduceat(highs, starts),
            np.add.reduceat(sums, starts),
            np.add.reduceat(counts, starts),
        )
    )
