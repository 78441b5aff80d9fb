"""What is under a `Pipe` and under a chart's trace: one subscription to the frames of one opening of a pipe, or of one after the other,
and the truth about what is missing and why it ended."""

import math
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ukernel.errors import HubUnreachableError, PipeDataLostWarning, PipeEndedEarlyWarning, UcoreError
from ukernel.protocol.pipestream import NUMBERS, Batch, PipeStreamDecoder

from .decoders import Samples
from .listing import did_you_mean
from .reasons import CLOSED, ENDED_FOR_GOOD, LEFT, LOST_CONNECTION, advise, describe_end, describe_losses, warn

__all__ = ["End", "PipeReader"]

RECEIVE_BYTES = 1 << 18  # what one system call may bring: larger ones bring no more speed
HINT_AFTER_S = 5.0  # how long a reader waits for a pipe before it says that another one of nearly the same name is open
ASK_S = 2.0  # between two questions to the hub about pipes of nearly the same name: each one makes a connection
POLL_S = 0.01  # between two looks, where an event loop cannot wait for a socket
AGAIN_S = 0.25  # between two attempts to find the pipe again: soon enough for people, and little work for a hub
MAX_ENDS = 1000  # remembered, the latest ones
MAX_WAIT_S = 0.1  # in one system call: where Ctrl-C does not end the call (Windows), it is late by this much

Opening = dict[str, Any]  # what the hub says about one


class End(NamedTuple):
    """The end of an opening that another one follows: after how many chunks of the subscription, and why (see `Pipe.end_reason`)."""

    frames: int
    reason: str


class _Place(NamedTuple):
    """Where an opening stands in what a board writes: its own board and generation, and the number of a frame."""

    board: str | None
    generation: int | None
    number: int

    @classmethod
    def of(cls, opening: Opening) -> "_Place":
        """Where a reader of this opening began."""
        return cls(opening.get("board"), opening.get("generation"), opening.get("number", 0))

    def is_opening_of(self, other: "_Place") -> bool:
        """Whether both are of the same opening, as far as boards tell."""
        return self[:2] == other[:2]


class _Progress(NamedTuple):
    """How far a reader has come: of the events that were read last, how many are heeded; and what all of them so far came to."""

    events: list[Batch | dict[str, Any]]
    heeded: int
    frames: int
    losses: dict[str, int]


class PipeReader:
    """Reads a pipe. One thread does; any may close.

    opening, ends, end_reason: as of a `Pipe`. block: the frames at hand.
    obstacle: what keeps it from the next opening, other than that there is no hub: a sentence.
    """

    def __init__(
        self,
        name: str,
        connection: socket.socket,
        *,
        hint: bool = True,
        warns: bool = True,
        again: Callable[[str | None], socket.socket] | None = None,
        after_close: bool = True,
    ):
        """hint: say once, after a while, that another pipe may be meant. warns: of losses and ends; a chart does that itself.

        again: connects for the next opening, on the board with this name (None: as at first), and raises UcoreError or OSError where
        that cannot be done yet; None for a subscription of one opening. after_close: whether to go on where the producer closed it, too.
        """
        self.name = name
        self.opening: Opening | None = None
        self.end_reason: str | None = None
        self.ends: list[End] = []
        self.obstacle = ""
        self.block = Batch(b"", 0, 0)
        self._warns = warns
        self._socket = connection
        self._decoder = PipeStreamDecoder()
        self._hung_up = False
        self._wake: Callable[[], object] = lambda: None  # whoever waits in an event loop
        self._progress = _Progress(self._decoder.events, 0, 0, {})  # in one piece, because an interrupt may strike anywhere
        self._told_lost = 0
        self._asked_at, self._suggestion = -math.inf, ""
        self._hint_at = time.monotonic() + HINT_AFTER_S if hint else math.inf
        self._again = again
        self._after_close = after_close
        self._last: _Place | None = None  # of the opening before this one, at the frame that would come next
        self._base = 0  # frames and losses before this opening
        self._again_at = -math.inf  # the next attempt
        self._again_lock = threading.Lock()
        self._noted = False  # the end of this opening is in `ends`
        self._left = threading.Event()

    @property
    def frames(self) -> int:
        """Taken so far, of all openings."""
        return self._progress.frames - self.block.count

    @property
    def losses(self) -> dict[str, int]:
        """Frames that this reader will not get, per cause."""
        return dict(self._progress.losses)

    @property
    def lost(self) -> int:
        return sum(self._progress.losses.values())

    def __enter__(self) -> "PipeReader":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the pipe. Safe to call again, and from another thread: a waiting read there ends."""
        goes_on = self.goes_on
        self._left.set()  # first: whoever is just finding the pipe again looks at it last
        if goes_on or not self.end_reason:
            self.end_reason = LEFT
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for data; close alone does not
        except OSError:
            pass  # the other end was faster
        self._socket.close()
        self._wake()
        self.warn_lost()

    def fill(self, samples: Samples, n: int | None, deadline: float) -> None:
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

    def wait_frames(self, deadline: float) -> Batch | None:
        """Return the frames at hand; wait until there are some, but not beyond the deadline: then there are
        none. None at the end."""
        while True:
            if self.goes_on:
                self._note_end()
                if not self._find_again():
                    now = time.monotonic()
                    if now >= deadline:
                        return self.block
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

    async def wait_frames_async(self, deadline: float) -> Batch | None:
        """As `wait_frames`, without holding up the event loop."""
        import asyncio  # here, because it takes longer to import than all the rest

        while True:
            if self.goes_on:
                self._note_end()
                if not await asyncio.get_running_loop().run_in_executor(None, self._find_again):
                    now = time.monotonic()
                    if now >= deadline:
                        return self.block
                    await asyncio.sleep(max(0.0, min(self._again_at, deadline) - now))
                continue
            if self.end_reason:
                return None
            block = self._ready()
            if block.count:
                return block
            if not self.end_reason:
                await self._wait_async(deadline)
                if not self._receive(0.0) and time.monotonic() >= deadline:
                    return block

    # From one opening to the next

    @property
    def awaits(self) -> str | None:
        """Why the last opening ended, as long as no other one goes on; None otherwise."""
        here, last = self.opening, self.ends[-1] if self.ends else None
        if last is None or self.frames > last.frames:
            return None
        # Once its end is taken down, `opening` is the old one until the pipe has been found again.
        goes_on = here is not None and not self._noted and (not self._is_same(here) or _Place.of(here) != self._last)
        return None if goes_on else last.reason

    def _is_same(self, here: Opening) -> bool:
        """Whether this is the opening that there was before: the hub, or the connection to the board, was lost, and not the pipe."""
        if self.ends[-1].reason in ENDED_FOR_GOOD or self._last is None:
            return False
        return _Place.of(here).is_opening_of(self._last)

    @property
    def goes_on(self) -> bool:
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
            began = _Place.of(self.opening)
            last = began._replace(number=(began.number + self.frames + self.lost - self._base) & NUMBERS)
        self.ends, self._last, self._noted = ends, last, True
        self.warn_lost()
        if self._warns and self.end_reason != CLOSED:
            warn(
                PipeEndedEarlyWarning,
                f"Pipe {self.name!r} ended, and not by its producer: {self.why_ended()}. Reading goes on when it is opened again.",
            )

    def _find_again(self) -> bool:
        """Subscribe to the next opening, unless the last attempt was just now; False if that did not succeed."""
        with self._again_lock:  # a task that was cancelled may have left a thread at it
            if not self.goes_on or self._again is None:
                return True
            now = time.monotonic()
            if now < self._again_at:
                return False
            self._again_at = now + AGAIN_S
            board = self._last.board if self._last else None
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
            decoder = PipeStreamDecoder()
            progress = self._progress._replace(events=decoder.events, heeded=0)
            self._socket, self._decoder, self._progress, self._hung_up = connection, decoder, progress, False
            self.opening, self._noted, self.end_reason = None, False, None  # in this order: `awaits` is asked in other threads
        if self._left.is_set():
            self.end_reason = LEFT
            connection.close()
        return True

    def _missed(self, here: Opening) -> int:
        """How many frames were written between what came last and this opening, as the hub knows it."""
        if self._last is None:
            return 0
        number = _Place.of(here).number
        ahead = (number - self._last.number) & NUMBERS
        return ahead if self._is_same(here) and ahead <= NUMBERS // 2 else number

    # What came in

    def _ready(self) -> Batch:
        """Go on to the next frames that have been received, heeding the notices before them."""
        while not self.block.count:
            events, heeded, frames, losses = self._progress
            if events is not self._decoder.events:
                events, heeded = self._decoder.events, 0
            if heeded == len(events):
                self._decoder.read()
                if self._decoder.events:
                    continue
                if self._hung_up:
                    self.end_reason = self.end_reason or LOST_CONNECTION
                break
            event = events[heeded]
            if isinstance(event, Batch):
                self.block = event
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
            self._progress = _Progress(events, heeded + 1, frames, losses)
        return self.block

    def _receive(self, wait_s: float) -> bool:
        """Receive once; False if nothing came in time."""
        received = self._decoder.received
        try:
            if self._socket.gettimeout() != wait_s:
                self._socket.settimeout(wait_s)
            _receive_into(received, self._socket)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            self._hung_up = True  # reset, or closed by another thread
        if received and not received[-1]:
            self._hung_up = True
        return True

    async def _wait_async(self, deadline: float) -> None:
        """Wait until there is something to receive, the deadline has come, or the pipe is closed on this side; or a moment
        less."""
        import asyncio

        loop, fd = asyncio.get_running_loop(), self._socket.fileno()
        ready = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

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

    # What people should know

    def why_ended(self) -> str:
        """The reason of the end as part of a sentence."""
        return describe_end(self.end_reason)

    def why_nothing_came(self) -> str:
        """What there is to say of a wait in vain, as the rest of a sentence; empty where there is nothing."""
        if self.obstacle:
            return f"; it cannot be read again: {self.obstacle.rstrip('.')}"
        if self.awaits:
            return f"; it has not been opened again: {describe_end(self.awaits)}"
        return "" if self.opening is not None else f"; the board has not opened a pipe of that name{self._meant()}"

    def warn_lost(self) -> None:
        """Warn of what is missing, unless that has been told."""
        if self._warns and self.lost != self._told_lost:
            self._told_lost = self.lost
            losses = self.losses
            warn(PipeDataLostWarning, f"Pipe {self.name!r}: {describe_losses(losses)}.{advise(losses)}")

    def warn_first_lost(self) -> None:
        """Warn at once, the first time; the rest when the pipe ends."""
        if not self._told_lost:
            self.warn_lost()

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


def _receive_into(received: deque[bytes], connection: socket.socket) -> None:
    """Receive once, in a single call: between two an interrupt could strike, and take with it what has been received."""
    received.extend(map(connection.recv, (RECEIVE_BYTES,)))
