"""One subscription: the frames of one opening of a pipe, or of one after the other, and the truth about what is missing and why
it ended."""

import math
import operator
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

from ukernel.errors import (
    HubUnreachableError,
    PipeClosedError,
    PipeDataLostWarning,
    PipeDecodeWarning,
    PipeEndedEarlyWarning,
    PipeEndedError,
    PipeWarning,
    UcoreError,
)
from ukernel.protocol.pipestream import Batch, PipeStreamDecoder, Stamp

from .decoders import Samples, TimedSamples, as_decoder

__all__ = ["End", "Pipe", "as_count", "describe_losses", "did_you_mean", "warn"]

RECEIVE_BYTES = (1 << 18,)  # what one system call may bring: larger ones bring no more speed
HINT_AFTER_S = 5.0  # how long a reader waits for a pipe before it says that another one of nearly the same name is open
ASK_S = 2.0  # between two questions to the hub about pipes of nearly the same name
POLL_S = 0.01  # between two looks, where an event loop cannot wait for a socket
MAX_NAMED = 10  # pipes that a sentence names
NUMBERS = 0xFFFF_FFFF  # of frames, on the line and in the hub's notices
AGAIN_S = 0.25  # between two attempts to find the pipe again
MAX_ENDS = 1000  # remembered, the latest ones
MAX_WAIT_S = 0.1  # in one system call: where Ctrl-C does not end the call (Windows), it is late by this much

CLOSED = "closed"  # the one good end
LEFT = "left"
LOST_CONNECTION = "connection lost"
HUB_ENDS = "hub stopped", LOST_CONNECTION
ENDED_FOR_GOOD = CLOSED, "board restarted"  # what is opened then is another opening, although boards count anew
END_SENTENCES = {
    CLOSED: "the producer closed it",
    "board restarted": "the board restarted",
    "board gone": "the board is gone: unplugged, or without power",
    "hub stopped": "the board hub stopped",
    LOST_CONNECTION: "the connection to the board hub broke",
    LEFT: "it was closed on this side",
}
LOSS_SENTENCES = {
    "board": "the board had no room for them",
    "no_listener": "no host was listening",
    "reader": "this reader was too slow",
    "replay": "they were written before, and the board hub holds them no more",
    "between": "they were written before the pipe was found again",
}

# Which side was too slow, and what helps.
LOSS_ADVICE = {
    "board": "The producer is faster than the line to this computer, and does not wait: write less often, put several values into one "
    "frame, or open the pipe without drop=True",
    "no_listener": "Nothing was connected to the board while it wrote: start the producer after a notebook or a reader has the board",
    "reader": "This side reads slower than the board writes: collect and read_array take many frames at once, with a struct format as "
    "decoder, and long work between two reads belongs into another thread",
    "replay": "The board hub holds the latest 16 MiB of a pipe: subscribe before the producer starts, or sooner after",
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


class End(NamedTuple):
    """The end of an opening that another one follows: after how many chunks of the subscription, and why (see `Pipe.end_reason`)."""

    frames: int
    reason: str


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

    def __init__(
        self,
        name: str,
        connection: socket.socket,
        *,
        timeout: "float | None" = None,
        strict: bool = False,
        timestamps: bool = False,
        hint: bool = True,
        warns: bool = True,
        again: "Callable[[str | None], socket.socket] | None" = None,
        after_close: bool = True,
    ):
        """again: connects for the next opening, on the board with this name (None: as at first), and raises UcoreError or OSError where
        that cannot be done yet; None for a subscription of one opening. after_close: whether to go on where the producer closed it, too."""
        self.name = name
        self.timestamps = timestamps
        self.opening: dict | None = None
        self.end_reason: str | None = None
        self._warns = warns  # of losses; a chart does that itself
        self._socket = connection
        self._timeout_s = timeout
        self._strict = strict
        self._reader = PipeStreamDecoder()
        self._hung_up = False
        self._wake: Callable[[], object] = lambda: None  # whoever waits in an event loop
        self._block = Batch(b"", 0, 0)
        # Of the events read last, how many were heeded; and what all of them so far came to: frames, and losses. In one
        # piece, because an interrupt may strike anywhere.
        self._heeded: tuple[list, int, int, dict[str, int]] = self._reader.events, 0, 0, {}
        self._told_lost = 0
        self._asked_at, self._suggestion = -math.inf, ""
        self._hint_at = time.monotonic() + HINT_AFTER_S if hint else math.inf
        self.ends: list[End] = []
        self.obstacle = ""  # what keeps us from the next opening, other than that there is no hub: a sentence
        self._again = again
        self._after_close = after_close
        self._last: tuple | None = (
            None  # the opening before this one: board, generation, number of the frame that would come next
        )
        self._base = 0  # frames and losses before this opening
        self._again_at = -math.inf  # the next attempt
        self._again_lock = threading.Lock()
        self._noted = False  # the end of this opening is in `ends`
        self._left = threading.Event()

    def __repr__(self) -> str:
        state = self.end_reason or ("open" if self.opening is not None else "not open yet")
        if self._goes_on():
            state = f"not open again yet, after {len(self.ends)} {'end' if len(self.ends) == 1 else 'ends'}"
        return f"<Pipe {self.name!r}: {state}, {self.frames} frames, {self.lost} lost>"

    @property
    def frames(self) -> int:
        return self._heeded[2] - self._block.count

    @property
    def losses(self) -> "dict[str, int]":
        return dict(self._heeded[3])

    @property
    def lost(self) -> int:
        return sum(self._heeded[3].values())

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
        goes_on = self._goes_on()
        self._left.set()  # first: whoever is just finding the pipe again looks at it last
        if goes_on or not self.end_reason:
            self.end_reason = LEFT
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for data; close alone does not
        except OSError:
            pass  # the other end was faster
        self._socket.close()
        self._wake()
        self._tell_lost()

    # One chunk after the other

    def __iter__(self) -> "Pipe":
        return self

    def __next__(self) -> "bytes | tuple[bytes, Stamp]":
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
        if self.timestamps:
            return _with_stamp(block)
        return block.pop()

    def __aiter__(self) -> "Pipe":
        return self

    async def __anext__(self) -> "bytes | tuple[bytes, Stamp]":
        """As `__next__`, without holding up the event loop."""
        deadline = _deadline(self._timeout_s)
        while self.end_reason or not self._ready().count:
            if self._goes_on():
                await self._find_again_async(deadline)
                continue
            if self.end_reason:
                self._tell_end()
                raise StopAsyncIteration
            await self._wait_async(deadline)
            if not self._receive(0.0) and time.monotonic() >= deadline:
                raise self._nothing_came(self._timeout_s)
        if not self._told_lost:
            self._tell_lost()
        return _with_stamp(self._block) if self.timestamps else self._block.pop()

    def read(self, timeout: "float | None" = None) -> "bytes | tuple[bytes, Stamp]":
        """Wait for the next chunk and return it.

        timeout: seconds; None for what `subscribe` was given. Raises TimeoutError if nothing came in time,
            PipeEndedError if the pipe has ended, PipeClosedError if it was closed on this side.
        """
        timeout = self._timeout_s if timeout is None else timeout
        block = self.wait_frames(_deadline(timeout))
        if not self._told_lost:
            self._tell_lost()
        if block is None:
            raise self._over()
        if not block.count:
            raise self._nothing_came(timeout)
        return _with_stamp(block) if self.timestamps else block.pop()

    # Many samples at once

    def read_array(self, n: int, decoder=None, *, timeout: "float | None" = None):
        """Wait for `n` samples and return them as `collect` does, with timestamps as (samples, times). The next
        read goes on with the frame after the last one.

        decoder: as for `collect`. timeout: seconds; None for what `subscribe` was given. Fewer than `n`
            samples come, with a PipeEndedEarlyWarning, if the pipe ends, and without a word after the
            timeout. With nothing to return it raises what `read` does.
        """
        n = as_count(n, "n", 1)
        timeout = self._timeout_s if timeout is None else timeout
        samples = Samples(as_decoder(decoder), timed=self.timestamps)
        self.fill(samples, n, _deadline(timeout))
        self._tell_lost()
        self.tell_decoding(samples)
        if not samples.count:
            raise self._over() if self.end_reason else self._nothing_came(timeout)
        if samples.count < n and self.end_reason:
            warn(
                PipeEndedEarlyWarning,
                f"Pipe {self.name!r} ended after {samples.count} of {n} samples: {self.why_ended()}.",
            )
        return self.result(samples)

    def result(self, samples: Samples):
        """What `read_array` and `collect` return."""
        return TimedSamples(samples.array(), *samples.times()) if self.timestamps else samples.array()

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

    def wait_frames(self, deadline: float) -> "Batch | None":
        """Return the frames at hand; wait until there are some, but not beyond the deadline: then there are
        none. None at the end."""
        while True:
            if self._goes_on():
                self._note_end()
                if not self._find_again():
                    now = time.monotonic()
                    if now >= deadline:
                        return self._block
                    self._left.wait(min(self._again_at, deadline) - now)
                continue
            if self.end_reason:
                return None
            block = self._ready()
            if block.count:
                return block
            now = time.monotonic()
            if now >= self._hint_at:
                self._hint()
            left_s = deadline - now
            if not self.end_reason and not self._receive(max(0.0, min(left_s, MAX_WAIT_S))) and left_s <= 0:
                return block

    # From one opening to the next

    @property
    def awaits(self) -> "str | None":
        """Why the last opening ended, as long as no other one goes on; None otherwise."""
        here, last = self.opening, self.ends[-1] if self.ends else None
        if last is None or self.frames > last.frames:
            return None
        # Once its end is taken down, `opening` is the old one until the pipe has been found again.
        goes_on = here is not None and not self._noted and (not self._is_same(here) or _place(here) != self._last)
        return None if goes_on else last.reason

    def _is_same(self, here: dict) -> bool:
        """Whether this is the opening that there was before: the hub, or the connection to the board, was lost, and not the pipe."""
        return self.ends[-1].reason not in ENDED_FOR_GOOD and self._last is not None and _place(here)[:2] == self._last[:2]

    def _goes_on(self) -> bool:
        """Whether this opening has ended, and another one is to follow."""
        reason = self.end_reason
        return self._again is not None and reason not in (None, LEFT) and (self._after_close or reason != CLOSED)

    def _note_end(self) -> None:
        """Take down, once, that this opening has ended, and tell what of it is missing."""
        if self._noted:
            return
        ends = [*self.ends[1 - MAX_ENDS :], End(self.frames, str(self.end_reason))]
        last = self._last
        if self.opening is not None:
            board, generation, number = _place(self.opening)
            last = board, generation, (number + self.frames + self.lost - self._base) & NUMBERS
        self.ends, self._last, self._noted = ends, last, True
        self._tell_lost()
        if self._warns and self.end_reason != CLOSED:
            warn(
                PipeEndedEarlyWarning,
                f"Pipe {self.name!r} ended, and not by its producer: {self.why_ended()}. Reading goes on when it is opened again.",
            )

    def _find_again(self) -> bool:
        """Subscribe to the next opening, unless the last attempt was just now; False if that did not succeed."""
        with self._again_lock:  # a task that was cancelled may have left a thread at it
            if not self._goes_on():
                return True
            now = time.monotonic()
            if now < self._again_at:
                return False
            self._again_at = now + AGAIN_S
            board = self._last[0] if self._last else None
            # A virtual board without a name is called after its terminal: the one that comes in its place is called otherwise.
            if board and board.startswith("virtual-"):
                board = None
            try:
                connection = self._again(board)
            except (UcoreError, OSError) as error:
                self.obstacle = "" if isinstance(error, HubUnreachableError | OSError) else str(error)
                return False
            self.obstacle = ""
            self._socket.close()
            reader = PipeStreamDecoder()
            heeded = reader.events, 0, *self._heeded[2:]
            self._socket, self._reader, self._heeded, self._hung_up = connection, reader, heeded, False
            self.opening, self._noted, self.end_reason = None, False, None  # in this order: `awaits` is asked in other threads
        if self._left.is_set():
            self.end_reason = LEFT
            connection.close()
        return True

    async def _find_again_async(self, deadline: float) -> None:
        """`_find_again`, or wait until it is worth while."""
        import asyncio

        self._note_end()
        if await asyncio.get_running_loop().run_in_executor(None, self._find_again):
            return
        now = time.monotonic()
        if now >= deadline:
            raise self._nothing_came(self._timeout_s)
        await asyncio.sleep(max(0.0, min(self._again_at, deadline) - now))

    def _missed(self, here: dict) -> int:
        """How many frames were written between what came last and this opening, as the hub knows it."""
        if self._last is None:
            return 0
        number = here.get("number", 0)
        ahead = (number - self._last[2]) & NUMBERS
        return ahead if self._is_same(here) and ahead <= NUMBERS // 2 else number

    # What came in

    def _ready(self) -> Batch:
        """Go on to the next frames that have been received, heeding the notices before them."""
        while not self._block.count:
            events, heeded, frames, losses = self._heeded
            if events is not self._reader.events:
                events, heeded = self._reader.events, 0
            if heeded == len(events):
                self._reader.read()
                if self._reader.events:
                    continue
                if self._hung_up:
                    self.end_reason = self.end_reason or LOST_CONNECTION
                break
            event = events[heeded]
            if isinstance(event, Batch):
                self._block = event
                frames += event.total
            elif "open" in event:
                missed = self._missed(event["open"])
                if missed:
                    losses = {**losses, "between": losses.get("between", 0) + missed}
                base = frames + sum(losses.values())
                self.opening, self._base = event["open"], base
            elif "lost" in event:
                cause = event.get("cause", "board")
                losses = {**losses, cause: losses.get(cause, 0) + event["lost"]}
            elif "end" in event:
                self.end_reason = self.end_reason or event["end"]
            self._heeded = events, heeded + 1, frames, losses
        return self._block

    def _receive(self, wait_s: float) -> bool:
        """Receive once; False if nothing came in time."""
        pieces = self._reader.pieces
        try:
            if self._socket.gettimeout() != wait_s:
                self._socket.settimeout(wait_s)
            # In one call, so that an interrupt finds what was received in its place, or nothing received.
            pieces.extend(map(self._socket.recv, RECEIVE_BYTES))
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            self._hung_up = True  # reset, or closed by another thread
        if pieces and not pieces[-1]:
            self._hung_up = True
        return True

    async def _wait_async(self, deadline: float) -> None:
        """Wait until there is something to receive, the deadline has come, or the pipe is closed on this side; or a moment
        less."""
        import asyncio  # here, because it takes longer to import than all the rest

        loop, fd = asyncio.get_running_loop(), self._socket.fileno()
        ready = loop.create_future()

        def wake() -> None:
            ready.done() or ready.set_result(None)

        self._wake = lambda: loop.call_soon_threadsafe(wake)
        try:
            # Not sock_recv: where it is cancelled, what it has received is lost.
            loop.add_reader(fd, wake)
        except NotImplementedError:  # Windows' usual loop
            await asyncio.sleep(POLL_S)
            return
        try:
            await asyncio.wait([ready], timeout=None if deadline == math.inf else deadline - time.monotonic())
        finally:
            loop.remove_reader(fd)

    # What the caller should know

    def why_ended(self) -> str:
        """The reason of the end as part of a sentence."""
        return END_SENTENCES.get(self.end_reason, str(self.end_reason))

    def why_lost(self) -> str:
        """How many frames are missing and why, as part of a sentence."""
        return describe_losses(self.losses)

    def what_helps(self) -> str:
        """What to do against the losses, those of most frames: a sentence without its full stop, empty where there is nothing to say."""
        losses = self.losses
        return LOSS_ADVICE.get(max(losses, key=losses.__getitem__), "") if losses else ""

    def tell_decoding(self, samples: Samples) -> None:
        """Warn if frames could not be decoded."""
        if samples.bad:
            warn(PipeDecodeWarning, f"Pipe {self.name!r}: {samples.why_bad()}")

    def _tell_lost(self) -> None:
        if self._warns and self.lost != self._told_lost:
            self._told_lost = self.lost
            helps = self.what_helps()
            warn(PipeDataLostWarning, f"Pipe {self.name!r}: {self.why_lost()}.{f' {helps}.' * bool(helps)}")

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
        waiting = "" if self.opening is not None else f"; the board has not opened a pipe of that name{self._meant()}"
        if self.awaits:
            waiting = f"; it has not been opened again: {END_SENTENCES.get(self.awaits, self.awaits)}"
        if self.obstacle:
            waiting = f"; it cannot be read again: {self.obstacle.rstrip('.')}"
        return TimeoutError(f"Pipe {self.name!r}: nothing came for {timeout_s:g} s{waiting}.")

    def _meant(self) -> str:
        """`did_you_mean`, not asked anew by who looks again and again whether something has come."""
        if time.monotonic() >= self._asked_at + ASK_S:
            self._suggestion = did_you_mean(self.name)
            self._asked_at = time.monotonic()
        return self._suggestion

    def _hint(self) -> None:
        """Say once that another pipe may be meant."""
        self._hint_at = math.inf
        if self.opening is None:
            print(f"Pipe {self.name!r} is not open yet{self._meant()}", file=sys.stderr, flush=True)


def _place(opening: dict) -> tuple:
    """Return board and generation of an opening, and the number of the frame with which a reader began."""
    return opening.get("board"), opening.get("generation"), opening.get("number", 0)


def as_count(value, what: str, least: int) -> int:
    """Return a number of samples. Raises ValueError for what is none, or is below `least`."""
    try:
        if isinstance(value, bool) or (count := operator.index(value)) < least:
            raise TypeError
    except TypeError:
        raise ValueError(f"{what} must be a whole number of samples, {least} or more, not {value!r}.") from None
    return count


def describe_losses(losses: "dict[str, int]") -> str:
    """How many frames are missing and why, as part of a sentence, from the frames lost per cause."""
    causes = ", ".join(f"{count:,}: {LOSS_SENTENCES.get(cause, cause)}" for cause, count in losses.items())
    count = sum(losses.values())
    return f"{count:,} {'frame is' if count == 1 else 'frames are'} missing ({causes})"


def did_you_mean(name: str) -> str:
    """What is open instead of this pipe, as the end of a sentence: one that has its name on another board, or nearly its name, or what
    there is; empty where nobody can tell.
    """
    from .listing import open_pipes, similar_name

    known = open_pipes()
    if known is None:
        return ""
    boards = sorted(pipe.board for pipe in known if pipe.name == name)
    if boards:
        return f" (it is open on {' and '.join(boards)}: to read that, say board={boards[0]!r})"
    names = sorted({pipe.name for pipe in known})
    found = similar_name(name, names)
    if found:
        return f" ({found!r} is open: did you mean that?)"
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f" (open now: {', '.join(map(repr, names[:MAX_NAMED]))}{more})" if names else " (no pipe is open)"


def _with_stamp(block: Batch) -> "tuple[bytes, Stamp]":
    stamp = block.stamp
    return block.pop(), stamp


def _deadline(timeout_s: "float | None") -> float:
    if timeout_s is None:
        return math.inf
    if not timeout_s >= 0:  # also what is no number
        raise ValueError(f"timeout must be a number of seconds, 0 or more, or None, not {timeout_s!r}.")
    return time.monotonic() + timeout_s
