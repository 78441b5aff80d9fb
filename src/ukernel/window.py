"""The samples a chart shows, and the same at the resolution of a screen.

A `Window` keeps the latest samples of one pipe. An `Envelope` follows it with the lowest and the highest value
of each bin of samples: what it costs depends on how many samples are new, not on how many are shown, and a
spike one sample wide is always in it.
"""

import math
import threading

import numpy as np

__all__ = ["Envelope", "Limits", "Window", "sample_times"]

MAX_SPREAD_S = 0.25  # a block that arrives after a longer silence was not on its way all that time
TINY = 1e-30  # less room than this is none: what an axis divides by must not vanish
HUGE = 1e300  # values beyond it are gaps, as infinities are: sums and differences of limits must stay finite
SHRINK_AFTER_S = 2.0  # limits shrink once values have needed less room for this long: one that comes and goes must not pump


def sample_times(count: int, arrived_at: float, previous_at: float):
    """When the samples of a block were taken, as far as one can tell from when it arrived: an array of `count` seconds,
    spread evenly since the block before, the last at `arrived_at`."""
    spread = min(arrived_at - previous_at, MAX_SPREAD_S)
    return arrived_at - spread * (np.arange(count - 1, -1, -1) / count)


class _Rows:
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

    def append(self, rows) -> None:
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

    def since(self, number: int):
        """The rows from this number on, or from the first one kept. A view: valid until the next `append`."""
        return self._table[self._end - (self.stop - max(number, self.first)) : self._end]


class Window:
    """The latest samples of a pipe, `size` at most; `seen` counts all of them. One thread adds, any may look."""

    def __init__(self, size: int):
        self.size = size
        self._rows: _Rows | None = None  # time and values; made when it is known how many values a sample has
        self._newest_at = -math.inf  # when the newest sample was taken
        self._lock = threading.Lock()

    @property
    def seen(self) -> int:
        return self._rows.stop if self._rows else 0

    @property
    def channels(self) -> int:
        """Values a sample; 0 before the first."""
        return self._rows.columns - 1 if self._rows else 0

    def add(self, block, at) -> None:
        """Add samples, an array of shape (n,) or (n, channels).

        at: when each was taken, an array of shape (n,), seconds of any one clock; or one number, when all of them
            arrived. Times that run backwards (where arrival was all that was known of those before) are held.
        """
        if not len(block):
            return
        values = block.reshape(len(block), -1)
        times = at if np.ndim(at) else sample_times(len(values), at, self._newest_at)
        table = np.empty((len(values), 1 + values.shape[1]))
        np.maximum.accumulate(np.maximum(times, self._newest_at), out=table[:, 0])
        table[:, 1:] = values
        self._newest_at = table[-1, 0]
        with self._lock:
            rows = self._rows or _Rows(self.size, table.shape[1])
            rows.append(table)
            self._rows = rows

    def copy(self, channels: int = 1):
        """The samples, oldest first: an array of shape (n, channels); `channels` is for as long as there are none."""
        with self._lock:
            return self._rows.since(0)[:, 1:].copy() if self._rows else np.empty((0, max(channels, 1)))

    def since(self, number: int):
        """Return the number of the first sample kept from `number` on, and from there a table of times and values."""
        with self._lock:
            if self._rows is None:
                return 0, np.empty((0, 1))
            return max(number, self._rows.first), self._rows.since(number).copy()


class Envelope:
    """A window in bins of `step` samples, for `columns` columns of pixels: every sample, where there are at most two a
    column, else the lowest and the highest value of each bin.

    A bin begins at a multiple of `step`, counted from the first sample ever, so that it keeps its samples as it moves:
    otherwise the line would flicker. `table` has a row for each bin: its time, and its values, or for bins of several
    samples its lowest values and then its highest.
    """

    def __init__(self, window: Window, columns: int):
        self.window = window
        self.step = 1 if window.size <= 2 * columns else -(-window.size // columns)
        self.seen = 0  # samples taken in
        self.newest_at = -math.inf  # when the newest one was taken
        self._bins: _Rows | None = None

    @property
    def first(self) -> int:
        """The number of the first bin that has a sample in the window."""
        return max(0, self.seen - self.window.size) // self.step

    @property
    def stop(self) -> int:
        return -(-self.seen // self.step)

    def update(self) -> int:
        """Take in what is new; returns the number of the first bin that has changed."""
        changed = self.seen // self.step
        first, rows = self.window.since(changed * self.step)
        if not len(rows):
            return self.stop
        changed = first // self.step  # a later one, if there were more new samples than the window holds
        self.seen = first + len(rows)
        self.newest_at = rows[-1, 0]
        values = rows[:, 1:]
        values[~(np.abs(values) < HUGE)] = np.nan
        if self.step == 1:
            table = rows
        else:
            starts = np.arange(changed * self.step - first, len(rows), self.step).clip(0)
            middles = (starts + self.step // 2).clip(max=len(rows) - 1)
            table = np.hstack((rows[middles, :1], np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)))
        if self._bins is None:
            self._bins = _Rows(self.window.size // self.step + 2, table.shape[1])
        self._bins.cut(changed)
        self._bins.append(table)
        return changed

    def table(self, first: int = 0):
        """The bins of the window from this number on; a view, valid until the next `update`."""
        return self._bins.since(max(first, self.first)) if self._bins else np.empty((0, 1))

    def limits(self) -> "tuple[float, float]":
        """The lowest and the highest value in the window; inf and -inf where there is none."""
        values = self.table()[:, 1:]
        values = values[~np.isnan(values)]
        return (float(values.min()), float(values.max())) if len(values) else (math.inf, -math.inf)


class Limits:
    """Limits of an axis that keep their place while the values fit them: with head-room, and rounded."""

    def __init__(self):
        self.low, self.high = math.inf, -math.inf
        self._small_since = math.inf  # since when the values have needed less than a third

    def fit(self, low: float, high: float, now: float) -> "tuple[float, float]":
        """Return limits for values from `low` to `high` at this time (monotonic seconds)."""
        fits = self.low <= low and high <= self.high
        small = high - low < (self.high - self.low) / 3
        self._small_since = min(self._small_since, now) if small else math.inf
        if not fits or now - self._small_since >= SHRINK_AFTER_S:
            span, largest = high - low, max(abs(low), abs(high))
            room = 0.1 * (span if span > 1e-9 * largest else largest)
            room = room if room > TINY else 1.0
            unit = 10 ** math.floor(math.log10(high - low + 2 * room)) / 10
            self.low = math.floor((low - room) / unit) * unit
            self.high = math.ceil((high + room) / unit) * unit
            self._small_since = math.inf
        return self.low, self.high
