"""The board's clock against ours: when a pipe's frames were written, in our time, and how far from the truth that may be.

Every question and every stamped packet says something for certain: a clock value that the board answers with was taken after the
question left and before the answer came; one in a packet, before the packet came. So the offset between the clocks lies in an interval,
which each of them may narrow, and which grows with time by what two crystals may drift apart. Its middle is taken; half of it is part
of the error that goes with every time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ucore import wire
from ukernel.protocol.pipestream import NUMBERS

__all__ = ["Clock", "Times"]

# Between two questions; soon again at first, for the interval is as wide as the quickest answer was slow.
ASK_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MAX_DRIFT = 1e-4  # s per s: two crystals of 50 ppm
_PERIOD = wire.CLOCK_MASK + 1  # us, after which the board's clock begins again


class Times(NamedTuple):
    """When a batch was written, in seconds: its first frame, its last one, and how far any of them may be off.

    The others lie evenly between the two.
    """

    first: float
    last: float
    error: float


class Clock:
    """What is known of one board's clock. ``epoch`` is added to all times that are given out.

    All ``now`` are of one monotonic clock, in seconds. While nobody wants times, nothing is asked.
    """

    def __init__(self) -> None:
        self.epoch = 0.0
        self.is_wanted = False
        self.begin()

    def begin(self) -> None:
        """Another program answers: nothing is known of its clock, nor whether it stamps frames."""
        self._low, self._high, self._at = -math.inf, math.inf, -math.inf  # our time less the board's, when its clock was _at
        self._ticks = 0  # its clock in us without the rollovers, last seen at _ticks_at
        self._ticks_at: float | None = None
        self._id = 0
        self._asked_at: float | None = None  # None once answered
        self._ask_at = -math.inf if self.is_wanted else math.inf
        self._asks = 0
        # pipe id -> its last stamp, unrolled, the last time given out, and the number of the frame that follows
        self._before: dict[int, tuple[float, float, int | None]] = {}

    def set_timestamps(self, wanted: bool) -> None:
        """Tell whether times are wanted from now on."""
        if wanted != self.is_wanted:
            self.is_wanted = wanted
            self._ask_at = -math.inf
            self._asks = 0

    # To the board

    def data_to_send(self, now: float, received_at: float) -> bytes:
        """Return the body of a question if one is due. A board that has not said a word since the last one (``received_at``) is left
        alone: what it does not read would only fill its input."""
        if now < self.deadline(received_at):
            return b""
        self._id = (self._id + 1) & 255
        self._asked_at = now
        self._ask_at = now + ASK_S[min(self._asks, len(ASK_S) - 1)] if self.is_wanted else math.inf
        self._asks += 1
        return bytes((wire.CLOCK, self._id, self.is_wanted))

    def deadline(self, received_at: float) -> float:
        """When `data_to_send` will have something without further input; infinite for never."""
        return self._ask_at if self._asked_at is None or received_at > self._asked_at else math.inf

    # From the board

    def received_answer(self, body: bytes, now: float) -> None:
        """Take in a CLOCK packet."""
        if len(body) >= 6 and body[1] == self._id and self._asked_at is not None:
            ticks = self._unroll(int.from_bytes(body[2:6], "little"), now)
            self._narrow(self._asked_at, now, ticks, now)
            self._asked_at = None

    def received_stamp(self, stamp: int, now: float) -> None:
        """A stamped packet has come, in order or not."""
        self._narrow(-math.inf, now, self._unroll(stamp, now), now)
        if not self.is_wanted and self._ask_at == math.inf:
            self._ask_at = now + ASK_S[-1]  # it has not heard that nobody wants them

    def opened(self, pipe: int, stamp: int | None = None, now: float = 0.0, number: int | None = None) -> None:
        """That id stands for another opening from now on; the board opened it when ``stamp`` says, and its next frame is ``number``."""
        self._before.pop(pipe, None)
        if stamp is not None:
            self._before[pipe] = self._unroll(stamp, now), -math.inf, number

    def times(self, pipe: int, stamp: int, exact: bool, frames: int, now: float, number: int | None = None) -> Times | None:
        """Return the times of a pipe's next batch, which ``stamp`` ends; None while the clock is not known.

        exact: the stamp is the last frame's own time. Otherwise that lies before it, like all the others, and after the stamp before.
        Where that is not known, nor is the error. number: of its first frame; those that are missing before it were written since the
        stamp before as well, and have their part of that time.
        """
        ticks = self._unroll(stamp, now)
        before, given, expected = self._before.get(pipe, (math.inf, -math.inf, None))
        following = None if number is None else (number + frames) & NUMBERS
        lost = 0 if number is None or expected is None else (number - expected) & NUMBERS
        lost = lost if lost <= NUMBERS // 2 else 0  # the past, again
        self._before[pipe] = ticks, given, following
        low, high = self._bounds(ticks)
        if low == -math.inf or high == math.inf:
            return None
        spread = (ticks - before) / 1e6 if before <= ticks else math.inf
        step = spread / (lost + frames if exact else lost + frames + 0.5) if before <= ticks else 0.0
        if exact:  # the others may have been written at any time since the stamp before
            spread = spread - step if frames > 1 else 0.0
        last = self.epoch + ticks / 1e6 + (low + high) / 2 - (0.0 if exact else step / 2)
        first = last - step * (frames - 1)
        # A better estimate than the last must not make time run backwards.
        back = max(given - first, 0.0)
        first, last = first + back, max(last, first + back)
        self._before[pipe] = ticks, last, following
        return Times(first, last, (high - low) / 2 + spread + back)

    def _unroll(self, ticks: int, now: float) -> int:
        expected = 0 if self._ticks_at is None else self._ticks + round((now - self._ticks_at) * 1e6)
        found: int = expected + (ticks - expected + _PERIOD // 2) % _PERIOD - _PERIOD // 2
        if self._ticks_at is None or found > self._ticks:
            self._ticks, self._ticks_at = found, now
        return found

    def _bounds(self, ticks: float) -> tuple[float, float]:
        drift = MAX_DRIFT * abs(ticks - self._at) / 1e6
        return self._low - drift, self._high + drift

    def _narrow(self, after: float, before: float, ticks: int, now: float) -> None:
        """The board's clock was ``ticks`` at some time between the two of ours."""
        low, high = after - ticks / 1e6, before - ticks / 1e6
        if ticks > self._at:
            self._low, self._high = self._bounds(ticks)
            self._at = ticks
        drift = MAX_DRIFT * (self._at - ticks) / 1e6
        self._low, self._high = max(self._low, low - drift), min(self._high, high + drift)
        if self._low > self._high:  # it was set, or has slept
            self._low, self._high, self._at = low, high, ticks
            self._before.clear()
            self._asks = 0
            if self.is_wanted:
                self._ask_at = now
