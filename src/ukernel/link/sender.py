"""To the board: messages leave as numbered lines, never more at once than the board's input ring holds (go back N)."""

from __future__ import annotations

from collections import deque

from ucore import wire

__all__ = ["Sender", "encode_line"]

FIRST_RTO_S = 0.25
MIN_RTO_S = 0.05
MAX_RTO_S = 4.0


def encode_line(body: bytes, nonce: int) -> bytes:
    """Return ``body`` (kind, seq where it has one, payload) as a line to the board."""
    line: bytes = wire.escape(wire.checked(body, nonce))
    return line + b"\n"


class Sender:
    """One session's messages to the board. ``ring``: bytes that its input holds unread.

    `received` is to be called for every packet from the board: one that says nothing may be running a program that does not look at its
    input for hours, and what is resent then would only overrun the ring.
    """

    def __init__(self, nonce: int):
        self.ring = wire.SAFE_RING
        self._nonce = nonce
        self._next_seq = 0
        self._queue: deque[tuple[int, bytes]] = deque()  # (kind, payload) not yet sent
        self._sent: deque[tuple[int, bytes, float]] = deque()  # (seq, line, when) not yet acknowledged
        self._sent_bytes = 0
        self._sent_at = 0.0
        self._fresh = True  # nothing of what is out has been resent, so an ack for it measures the round trip
        self._rtt: float | None = None
        self._rtt_var = 0.0
        self._rto = FIRST_RTO_S
        self._sent_since_received = 0  # bytes

    def send(self, type: int, parent: int, content: bytes) -> None:
        """Queue a message."""
        head = bytes((type, parent & 255, parent >> 8))
        step = wire.LINE_PAYLOAD
        if len(head + content) <= step:
            self._queue.append((wire.MESSAGE, head + content))
            return
        data = head + len(content).to_bytes(4, "little") + content
        for at in range(0, len(data), step):
            self._queue.append((wire.PART if at + step < len(data) else wire.LAST, data[at : at + step]))

    def take_over(self, other: Sender) -> None:
        """Send what was asked of another one, and what it has not sent."""
        self._queue.extend(other._queue)

    @property
    def is_waiting(self) -> bool:
        """Whether something is out that has not been acknowledged."""
        return bool(self._sent)

    @property
    def has_work(self) -> bool:
        """Whether something is out, or waits to go out."""
        return bool(self._sent or self._queue)

    def received(self) -> None:
        """The board has said something."""
        self._sent_since_received = 0

    def data_to_send(self, now: float, busy: bool) -> bytes:
        """What is due to go out now. ``busy``: the board runs a cell."""
        out = b""
        if self._sent and now >= self._sent_at + self._rto and self._may_resend(busy):
            self._rto = min(self._rto * 2, MAX_RTO_S)
            out = self.resend(now)
        while self._queue:
            kind, payload = self._queue[0]
            data = encode_line(bytes((kind, self._next_seq)) + payload, self._nonce)
            if not self._fits(len(data)):
                break
            self._queue.popleft()
            if not self._sent:
                self._sent_at = now
                self._fresh = True
            self._sent.append((self._next_seq, data, now))
            self._sent_bytes += len(data)
            self._sent_since_received += len(data)
            self._next_seq = (self._next_seq + 1) & 255
            out += data
        return out

    def deadline(self, now: float, busy: bool) -> float | None:
        """When `data_to_send` will have something without further input; None for never."""
        if self._queue and self._fits(len(self._queue[0][1]) + 8):
            return now
        if self._sent and self._may_resend(busy):
            return self._sent_at + self._rto
        return None

    def resend(self, now: float) -> bytes:
        """Go back: all that is out goes again, after a newline that frees a board stuck in a torn line."""
        if not self._sent:
            return b""
        self._fresh = False
        self._sent_at = now
        self._sent_since_received += self._sent_bytes
        return b"\n" + b"".join(data for _, data, _ in self._sent)

    def acknowledged(self, expected: int, now: float) -> bytes:
        """The board expects the line ``expected`` next. Returns what is to go out again because of that."""
        out = len(self._sent)
        if not out:
            return b""
        done = (expected - self._sent[0][0]) & 255
        if done > out:
            return b""
        if done == 0:
            # Said again: a line was damaged or lost. Once a round trip, for the lines behind it say the same.
            return self.resend(now) if now - self._sent_at >= min(self._rtt or self._rto, self._rto) else b""
        for _ in range(done):
            _, data, at = self._sent.popleft()
            self._sent_bytes -= len(data)
        if self._fresh:
            self._measure(now - at)
        self._rto = max(MIN_RTO_S, self._rtt + 4 * self._rtt_var) if self._rtt is not None else FIRST_RTO_S
        self._sent_at = now
        if not self._sent:
            self._fresh = True
        return b""

    def _fits(self, size: int) -> bool:
        return not self._sent or self._sent_bytes + size <= self.ring

    def _may_resend(self, busy: bool) -> bool:
        return not busy or self._sent_since_received + self._sent_bytes <= self.ring

    def _measure(self, rtt: float) -> None:
        # RFC 6298
        if self._rtt is None:
            self._rtt, self._rtt_var = rtt, rtt / 2
        else:
            self._rtt_var += (abs(rtt - self._rtt) - self._rtt_var) / 4
            self._rtt += (rtt - self._rtt) / 8
