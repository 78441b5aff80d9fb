"""Data from the board in Python.

    from ukernel.pipes import subscribe, collect, live_plot, stop_live

    samples = collect("adc", n=200)             # a NumPy array

    with subscribe("adc") as pipe:              # one bytes object per pipe.write on the board
        for chunk in pipe:
            ...

Importing this module is quick: NumPy, matplotlib and the board come in when they are needed.
"""

import math
import numbers
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ucore.wire import check_name
from ukernel.errors import PipeEndedEarlyWarning, UcoreError, UsageError
from ukernel.imports import find_imported
from ukernel.protocol.pipestream import Stamp

from .decoders import Samples, TimedSamples, as_decoder
from .listing import PipeState, pipes
from .pipe import CLOSED, END_SENTENCES, Pipe, as_count, did_you_mean, warn

if TYPE_CHECKING:
    from ukernel.charts.chart import LivePlot

__all__ = ["Pipe", "PipeState", "Stamp", "TimedSamples", "collect", "live_plot", "pipes", "stop_live", "subscribe"]

HUB_S = 15.0  # to reach a hub, or to start one
AGAIN_HUB_S = 1.0  # to reach it again
LEAST_HUB_S = 2.0  # however short `seconds` is: a hub that must be started first takes half a second
HINT_AFTER_S = 5.0  # how long `collect` waits without a deadline before it says what it waits for
MAX_WINDOW = 10**9  # samples in a chart: more is a slip of the finger, and no memory holds it
SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
LEAST_SPAN_S, MAX_SPAN_S = 0.01, 366 * 86_400.0  # of a window in time
HEIGHTS = 160, 2000  # of a chart, in pixels

Decoder = Callable[[bytes], float] | str | None


def subscribe(
    name: str,
    *,
    timeout: "float | None" = None,
    replay: bool = False,
    timestamps: bool = False,
    strict: bool = False,
    board: "str | None" = None,
    follow: bool = False,
) -> Pipe:
    """Return the pipe `name`: a context manager that yields one bytes object per `pipe.write` on the board.

    The subscription is in force when this returns: nothing written from then on is missed. It ends when the
    producer closes the pipe. The pipe may be opened later.

    timeout: seconds an iteration or `Pipe.read` waits for a chunk before it raises TimeoutError; None: for
        ever.
    replay: begin with what the hub still holds since the pipe was opened, at most 16 MiB; what it does not hold
        any more is counted in `Pipe.losses["replay"]`. A pipe of that name that has been closed is replayed, too,
        if none is open.
    timestamps: yield pairs (chunk, stamp): `stamp.time` says when the board wrote the chunk, by this computer's
        clock, and `stamp.error` by how much that may be off; both in seconds.
    strict: raise PipeEndedError, not a warning, when the pipe ends for another reason than being closed by
        the producer.
    board: whose pipe, by the board's name or port; None for the boards that the notebook uses, and for any board in a
        program that is no notebook with a board.
    follow: go on with the next opening of that name on that board, whyever one has ended: `Pipe.ends` says after which chunks and
        why, `Pipe.losses["between"]` what was written before the pipe was found again; a bad end is warned of
        (PipeEndedEarlyWarning).

    Raises ValueError for a bad name or timeout, or for strict and follow together, HubUnreachableError or HubDeniedError when there is no hub to
    ask.
    """
    if timeout is not None:
        timeout = _positive(timeout, "timeout", "seconds")
    if strict and follow:
        raise ValueError("strict=True raises where a pipe ends, and follow=True goes on there: choose one.")
    return _subscribe(name, board, replay, timestamps, follow=bool(follow), timeout=timeout, strict=strict)


def collect(
    name: str,
    *,
    n: "int | None" = None,
    seconds: "float | None" = None,
    decoder: Decoder = None,
    allow_empty: bool = False,
    replay: bool = False,
    timestamps: bool = False,
    board: "str | None" = None,
):
    """Wait for `n` samples or for `seconds`, whichever comes first, and return the samples.

    n: samples to wait for. seconds: counted from the call. At least one of the two is needed.
    decoder: a function from the bytes of one frame to a number (or a row of numbers), or a struct format such
        as "<fff", which decodes many frames at once; None for one little-endian 32-bit float a frame,
        `struct.unpack("<f", b)[0]`.
    allow_empty: return an empty array where there are no samples.
    replay: begin with what the hub still holds since the pipe was opened, or of the last pipe of that name if none
        is open (see `subscribe`): what a cell has written can be collected in the next one.
    timestamps: return `TimedSamples`, a pair (samples, times): `time.time()` of each sample.
    board: as for `subscribe`.

    Returns a NumPy array (float64) of shape (n,), or (n, columns) where a frame gives several values; a list
    without NumPy. Warns if the pipe ended early (PipeEndedEarlyWarning), frames are missing
    (PipeDataLostWarning) or could not be decoded (PipeDecodeWarning). Raises ValueError for bad arguments,
    TimeoutError when there are no samples, HubError when there is no hub to ask.
    """
    started = time.monotonic()
    check_name(name)
    if n is None and seconds is None:
        raise ValueError("collect needs n= (how many samples) or seconds= (how long), or both.")
    if n is not None:
        n = as_count(n, "n", 1)
    if seconds is not None:
        seconds = _positive(seconds, "seconds", "seconds")
    deadline = math.inf if seconds is None else started + seconds
    samples = Samples(as_decoder(decoder), timed=bool(timestamps))
    hub_s = HUB_S if seconds is None else min(max(seconds, LEAST_HUB_S), HUB_S)
    with _subscribe(name, board, replay, timestamps, hub_s, hint=False) as pipe:
        pipe.fill(samples, n, deadline if seconds is not None else started + HINT_AFTER_S)
        if seconds is None and samples.count < n and not pipe.end_reason:
            _hint(pipe, samples, n)
            pipe.fill(samples, n, math.inf)
        if not samples.count and not allow_empty:
            raise TimeoutError(_why_nothing(pipe, samples, seconds))
        pipe.tell_decoding(samples)
        whole = replay and n is None and pipe.end_reason == CLOSED  # all that there was is here
        if pipe.end_reason and (n is None or samples.count < n) and not whole:
            asked = f"{samples.count} of {n}" if n else f"{samples.count}"
            after = "" if n else f" and {time.monotonic() - started:.1f} of {seconds:g} s"
            warn(
                PipeEndedEarlyWarning,
                f"Pipe {name!r} ended after {asked} samples{after}: {pipe.why_ended()}.",
            )
    return pipe.result(samples)


def _subscribe(
    name: str, board: "str | None", replay: bool, timestamps: bool, hub_s: float = HUB_S, *, follow: bool = False, **how
) -> Pipe:
    from ukernel.client.connection import open_reader

    check_name(name)
    later = ["batches", *["timestamps"] * bool(timestamps)]

    def again(same_board: "str | None"):
        # A hub that was stopped is not started by those who only wait.
        return open_reader(name, board=board or same_board, options=later, timeout_s=AGAIN_HUB_S, start=False)

    options = ["batches", *["replay"] * bool(replay), *later[1:]]
    return Pipe(
        name,
        open_reader(name, board=board, options=options, timeout_s=hub_s),
        timestamps=bool(timestamps),
        again=again if follow else None,
        **how,
    )


def live_plot(
    name: "str | Sequence[str]",
    *,
    decoder: "Decoder | Sequence[Decoder]" = None,
    window: "int | str" = 200,
    ylim: "tuple[float, float] | None" = (-1.5, 1.5),
    title: "str | None" = None,
    interval: int = 40,
    duration: "float | None" = None,
    labels: "Sequence[str] | None" = None,
    units: str = "",
    x: str = "samples",
    backend: str = "auto",
    board: "str | None" = None,
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
    names = _names(name)
    for one in names:
        check_name(one)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"name must be a pipe's name, or a list of different ones, not {name!r}.")
    window, span_s = _window(window)
    if ylim is not None:
        ylim = _limits(ylim)
    interval_s = _positive(interval, "interval", "milliseconds") / 1000
    if duration is not None:
        duration = _positive(duration, "duration", "seconds")
    for what, value in (("title", title), ("units", units), ("chart", chart)):
        if not isinstance(value, str) and not (what == "title" and value is None):
            raise ValueError(f"{what} must be a str, not {value!r}.")
    labels = _labels(labels)
    _choice(x, "x", "samples", "seconds", "time")
    x = "seconds" if span_s is not None and x == "samples" else x
    low, high = HEIGHTS
    if isinstance(height, bool) or not isinstance(height, int) or not low <= height <= high:
        raise ValueError(f"height must be a whole number of pixels from {low} to {high:,}, not {height!r}.")
    _choice(backend, "backend", "auto", "matplotlib", "canvas")
    decoders = [as_decoder(one) for one in _one_each(decoder, names)]
    lines = [math.prod(one.shape) if one.shape is not None else math.inf for one in decoders]
    if len(labels) > sum(lines):
        raise ValueError(f"{len(labels)} labels for {sum(lines)} lines: {labels!r}.")
    _need_numpy()
    from ukernel.charts import scene
    from ukernel.charts.chart import start

    def read(name: str) -> Pipe:
        # Boards are asked for stamps only where they are shown.
        timed = x != "samples"
        return _subscribe(name, board, False, timed, follow=True, after_close=bool(follow), hint=False, warns=False)

    if title is None:
        title = ", ".join(names) + (f" ({chart})" if chart else "")
    options = scene.ChartOptions(title, window, ylim, labels, units, x, span_s, height)
    return start(names, read, decoders, options, backend=backend, interval_s=interval_s, duration_s=duration, chart=chart)


def stop_live(name: "str | Sequence[str] | None" = None) -> None:
    """Stop the live plots that show that pipe, all of them whatever their `chart`, or those of all pipes. The last picture stays. Stopping what does not run
    does nothing. Raises TypeError for what is no name, nor a list of names."""
    names = None if name is None else _names(name)
    for one in names or ():
        if not isinstance(one, str):
            raise TypeError(f"stop_live takes a pipe's name, or a list of names, not {name!r}.")
    charts = find_imported("ukernel.charts.chart")  # not imported, or not whole: no plot was ever made
    if charts:
        charts.stop(names)


def _names(name) -> tuple:
    return (name,) if isinstance(name, str) or not isinstance(name, Sequence) else tuple(name)


# What `collect` says


def _hint(pipe: Pipe, samples: Samples, n: int) -> None:
    state = f"{samples.count} samples so far."
    if pipe.opening is None:
        state = f"no pipe of that name is open yet{did_you_mean(pipe.name)}."
    if samples.bad:
        state = samples.why_bad()
    print(
        f"collect({pipe.name!r}): still waiting for {n} samples; {state} Interrupt to stop, or give seconds= as well.",
        file=sys.stderr,
        flush=True,
    )


def _why_nothing(pipe: Pipe, samples: Samples, seconds: "float | None") -> str:
    """Why there are no samples, and what to do."""
    start = f"No samples from pipe {pipe.name!r}"
    if samples.bad:
        return f"{start}: {samples.why_bad()}"
    if pipe.end_reason:
        return f"{start}: it ended before anything was written to it: {pipe.why_ended()}."
    if pipe.lost:
        helps = pipe.what_helps()
        return f"{start} in {seconds:g} s: {pipe.why_lost()}.{f' {helps}.' * bool(helps)}"
    if pipe.opening is not None:
        why = "it is open, but nothing was written to it. Is the producer's loop still running?"
    else:
        why = _why_not_open(pipe.name)
    return f"{start} in {seconds:g} s: {why}"


def _why_not_open(name: str) -> str:
    """What the hub knows about a pipe that is not open, as sentences."""
    try:
        known = pipes()
    except (UcoreError, OSError):
        known = []  # there is something more important to say
    elsewhere = sorted(pipe.board for pipe in known if pipe.name == name and pipe.open)
    if elsewhere:
        return f"it is open on {' and '.join(elsewhere)} only. To read that, say board={elsewhere[0]!r}."
    closed = [pipe for pipe in known if pipe.name == name and not pipe.open]
    if closed:
        frames, held = closed[-1].frames, closed[-1].held
        replay = f"; replay=True gives the {held:,} that the hub holds" if held else ""
        why = END_SENTENCES.get(closed[-1].ended, END_SENTENCES["board gone"])  # one that may come back has not ended yet
        return f"it ended before this call, after {frames:,} frames: {why}. Call collect while the producer runs{replay}."
    return f"the board has not opened it{did_you_mean(name)}. Run the cell that opens and fills it."


# Arguments


def _positive(value, what: str, unit: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{what} must be a number of {unit} above 0, not {value!r}.")
    return float(value)


def _window(window) -> "tuple[int, float | None]":
    """Return how many samples a window holds at most, and how many seconds it shows; None for one that counts samples."""
    if not isinstance(window, str):
        count = as_count(window, "window", 2)
        if count > MAX_WINDOW:
            raise ValueError(f"window must be at most {MAX_WINDOW:,} samples, not {count:,}.")
        return count, None
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]+)\s*", window)
    span_s = float(found[1]) * SECONDS.get(found[2], math.nan) if found else math.nan
    if not math.isfinite(span_s):
        raise ValueError(
            f'window must be a number of samples, such as 200, or a time in ms, s, min, h or d, such as "30 s", "5 min" or "2 h", '
            f"not {window!r}."
        )
    if not LEAST_SPAN_S <= span_s <= MAX_SPAN_S:
        raise ValueError(
            f'window must be a time from "{LEAST_SPAN_S * 1000:g} ms" to "{MAX_SPAN_S / 86_400:g} d", not {window!r}.'
        )
    return MAX_WINDOW, span_s


def _limits(ylim) -> "tuple[float, float]":
    try:
        low, high = map(float, () if isinstance(ylim, str) else ylim)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(high - low) and low < high):
        raise ValueError(f"ylim must be two finite numbers, the lower one first, or None, not {ylim!r}.")
    return low, high


def _choice(value, what: str, *choices: str) -> None:
    if value not in choices:
        raise ValueError(f"{what} must be {' or '.join(map(repr, choices))}, not {value!r}.")


def _labels(labels) -> "tuple[str, ...]":
    found = (labels,) if isinstance(labels, str) else tuple(labels or ()) if isinstance(labels, Iterable | None) else (None,)
    if not all(isinstance(label, str) for label in found):
        raise ValueError(f"labels must be the names of the lines, a list of str, not {labels!r}.")
    return found


def _one_each(decoder, names: "tuple[str, ...]") -> list:
    """Return a decoder for each pipe."""
    if not isinstance(decoder, list | tuple):
        return [decoder] * len(names)
    if len(decoder) != len(names):
        raise ValueError(f"decoder must be one for all pipes, or a list of {len(names)}, not of {len(decoder)}.")
    return list(decoder)


def _need_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise UsageError("live_plot needs NumPy, and there is none here: pip install numpy") from error
