"""A window at the resolution of a screen.

An envelope follows a `Window` with the lowest and the highest value of each bin of samples: what it costs depends on how many
samples are new, not on how many are shown, and a spike one sample wide is always in it.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .window import BINS, Floats, Gap, Rows, Window, merge, without_infinities

__all__ = ["Break", "Envelope", "TimeEnvelope", "make_envelope"]


class Break(NamedTuple):
    """Where the line is interrupted: between two bins, before the one with the number `row`.

    before, after: the numbers of the samples around what is missing. began_at, ended_at: when they were taken. lost, why: as
        of a `Gap`; of several that lie in one bin, all together.
    """

    row: int
    before: int
    after: int
    began_at: float
    ended_at: float
    lost: int
    why: str


def make_envelope(window: Window, columns: int) -> "Envelope | TimeEnvelope":
    """Return what follows this window for so many columns of pixels."""
    return Envelope(window, columns) if window.span_s is None else TimeEnvelope(window, columns)


def _bins_of(count: int, size: int) -> int:
    """How many bins of this size hold so many: the last one may not be full."""
    return (count + size - 1) // size


class _Bins:
    """What all envelopes have.

    step: samples a bin; 0 where a bin is a span of time. seen: samples taken in. newest_at, newest: when the newest one was
        taken, and its values. breaks: of the bins in the table.
    """

    step = 0

    def __init__(self, window: Window):
        self.window = window
        self.seen = 0
        self.newest_at = -math.inf
        self.newest: list[float] = []
        self.breaks: list[Break] = []
        self._bins: Rows | None = None
        self._gap_number = 0  # of the last gap taken in

    @property
    def first(self) -> int:
        """The number of the first bin that has a sample in the window."""
        raise NotImplementedError

    def table(self, first: int = 0) -> Floats:
        """The bins of the window from this number on, one a row: its time, and its values, or for bins of several samples its
        lowest values and then its highest. A view, valid until the next `update`."""
        return self._bins.since(max(first, self.first)) if self._bins else np.empty((0, 1))

    def ranges(self) -> Floats:
        """The lowest and the highest value of each channel in the window: an array of shape (2, channels); NaN where there is none."""
        table = self.table()[:, 1:]
        channels = self.window.channels
        if not len(table):
            return np.full((2, channels), np.nan)
        return np.stack((np.fmin.reduce(table[:, :channels]), np.fmax.reduce(table[:, -channels:])))

    def limits(self) -> tuple[float, float]:
        """The lowest and the highest value in the window; inf and -inf where there is none."""
        low, high = self.ranges()
        low, high = low[~np.isnan(low)], high[~np.isnan(high)]
        return (float(low.min()), float(high.max())) if len(low) else (math.inf, -math.inf)

    def _row_of(self, gap: Gap) -> int:
        raise NotImplementedError

    def _update_breaks(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            if gap.number >= self.seen:
                break  # it came after what was just taken in
            self._gap_number = gap.number
            found = Break(self._row_of(gap), gap.number - 1, gap.number, gap.began_at, gap.ended_at, gap.lost, gap.why)
            if self.breaks and self.breaks[-1].row >= found.row:
                before = self.breaks.pop()
                why = before.why if found.why in before.why else f"{before.why}; {found.why}"
                found = found._replace(
                    row=before.row, before=before.before, began_at=before.began_at, lost=before.lost + found.lost, why=why
                )
            self.breaks.append(found)

    def _forget_breaks(self) -> None:
        first, gone = self.first, 0
        while gone < len(self.breaks) and self.breaks[gone].row <= first:
            gone += 1
        del self.breaks[:gone]

    def breaks_from(self, row: int) -> list[Break]:
        """Those at the bin with this number, and after it."""
        start = len(self.breaks)
        while start and self.breaks[start - 1].row >= row:
            start -= 1
        return self.breaks[start:]


class Envelope(_Bins):
    """A window in bins of `step` samples, for `columns` columns of pixels: every sample, where there are at most two a
    column, else the lowest and the highest value of each bin.

    A bin begins at a multiple of `step`, counted from the first sample ever, so that it keeps its samples as it moves:
    otherwise the line would flicker.
    """

    def __init__(self, window: Window, columns: int):
        super().__init__(window)
        self.step = 1 if window.size <= 2 * columns else _bins_of(window.size, columns)

    @property
    def oldest(self) -> int:
        """The number of the first sample in the window."""
        return max(0, self.seen - self.window.size, min(self.window.cleared, self.seen))

    @property
    def first(self) -> int:
        """The number of the first bin that has a sample in the window."""
        oldest = self.oldest
        return oldest // self.step if oldest < self.seen else self.stop

    @property
    def stop(self) -> int:
        return _bins_of(self.seen, self.step)

    def update(self) -> int:
        """Take in what is new; returns the number of the first bin that has changed."""
        changed = self.seen // self.step
        gaps = self.window.gaps(self._gap_number)
        if gaps:  # the bin before the one where something is missing gets what came before that
            changed = max(min(changed, gaps[0].number // self.step - 1), 0)
        first, rows = self.window.since(self._start_of(changed))
        if not len(rows) or first + len(rows) <= self.seen:
            return self.stop
        changed = max(changed, first // self.step)  # a later one, if there were more new samples than the window holds
        self.seen = first + len(rows)
        self.newest_at, self.newest = rows[-1, 0], rows[-1, 1:].tolist()
        self._update_breaks(gaps)
        rows[:, 1:] = values = without_infinities(rows[:, 1:])
        if self.step == 1:
            table = rows
        else:
            starts = np.arange(changed * self.step, self.seen, self.step) - first
            for one in self.breaks_from(changed + 1):  # bins end where something is missing: no line runs through it
                starts[one.row - changed] = one.after - first
            starts[0] = 0
            middles = (starts + np.append(starts[1:], len(rows))) // 2
            table = np.hstack((rows[middles, :1], np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)))
        if self._bins is None:
            self._bins = Rows(self.window.size // self.step + 2, table.shape[1])
        self._bins.cut(changed)
        self._bins.append(table)
        self._forget_breaks()
        return changed

    def _start_of(self, row: int) -> int:
        """The number of the first sample of a bin."""
        found = self.breaks_from(row)
        return found[0].after if found and found[0].row == row else row * self.step

    def _row_of(self, gap: Gap) -> int:
        return gap.number // self.step


class TimeEnvelope(_Bins):
    """A window in time, in bins of the same length, about as many as there are columns of pixels. It has a row for each bin with
    samples in it, with the middle of their times: of a single sample that is its own."""

    def __init__(self, window: Window, columns: int):
        super().__init__(window)
        if window.span_s is None:
            raise ValueError("this window counts samples")
        self._span_s = window.span_s
        self._columns = min(columns, BINS)
        self._joined = 1  # bins of the history in one of ours; the history's never lie in two
        self._starts = [0]  # the numbers of the history's bins with which our last two begin

    oldest = 0  # the first sample's number is of no account on an axis of time

    @property
    def first(self) -> int:
        """The number of the first bin that has a sample in the window."""
        if self._bins is None:
            return 0
        since = max(self.newest_at - self._span_s, np.nextafter(self.window.cleared_at, math.inf))
        return self._bins.first + int(np.searchsorted(self._bins.since(0)[:, 0], since))

    @property
    def stop(self) -> int:
        return self._bins.stop if self._bins else 0

    def update(self) -> int:
        """Take in what is new; returns the number of the first bin that has changed."""
        gaps = self.window.gaps(self._gap_number)
        first, rows, seen, newest, oldest_at = self.window.history_since(self._starts[0])
        if seen == self.seen or not len(rows):
            return self.stop
        joined = self._fit(rows[-1, 2] - oldest_at)
        if joined != self._joined or self._bins is None:
            # As the window fills, bins grow with what is shown: all of it anew.
            self._joined, self._starts, self._bins, self.breaks, self._gap_number = joined, [0], None, [], 0
            gaps = self.window.gaps()
            first, rows, seen, newest, _ = self.window.history_since(0)
        channels = self.window.channels
        goes_on = first == self._starts[0]
        starts = self._find_starts(first, rows, gaps, self._starts if goes_on else [])
        merged = merge(rows, starts, channels)
        table = np.hstack((merged[:, 1:3].mean(axis=1, keepdims=True), merged[:, 3 : 3 + 2 * channels]))
        if self._bins is None:
            self._bins = Rows(2 * BINS // self._joined + 3, table.shape[1])
        # Where the history has lost what we began with, or was cleared, nothing goes on.
        changed = max(self.stop - len(self._starts), 0) if goes_on else self.stop + 1
        self._bins.cut(changed)
        self._bins.append(table)
        self._starts = [first + int(start) for start in starts[-2:]]
        self.seen, self.newest_at, self.newest = seen, rows[-1, 2], newest[-1].tolist()
        self._update_breaks(gaps)
        self._forget_breaks()
        return changed

    def _fit(self, known_s: float) -> int:
        """How many bins of the history to join, for so long a part of the window that is known by now."""
        shown = min(known_s / self._span_s, 1.0)
        fitting = 1 << max(0, int(math.log2(max(BINS * shown / self._columns, 1.0))))
        # Not back and forth: what falls out of the window at its end changes nothing.
        return fitting if fitting > self._joined or 4 * fitting <= self._joined else self._joined

    def _find_starts(self, first: int, rows: Floats, gaps: list[Gap], known: list[int]) -> npt.NDArray[np.intp]:
        """Where our bins begin, in the rows from number `first` on; `known` for those that there were before."""
        bins = rows[:, 0] // self._joined
        starts = np.flatnonzero(np.diff(bins, prepend=-np.inf))
        if known:
            last = known[-1] - first
            starts = np.append(np.array(known) - first, starts[(starts > last) & (bins[starts] > bins[last])])
        # Bins end where something is missing: no line runs through it.
        for row in np.searchsorted(rows[:, 2], [gap.ended_at for gap in gaps]):
            place = int(np.searchsorted(starts, row, "right")) - 1
            if place > 0 and row < len(rows):
                starts[place] = max(row, starts[place])
        return starts

    def _row_of(self, gap: Gap) -> int:
        return self._bins.first + int(np.searchsorted(self._bins.since(0)[:, 0], gap.ended_at)) if self._bins else 0
