"""`live_plot` and `stop_live`: what they are told is checked here, and drawn by `ukernel.charts`, which is loaded when a chart is."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ucore.wire import check_name
from ukernel.errors import UsageError
from ukernel.imports import find_imported

from .arguments import (
    as_choice,
    as_height,
    as_labels,
    as_limits,
    as_names,
    as_positive,
    as_text,
    as_window,
    one_each,
)
from .decoders import Decoder, as_decoder
from .reader import PipeReader
from .subscription import open_pipe_reader

if TYPE_CHECKING:
    from ukernel.charts.chart import LivePlot

__all__ = ["live_plot", "stop_live"]


def live_plot(
    name: str | Sequence[str],
    *,
    decoder: Decoder | Sequence[Decoder] = None,
    window: int | str = 200,
    ylim: tuple[float, float] | None = (-1.5, 1.5),
    title: str | None = None,
    interval: int = 40,
    duration: float | None = None,
    labels: Sequence[str] | None = None,
    units: str = "",
    x: str = "samples",
    backend: str = "auto",
    board: str | None = None,
    height: int = 320,
    chart: str = "",
    follow: bool = False,
) -> "LivePlot":
    """Show a chart of the pipe's latest values that moves while other cells run.

    name: of the pipe; a list of names for several pipes in one chart.
    decoder: as for `collect`; several values a frame give several lines. For several pipes one for all, or a list.
    window: samples shown, of each pipe; or a time, such as "30 s", "5 min" or "2 h", at any rate. ylim: limits of the y axis, None for automatic ones. title: of the chart.
    interval: milliseconds between pictures. duration: seconds until it stops by itself, None for never.
    labels: names of the lines, in order. units: of the values, such as "V"; SI units get a prefix that fits (mV, kHz).
    x: what the horizontal axis counts: "samples"; "seconds" before the newest one; or "time", of the day. The times are those when the
        board wrote them, by the pipe's timestamps. A window in time has an axis of time in any case.
    backend: "canvas" needs no magic; "matplotlib" draws an axes through ipympl, and needs `%matplotlib widget`;
        "auto" is matplotlib where that magic is in force, else the canvas.
    board: as for `subscribe`. height: of the chart on the page, in pixels.
    chart: a name that makes it another chart of the same pipe, such as "detail"; one of the same pipe and name is replaced.
    follow: go on with the next opening of the pipe where its producer has closed it, too.

    Returns at once, with a handle: `stop()`, `wait()`, `snapshot()`, `data`, `lost`. It stops when the producer closes the pipe, at `stop_live(name)`, or after `duration`. Where a
    pipe ends otherwise (the board restarts, is unplugged, the hub ends) it goes on when that is opened again. Where something is missing
    the chart says so. Raises ValueError for bad arguments, UsageError
    where there is nothing to draw on, HubError when there is no hub to ask.
    """
    names = as_names(name)
    for one in names:
        check_name(one)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"name must be a pipe's name, or a list of different ones, not {name!r}.")
    size, span_s = as_window(window)
    if ylim is not None:
        ylim = as_limits(ylim)
    interval_s = as_positive(interval, "interval", "milliseconds") / 1000
    if duration is not None:
        duration = as_positive(duration, "duration", "seconds")
    if title is not None:
        as_text(title, "title")
    as_text(units, "units")
    as_text(chart, "chart")
    lines = as_labels(labels)
    as_choice(x, "x", "samples", "seconds", "time")
    if span_s is not None and x == "samples":
        x = "seconds"
    as_height(height)
    as_choice(backend, "backend", "auto", "matplotlib", "canvas")
    decoders = [as_decoder(one) for one in one_each(decoder, names)]
    most = sum(math.inf if one.shape is None else math.prod(one.shape) for one in decoders)
    if len(lines) > most:
        raise ValueError(f"{len(lines)} labels for {most} lines: {lines!r}.")
    _need_numpy()
    from ukernel.charts import scene
    from ukernel.charts.chart import start

    def read(name: str) -> PipeReader:
        # Boards are asked for stamps only where they are shown.
        return open_pipe_reader(
            name, board, timestamps=x != "samples", follow=True, after_close=bool(follow), hint=False, warns=False
        )

    if title is None:
        title = ", ".join(names) + (f" ({chart})" if chart else "")
    options = scene.ChartOptions(title, size, ylim, lines, units, x, span_s, height)
    return start(names, read, decoders, options, backend=backend, interval_s=interval_s, duration_s=duration, chart=chart)


def stop_live(name: str | Sequence[str] | None = None) -> None:
    """Stop the live plots that show that pipe, all of them whatever their `chart`, or those of all pipes. The last picture stays. Stopping what does not run
    does nothing. Raises TypeError for what is no name, nor a list of names."""
    names = None if name is None else as_names(name)
    for one in names or ():
        if not isinstance(one, str):
            raise TypeError(f"stop_live takes a pipe's name, or a list of names, not {name!r}.")
    charts = find_imported("ukernel.charts.chart")  # not imported, or not whole: no plot was ever made
    if charts:
        charts.stop(names)


def _need_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise UsageError("live_plot needs NumPy, and there is none here: pip install numpy") from error
