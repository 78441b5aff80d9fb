"""Charts that follow a pipe.

A `LivePlot` is a thread that reads the pipe into a `Window` and shows what is in it on a canvas, a few times
a second. The canvas here is matplotlib's, through ipympl. What keeps it moving while other cells work:
pictures are pushed from that thread and never asked for (ipympl's `draw_idle` asks the page, whose answer
waits behind the running cell), and only the lines are drawn anew, over a copy of the rest.
"""

import atexit
import contextvars
import math
import struct
import threading
import time
import zlib
from collections.abc import Callable

from .decoder import CallableDecoder, FormatDecoder
from .errors import UsageError
from .subscription import CLOSED, LEFT, Pipe

__all__ = ["LivePlot", "start", "stop"]

NEWS_S = 0.25  # how often a chart without new samples looks whether there is something else to tell
STOP_S = 5.0  # how long to wait for the last picture of a chart: far longer than one takes

_charts: "dict[str, LivePlot]" = {}  # the chart of each pipe, moving or not
_charts_lock = threading.Lock()


def start(
    name: str,
    subscribe: Callable[[str], Pipe],
    decoder: "FormatDecoder | CallableDecoder",
    *,
    window: int,
    ylim: "tuple[float, float] | None",
    title: "str | None",
    interval_s: float,
    duration_s: "float | None",
) -> "LivePlot":
    """Show a chart of the pipe in place of the one it had.

    Raises UsageError where there is nothing to draw on, and what `subscribe` raises.
    """
    ends_at = math.inf if duration_s is None else time.monotonic() + duration_s
    _check_backend()
    pipe = subscribe(name)
    try:
        with _charts_lock:
            previous = _charts.pop(name, None)
            if previous:
                previous.stop()
                previous.canvas.remove()
            canvas = MatplotlibCanvas(window, ylim, name if title is None else title)
            chart = _charts[name] = LivePlot(pipe, decoder, Window(window), canvas, interval_s, ends_at)
        return chart
    except BaseException:
        pipe.close()
        raise


def stop(name: "str | None" = None) -> None:
    """Stop the chart of this pipe, or all of them."""
    with _charts_lock:
        charts = [chart for pipe, chart in _charts.items() if name in (None, pipe)]
    for chart in charts:
        chart.stop()


atexit.register(stop)  # a thread that draws while Python takes itself apart would crash


def _check_backend() -> None:
    """Raise UsageError, with what to do, unless `%matplotlib widget` is in force."""
    try:
        import matplotlib
        from ipympl import backend_nbagg  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"live_plot needs matplotlib and ipympl, and there is no {error.name} here. "
            "Install them (pip install matplotlib ipympl), restart the kernel and run %matplotlib widget."
        ) from error
    try:
        backend = matplotlib.get_backend(auto_select=False)
    except TypeError:  # before matplotlib 3.10
        backend = matplotlib.get_backend()
    if backend is None or not (backend.lower() == "widget" or "ipympl" in backend.lower()):
        raise UsageError(
            f"live_plot draws through ipympl, but the backend is {backend!r}. Run %matplotlib widget "
            "in this notebook first, then this cell again."
        )


class Window:
    """The latest samples, `size` at most; NaN where a decoder gave one. One thread adds, any may look."""

    def __init__(self, size: int):
        self.size = size
        self.seen = 0  # samples since the start
        self._buffer = None
        self._stop = 0
        self._lock = threading.Lock()

    def add(self, block) -> None:
        """Add samples: an array of shape (n,) or (n, columns)."""
        import numpy as np

        if not len(block):
            return
        table = block.reshape(len(block), -1)
        with self._lock:
            self.seen += len(table)
            table = table[-self.size :]
            if self._buffer is None:
                # Twice the room, so that samples move once in `size` samples and not at every block.
                self._buffer = np.empty((2 * self.size, table.shape[1]))
            if self._stop + len(table) > len(self._buffer):
                kept = max(0, min(self.size - len(table), self._stop))
                self._buffer[:kept] = self._buffer[self._stop - kept : self._stop]
                self._stop = kept
            self._buffer[self._stop : self._stop + len(table)] = table
            self._stop += len(table)

    def copy(self):
        """The samples, oldest first: an array of shape (n, columns)."""
        import numpy as np

        with self._lock:
            if self._buffer is None:
                return np.empty((0, 1))
            return self._buffer[max(0, self._stop - self.size) : self._stop].copy()


class LivePlot:
    """A chart that follows a pipe, as `live_plot` returns it.

    Attributes: `name` of the pipe; `lost`, the frames missing so far; `data`, the samples in the window (a
        copy).
    """

    def __init__(
        self,
        pipe: Pipe,
        decoder,
        window: Window,
        canvas: "MatplotlibCanvas",
        interval_s: float,
        ends_at: float,
    ):
        self.name = pipe.name
        self.canvas = canvas
        self._pipe = pipe
        self._decoder = decoder
        self._window = window
        self._interval_s = interval_s
        self._ends_at = ends_at
        self._ended: str | None = None  # why, in words; None while it moves
        # In the context of this cell, so that whatever the thread prints or shows belongs to the cell.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name=f"live_plot {self.name}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = self._ended or "running"
        return f"<LivePlot {self.name!r}: {state}, {self._window.seen:,} samples, {self.lost:,} lost>"

    @property
    def lost(self) -> int:
        return self._pipe.lost

    @property
    def data(self):
        values = self._window.copy()
        return values[:, 0] if values.shape[1] == 1 else values

    def stop(self) -> None:
        """Stop; the last picture stays. Does nothing if it has stopped."""
        self._pipe.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(STOP_S)

    def wait(self, timeout: "float | None" = None) -> bool:
        """Wait until it has stopped, at most `timeout` seconds; True if it has. Where no page shows the chart
        (nbclient, nbconvert), the last picture is then kept in the notebook."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(
                max(0.0, min(0.1, deadline - time.monotonic()))
            )  # short waits: Ctrl-C must get through on Windows
        if self._thread.is_alive():
            return False
        # Once more, from this cell: nbclient takes in only what the running cell sends.
        self.canvas.keep()
        return True

    def _run(self) -> None:
        try:
            self._ended = self._follow()
        except Exception as error:  # a thread has nobody to raise to: the chart tells
            self._ended = f"stopped by {type(error).__name__}: {error}"
        finally:
            self._pipe.close()
        self.canvas.finish(self._window.copy(), self._window.seen, self._note())

    def _follow(self) -> str:
        """Read and draw until it is over; returns why."""
        shown = None  # the news of the last picture
        picture_at = time.monotonic()  # when the next one is due
        while True:
            wake_at = time.monotonic() + NEWS_S if shown == self._news() else picture_at
            frames = self._pipe.wait_frames(min(self._ends_at, wake_at))
            now = time.monotonic()
            if frames is None:
                return {LEFT: "stopped", CLOSED: "the producer closed the pipe"}.get(
                    self._pipe.end_reason
                ) or self._pipe.why_ended()
            if now >= self._ends_at:
                return "stopped: its time is over"
            if frames.count:
                block = self._decoder.decode(frames, frames.count, max(picture_at, now + self._interval_s / 2))
                if len(block):
                    self._window.add(block)
                now = time.monotonic()
            if now >= picture_at and shown != self._news():
                shown = self._news()
                self.canvas.draw(self._window.copy(), self._window.seen, self._note())
                done = time.monotonic()
                # Where pictures take long, some time is left for reading.
                picture_at = max(picture_at + self._interval_s, done + (done - now) / 2)

    def _news(self) -> tuple:
        """What a picture shows: another value, another picture."""
        return self._window.seen, self.lost, self._decoder.bad, self._pipe.opening is None

    def _note(self) -> str:
        """What should be said on the chart beside the samples."""
        notes = []
        if self._ended:
            notes.append(self._ended)
        elif self._pipe.opening is None:
            notes.append(f"waiting for the board to open pipe {self.name!r}")
        if self.lost:
            notes.append(f"{self.lost:,} frames lost")
        if self._decoder.bad:
            notes.append(f"{self._decoder.bad:,} frames not decoded: {self._decoder.first_error}")
        return "\n".join(notes)


class MatplotlibCanvas:
    """One axes on an ipympl canvas, outside pyplot: `plt.plot` in another cell must not draw into it."""

    def __init__(self, window: int, ylim: "tuple[float, float] | None", title: str):
        from ipympl.backend_nbagg import Canvas, FigureManager
        from IPython.display import display
        from matplotlib.figure import Figure

        self._window = window
        self._auto_limits = (-1.0, 1.0) if ylim is None else None  # those set last
        self._lock = threading.RLock()  # the page's wishes (size, zoom) are met in the main thread
        self._drawn_for = None  # what the background was drawn for
        self._background = None
        figure = Figure(figsize=(7, 3.5))
        self._canvas = Canvas(figure)
        manager = FigureManager(self._canvas, 1)
        self._canvas.header_visible = False  # it would repeat the title
        handle_json = manager.handle_json

        def handle_json_alone(content):
            with self._lock:
                handle_json(content)

        manager.handle_json = handle_json_alone
        manager.refresh_all = self._push
        self._axes = figure.add_axes((0.09, 0.14, 0.89, 0.76))
        self._axes.set_title(title)
        self._axes.set_xlabel("samples")
        self._axes.set_xlim(0, window - 1)
        self._axes.set_ylim(ylim or self._auto_limits)
        self._axes.grid(alpha=0.3)
        # Animated artists are left out of a full drawing: they are drawn over it.
        self._text = self._axes.text(0.012, 0.97, "", transform=self._axes.transAxes, va="top", fontsize="small", animated=True)
        self._text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 2})
        self._lines: list = []
        self._canvas.mpl_connect("draw_event", self._after_drawing)
        self._display = display(self._canvas, display_id=True)

    def draw(self, values, seen: int, note: str) -> None:
        """Show these samples, the last of `seen`, and the note."""
        with self._lock:
            self._set(values, seen, note)
            if self._drawn_for == self._state():
                self._canvas.restore_region(self._background)
                self._draw_over()
                self._push()
            else:
                self._canvas.draw()

    def finish(self, values, seen: int, note: str) -> None:
        """Show the last picture."""
        self.draw(values, seen, note)
        self.keep()

    def keep(self) -> None:
        """Where no page was ever there (nbclient, nbconvert), put the last picture into the notebook, in place of the
        one from before the first sample."""
        if self._canvas.syncing_data_url and self._display:
            with self._lock:
                self._display.update(self._canvas)

    def remove(self) -> None:
        """Take the chart off the page."""
        self._canvas.toolbar.close()
        self._canvas.close()

    def _set(self, values, seen: int, note: str) -> None:
        columns = max(2, int(self._axes.bbox.width))
        while len(self._lines) < values.shape[1]:
            self._lines += self._axes.plot([], [], linewidth=1.2, animated=True)
        low, high = math.inf, -math.inf
        for line, column in zip(self._lines, values.T, strict=False):
            x, y = _envelope(column, seen, columns)
            line.set_data(x, y)
            low, high = _limits(y, low, high)
        self._text.set_text(note)
        if (
            self._auto_limits is not None and low <= high and self._axes.get_ylim() == self._auto_limits
        ):  # else the user has zoomed
            self._auto_limits = _with_headroom(low, high, *self._auto_limits)
            self._axes.set_ylim(self._auto_limits)

    def _state(self) -> tuple:
        """What the background depends on: size, resolution, limits."""
        return self._canvas.get_width_height(physical=True), self._axes.get_xlim(), self._axes.get_ylim()

    def _after_drawing(self, event) -> None:
        if not self._canvas.is_saving():  # a picture for a file, in another size, with everything in it
            self._background = self._canvas.copy_from_bbox(self._canvas.figure.bbox)
            self._drawn_for = self._state()
            self._draw_over()

    def _draw_over(self) -> None:
        for line in self._lines:
            self._axes.draw_artist(line)
        if self._text.get_text():
            self._axes.draw_artist(self._text)

    def _push(self) -> None:
        """Send the picture. Whole ones only: the page skips pictures that come too fast, and of differences
        it must not miss one."""
        self._canvas.send({"data": '{"type": "binary"}'}, buffers=[_png(self._canvas.buffer_rgba())])


def _envelope(values, seen: int, columns: int):
    """Points to draw: all of them, or for more than two a pixel column the lowest and the highest of each, so
    that no spike is left out."""
    import numpy as np

    if len(values) <= 2 * columns:
        return np.arange(len(values)), values
    step = -(-len(values) // columns)
    first = (seen - len(values)) % step  # columns keep their samples as they move: otherwise the line would flicker
    starts = np.maximum(np.arange(-first, len(values), step), 0)
    y = np.empty(2 * len(starts))
    y[0::2] = np.fmin.reduceat(values, starts)
    y[1::2] = np.fmax.reduceat(values, starts)
    return np.repeat(starts, 2), y


def _limits(values, low: float, high: float) -> "tuple[float, float]":
    import numpy as np

    values = values[np.isfinite(values)]
    return (min(low, values.min()), max(high, values.max())) if len(values) else (low, high)


def _with_headroom(low: float, high: float, shown_low: float, shown_high: float) -> "tuple[float, float]":
    """Limits of the y axis: those shown, unless values fall out of them or fill less than a third."""
    if shown_low <= low and high <= shown_high and high - low > (shown_high - shown_low) / 3:
        return shown_low, shown_high
    room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
    return float(low - room), float(high + room)


def _png(pixels) -> bytes:
    """A PNG of an array (height, width, 4) of bytes: a third of the time that Pillow takes."""
    import numpy as np

    height, width, _ = np.shape(pixels)
    rows = np.zeros((height, 1 + 4 * width), np.uint8)  # each row begins with 0: not filtered
    rows[:, 1:] = np.reshape(pixels, (height, 4 * width))
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # 8 bits of red, green, blue and alpha
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")):
        parts += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(kind + body))]
    return b"".join(parts)
