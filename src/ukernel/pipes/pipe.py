"""A pipe, as `subscribe` returns it: one chunk after the other, or many samples at once."""

from typing import TYPE_CHECKING, Any

from ukernel.errors import PipeClosedError, PipeEndedEarlyWarning, PipeEndedError, PipeError
from ukernel.protocol.pipestream import Batch, Stamp

from .arguments import as_count, as_deadline
from .decoders import Decoder, Samples, TimedSamples, as_decoder
from .reader import End, PipeReader
from .reasons import CLOSED, LEFT, warn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Pipe"]


class Pipe:
    """The frames of one opening of a pipe: a context manager, and an iterator of bytes.

    `subscribe` makes it; each bytes object is one `pipe.write` on the board. It is bound to the opening it
    finds, or to the next one, and ends with it, after its last frame. One thread reads; any may close. After an
    interrupt the next read goes on. With `follow` it goes on with the next opening of that name on the same board when one has
    ended, until it is closed on this side.
    Attributes:

    name: of the pipe.
    opening: what the hub says about that opening (dict), None while the board has not opened the pipe.
    ends: with `follow`, the ends of the openings that are over, as a list of `End`, the latest 1,000.
    frames: chunks taken so far, of all openings.
    lost: frames the board wrote that this reader will not get; `losses` the same per cause: "board" (no room
        there, and its producer does not wait), "no_listener" (no host was listening), "reader" (this one was too
        slow), "replay" (the hub held them no more), "between" (with `follow`: written before the pipe was found again).
    end_reason: None while open and until the last frame was taken, then "closed" (by the producer), "board
        restarted", "board gone", "hub stopped", "connection lost", or "left" (closed on this side, the only one with `follow`).
    timestamps: whether every chunk comes as a pair (chunk, stamp): `stamp.time` as `time.time()` counts, and
        `stamp.error`, by how much it may be off, in seconds.
    """

    def __init__(self, reader: PipeReader, *, timeout: float | None = None, strict: bool = False, timestamps: bool = False):
        self.name = reader.name
        self.timestamps = timestamps
        self._reader = reader
        self._timeout_s = timeout
        self._strict = strict

    def __repr__(self) -> str:
        state = self.end_reason or ("open" if self.opening is not None else "not open yet")
        if self._reader.goes_on:
            state = f"not open again yet, after {len(self.ends)} {'end' if len(self.ends) == 1 else 'ends'}"
        return f"<Pipe {self.name!r}: {state}, {self.frames} frames, {self.lost} lost>"

    @property
    def opening(self) -> dict[str, Any] | None:
        return self._reader.opening

    @property
    def ends(self) -> list[End]:
        return self._reader.ends

    @property
    def frames(self) -> int:
        return self._reader.frames

    @property
    def losses(self) -> dict[str, int]:
        return self._reader.losses

    @property
    def lost(self) -> int:
        return self._reader.lost

    @property
    def end_reason(self) -> str | None:
        return self._reader.end_reason

    def __enter__(self) -> "Pipe":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> "Pipe":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the pipe. Safe to call again, and from another thread: a waiting read there ends."""
        self._reader.close()

    # One chunk after the other

    def __iter__(self) -> "Pipe":
        return self

    def __next__(self) -> bytes | tuple[bytes, Stamp]:
        """Raises TimeoutError after the `timeout` given to `subscribe`; with `strict`, PipeEndedError after a
        bad end."""
        reader = self._reader
        block = reader.block
        if not block.count or reader.end_reason:
            found = reader.wait_frames(as_deadline(self._timeout_s))
            if found is None:
                self._tell_end()
                raise StopIteration
            block = self._checked(found, self._timeout_s)
        return _with_stamp(block) if self.timestamps else block.pop()

    def __aiter__(self) -> "Pipe":
        return self

    async def __anext__(self) -> bytes | tuple[bytes, Stamp]:
        """As `__next__`, without holding up the event loop."""
        reader = self._reader
        block = reader.block
        if not block.count or reader.end_reason:
            found = await reader.wait_frames_async(as_deadline(self._timeout_s))
            if found is None:
                self._tell_end()
                raise StopAsyncIteration
            block = self._checked(found, self._timeout_s)
        return _with_stamp(block) if self.timestamps else block.pop()

    def read(self, timeout: float | None = None) -> bytes | tuple[bytes, Stamp]:
        """Wait for the next chunk and return it.

        timeout: seconds; None for what `subscribe` was given. Raises TimeoutError if nothing came in time,
            PipeEndedError if the pipe has ended, PipeClosedError if it was closed on this side.
        """
        timeout = self._timeout_s if timeout is None else timeout
        found = self._reader.wait_frames(as_deadline(timeout))
        self._reader.warn_first_lost()
        if found is None:
            raise self._over()
        block = self._checked(found, timeout)
        return _with_stamp(block) if self.timestamps else block.pop()

    # Many samples at once

    def read_array(
        self, n: int, decoder: Decoder = None, *, timeout: float | None = None
    ) -> "npt.NDArray[np.float64] | list[Any] | TimedSamples":
        """Wait for `n` samples and return them as `collect` does, with timestamps as (samples, times). The next
        read goes on with the frame after the last one.

        decoder: as for `collect`. timeout: seconds; None for what `subscribe` was given. Fewer than `n`
            samples come, with a PipeEndedEarlyWarning, if the pipe ends, and without a word after the
            timeout. With nothing to return it raises what `read` does.
        """
        n = as_count(n, "n", 1)
        timeout = self._timeout_s if timeout is None else timeout
        samples = Samples(as_decoder(decoder), timed=self.timestamps)
        self._reader.fill(samples, n, as_deadline(timeout))
        self._reader.warn_lost()
        samples.warn_bad(self.name)
        if not samples.count:
            raise self._over() if self.end_reason else self._nothing_came(timeout)
        if samples.count < n and self.end_reason:
            warn(
                PipeEndedEarlyWarning,
                f"Pipe {self.name!r} ended after {samples.count} of {n} samples: {self._reader.why_ended()}.",
            )
        return samples.result()

    # What the caller should know

    def _checked(self, block: Batch, timeout_s: float | None) -> Batch:
        """Return frames that a wait has brought, and warn of the first that are missing. Raises TimeoutError if there are none."""
        if not block.count:
            raise self._nothing_came(timeout_s)
        self._reader.warn_first_lost()
        return block

    def _tell_end(self) -> None:
        self._reader.warn_lost()
        if self.end_reason not in (CLOSED, LEFT):
            sentence = f"Pipe {self.name!r} ended, and not by its producer: {self._reader.why_ended()}."
            if self._strict:
                raise PipeEndedError(sentence)
            warn(PipeEndedEarlyWarning, sentence)

    def _over(self) -> PipeError:
        if self.end_reason == LEFT:
            return PipeClosedError(f"Pipe {self.name!r} was closed on this side: subscribe again to read on.")
        return PipeEndedError(f"Pipe {self.name!r} has ended: {self._reader.why_ended()}.")

    def _nothing_came(self, timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"Pipe {self.name!r}: nothing came for {timeout_s or 0:g} s{self._reader.why_nothing_came()}.")


def _with_stamp(block: Batch) -> tuple[bytes, Stamp]:
    stamp = block.stamp
    return block.pop(), stamp
