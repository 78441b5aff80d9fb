"""A pipe as sound: its samples one after the other at one rate, a channel a column."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ukernel.errors import UsageError

from .recordedpipe import RecordedPipe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["write_wav"]

MAX_BYTES = (1 << 32) - 256  # sizes have 32 bits in it
_PCM, _FLOAT = 1, 3
# What a WAV file has for each type. 16 bits without a sign, an ADC's, are moved by half of their range, so that silence is in the middle.
_KINDS = {
    "u1": ("u1", _PCM),
    "i2": ("<i2", _PCM),
    "u2": ("<i2", _PCM),
    "i4": ("<i4", _PCM),
    "f4": ("<f4", _FLOAT),
    "f8": ("<f8", _FLOAT),
}


def write_wav(path: Path, pipes: Sequence[RecordedPipe], rate: float | None) -> tuple[int, tuple[str, ...]]:
    """Write a pipe; returns how many samples it has, and what is to be said of them. Raises OSError, and UsageError for what is no sound."""
    if len(pipes) != 1:
        raise UsageError(f"A WAV file is of one pipe, and there are {len(pipes)} here: say which one.")
    pipe = pipes[0]
    dtype = pipe.dtype
    if dtype.kind == "O" or dtype.names:
        raise UsageError(f"The pipe {pipe.name!r} cannot be a sound: its frames are not numbers of one type.")
    kind, encoding = _KINDS.get(dtype.str[1:], ("<f8", _FLOAT))
    samples_per_s = _as_rate(pipe, rate)
    channels, count = len(pipe.column_names), 0
    with path.open("wb") as file:
        file.write(_head(kind, encoding, channels, samples_per_s, 0))
        for samples in pipe.samples():
            data = _as_kind(samples.values, kind).tobytes()
            if file.tell() + len(data) > MAX_BYTES:
                raise UsageError("A WAV file has 4 GB at most: export a piece of it, with start and stop.")
            file.write(data)
            count += len(samples.times)
        size = file.tell()
        file.write(bytes(size % 2))  # a chunk of a RIFF file is even
        file.seek(0)
        file.write(_head(kind, encoding, channels, samples_per_s, size))
    missing = pipe.lost
    notes = [f"{samples_per_s:,} samples a second."]
    if missing:
        notes.append("A sound has no times: what is missing is left out, and what comes after it comes earlier.")
    return count, tuple(notes)


def _as_rate(pipe: RecordedPipe, rate: float | None) -> int:
    if rate is not None:
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 1 <= rate < 1 << 31:
            raise UsageError(f"rate is in samples a second, from 1 on, not {rate!r}.")
        return round(rate)
    frames = steps_s = 0.0
    for block in pipe.blocks():
        if block.run.frames > 1 and block.run.time_last > block.run.time_first:
            frames += block.run.frames - 1
            steps_s += block.run.time_last - block.run.time_first
    if not steps_s:  # a run a frame: by the time of all of them
        frames, steps_s = len(pipe) - 1.0, pipe.ended - pipe.began
    measured = round(frames / steps_s) if steps_s > 0 else 0
    if measured < 1:
        raise UsageError(
            f"The pipe {pipe.name!r} has less than a sample a second: say rate=, in samples a second, to hear it faster."
        )
    return measured


def _as_kind(values: npt.NDArray[Any], kind: str) -> npt.NDArray[np.generic]:
    import numpy as np

    if values.dtype.str[1:] == "u2":
        return (values.astype(np.int32) - (1 << 15)).astype(kind)
    return values.astype(kind)


def _head(kind: str, encoding: int, channels: int, rate: int, size: int) -> bytes:
    """Return what stands before the samples, of a file of this size."""
    width = int(kind[-1])
    form = struct.pack("<HHIIHHH", encoding, channels, rate, rate * channels * width, channels * width, 8 * width, 0)
    head_bytes = 12 + 8 + len(form) + 8
    data_bytes = max(size - head_bytes, 0)
    return b"".join(
        (
            b"RIFF" + struct.pack("<I", head_bytes - 8 + data_bytes + data_bytes % 2) + b"WAVE",
            b"fmt " + struct.pack("<I", len(form)) + form,
            b"data" + struct.pack("<I", data_bytes),
        )
    )
