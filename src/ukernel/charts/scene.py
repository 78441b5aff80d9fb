"""What a chart shows: its traces at some resolution, the limits of its axes, and what is said beside them."""

import math
import time
from typing import NamedTuple

import numpy as np

from .axis import Limits, Scale
from .bins import Break, Envelope, TimeEnvelope, make_envelope
from .trace import Note, Trace
from .window import Floats

__all__ = ["AXIS_NAMES", "HEIGHT", "RUNNING", "STOPPED", "WAITING", "Band", "ChartOptions", "Curve", "Scene"]

WAITING = "waiting"  # for the board to open the pipe, or for the first sample
RUNNING = "running"
STOPPED = "stopped"
TOGETHER_S = 1.0  # pipes that ended within this long have ended at the same time
AXIS_NAMES = {"samples": "samples", "seconds": "seconds ago", "time": "time"}
HEIGHT = 320  # of a chart on the page, in CSS pixels


class ChartOptions(NamedTuple):
    """How a chart looks, as `live_plot` was told. span_s: of a window in time, whose axis is one of time."""

    title: str
    window: int
    ylim: tuple[float, float] | None = None
    labels: tuple[str, ...] = ()
    units: str = ""
    x: str = "samples"
    span_s: float | None = None
    height: int = HEIGHT

    @property
    def is_timed(self) -> bool:
        """Whether the horizontal axis is one of time."""
        return self.x != "samples"

    def name_lines(self, traces: list[Trace]) -> list[list[str]]:
        """Return the names of the lines, by trace: the labels, and where there are none names made from the pipe's."""
        given = iter(self.labels)
        names = []
        for trace in traces:
            made = [f"{trace.name}[{index}]" for index in range(trace.channels)] if trace.channels > 1 else [trace.name]
            names.append([next(given, name) for name in made])
        return names


class Curve(NamedTuple):
    """One line: names, positions, and the lowest and the highest value at each (the same array for single samples).

    breaks: the places in them before which the line is interrupted. newest: the value of the newest sample.
    """

    name: str
    x: Floats
    low: Floats
    high: Floats
    breaks: tuple[int, ...] = ()
    newest: float = math.nan

    @property
    def points(self) -> tuple[Floats, Floats]:
        """The line through all of them, as two arrays; a NaN interrupts it."""
        x, y, width = self.x, self.low, 1
        if self.low is not self.high:
            x, y, width = np.repeat(self.x, 2), np.column_stack((self.low, self.high)).reshape(-1), 2
        if not self.breaks:
            return x, y
        places = np.array(self.breaks) * width
        return np.insert(x, places, x[places - 1]), np.insert(y, places, np.nan)


class Band(NamedTuple):
    """What is missing, as a part of the horizontal axis. `trace`: the place of the pipe whose it is."""

    trace: int
    start: float
    stop: float
    lost: int
    why: str


class Scene:
    """The traces of a chart for `columns` columns of pixels.

    envelopes: one a trace. x, y: the limits of the axes. x is a position in the window (as in `LivePlot.data`), or
        seconds before the newest sample.
    """

    def __init__(self, traces: list[Trace], options: ChartOptions, columns: int):
        self.traces = traces
        self.options = options
        self.extra_note: Note | None = None  # something to be said beside what the traces say
        self.set_columns(columns)
        self.y = options.ylim or (-1.0, 1.0)
        self.x = (0.0, options.window - 1.0) if options.x == "samples" else (-1.0, 0.0)
        self._y_limits = None if options.ylim else Limits()
        self._span_s = 0.0  # of the time axis

    def set_columns(self, columns: int) -> None:
        """Go over to this many columns of pixels."""
        self.columns = columns
        self.envelopes = [make_envelope(trace.window, columns) for trace in self.traces]

    def update(self) -> list[int]:
        """Take in what is new; returns for each trace the number of the first bin that has changed."""
        changed = [envelope.update() for envelope in self.envelopes]
        if self._y_limits:
            limits = [envelope.limits() for envelope in self.envelopes]
            low, high = min(low for low, _ in limits), max(high for _, high in limits)
            if low <= high:
                self.y = self._y_limits.fit(low, high, time.monotonic())
        if self.options.is_timed:
            self.x = (-self._fit_span(), 0.0)
        return changed

    @property
    def scale(self) -> Scale:
        """How the values are written."""
        return Scale(*self.y, self.options.units)

    def forget(self) -> None:
        """The windows were cleared: limits and span are to fit what comes."""
        self._span_s = 0.0
        if self._y_limits:
            self._y_limits = Limits()

    @property
    def newest_at(self) -> float:
        """When the newest sample of all was taken (monotonic seconds); -inf before the first."""
        return max(envelope.newest_at for envelope in self.envelopes)

    @property
    def state(self) -> str:
        """WAITING, RUNNING or STOPPED."""
        if all(trace.ended for trace in self.traces):
            return STOPPED
        return RUNNING if any(trace.window.seen and not trace.is_waiting for trace in self.traces) else WAITING

    def curves(self) -> list[Curve]:
        """The lines, as they are after `update`."""
        found = []
        for envelope, names in zip(self.envelopes, self.options.name_lines(self.traces), strict=True):
            table = envelope.table()
            width = (table.shape[1] - 1) // (1 if envelope.step == 1 else 2)
            x = self._positions(envelope, table)
            first = envelope.first
            breaks = tuple(one.row - first for one in envelope.breaks if 0 < one.row - first < len(table))
            for channel in range(width):
                low = high = table[:, 1 + channel]
                if envelope.step != 1:
                    high = table[:, 1 + width + channel]
                found.append(Curve(names[channel], x, low, high, breaks, envelope.newest[channel]))
        return found

    def bands(self) -> list[Band]:
        """What is missing in what is shown."""
        return [
            Band(index, *self.extent(envelope, one), one.lost, one.why)
            for index, envelope in enumerate(self.envelopes)
            for one in envelope.breaks
        ]

    def extent(self, envelope: Envelope | TimeEnvelope, one: Break) -> tuple[float, float]:
        """From where to where on the horizontal axis something is missing."""
        if self.options.is_timed:
            return one.began_at - self.newest_at, one.ended_at - self.newest_at
        return one.before - envelope.oldest, one.after - envelope.oldest

    def off_scale(self) -> tuple[float | None, float | None]:
        """The lowest and the highest value where it is below or above the limits; None where nothing is."""
        limits = [envelope.limits() for envelope in self.envelopes]
        low, high = min(low for low, _ in limits), max(high for _, high in limits)
        return (low if low < self.y[0] else None), (high if high > self.y[1] else None)

    def off_scale_words(self) -> tuple[str, str]:
        """What a still says of values below and above the limits; empty where none are."""
        signs = "▼ values down to", "▲ values up to"
        below, above = (
            "" if value is None else f"{words} {self.scale.text(value)}: ylim=None follows them"
            for value, words in zip(self.off_scale(), signs, strict=True)
        )
        return below, above

    def clock(self, seconds: float) -> str:
        """The time of day at a place of the horizontal axis; empty before there is a sample."""
        return time.strftime("%H:%M:%S", time.localtime(self.newest_at + seconds)) if self.newest_at > 0 else ""

    def stats(self) -> list[list[list[float] | None]]:
        """For each trace and channel the lowest and the highest value in the window and the mean; None where there is none."""
        found = []
        for trace, envelope in zip(self.traces, self.envelopes, strict=True):
            table = np.vstack((envelope.ranges(), trace.window.means())) if envelope.seen else np.empty((3, 0))
            found.append([None if np.isnan(column).any() else column.tolist() for column in table.T])
        return found

    def rates(self) -> list[float | None]:
        """Samples a second, lately, by trace; None where that is not known yet."""
        now = time.monotonic()
        return [trace.rate(now) for trace in self.traces]

    def notes(self) -> list[Note]:
        """What should be said beside the lines; of several pipes with their names."""
        several = len(self.traces) > 1
        notes = [
            Note(f"{trace.name}: {note.text}", note.kind) if several else note
            for trace in self.traces
            for note in trace.notes()
        ]
        return [*notes, self.extra_note] if self.extra_note else notes

    def describe(self) -> str:
        """The picture in words, for those who do not see it."""
        options, scale = self.options, self.scale
        wide = f"{options.window:,} samples" if options.span_s is None else f"{options.span_s:g} seconds"
        parts = [f"Line chart of {options.title}, {wide} wide."]
        for curve in self.curves():
            highs = curve.high[curve.high == curve.high]
            if len(highs):
                low = curve.low[curve.low == curve.low].min()
                parts.append(
                    f"{curve.name}: from {scale.number(low)} to {scale.text(highs.max())}, last {scale.text(curve.newest)}."
                )
            else:
                parts.append(f"{curve.name}: no samples.")
        bands = self.bands()
        if bands:
            lost = sum(band.lost for band in bands)
            parts.append(f"{len(bands):,} {'gap' if len(bands) == 1 else 'gaps'} in it, {lost:,} frames are missing there.")
        return " ".join(parts)

    def _positions(self, envelope: Envelope | TimeEnvelope, table: Floats) -> Floats:
        if self.options.is_timed:
            return table[:, 0] - self.newest_at
        bins: Floats = np.arange(envelope.first, envelope.first + len(table), dtype=np.float64)
        return bins * envelope.step + (envelope.step - 1) / 2 - envelope.oldest

    def _fit_span(self) -> float:
        """How many seconds to show: steady although blocks arrive unevenly, with room to grow while the window fills. A pipe
        that ended before the others moves out to the left."""
        spans, is_filling = [0.0], False
        most = math.inf if self.options.span_s is None else self.options.span_s
        last_at = max(trace.ended_at for trace in self.traces)
        for trace, envelope in zip(self.traces, self.envelopes, strict=True):
            table = envelope.table()
            if len(table) and trace.ended_at >= last_at - TOGETHER_S:
                spans.append(min(self.newest_at - table[0, 0], most))
                is_filling |= envelope.seen < envelope.window.size if self.options.span_s is None else True
        span = max(spans)
        if span > self._span_s:
            self._span_s = span * (1.25 if is_filling else 1.02)
        elif span and not is_filling and span < 0.95 * self._span_s:
            self._span_s = span * 1.02
        return min(self._span_s, most) or 1.0
