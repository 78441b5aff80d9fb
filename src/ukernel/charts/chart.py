"""Charts that follow pipes: their handle, and the register of those there are.

Each pipe is read by a thread of its trace. A thread of the chart wakes up when there is something new, and has the
canvas show it, at most once in an interval. So charts move while the notebook's cells work.
"""

import asyncio
import atexit
import inspect
import math
import sys
import threading
import time
import types
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

# Exit handlers run newest first. ZeroMQ would register its own with the first large message, and so take itself apart before `_leave`
# has stopped who sends by it.
import zmq.utils.garbage  # noqa: F401

from ukernel.pipes.decoders import CallableDecoder, FormatDecoder
from ukernel.pipes.reader import PipeReader

from . import matplotlibcanvas
from .canvas import Canvas
from .notebook import current_cell, find_shell, is_watched
from .picture import COLUMNS, Painter
from .png import Png
from .scene import ChartOptions, Scene
from .trace import NEWS_S, Trace
from .window import Floats

__all__ = ["LivePlot", "start", "stop"]

STOP_S = 10.0  # how long to wait for the last picture of a chart: far longer than one takes
SETTLE_S = (
    1.0  # for how long after its start a chart that nobody watches may hold up the end of a cell, to have something to show
)
MAX_PICTURES_PER_S = 300  # of all charts together; a Jupyter server takes 1,000 messages a second in all
# After how long a computing thread lets another one run. A picture takes the interpreter up to ten times (each part of a ZeroMQ
# message, each larger array), and at Python's 5 ms a cell that computes would leave 11 to 25 pictures a second.
SWITCH_S = 0.001

_charts: "dict[tuple[tuple[str, ...], str], LivePlot]" = {}  # by the names of their pipes and their own: those that move
_ended: "list[LivePlot]" = []  # those that nobody watches and that have ended in this cell, or before it
_charts_lock = threading.Lock()  # of the register; never held while something is waited for
_start_lock = threading.RLock()  # one chart starts at a time
_usual_switch_s: float | None = None  # Python's switch interval before there were charts; None where there are none


class ChartCanvas(Protocol):
    """What a chart draws on, from its own thread.

    is_watched: whether somebody may sit before the notebook. pause_ratio: of the time that a picture took, left for the rest.
    min_interval_s: between two pictures, whatever was asked for.
    """

    is_watched: bool
    pause_ratio: float

    @property
    def min_interval_s(self) -> float: ...
    def needs_send(self) -> bool: ...
    def draw(self) -> None: ...
    def finish(self) -> None: ...
    def save(self) -> None: ...
    def keep(self) -> None: ...
    def remove(self) -> None: ...


def start(
    names: tuple[str, ...],
    subscribe: Callable[[str], PipeReader],
    decoders: Sequence[FormatDecoder | CallableDecoder],
    options: ChartOptions,
    *,
    backend: str,
    interval_s: float,
    duration_s: float | None,
    chart: str = "",
) -> "LivePlot":
    """Show a chart of the pipes in place of the one of the same name that they had.

    decoders: one a pipe. backend: "auto", "matplotlib" or "canvas". Raises UsageError where there is nothing to
    draw on, and what `subscribe` raises.
    """
    ends_at = math.inf if duration_s is None else time.monotonic() + duration_s
    shell = find_shell()
    make_canvas = _choose(backend)
    watched = is_watched(shell)
    if not watched:
        shell.events.register("post_run_cell", _save)
    readers: list[PipeReader] = []
    try:
        for name in names:
            readers.append(subscribe(name))
        traces = [
            Trace(reader, decoder, options.window, options.span_s) for reader, decoder in zip(readers, decoders, strict=True)
        ]
        with _start_lock:
            with _charts_lock:
                previous = _charts.pop((names, chart), None)
            if previous:
                previous.discard()
            return LivePlot(traces, options, make_canvas(traces, options, watched), interval_s, ends_at, chart)
    except BaseException:
        for reader in readers:
            reader.close()
        raise


def stop(names: tuple[str, ...] | None) -> None:
    """Stop the charts that show one of these pipes, whatever they are called; None: all charts."""
    with _charts_lock:
        charts = [chart for (shown, _), chart in _charts.items() if names is None or set(names) & set(shown)]
    for chart in charts:
        chart._end()  # all of them now; their last pictures take a while
    for chart in charts:
        chart.stop()


def _set_switch_interval() -> None:
    """Have threads take turns faster while charts move, and as before when the last one has stopped. The register is locked."""
    global _usual_switch_s
    if _charts and _usual_switch_s is None:
        _usual_switch_s = sys.getswitchinterval()
        if _usual_switch_s > SWITCH_S:
            sys.setswitchinterval(SWITCH_S)
    elif not _charts and _usual_switch_s is not None:
        if sys.getswitchinterval() == SWITCH_S:  # else somebody has set it meanwhile
            sys.setswitchinterval(_usual_switch_s)
        _usual_switch_s = None


@atexit.register
def _leave() -> None:
    """Stop the threads, for one that draws while Python takes itself apart would crash. Nobody takes pictures any more."""
    with _charts_lock:
        charts = list(_charts.values())
    for chart in charts:
        chart.leave()
    if charts:
        sys.stdout.flush()  # waits until the thread that sends has done so; ZeroMQ is taken apart next


def _save(_result: object = None) -> None:
    """Put the charts that nobody watches into the notebook, at the end of each of its cells: whoever runs them takes in only
    what the running cell sends."""
    with _charts_lock:
        charts = [*_charts.values(), *_ended]
        _ended.clear()
    for chart in charts:
        chart.save()


def _choose(backend: str) -> Callable[[list[Trace], ChartOptions, bool], ChartCanvas]:
    """Return the class of the canvas."""
    if backend == "matplotlib":
        matplotlibcanvas.check()
    elif backend == "canvas" or not matplotlibcanvas.is_chosen():
        return Canvas
    return matplotlibcanvas.MatplotlibCanvas


class LivePlot:
    """A chart that follows one pipe or several, as `live_plot` returns it.

    Attributes: `names` of the pipes; `chart`, its own name; `lost`, the frames missing so far; `data`, the samples in the window.
    """

    def __init__(
        self,
        traces: list[Trace],
        options: ChartOptions,
        canvas: ChartCanvas,
        interval_s: float,
        ends_at: float,
        chart: str = "",
    ):
        self.names = tuple(trace.name for trace in traces)
        self.chart = chart
        self.canvas = canvas
        self._traces = traces
        self._options = options
        self._interval_s = interval_s
        self._ends_at = ends_at
        self._finish: Callable[[], None] = canvas.finish  # what the thread does last
        self._settles_at = time.monotonic() + SETTLE_S
        self._news = threading.Event()
        self._ending = threading.Event()  # no reason to wait any more
        # The thread has done its work. Waited for instead of the thread: where Ctrl-C strikes in its `join`, Python before 3.13
        # takes it for ended, and so does ipykernel, which closes the socket that it sends by.
        self._done = threading.Event()
        # Not in the context of this cell: what a notebook saves is taken from the cell that runs when it is sent (nbclient).
        self._thread = threading.Thread(target=self._run, name=f"live_plot {', '.join(self.names)}", daemon=True)
        self._cell = current_cell()
        try:
            with _charts_lock:
                _charts[self.names, chart] = self
                _set_switch_interval()
            for trace in traces:
                trace.start(self._news.set)
            self._thread.start()
        except BaseException:  # there are no more threads to be had, or Ctrl-C: it must not stay in the register
            self._finish = canvas.remove
            self._end()
            if self._thread.ident is None:
                self._run()
            raise

    def __repr__(self) -> str:
        seen = sum(trace.window.seen for trace in self._traces)
        names = ", ".join(map(repr, self.names)) + (f", chart {self.chart!r}" if self.chart else "")
        return f"<LivePlot {names}: {self._state()}, {seen:,} samples, {self.lost:,} lost>"

    def _ipython_display_(self) -> None:
        """Add nothing to the chart in the cell that made it: what is said there would be old at once. In other cells it is its
        state, as text."""
        if self._cell is None or self._cell != current_cell():
            raise NotImplementedError  # IPython then shows what it shows of any object

    @property
    def lost(self) -> int:
        """Frames that the board wrote and the chart did not get."""
        return sum(trace.reader.lost for trace in self._traces)

    @property
    def data(self) -> Floats | dict[str, Floats]:
        """The samples in the window, oldest first (a copy): an array (float64) of shape (n,), or (n, channels) where a
        frame gives several values. Of several pipes a dict of such arrays, by name. Of a window in time at most the newest
        100,000 of each pipe."""
        arrays = {trace.name: trace.window.copy(trace.channels) for trace in self._traces}
        arrays = {name: values[:, 0] if values.shape[1] == 1 else values for name, values in arrays.items()}
        return arrays if len(arrays) > 1 else next(iter(arrays.values()))

    def stop(self) -> None:
        """Stop; the last picture stays, and is saved with the notebook. Does nothing if it has stopped."""
        self._end()
        if threading.current_thread() is not self._thread and not any(trace.is_current for trace in self._traces):
            self._done.wait(STOP_S)

    def _end(self) -> None:
        self._ending.set()
        self._news.set()

    def discard(self) -> None:
        """Stop, and take a chart that was still moving off the page."""
        self._finish = self.canvas.remove
        self.stop()

    def leave(self) -> None:
        """Stop, and show nothing any more."""
        self._finish = lambda: None
        self.stop()

    def wait(self, timeout: float | None = None) -> bool | Coroutine[Any, Any, bool]:
        """Wait until it has stopped, at most `timeout` seconds; True if it has.

        In a cell or a function that uses `await`, write `await chart.wait()`: the notebook goes on answering, and so
        do the chart's buttons. Elsewhere it waits at once.
        """
        ends_at = math.inf if timeout is None else time.monotonic() + timeout
        if _can_await(sys._getframe(1)):
            return self._wait_async(ends_at)
        # Short waits: Ctrl-C must get through on Windows.
        while not self._done.wait(max(0.0, min(0.1, ends_at - time.monotonic()))) and time.monotonic() < ends_at:
            pass
        return self._end_wait()

    async def _wait_async(self, ends_at: float) -> bool:
        while not self._done.is_set() and time.monotonic() < ends_at:
            await asyncio.sleep(max(0.0, min(0.05, ends_at - time.monotonic())))
        return self._end_wait()

    def _end_wait(self) -> bool:
        if not self._done.is_set():
            return False
        self.canvas.keep()  # once more, from this cell: nbclient takes in only what the running cell sends
        return True

    def save(self) -> None:
        """Put the picture into a notebook that nobody watches."""
        while not self._has_settled and (left_s := self._settles_at - time.monotonic()) > 0:
            self._done.wait(min(left_s, 0.02))
        if self._is_over:
            self._done.wait(STOP_S)  # its last picture is on the way
        self.canvas.save()

    @property
    def _has_settled(self) -> bool:
        windows = [trace.window for trace in self._traces]
        return self._done.is_set() or all(window.span_s is None and window.seen >= window.size for window in windows)

    def snapshot(self) -> Png:
        """Return the chart as it is now as a PNG: bytes, which a notebook shows as a picture.

        open("adc.png", "wb").write(chart.snapshot())
        """
        scene = Scene(self._traces, self._options, COLUMNS)
        scene.update()
        return Painter(scene).paint()

    # The thread

    def _run(self) -> None:
        because = "stopped"
        try:
            because = self._move() or because
        except BaseException as error:  # a thread has nobody to raise to: the chart tells
            because = f"stopped by {type(error).__name__}: {error}"
        for trace in self._traces:
            trace.stop(because)
        with _charts_lock:
            if _charts.get((self.names, self.chart)) is self:
                del _charts[self.names, self.chart]
                if not self.canvas.is_watched:
                    _ended.append(self)
            _set_switch_interval()
        try:
            self._finish()
        finally:
            self._done.set()

    def _move(self) -> str | None:
        """Have the canvas draw until it is over; returns why, if it is not the pipes'."""
        shown = None  # the news of the last picture
        due_at = time.monotonic()
        while not self._is_over:
            now = time.monotonic()
            if now >= self._ends_at:
                return "stopped: its time is over"
            self._news.wait(max(0.0, min(NEWS_S, self._ends_at - now)))
            self._pause(due_at)
            if self._ending.is_set():
                break  # `finish` shows the rest
            self._news.clear()
            news = [trace.news for trace in self._traces]
            if news == shown and not self.canvas.needs_send():
                continue
            now = time.monotonic()
            self.canvas.draw()
            drawn_at, shown = time.monotonic(), news
            interval_s = max(self._interval_s, self.canvas.min_interval_s, len(_charts) / MAX_PICTURES_PER_S)
            # On time on average; but what was missed for long is not made up for.
            due_at = max(
                min(due_at, now) + interval_s, now + interval_s / 2, drawn_at + (drawn_at - now) * self.canvas.pause_ratio
            )
        return None

    def _pause(self, due_at: float) -> None:
        """Wait until the next picture is due. In a long interval something else may come up."""
        while True:
            left_s = min(due_at, self._ends_at) - time.monotonic()
            if (
                self._ending.wait(max(0.0, min(left_s, NEWS_S)))
                or left_s <= NEWS_S
                or self._is_over
                or self.canvas.needs_send()
            ):
                return

    @property
    def _is_over(self) -> bool:
        return all(trace.ended for trace in self._traces)

    def _state(self) -> str:
        ended = [note.text for trace in self._traces if (note := trace.ended)]
        moving = len(self._traces) - len(ended)
        if moving:
            waiting = [trace.notes()[0].text for trace in self._traces if trace.ended is None and trace.reader.awaits]
            return waiting[0] if len(waiting) == moving else "running"
        return "; ".join(dict.fromkeys(ended))


def _can_await(caller: types.FrameType) -> bool:
    """Whether this code may say `await`. In a notebook an event loop runs under every cell, so that alone tells nothing: a cell
    without `await` has to wait at once, for nobody would await what it is given."""
    return bool(caller.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR))
