"""One subscription: the frames of one opening of a pipe, and the truth about what is missing and why it
ended."""

import math
import socket
import sys
import time
import warnings
from collections import deque

from .decoder import Samples, as_decoder
from .errors import (
    PipeClosedError,
    PipeDataLostWarning,
    PipeDecodeWarning,
    PipeEndedEarlyWarning,
    PipeEndedError,
    PipeWarning,
)
from .reader import FrameReader, Frames

__all__ = ["Pipe", "warn"]

RECEIVE_BYTES = 1 << 18  # what one system call may bring: larger ones bring no more speed
MAX_WAIT_S = 0.1  # in one system call: where Ctrl-C does not end the call (Windows), it is late by this much

CLOSED = "closed"  # the one good end
LEFT = "left"
LOST_CONNECTION = "connection lost"
END_SENTENCES = {
    CLOSED: "the producer closed it",
    "board restarted": "the board restarted",
    "board gone": "the board is gone: unplugged, or without power",
    "hub stopped": "the board hub stopped",
    "too slow": "this reader was too slow and was cut off",
    LOST_CONNECTION: "the connection to the board hub broke",
    LEFT: "it was closed on this side",
}
LOSS_SENTENCES = {
    "board": "the board had no room for them",
    "no_listener": "no host was listening",
    "reader": "this reader was too slow",
}

# Python shows a warning once per line of code; a cell that is run again must hear again what is missing.
# Appended: filters of the user win.
warnings.simplefilter("always", PipeWarning, append=True)


def warn(category: type[Warning], sentence: str) -> None:
    """Warn at the line of the caller of this package."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("ukernel."):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, category, stacklevel=level)


class Pipe:
    """The frames of one opening of a pipe: a context manager, and an iterator of bytes.

    `subscribe` makes it; each bytes object is one `pipe.write` on the board. It is bound to the opening it
    finds, or to the next one, and ends with it, after its last frame. One thread reads; any may close.
    Attributes:

    name: of the pipe.
    opening: what the hub says about that opening (dict), None while the board has not opened the pipe.
    frames: chunks taken so far.
    lost: frames the board wrote that this reader will not get; `losses` the same per cause: "board",
        "no_listener", "reader".
    warns: whether losses are told as warnings; not those of a chart, which shows them.
    end_reason: None while open and until the last frame was taken, then "closed" (by the producer), "board
        restarted", "board gone", "hub stopped", "too slow" (this reader), "connection lost", or "left"
        (closed on this side).
    """

    def __init__(self, name: str, connection: socket.socket, *, timeout: "float | None" = None, strict: bool = False):
        self.name = name
        self.opening: dict | None = None
        self.losses: dict[str, int] = {}
        self.end_reason: str | None = None
        self.warns = True
        self._socket = connection
        self._timeout_s = timeout
        self._strict = strict
        self._reader = FrameReader()
        self._events: deque = deque()
        self._block = Frames(b"", 0, 0)
        self._received = 0  # frames
        self._told_lost = 0

    def __repr__(self) -> str:
        state = self.end_reason or ("open" if self.opening is not None else "not open yet")
        return f"<Pipe {self.name!r}: {state}, {self.frames} frames, {self.lost} lost>"

    @property
    def frames(self) -> int:
        return self._received - self._block.count

    @property
    def lost(self) -> int:
        return sum(self.losses.values())

    def __enter__(self) -> "Pipe":
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()

    async def __aenter__(self) -> "Pipe":
        return self

    async def __aexit__(self, *exc_info) -> None:
        self.close()

    def close(self) -> None:
        """Leave the pipe. Safe to call again, and from another thread: a waiting read there ends."""
        self.end_reason = self.end_reason or LEFT
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for data; close alone does not
        except OSError:
            pass  # the other end was faster
        self._socket.close()
        self._tell_lost()

    # One chunk after the other

    def __iter__(self) -> "Pipe":
        return self

    def __next__(self) -> bytes:
        """Raises TimeoutError after the `timeout` given to `subscribe`; with `strict`, PipeEndedError after a
        bad end."""
        block = self._block
        if not block.count or self.end_reason:
            block = self.wait_frames(_deadline(self._timeout_s))
            if block is None:
                self._tell_end()
                raise StopIteration
            if not block.count:
                raise self._nothing_came(self._timeout_s)
            if not self._told_lost:
                self._tell_lost()  # at once, the first time; the rest when the pipe ends
        return block.pop()

    def __aiter__(self) -> "Pipe":
        return self

    async def __anext__(self) -> bytes:
        """As `__next__`, without holding up the event loop."""
        import asyncio  # here, because it takes longer to import than all the rest

        deadline = _deadline(self._timeout_s)
        while self.end_reason or not self._ready().count:
            if self.end_reason:
                self._tell_end()
                raise StopAsyncIteration
            try:
                wait_s = None if deadline == math.inf else deadline - time.monotonic()
                await asyncio.wait_for(self._receive_async(asyncio.get_running_loop()), wait_s)
            except asyncio.TimeoutError:
                raise self._nothing_came(self._timeout_s) from None
        return self._block.pop()

    def read(self, timeout: "float | None" = None) -> bytes:
        """Wait for the next chunk and return it.

        timeout: seconds; None for what `subscribe` was given. Raises TimeoutError if nothing came in time,
            PipeEndedError if the pipe has ended, PipeClosedError if it was closed on this side.
        """
        timeout = self._timeout_s if timeout is None else timeout
        block = self.wait_frames(_deadline(timeout))
        if block is None:
            raise self._over()
        if not block.count:
            raise self._nothing_came(timeout)
        return block.pop()

    # Many samples at once

    def read_array(self, n: int, decoder=None, *, timeout: "float | None" = None):
        """Wait for `n` samples and return them as `collect` does. The next read goes on with the frame after
        the last one.

        decoder: as for `collect`. timeout: seconds; None for what `subscribe` was given. Fewer than `n`
            samples come, with a PipeEndedEarlyWarning, if the pipe ends, and without a word after the
            timeout. With nothing to return it raises what `read` does.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be a whole number of samples, 1 or more, not {n!r}.")
        timeout = self._timeout_s if timeout is None else timeout
        samples = Samples(as_decoder(decoder))
        self.fill(samples, n, _deadline(timeout))
        self.tell_decoding(samples)
        if not samples.count:
            raise self._over() if self.end_reason else self._nothing_came(timeout)
        if samples.count < n and self.end_reason:
            warn(
                PipeEndedEarlyWarning,
                f"Pipe {self.name!r} ended after {samples.count} of {n} samples: {self.why_ended()}.",
            )
        return samples.array()

    def fill(self, samples: Samples, n: "int | None", deadline: float) -> None:
        """Collect until there are `n` samples, the deadline (monotonic, inf for none) has come, or the pipe
        has ended."""
        limit = sys.maxsize if n is None else n
        while samples.count < limit:
            block = self.wait_frames(deadline)
            if block is None or not block.count:
                return
            samples.add(block, limit - samples.count, deadline)
            if time.monotonic() >= deadline:
                return

    def wait_frames(self, deadline: float) -> "Frames | None":
        """Return the frames at hand; wait until there are some, but not beyond the deadline: then there are
        none. None at the end."""
        while not self.end_reason:
            block = self._ready()
            if block.count:
                return block
            left_s = deadline - time.monotonic()
            if not self.end_reason and not self._receive(max(0.0, min(left_s, MAX_WAIT_S))) and left_s <= 0:
                return block
        return None

    # What came in

    def _ready(self) -> Frames:
        """Go on to the next frames that have been received, heeding the notices before them."""
        while not self._block.count and self._events:
            event = self._events.popleft()
            if isinstance(event, Frames):
                self._block = event
                self._received += event.count
            elif "open" in event:
                self.opening = event["open"]
            elif "lost" in event:
                cause = event.get("cause", "board")
                self.losses[cause] = self.losses.get(cause, 0) + event["lost"]
            elif "end" in event:
                self.end_reason = self.end_reason or event["end"]
        return self._block

    def _receive(self, wait_s: float) -> bool:
        """Receive once; False if nothing came in time."""
        try:
            if self._socket.gettimeout() != wait_s:
                self._socket.settimeout(wait_s)
            data = self._socket.recv(RECEIVE_BYTES)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            data = b""  # reset, or closed by another thread
        self._take_in(data)
        return True

    async def _receive_async(self, loop) -> None:
        self._socket.settimeout(0)
        try:
            data = await loop.sock_recv(self._socket, RECEIVE_BYTES)
        except OSError:
            data = b""
        self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        if data:
            self._events.extend(self._reader.receive_data(data))
        else:
            self._events.append({"end": LOST_CONNECTION})  # heeded only if no better reason came before

    # What the caller should know

    def why_ended(self) -> str:
        """The reason of the end as part of a sentence."""
        return END_SENTENCES.get(self.end_reason, str(self.end_reason))

    def why_lost(self) -> str:
        """How many frames are missing and why, as part of a sentence."""
        causes = ", ".join(f"{count:,}: {LOSS_SENTENCES.get(cause, cause)}" for cause, count in self.losses.items())
        return f"{self.lost:,} frames are missing ({causes})"

    def tell_decoding(self, samples: Samples) -> None:
        """Warn if frames could not be decoded."""
        if samples.bad:
            warn(PipeDecodeWarning, f"Pipe {self.name!r}: {samples.why_bad()}")

    def _tell_lost(self) -> None:
        if self.warns and self.lost != self._told_lost:
            self._told_lost = self.lost
            warn(PipeDataLostWarning, f"Pipe {self.name!r}: {self.why_lost()}.")

    def _tell_end(self) -> None:
        self._tell_lost()
        if self.end_reason not in (CLOSED, LEFT):
            sentence = f"Pipe {self.name!r} ended, and not by its producer: {self.why_ended()}."
            if self._strict:
                raise PipeEndedError(sentence)
            warn(PipeEndedEarlyWarning, sentence)

    def _over(self) -> Exception:
        if self.end_reason == LEFT:
            return PipeClosedError(f"Pipe {self.name!r} was closed on this side: subscribe again to read on.")
        return PipeEndedError(f"Pipe {self.name!r} has ended: {self.why_ended()}.")

    def _nothing_came(self, timeout_s: float) -> TimeoutError:
        waiting = "" if self.opening is not None else "; the board has not opened a pipe of that name"
        return TimeoutError(f"Pipe {self.name!r}: nothing came for {timeout_s:g} s{waiting}.")


def _deadline(timeout_s: "float | None") -> float:
    return math.inf if timeout_s is None else time.monotonic() + timeout_s
