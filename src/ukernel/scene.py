"""What a chart shows: its traces at some resolution, the limits of its axes, and what is said beside them."""

import time
from typing import NamedTuple

from .trace import Note, Trace
from .window import Envelope, Limits

__all__ = ["RUNNING", "STOPPED", "WAITING", "Curve", "Look", "Scene"]

WAITING = "waiting"  # for the board to open the pipe, or for the first sample
RUNNING = "running"
STOPPED = "stopped"
TOGETHER_S = 1.0  # pipes that ended within this long have ended at the same time


class Look(NamedTuple):
    """How a chart looks, as `live_plot` was told."""

    title: str
    window: int
    ylim: "tuple[float, float] | None" = None
    labels: "tuple[str, ...]" = ()
    units: str = ""
    x: str = "samples"

    def name_lines(self, traces: "list[Trace]") -> "list[list[str]]":
        """Return the names of the lines, by trace: the labels, and where there are none names made from the pipe's."""
        given = iter(self.labels)
        names = []
        for trace in traces:
            made = [f"{trace.name}[{index}]" for index in range(trace.channels)] if trace.channels > 1 else [trace.name]
            names.append([next(given, name) for name in made])
        return names


class Curve(NamedTuple):
    """One line: names, positions, and the lowest and the highest value at each (the same array for single samples)."""

    name: str
    x: object
    low: object
    high: object

    @property
    def points(self):
        """The line through all of them, as two arrays."""
        import numpy as np

        if self.low is self.high:
            return self.x, self.low
        return np.repeat(self.x, 2), np.column_stack((self.low, self.high)).reshape(-1)


class Scene:
    """The traces of a chart for `columns` columns of pixels.

    envelopes: one a trace. x, y: the limits of the axes. x is a position in the window (as in `LivePlot.data`), or
        seconds before the newest sample.
    """

    def __init__(self, traces: "list[Trace]", look: Look, columns: int):
        self.traces = traces
        self.look = look
        self.remark: Note | None = None  # something to be said beside what the traces say
        self.set_columns(columns)
        self.y = look.ylim or (-1.0, 1.0)
        self.x = (0.0, look.window - 1.0) if look.x == "samples" else (-1.0, 0.0)
        self._y_limits = None if look.ylim else Limits()
        self._span_s = 0.0  # of the time axis

    def set_columns(self, columns: int) -> None:
        """Go over to this many columns of pixels."""
        self.columns = columns
        self.envelopes = [Envelope(trace.window, columns) for trace in self.traces]

    def update(self) -> list[int]:
        """Take in what is new; returns for each trace the number of the first bin that has changed."""
        changed = [envelope.update() for envelope in self.envelopes]
        if self._y_limits:
            limits = [envelope.limits() for envelope in self.envelopes]
            low, high = min(low for low, _ in limits), max(high for _, high in limits)
            if low <= high:
                self.y = self._y_limits.fit(low, high, time.monotonic())
        if self.look.x == "seconds":
            self.x = (-self._fit_span(), 0.0)
        return changed

    @property
    def newest_at(self) -> float:
        """When the newest sample of all was taken (monotonic seconds); -inf before the first."""
        return max(envelope.newest_at for envelope in self.envelopes)

    @property
    def state(self) -> str:
        """WAITING, RUNNING or STOPPED."""
        if all(trace.ended for trace in self.traces):
            return STOPPED
        return RUNNING if any(trace.window.seen for trace in self.traces) else WAITING

    def curves(self) -> list[Curve]:
        """The lines, as they are after `update`."""
        found = []
        for envelope, names in zip(self.envelopes, self.look.name_lines(self.traces), strict=True):
            table = envelope.table()
            width = (table.shape[1] - 1) // (1 if envelope.step == 1 else 2)
            x = self._positions(envelope, table)
            for channel in range(width):
                low = high = table[:, 1 + channel]
                if envelope.step > 1:
                    high = table[:, 1 + width + channel]
                found.append(Curve(names[channel], x, low, high))
        return found

    def rates(self) -> "list[float | None]":
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
        return [*notes, self.remark] if self.remark else notes

    def describe(self) -> str:
        """The picture in words, for those who do not see it."""
        parts = [f"Line chart of {self.look.title}, {self.look.window:,} samples wide."]
        units = f" {self.look.units}" if self.look.units else ""
        for curve in self.curves():
            values = curve.high[curve.high == curve.high]
            if len(values):
                low = curve.low[curve.low == curve.low].min()
                parts.append(f"{curve.name}: from {low:.4g} to {values.max():.4g}{units}, last {values[-1]:.4g}{units}.")
            else:
                parts.append(f"{curve.name}: no samples.")
        return " ".join(parts)

    def _positions(self, envelope: Envelope, table):
        if self.look.x == "seconds":
            return table[:, 0] - self.newest_at
        import numpy as np

        bins = np.arange(envelope.first, envelope.first + len(table))
        return bins * envelope.step + (envelope.step - 1) / 2 - max(0, envelope.seen - envelope.window.size)

    def _fit_span(self) -> float:
        """How many seconds to show: steady although blocks arrive unevenly, with room to grow while the window fills. A pipe
        that ended before the others moves out to the left."""
        spans, is_filling = [0.0], False
        last_at = max(trace.ended_at for trace in self.traces)
        for trace, envelope in zip(self.traces, self.envelopes, strict=True):
            table = envelope.table()
            if len(table) and trace.ended_at >= last_at - TOGETHER_S:
                spans.append(self.newest_at - table[0, 0])
                is_filling |= envelope.seen < envelope.window.size
        span = max(spans)
        if span > self._span_s:
            self._span_s = span * (1.25 if is_filling else 1.02)
        elif span and not is_filling and span < 0.95 * self._span_s:
            self._span_s = span * 1.02
        return self._span_s or 1.0
