"""How fast a UART's line runs: both ends begin at a rate that always works, raise it to what the line sustains, and come back from
one that it does not.

A change: BAUDRATE with the new rate and window, the board's echo of it, a pause in which both ends switch, then PINGs at the new rate
until the board is heard. An end that hears nothing there returns to the first rate.
"""

from __future__ import annotations

import math
import struct

from ucore import wire

from .sender import line

__all__ = ["Speed", "uart_window"]

LADDER = (921600, 460800, 230400)  # an ESP32 does not receive faster for sure
# Of a change: none, the board is asked, both ends switch, the board is called, both ends go back; and no board at either rate.
STEADY, ASKING, SWITCHING, TRYING, RETURNING, LOST = "steady", "asking", "switching", "trying", "returning", "lost"

ASK_S = 1.4  # between two requests: where only the echo was lost, the board's trial of a second is over by then
MAX_ASKS = 3
PAUSE_S = 0.030  # from the echo to our switch: the board switches 20 ms after it has sent it
PING_S = 0.06
TRIAL_S = 0.8  # shorter than the board's, which then still answers what we have just sent
RETURN_S = 0.5  # after our trial has failed, until the board's has as well
HUNT_HELLOS = 3  # at one rate, before the next one is tried

SAMPLE_FRAMES = 100  # of which the share of damaged ones is taken
MAX_DAMAGED = 0.4  # of them: more than this, and half the rate brings more
NOISE_BYTES = 20  # and no frame after them for NOISE_S: the board has probably booted, and speaks at the first rate
NOISE_S = 0.5

WINDOW_S = 0.18  # of a UART's time: bytes the board may have unacknowledged; more would only wait in queues
MAX_WINDOW = 6144


def uart_window(baudrate: int) -> int:
    """Return how many bytes a board may have unacknowledged on a UART of this rate."""
    return max(1024, min(int(baudrate / 10 * WINDOW_S), MAX_WINDOW))


class Speed:
    """The rate of one session's line, in baud. ``rate`` is what our end is to be set to, now.

    base: what the port was opened with; best: the highest rate to try. A line that is no UART has none to change: ``best`` is ``base``.
    """

    def __init__(self, base: int, best: int, nonce: int):
        self.rate = self.base = base
        self.state = STEADY
        self._nonce = nonce
        self._best = best
        self._ladder: list[int] = []
        self._wanted = 0
        self._asks = 0
        self._at = math.inf  # when there is something to do
        self._until = 0.0
        self._hunted: list[int] = []
        self._doubt_at = math.inf  # when the board is to be looked for, if no frame has come
        self._suspect = 0  # the rate at which the line was lost in noise
        self._good = self._bad = self._noise = 0

    @property
    def is_changing(self) -> bool:
        """Whether nothing else may be sent now."""
        return self.state != STEADY

    def begin(self, max_baud: int, restarted: bool) -> None:
        """A board answered whose line takes ``max_baud``: from now on it may be made faster. ``restarted``: it has booted meanwhile."""
        if self._suspect and not restarted:
            self._best = _below(self._suspect, self.base)
        self._suspect = 0
        self._ladder = [rate for rate in LADDER if self.rate < rate <= min(self._best, max_baud)]
        self._good = self._bad = self._noise = 0
        self._doubt_at = math.inf
        self.state = STEADY

    def slow_down(self, now: float) -> None:
        """Go back to the first rate, for whoever opens the port next; `rate` tells when that is done."""
        self._best, self._ladder = self.base, []
        if self.rate != self.base:
            self._ask(self.base, now)

    def hunt(self, hellos: int, noisy: bool) -> None:
        """``hellos`` have not been answered. Look for the board at other rates, if it has been faster or ``noisy`` tells that it is."""
        if hellos == 0:
            self.state = STEADY
            self._doubt_at = math.inf
            self._hunted = [self.rate, self.base] if self.rate != self.base else []
        elif hellos % HUNT_HELLOS == 0 and (noisy or self._hunted) and self._best > self.base:
            rates = self._hunted or [self.base, *LADDER]
            self.rate = rates[hellos // HUNT_HELLOS % len(rates)]

    def data_to_send(self, now: float, idle: bool) -> bytes:
        """What is due to go out for a change of rate; `rate` may be another one afterwards. ``idle``: the board has nothing to do."""
        if self.state == STEADY:
            if now >= self._doubt_at:
                self.state = LOST
                self._suspect = self.rate
                return b""
            if not (self._ladder and idle):
                return b""
            self._ask(self._ladder[0], now)
        if now < self._at:
            return b""
        if self.state == ASKING:
            if self._asks == MAX_ASKS:
                self.state = STEADY if self.rate == self.base else LOST
                self._ladder = []
                return b""
            self._asks += 1
            self._at = now + ASK_S
            return line(struct.pack("<BIH", wire.BAUDRATE, self._wanted, uart_window(self._wanted)), self._nonce)
        if self.state == SWITCHING:
            self.rate = self._wanted
            self.state = TRYING
            self._until = now + TRIAL_S
        if self.state == TRYING:
            if now < self._until:
                self._at = now + PING_S
                return b"\n" + line(bytes((wire.PING,)), self._nonce)
            self.rate = self.base
            self.state = RETURNING
            self._at = now + RETURN_S
        elif self.state == RETURNING:
            self._best = _below(self._wanted, self.base)
            self._ladder = [rate for rate in self._ladder if rate <= self._best]
            self.state = STEADY
        return b""

    def deadline(self, idle: bool) -> float:
        """When `data_to_send` will have something; infinite for never."""
        if self.state == STEADY:
            return 0.0 if self._ladder and idle else self._doubt_at
        return self._at

    def echoed(self, body: bytes, now: float) -> None:
        """The board has said that it will switch."""
        if self.state == ASKING and struct.unpack_from("<I", body, 1)[0] == self._wanted:
            self.state = SWITCHING
            self._at = now + PAUSE_S

    def good(self) -> None:
        """A frame has arrived undamaged."""
        self._noise = 0
        self._doubt_at = math.inf
        self._good += 1
        if self.state == TRYING:
            self.state = STEADY
            self._best, self._ladder = self._wanted, []

    def bad(self, size: int, now: float) -> None:
        """Noise, or a damaged frame, of ``size`` bytes has arrived."""
        if self.rate == self.base or self.state != STEADY:
            return
        self._bad += 1
        self._noise += size
        if self._noise > NOISE_BYTES:
            self._doubt_at = min(self._doubt_at, now + NOISE_S)
        if self._good + self._bad >= SAMPLE_FRAMES:
            if self._bad > MAX_DAMAGED * (self._good + self._bad):
                self._ask(_below(self.rate, self.base), now)
            self._good = self._bad = 0

    def _ask(self, rate: int, now: float) -> None:
        self.state = ASKING
        self._wanted = rate
        self._asks = 0
        self._at = now


def _below(rate: int, base: int) -> int:
    """The next lower rate."""
    return next((lower for lower in LADDER if base < lower < rate), base)
