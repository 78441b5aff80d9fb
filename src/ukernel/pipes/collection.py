"""`collect`, and what it says where there is too little to collect."""

import math
import sys
import time
from typing import TYPE_CHECKING, Any

from ucore.wire import check_name
from ukernel.errors import PipeEndedEarlyWarning

from .arguments import as_count, as_positive
from .decoders import Decoder, Samples, TimedSamples, as_decoder
from .listing import did_you_mean, why_not_open
from .reader import PipeReader
from .reasons import CLOSED, advise, describe_losses, warn
from .subscription import HUB_S, open_pipe_reader

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["collect"]

LEAST_HUB_S = 2.0  # however short `seconds` is: a hub that must be started first takes half a second
HINT_AFTER_S = 5.0  # how long `collect` waits without a deadline before it says what it waits for


def collect(
    name: str,
    *,
    n: int | None = None,
    seconds: float | None = None,
    decoder: Decoder = None,
    allow_empty: bool = False,
    replay: bool = False,
    timestamps: bool = False,
    board: str | None = None,
) -> "npt.NDArray[np.float64] | list[Any] | TimedSamples":
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
        seconds = as_positive(seconds, "seconds", "seconds")
    samples = Samples(as_decoder(decoder), timed=bool(timestamps))
    hub_s = HUB_S if seconds is None else min(max(seconds, LEAST_HUB_S), HUB_S)
    with open_pipe_reader(name, board, replay=replay, timestamps=timestamps, hint=False, hub_s=hub_s) as reader:
        reader.fill(samples, n, started + (HINT_AFTER_S if seconds is None else seconds))
        if seconds is None and n is not None and samples.count < n and not reader.end_reason:
            _hint(reader, samples, n)
            reader.fill(samples, n, math.inf)
        if not samples.count and not allow_empty:
            raise TimeoutError(_why_nothing(reader, samples, seconds))
        samples.warn_bad(name)
        whole = replay and n is None and reader.end_reason == CLOSED  # all that there was is here
        if reader.end_reason and (n is None or samples.count < n) and not whole:
            asked = f"{samples.count} of {n}" if n else f"{samples.count}"
            after = "" if n else f" and {time.monotonic() - started:.1f} of {seconds:g} s"
            warn(
                PipeEndedEarlyWarning,
                f"Pipe {name!r} ended after {asked} samples{after}: {reader.why_ended()}.",
            )
    return samples.result()


def _hint(reader: PipeReader, samples: Samples, n: int) -> None:
    state = f"{samples.count} samples so far."
    if reader.opening is None:
        state = f"no pipe of that name is open yet{did_you_mean(reader.name)}."
    if samples.bad:
        state = samples.why_bad()
    print(
        f"collect({reader.name!r}): still waiting for {n} samples; {state} Interrupt to stop, or give seconds= as well.",
        file=sys.stderr,
        flush=True,
    )


def _why_nothing(reader: PipeReader, samples: Samples, seconds: float | None) -> str:
    """Why there are no samples, and what to do."""
    start = f"No samples from pipe {reader.name!r}"
    if samples.bad:
        return f"{start}: {samples.why_bad()}"
    if reader.end_reason:
        return f"{start}: it ended before anything was written to it: {reader.why_ended()}."
    start += f" in {seconds:g} s"
    if reader.lost:
        losses = reader.losses
        return f"{start}: {describe_losses(losses)}.{advise(losses)}"
    if reader.opening is not None:
        return f"{start}: it is open, but nothing was written to it. Is the producer's loop still running?"
    return f"{start}: {why_not_open(reader.name)}"
