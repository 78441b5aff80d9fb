"""Charts on a canvas in the page: what the kernel does for them. The other half is the JavaScript in `canvas/`.

The page gets what is new in numbered messages that nobody answers: an answer would wait behind the cell that runs.
A message that holds everything comes once a second, and mends whatever was lost on the way. The page talks back
when somebody does something there, and as a hint when messages reach it late.

Where no page answers (a front end without widgets, nbclient) or there is no anywidget, the chart is a PNG that
changes a few times a second. When it has stopped it is a picture in any case, one that is saved with the notebook.
"""

import itertools
import math
import threading
import time
import uuid
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from ukernel import imports

from .bins import Envelope, TimeEnvelope
from .frontendprobe import FrontendProbe
from .picture import COLUMNS, Message, Painter, mime_bundle, script
from .scene import ChartOptions, Scene
from .staticoutput import MOVING, StaticOutput, display
from .trace import Trace

__all__ = ["Canvas", "encode"]

MIN_INTERVAL_S = 1 / 60  # screens show no more
WHOLE_S = 1.0  # between messages that hold everything
HURRIED_WHOLE_S = 0.25  # the same until the page has spoken: it may have missed the first one
HEARTBEAT_S = 3.0  # between messages where there is nothing to say: the page tells when it hears nothing
PICTURE_S = 0.35  # between pictures, where the chart is one
LATE_S = 5.0  # for this long a page that gets messages late gets fewer of them
MAX_SLOWDOWN = 8
UNWATCHED_S = 1.0  # between pictures for a notebook that nobody watches; there is one at the end of each host cell as well
IMPORT_AFTER_S = 2.0  # matplotlib, for pictures to come: once the chart moves
DETAILED_COLUMNS = 16_000  # of a chart that stands still, so that it can be zoomed

VIEW = "application/vnd.jupyter.widget-view+json"


def encode(scene: Scene, firsts: list[int] | None = None) -> Message:
    """Return the message that shows the scene: a JSON object, and numbers.

    firsts: for each trace the number of the first bin that the page lacks; None for everything, names and titles too.

    A trace's `breaks` are of the bins from `first` on: before which bin, from where to where (sample numbers, or times), how many frames
    are missing, and why; `newest` is when the newest sample was taken, `values` what it holds.

    The numbers are little-endian: the times of the bins (float64, only for a time axis), trace after trace, then
    the tables of values, bin after bin, each the values or the lowest and then the highest ones. They are float32
    where that changes no value, else float64.
    """
    traces, times, values = [], [], []
    for index, (trace, envelope) in enumerate(zip(scene.traces, scene.envelopes, strict=True)):
        first = max(envelope.first, firsts[index] if firsts else 0)
        table = envelope.table(first)
        traces.append(
            {
                "first": first,
                "count": len(table),
                "step": envelope.step,
                "seen": envelope.seen,
                "width": table.shape[1] - 1 if len(table) else 0,
                "oldest": envelope.first,
                "offset": envelope.oldest,
                "newest": envelope.newest_at if envelope.seen else None,
                "values": [value if abs(value) < math.inf else None for value in envelope.newest],
                "breaks": _breaks(scene, envelope, first),
            }
        )
        times.append(table[:, 0].ravel())
        values.append(table[:, 1:].ravel())
    joined = np.concatenate(values)
    with np.errstate(over="ignore", under="ignore"):
        narrow = joined.astype("<f4")
    wide = not np.array_equal(narrow, joined, equal_nan=True)
    content: dict[str, Any] = {
        "whole": firsts is None,
        "wide": wide,
        "x": scene.x,
        "y": scene.y,
        "traces": traces,
        "state": scene.state,
        "notes": [note._asdict() for note in scene.notes()],
        "rates": [rate and round(rate, 1) for rate in scene.rates()],
    }
    if firsts is None:
        options = scene.options
        content["stats"] = scene.stats()
        content["options"] = {
            "title": options.title,
            "units": options.units,
            "x": options.x,
            "window": options.window,
            "span": options.span_s,
            "height": options.height,
            "fixed": options.ylim is not None,
            "names": options.name_lines(scene.traces),
        }
    parts = [part.astype("<f8") for part in times] if scene.options.is_timed else []
    parts.append(joined.astype("<f8") if wide else narrow)
    return content, b"".join(part.tobytes() for part in parts)


def _breaks(scene: Scene, envelope: Envelope | TimeEnvelope, first: int) -> list[list[object]]:
    timed = scene.options.is_timed
    return [
        [one.row, *((one.began_at, one.ended_at) if timed else (one.before, one.after)), one.lost, one.why]
        for one in envelope.breaks_from(first)
    ]


class _Widget(Protocol):
    """The page's half, as far as it is used here: an anywidget. `chart`: by it the page knows its charts."""

    chart: str
    comm: object  # None once it is closed
    layout: Any
    model_id: str

    def on_msg(self, call: Callable[["_Widget", dict[str, Any], object], None]) -> None: ...
    def send(self, content: dict[str, Any], buffers: list[bytes]) -> None: ...
    def close(self) -> None: ...


@cache
def _widget_class() -> Callable[[], _Widget]:
    """The widget; made when it is needed, for anywidget takes long to import."""
    import anywidget
    import traitlets

    class LivePlotWidget(anywidget.AnyWidget):
        _esm = f"{script()}\nexport default ucoreChart.widget;\n"
        chart = traitlets.Unicode().tag(sync=True)  # by it the page knows its charts

        @traitlets.default("chart")
        def _make_name(self) -> str:
            return uuid.uuid4().hex

    return LivePlotWidget


class Canvas:
    """The kernel's half of a chart on a canvas.

    min_interval_s: between two pictures, whatever was asked for.
    is_watched: whether somebody may sit before the notebook; else the chart is a picture, and `save` puts it there.
    """

    pause_ratio = 0.0

    def __init__(self, traces: list[Trace], options: ChartOptions, is_watched: bool = True):
        self.is_watched = is_watched
        self._scene = Scene(traces, options, COLUMNS)
        self._lock = threading.RLock()  # the page is heard in the main thread
        self._frontend = FrontendProbe()
        self._numbers = itertools.count()
        self._columns = COLUMNS  # as the page wants it
        self._late_at = 0.0
        self._slowdown = 1
        self._is_paused = False
        self._is_frozen = False  # the page has the picture that it was paused on
        self._is_whole_due = True
        self._sent_at = self._whole_at = 0.0
        self._painter: Painter | None = None
        self._views = 0  # of the widget, in whatever pages, as far as they have said when they come and go
        self._last: Message | None = None  # the message that shows the last picture, when it has stopped
        self._picture: dict[str, str] | None = None  # what the notebook has instead of the widget
        self._is_provisional = False  # the last picture: it is to be painted with matplotlib, which has not been imported yet
        self._widget: _Widget | None = None
        self._static_output: StaticOutput | None = None  # beside the widget
        if is_watched and find_spec("anywidget") is not None:
            self._widget = _widget_class()()
            self._widget.on_msg(lambda _widget, content, _buffers: self._on_message(content))
        self._display = display(self._view(), raw=True)
        if self._widget is not None:
            self._static_output = StaticOutput(self._widget.chart)
        if is_watched and imports.is_matplotlib_to_come():
            self._frontend.call_later(IMPORT_AFTER_S, imports.load_matplotlib)

    @property
    def min_interval_s(self) -> float:
        """The least time between two pictures, whatever was asked for."""
        if self._slowdown > 1 and time.monotonic() - self._late_at > LATE_S:
            self._slowdown //= 2
            self._late_at = time.monotonic()
        if not self.is_watched:
            return UNWATCHED_S
        return self._slowdown * (PICTURE_S if self._is_picture else MIN_INTERVAL_S)

    @property
    def _is_picture(self) -> bool:
        """Whether nobody is there for the widget."""
        return self._widget is None or self._frontend.is_doubted

    def needs_send(self) -> bool:
        """Whether a picture is due although there is nothing new to show."""
        if self._is_picture:
            return False
        now = time.monotonic()
        if now - self._sent_at >= HEARTBEAT_S:
            return True
        if self._is_paused:
            return not self._is_frozen
        unconfirmed = self._whole_at < self._sent_at and now - self._whole_at >= WHOLE_S
        return self._is_whole_due or unconfirmed or self._frontend.is_due(now)

    def draw(self) -> None:
        """Show what the traces have."""
        with self._lock:
            now = time.monotonic()
            self._frontend.probe(now)
            if not self.is_watched:
                self.save()
            elif self._is_picture:
                self._scene.update()
                self._show(self._paint())
            elif self._is_paused and not self._is_frozen:
                self._send_frozen()
            elif not self._is_paused or now - self._sent_at >= HEARTBEAT_S:
                self._send_changes(now)
            if self._static_output is not None and self._frontend.is_sure and self._static_output.is_due(now):
                self._static_output.show(self._scene)

    def finish(self) -> None:
        """Show the last picture, and put it into the notebook."""
        with self._lock:
            content, buffer = self._detail()
            if self._widget is not None:
                content["chart"] = self._widget.chart  # what somebody has chosen there is kept
            self._last = content, buffer
            self._send(*self._last)
            self._clear_static_output()  # first: the chart, which hides it, goes
            self._show(self._paint(self._last))
            self._is_provisional = imports.is_matplotlib_to_come()
            if self._is_provisional:
                self._frontend.call_later(0.0, self._paint_well)
            else:
                self._forget_scene()
            if not self._frontend.is_sure:
                self._close()

    def _forget_scene(self) -> None:
        """The widget may live on, and windows are large."""
        self._scene, self._painter = Scene([], self._scene.options, COLUMNS), None

    def _paint_well(self) -> None:
        """Paint the last picture once more, in the main thread, where matplotlib may be imported."""
        with self._lock:
            if self._is_provisional:
                self._is_provisional, self._painter = False, None
                self._show(self._paint(self._last))
                self._forget_scene()

    def save(self) -> None:
        """Put the picture as it is now into the notebook, in the cell that calls; once it has finished, the last one."""
        with self._lock:
            if self._is_provisional and threading.current_thread() is threading.main_thread():
                self._paint_well()
            elif self._picture is not None and self._last is not None:
                self._show(self._picture)
            else:
                self._scene.extra_note = MOVING
                self._show(self._paint(self._detail()))
                self._scene.extra_note = None

    def keep(self) -> None:
        """Put the last picture into the notebook once more, where no page has taken it."""
        with self._lock:
            if self._picture is not None and not self._frontend.is_sure:
                self._show(self._picture)

    def remove(self) -> None:
        """Take the chart off the page."""
        with self._lock:
            self._clear_static_output()
            self._show({})
            self._close()

    def _on_message(self, content: dict[str, Any]) -> None:
        """What the page says, in the main thread: a view of the chart is there or has gone, it has another width, it is paused,
        what it shows is to be forgotten, it is late."""
        with self._lock:
            self._views += int("ready" in content) - int("gone" in content)
            if self._last is not None:
                if "ready" in content:
                    self._send(*self._last)
                elif "gone" in content and self._views <= 0:
                    self._close()
            if self._last is not None or "gone" in content:
                return
            self._frontend.is_sure = True
            if self._picture is not None and self._widget is not None and self._widget.comm is not None:  # we had given it up
                self._picture = None
                self._display.update(self._view(), raw=True)
            if "columns" in content:
                self._columns = min(max(int(content["columns"]), 2), DETAILED_COLUMNS)
            if "paused" in content:  # also from a page that is ready, which may be another one
                self._is_paused = bool(content["paused"])
                self._is_frozen = False
            if "clear" in content:
                for trace in self._scene.traces:
                    trace.window.clear()
                self._scene.forget()
            if "late" in content:
                self._late_at = time.monotonic()
                self._slowdown = min(2 * self._slowdown, MAX_SLOWDOWN)
            else:
                self._is_whole_due = True

    def _send_changes(self, now: float) -> None:
        """Send what the page lacks."""
        if self._scene.columns != self._columns:
            self._scene.set_columns(self._columns)
            self._is_whole_due = True
        changed = self._scene.update()
        every_s = WHOLE_S if self._frontend.is_sure else HURRIED_WHOLE_S
        whole = self._is_whole_due or now - self._whole_at >= every_s
        self._is_whole_due = False
        content, buffer = encode(self._scene, None if whole else changed)
        self._send(content, buffer)
        self._sent_at = now
        if whole:
            self._whole_at = now

    def _send_frozen(self) -> None:
        """Send the picture that a paused page stands on, in detail."""
        self._is_frozen, self._is_whole_due = True, False
        detailed = Scene(self._scene.traces, self._scene.options, DETAILED_COLUMNS)
        detailed.update()
        detailed.x, detailed.y = self._scene.x, self._scene.y
        content, buffer = encode(detailed)
        self._send({**content, "frozen": True}, buffer)

    def _send(self, content: dict[str, Any], buffer: bytes) -> None:
        if self._widget is not None:
            self._widget.send({**content, "number": next(self._numbers), "sent_at": time.monotonic()}, [buffer])

    def _view(self) -> dict[str, Any]:
        words = {"text/plain": f"live_plot: {self._scene.options.title}"}
        if self._widget is None:
            return words
        return {VIEW: {"version_major": 2, "version_minor": 1, "model_id": self._widget.model_id}, **words}

    def _paint(self, message: Message | None = None) -> dict[str, str]:
        """Return the scene, which is up to date, as a picture."""
        if self._painter is None or self._painter.is_outdone():
            self._painter = Painter(self._scene)
        return mime_bundle(self._scene, self._painter, message)

    def _detail(self) -> Message:
        """Return the message that shows a picture that can be read and zoomed."""
        self._scene.update()
        detailed = Scene(self._scene.traces, self._scene.options, DETAILED_COLUMNS)
        detailed.update()
        detailed.x, detailed.y, detailed.extra_note = self._scene.x, self._scene.y, self._scene.extra_note
        return encode(detailed)

    def _clear_static_output(self) -> None:
        if self._static_output is not None:
            self._static_output.clear()

    def _close(self) -> None:
        """Let the widget go. When a chart has stopped that is once no page shows it any more, for there is the picture. A page
        that is loaded anew, or opened later, shows the chart: JupyterLab has forgotten there whose output the picture is."""
        if self._widget is not None:
            self._widget.layout.close()  # a widget of its own, which every widget that can be shown has
            self._widget.close()

    def _show(self, bundle: dict[str, str]) -> None:
        """Put this in the place of what the notebook has."""
        self._picture = bundle
        self._display.update(bundle, raw=True)
