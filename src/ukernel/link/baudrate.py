"""How fast a UART's line runs: both ends begin at a rate that always works, raise it to what the line sustains, and come back from
one that it does not.

A change: BAUDRATE with the new rate and window, the board's echo of it, a pause in which both ends switch, then PINGs at the new rate
until the board is heard. An end that hears nothing there returns to the first rate.
"""

from __future__ import annotations

import math
import struct

from ucore import wire

from .sender import encode_line

__all__ = ["BaudRate", "uart_window"]

LADDER = (921600, 460800, 230400)  # an ESP32 does not receive faster for sure
# Of a change: none, the board is asked, both ends switch, the board is called, both ends go back; and no board at either rate.
STEADY, ASKING, SWITCHING, TRYING, RETURNING, LOST = "steady", "asking", "switching", "trying", "returning", "lost"

ASK_S = 1.4  # between two requests: where only the echo was lost, the board's trial of a second is over by then
MAX_ASKS = 3
PAUSE_S = 0.030  # from the echo to our switch: the board switches 20 ms after it has sent it
PING_S = 0.06
TRIAL_S = 0.8  # shorter than the board's, which then still answers what we have just sent
RETURN_S = 0.5  # after our trial has failed, until the board's has as well
SCAN_HELLOS = 3  # at one rate, before the next one is tried

SAMPLE_PACKETS = 100  # of which the share of damaged ones is taken
MAX_DAMAGED = 0.4  # of them: more than this, and half the rate brings more
NOISE_BYTES = 20  # and no packet after them for NOISE_S: the board has probably booted, and speaks at the first rate
NOISE_S = 0.5

WINDOW_S = 0.18  # of a UART's time: bytes the board may have unacknowledged; more would only wait in queues
MAX_WINDOW = 6144


def uart_window(baudrate: int) -> int:
    """Return how many bytes a board may have unacknowledged on a UART of this rate."""
    return max(1024, min(int(baudrate / 10 * WINDOW_S), MAX_WINDOW))


class BaudRate:
    """The rate of one session's line, in baud. ``current`` is what our end is to be set to, now.

    initial: what the port was opened with; highest: the highest rate to try. A line that is no UART has none to change: ``highest`` is ``initial``.
    """

    def __init__(self, initial: int, highest: int, nonce: int):
        self.current = self.initial = initial
        self.state = STEADY
        self._nonce = nonce
        self._highest = highest
        self._ladder: list[int] = []
        self._requested = 0
        self._asks = 0
        self._at = math.inf  # when there is something to do
        self._until = 0.0
        self._scanned: list[int] = []
        self._scan_at = math.inf  # when the board is to be looked for, if no packet has come
        self._failed_rate = 0  # the rate at which the line was lost in noise
        self._intact = self._damaged = self._noise_bytes = 0

    @property
    def is_changing(self) -> bool:
        """Whether nothing else may be sent now."""
        return self.state != STEADY

    def begin(self, max_baudrate: int, restarted: bool) -> None:
        """A board answered whose line takes ``max_baudrate``: from now on it may be made faster. ``restarted``: it has booted meanwhile."""
        if self._failed_rate and not restarted:
            self._highest = _below(self._failed_rate, self.initial)
        self._failed_rate = 0
        self._ladder = [rate for rate in LADDER if self.current < rate <= min(self._highest, max_baudrate)]
        self._intact = self._damaged = self._noise_bytes = 0
        self._scan_at = math.inf
        self.state = STEADY

    def slow_down(self, now: float) -> None:
        """Go back to the first rate, for whoever opens the port next; `current` tells when that is done."""
        self._highest, self._ladder = self.initial, []
        if self.current != self.initial:
            self._ask(self.initial, now)

    def scan(self, hellos: int, noisy: bool) -> None:
        """``hellos`` have not been answered. Look for the board at other rates, if it has been faster or ``noisy`` tells that it is."""
        if hellos == 0:
            self.state = STEADY
            self._scan_at = math.inf
            self._scanned = [self.current, self.initial] if self.current != self.initial else []
        elif hellos % SCAN_HELLOS == 0 and (noisy or self._scanned) and self._highest > self.initial:
            rates = self._scanned or [self.initial, *LADDER]
            self.current = rates[hellos // SCAN_HELLOS % len(rates)]

    def data_to_send(self, now: float, idle: bool) -> bytes:
        """What is due to go out for a change of rate; `current` may be another one afterwards. ``idle``: the board has nothing to do."""
        if self.state == STEADY:
            if now >= self._scan_at:
                self.state = LOST
                self._failed_rate = self.current
                return b""
            if not (self._ladder and idle):
                return b""
            self._ask(self._ladder[0], now)
        if now < self._at:
            return b""
        if self.state == ASKING:
            if self._asks == MAX_ASKS:
                self.state = STEADY if self.current == self.initial else LOST
                self._ladder = []
                return b""
            self._asks += 1
            self._at = now + ASK_S
            return encode_line(struct.pack("<BIH", wire.BAUDRATE, self._requested, uart_window(self._requested)), self._nonce)
        if self.state == SWITCHING:
            self.current = self._requested
            self.state = TRYING
            self._until = now + TRIAL_S
        if self.state == TRYING:
            if now < self._until:
                self._at = now + PING_S
                return b"\n" + encode_line(bytes((wire.PING,)), self._nonce)
            self.current = self.initial
            self.state = RETURNING
            self._at = now + RETURN_S
        elif self.state == RETURNING:
            self._highest = _below(self._requested, self.initial)
            self._ladder = [rate for rate in self._ladder if rate <= self._highest]
            self.state = STEADY
        return b""

    def deadline(self, idle: bool) -> float:
        """When `data_to_send` will have something; infinite for never."""
        if self.state == STEADY:
            return 0.0 if self._ladder and idle else self._scan_at
        return self._at

    def received_echo(self, body: bytes, now: float) -> None:
        """The board has said that it will switch."""
        if self.state == ASKING and struct.unpack_from("<I", body, 1)[0] == self._requested:
            self.state = SWITCHING
            self._at = now + PAUSE_S

    def received(self) -> None:
        """A packet has arrived undamaged."""
        self._noise_bytes = 0
        self._scan_at = math.inf
        self._intact += 1
        if self.state == TRYING:
            self.state = STEADY
            self._highest, self._ladder = self._requested, []

    def on_noise(self, size: int, now: float) -> None:
        """Noise, or a damaged packet, of ``size`` bytes has arrived."""
        if self.current == self.initial or self.state != STEADY:
            return
        self._damaged += 1
        self._noise_bytes += size
        if self._noise_bytes > NOISE_BYTES:
            self._scan_at = min(self._scan_at, now + NOISE_S)
        if self._intact + self._damaged >= SAMPLE_PACKETS:
            if self._damaged > MAX_DAMAGED * (self._intact + self._damaged):
                self._ask(_below(self.current, self.initial), now)
            self._intact = self._damaged = 0

    def _ask(self, rate: int, now: float) -> None:
        self.state = ASKING
        self._requested = rate
        self._asks = 0
        self._at = now


def _below(rate: int, initial: int) -> int:
    """The next lower rate."""
    return next((lower for lower in LADDER if initial < lower < rate), initial)
