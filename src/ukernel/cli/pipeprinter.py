"""Frames of a pipe as text or bytes, for people and for programs at the other end of a `|`."""

import json
import math
import select
import struct
import sys
import time
import warnings
from collections.abc import Callable
from typing import IO, Any

from ukernel.errors import PipeEndedError, PipeWarning, UsageError
from ukernel.pipes import Pipe
from ukernel.pipes.reasons import CLOSED, describe_losses

from . import output

__all__ = ["PipePrinter"]

IDLE_S = 0.1  # without a frame for so long, what is printed is seen
TELL_S = 1.0  # between two lines about the rate, on a terminal
DEFAULT_FORMAT = "<f"  # as `ukernel.pipes.collect` has it

Write = Callable[[bytes, float, float], bytes]  # a frame, its time and the time's error: what is printed of it


class PipePrinter:
    """Prints one pipe."""

    def __init__(self, name: str, style: str, format: str | None, times: bool, header: bool):
        """Raises UsageError for what does not fit together."""
        self._name = name
        self._times = times
        self._undecoded = 0
        self._first_undecoded = ""
        self._header = b""
        if style in ("raw", "hex") and format is not None:
            raise UsageError(f"--{style} prints bytes, and --format numbers: choose one.")
        if style == "raw" and times:
            raise UsageError("--raw has no place for --times: --hex, --csv and --jsonl have.")
        if header and style != "csv":
            raise UsageError("--header is for CSV.")
        try:
            self._struct = struct.Struct(DEFAULT_FORMAT if format is None else format)
        except struct.error as error:
            raise UsageError(f"{format!r} is no struct format: {error}.") from None
        columns = len(self._struct.unpack(bytes(self._struct.size)))
        if not columns:
            raise UsageError(f"{format!r} takes no number from a frame.")
        # Nine digits tell all single floats apart.
        self._is_double = "d" in self._struct.format
        self._format: Write = {"raw": self._raw, "hex": self._hex, "csv": self._csv, "jsonl": self._jsonl}[style]
        if header:
            names = ["value"] if columns == 1 else [f"value{index}" for index in range(columns)]
            self._header = ",".join([*(["time", "error"] if times else []), *names]).encode() + b"\n"

    def print_frames(self, pipe: Pipe, path: str | None, count: int | None, seconds: float | None) -> None:
        """Print until ``count`` frames have come, ``seconds`` have passed or the pipe has ended. Raises PipeEndedError after a bad end."""
        began = time.monotonic()
        deadline = math.inf if seconds is None else began + seconds
        warnings.simplefilter("ignore", PipeWarning)  # it is all said at the end
        file: IO[bytes] = sys.stdout.buffer if path is None else open(path, "wb")  # noqa: SIM115 - closed below, stdout is not
        is_told = sys.stderr.isatty() and not (path is None and sys.stdout.isatty())
        told_at, told_frames = began, 0
        try:
            file.write(self._header)
            while count is None or pipe.frames < count:
                now = time.monotonic()
                if now >= deadline:
                    break
                if is_told and now - told_at >= TELL_S:
                    rate = (pipe.frames - told_frames) / (now - told_at)
                    print(f"\r\033[K{self._describe(pipe, rate)}", end="", file=sys.stderr, flush=True)
                    told_at, told_frames = now, pipe.frames
                try:
                    found = pipe.read(min(IDLE_S, max(deadline - now, 0.001)))
                except TimeoutError:
                    file.flush()
                    if path is None and _has_no_reader(file):
                        raise BrokenPipeError from None
                    continue
                file.write(self._format(*_split(found)))
            file.flush()
        except PipeEndedError:
            file.flush()
            if pipe.end_reason != CLOSED:
                raise
        finally:
            if is_told:
                print("\r\033[K", end="", file=sys.stderr)
            took_s = max(time.monotonic() - began, 1e-3)
            output.say(f"{self._describe(pipe, pipe.frames / took_s)}{self._describe_undecoded()}")
            if path is not None:
                file.close()

    def _describe(self, pipe: Pipe, rate: float) -> str:
        losses = describe_losses(pipe.losses) if pipe.lost else "none lost"
        return f"{self._name}: {pipe.frames:,} frames, {rate:,.0f} per second, {losses}."

    def _describe_undecoded(self) -> str:
        return f" {self._undecoded:,} of them were left out, the first: {self._first_undecoded}." if self._undecoded else ""

    # --- a frame ----------------------------------------------------------------------------------------------

    def _raw(self, frame: bytes, at: float, error: float) -> bytes:
        return frame

    def _hex(self, frame: bytes, at: float, error: float) -> bytes:
        return (f"{at:.6f},{error:.6f}," if self._times else "").encode() + frame.hex().encode() + b"\n"

    def _csv(self, frame: bytes, at: float, error: float) -> bytes:
        values = self._decode(frame)
        if values is None:
            return b""
        times = [f"{at:.6f}", f"{error:.6f}"] if self._times else []
        return ",".join([*times, *map(self._text, values)]).encode() + b"\n"

    def _jsonl(self, frame: bytes, at: float, error: float) -> bytes:
        values = self._decode(frame)
        if values is None:
            return b""
        plain = [self._plain(value) for value in values]
        row: dict[str, Any] = (
            {"time": round(at, 6), "error": round(error, 6) if math.isfinite(error) else None} if self._times else {}
        )
        row.update({"value": plain[0]} if len(plain) == 1 else {"values": plain})
        return json.dumps(row).encode() + b"\n"

    def _decode(self, frame: bytes) -> tuple[Any, ...] | None:
        if len(frame) == self._struct.size:
            return self._struct.unpack(frame)
        self._undecoded += 1
        self._first_undecoded = self._first_undecoded or (
            f"a frame of {len(frame)} bytes, where {self._struct.format!r} takes {self._struct.size}; --format says how to read it, --hex shows it"
        )
        return None

    def _text(self, value: Any) -> str:
        if isinstance(value, float):
            return repr(value) if self._is_double else f"{value:.9g}"
        return value.hex() if isinstance(value, bytes) else str(value)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, float):
            return float(self._text(value)) if math.isfinite(value) else None  # JSON has no infinity
        return value.hex() if isinstance(value, bytes) else value


def _split(found: Any) -> tuple[bytes, float, float]:
    if isinstance(found, tuple):
        frame, stamp = found
        return frame, stamp.time, stamp.error
    return found, 0.0, 0.0


def _has_no_reader(file: IO[bytes]) -> bool:
    """Whether who read our output has left: without it that is seen at the next frame only, which may never come."""
    if not hasattr(select, "poll"):
        return False
    try:
        poll = select.poll()
        poll.register(file.fileno(), 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))
    except (OSError, ValueError):
        return False
