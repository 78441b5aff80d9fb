"""The host's end of the line, without any input or output: bytes in, events out, bytes to send.

    session = Session(kind="uart")
    session.start(clock())
    events = session.receive_data(data, now)
    stream.set_baudrate(session.baudrate)
    stream.write(session.data_to_send(now))
    wait until session.deadline(now), or until data arrives

docs/protocol.md specifies what travels; `ucore.wire` holds its numbers; `ucore.link` is the other end. Here are the hello, the state
of the session and of the running cell; `ukernel.link.receiver` and `ukernel.link.sender` are the two directions, `ukernel.link.baudrate` the baud rate.
"""

from __future__ import annotations

import json
import math
import os
from binascii import crc32
from typing import Any

from ucore import wire
from ukernel.errors import BoardVersionError

from .baudrate import LOST, BaudRate, uart_window
from .clock import Clock
from .console import ConsoleText, is_kind, text_size
from .events import Console, Event, Gone, Message, PipeBatch, PipeClosed, PipeOpened, Ready, Refused
from .receiver import Counts, Receiver
from .sender import Sender, encode_line

__all__ = [
    "CONNECTING",
    "READY",
    "REFUSED",
    "Console",
    "Counts",
    "Event",
    "Gone",
    "Message",
    "PipeBatch",
    "PipeClosed",
    "PipeOpened",
    "Ready",
    "Refused",
    "Session",
]

CONNECTING, READY, REFUSED = "connecting", "ready", "refused"

HELLO_S = 0.3  # between two hellos: a board answers in a few ms, one at 9600 baud in 250
PING_S = 3.0  # a silent board is asked whether it lives
SILENT_S = 10.0  # without an answer for so long, also to an interrupt, a board is taken for gone
# Of silence after we or the board have sent something: a newline frees a board that waits for the end of a torn line; then doubled.
WAKE_NEWLINE_S = 0.25
MAX_WAKE_NEWLINES = 6
# Between two Ctrl-C: a callback may have swallowed the first, which is rare; but mostly the program is tidying up in its `finally`.
INTERRUPT_S = 1.0
MAX_SEGMENT = 4096  # bytes without a mark: more is no packet

WINDOWS = {"usb_jtag": 4096, "usb_cdc": 4096}
# Bytes of data in a packet: on a UART it fits the 120 bytes of one write.
PAYLOADS = {"uart": 112, "usb_jtag": 230, "usb_cdc": 230}
WIDE_WINDOW, WIDE_PAYLOAD = 6144, 470  # where the line has no such limit


class Session:
    """One host session with one board.

    kind: the port's in `ukernel.ports`, "uart", "usb_jtag", "usb_cdc" or one without their limits; baudrate: of a UART as it is
    opened, max_baudrate: the most it may be raised to, in baud; nonce: 32 bits, for tests; hello: more for the board's ears (tests of
    its pacing).
    """

    def __init__(
        self,
        *,
        kind: str = "pty",
        baudrate: int = 115200,
        max_baudrate: int = 0,
        nonce: int | None = None,
        hello: dict[str, Any] | None = None,
    ):
        self.nonce = nonce if nonce is not None else int.from_bytes(os.urandom(4), "little") | 1
        self.state = CONNECTING
        self.facts: dict[str, Any] = {}
        self.counts = Counts()
        self.clock = Clock()
        is_uart = kind == "uart"
        self._baudrate = BaudRate(baudrate, max(max_baudrate, baudrate) if is_uart else baudrate, self.nonce)
        self._hello = {
            "v": wire.PROTOCOL,
            "nonce": self.nonce,
            "line": kind,
            "window": WINDOWS.get(kind, WIDE_WINDOW),
            "payload": PAYLOADS.get(kind, WIDE_PAYLOAD),
        }
        self._more_hello = hello or {}
        window = self._hello_content()["window"]
        self._ack_bytes = min(400, window // 5) if is_uart else window // 4
        self._boot: int | None = None
        self._buffer = b""
        self._text = ConsoleText()
        self._out = bytearray()
        self._hello_at = 0.0
        self._hellos = 0
        self._received_at = 0.0
        self._begin()

    def _begin(self) -> None:
        """Sequences start afresh."""
        self.clock.begin()
        self._receiver = Receiver(self._ack_bytes, self.counts, self.clock)
        self._sender = Sender(self.nonce)
        self._silent_since: float | None = None
        self._wake_newline_at = math.inf
        self._wake_newlines = 0
        # The running cell
        self.cell = 0
        self._started = False
        self._interrupt_at: float | None = None
        self._interrupted_at: float | None = None  # the first Ctrl-C

    # What the owner calls

    @property
    def baudrate(self) -> int:
        """What a UART is to be set to before the next byte is sent, in baud."""
        return self._baudrate.current

    def start(self, now: float) -> None:
        """Say hello, at first or after the stream was lost and found again: the same session goes on where the board knows it."""
        self.state = CONNECTING
        self._buffer = b""
        self._out.clear()
        self._hello_at = now
        self._hellos = 0
        self._baudrate.scan(0, noisy=False)
        self._has_noise = False
        self._received_at = now

    def send(self, type: int, parent: int, content: bytes) -> None:
        """Queue a message for the board."""
        self._sender.send(type, parent, content)
        if type == wire.EXECUTE_REQUEST:
            self.cell = parent
            self._started = False
            self._interrupt_at = None

    def interrupt(self, now: float) -> None:
        """Interrupt the running cell: Ctrl-C once it has started, again until it ends."""
        if self.cell and self._interrupt_at is None:
            self._interrupt_at = now
            self._interrupted_at = None

    def slow_down(self, now: float) -> None:
        """Take the line back to the baud rate that it was opened with; `is_slow` tells when that is done."""
        self._baudrate.slow_down(now)

    @property
    def is_slow(self) -> bool:
        """Whether the line runs at the baud rate that it was opened with."""
        return self._baudrate.current == self._baudrate.initial and not self._baudrate.is_changing

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take in what the line brought; returns the events in it."""
        events: list[Event] = []
        segments = (self._buffer + data).split(wire.MARK)
        self._buffer = segments.pop()
        for segment in segments:
            if segment:
                self._segment(segment, events, now)
        rest = self._buffer
        is_text = rest and not is_kind(rest[0])
        if is_text and (self.state != READY or text_size(rest) == len(rest) or len(rest) > MAX_SEGMENT):
            size = text_size(rest) if self.state == READY else len(rest)
            self._console(rest[:size], events, now)  # text need not wait for a mark; but half a packet or character must
            self._buffer = rest[size:]
        elif len(rest) > MAX_SEGMENT:
            self._noise(len(rest), now)
            self._buffer = b""
        self._receiver.end_batch(events)
        return events

    def data_to_send(self, now: float) -> bytes:
        """What is due to go out now, at the rate that `baudrate` says from now on."""
        out = self._out
        if self.state == CONNECTING:
            if now >= self._hello_at:
                self._hello_at = now + HELLO_S
                self._baudrate.scan(self._hellos, self._has_noise)
                self._hellos += 1
                content = json.dumps(self._hello_content(), separators=(",", ":")).encode()
                out += b"\n" + encode_line(bytes((wire.HELLO,)) + content, 0)
        elif self.state == READY:
            change = self._baudrate.data_to_send(now, self._is_idle)
            if self._baudrate.state == LOST:
                self.start(now)
                return b""
            if self._baudrate.is_changing:
                return change
            for ack in self._receiver.acks(now):
                out += encode_line(ack, self.nonce)
            question = self.clock.data_to_send(now, self._received_at)
            if question:
                out += encode_line(question, self.nonce)
            out += self._sender.data_to_send(now, self._started)
            if self._sender.has_work and self._silent_since is None:
                self._silent_since = now
            if self._interrupt_at is not None and self._started and now >= self._interrupt_at:
                out += b"\x03"
                self._interrupt_at = now + INTERRUPT_S
                self._interrupted_at = self._interrupted_at or now
            if not self.cell and now - self._received_at > PING_S:
                self._received_at = now - PING_S / 2
                out += encode_line(bytes((wire.PING,)), self.nonce)
                if self._silent_since is None:
                    self._silent_since = now
            if out:
                self._wake_newlines = 0
            elif now >= self._wake_newline_at:
                self._wake_newlines += 1
                out += b"\n"
            if out:
                self._wake_newline_at = (
                    now + WAKE_NEWLINE_S * 2**self._wake_newlines if self._wake_newlines < MAX_WAKE_NEWLINES else math.inf
                )
        data = bytes(out)
        out.clear()
        return data

    def deadline(self, now: float) -> float | None:
        """When `data_to_send` will have something without further input; None for never."""
        if self.state == CONNECTING:
            return self._hello_at
        if self.state == REFUSED:
            return None
        times: list[float | None] = [self._baudrate.deadline(self._is_idle)]
        if not self._baudrate.is_changing:
            times += [self._receiver.deadline(), self._sender.deadline(now, self._started), self._wake_newline_at]
            times.append(self.clock.deadline(self._received_at))
            if self._started:
                times.append(self._interrupt_at)
            if not self.cell:
                times.append(self._received_at + PING_S)
        first = min(time for time in times if time is not None)
        return first if first < math.inf else None

    def check_silence(self, now: float) -> bool:
        """True once the board owes an answer since SILENT_S: hellos go out then, until it answers.

        A cell may run for hours without a word; but an interrupt is answered.
        """
        since = self._silent_since
        if self._started:
            since = None if self._interrupted_at is None else max(self._interrupted_at, self._received_at)
        if self.state != READY or since is None or now - since <= SILENT_S:
            return False
        self.start(now)
        self._silent_since = self._interrupted_at = None
        return True

    # From the board

    def _segment(self, segment: bytes, events: list[Event], now: float) -> None:
        # A program that writes to stdout itself may do so right before a packet, which then begins without a mark.
        size = 0 if is_kind(segment[0]) else text_size(segment)
        body = self._body(segment[size:])
        if size:
            self._console(segment if body is None else segment[:size], events, now)
        elif body is None:
            self.counts.damaged += 1
            self._on_noise(len(segment), now)
        if body is None:
            return
        kind = body[0]
        if kind == wire.HELLO:
            self._on_hello(body[1:-4], events, now)
            return
        if self.state != READY:
            return
        self.counts.packets += 1
        self._received_at = now
        # It has got what this answers, and may be stuck in the torn line behind that: what is resent can overrun its ring. Without a cell
        # it is pinged.
        self._wake_newlines = 0
        self._wake_newline_at = now + WAKE_NEWLINE_S if self.cell else math.inf
        self._baudrate.received()
        self._sender.received()
        if not self._sender.is_waiting:
            self._silent_since = None
        if kind == wire.ACK:
            was_waiting = self._sender.is_waiting
            self._out += self._sender.acknowledged(body[1], now)
            if was_waiting:
                self._silent_since = now if self._sender.has_work else None
        elif kind == wire.BAUDRATE:
            self._baudrate.received_echo(body, now)
        elif kind == wire.CLOCK:
            self.clock.received_answer(body[:-4], now)
        else:
            before = len(events)
            self._receiver.receive(kind, body[1], body[2:-4], events, now)
            for event in events[before:]:
                self._note_cell(event)

    def _note_cell(self, event: Event) -> None:
        """Follow the cell that runs."""
        if isinstance(event, Message) and event.parent == self.cell:
            if event.type == wire.STATUS:
                self._started = True
            elif event.type == wire.EXECUTE_REPLY:
                self.cell = 0
                self._started = False
                self._interrupt_at = None

    def _on_hello(self, content: bytes, events: list[Event], now: float) -> None:
        try:
            hello = json.loads(content)
            boot, nonce, version = hello["boot"], hello["nonce"], hello["v"]
        except (ValueError, KeyError, TypeError):
            return
        if nonce != self.nonce:
            if self.state == READY and boot != self._boot:
                self.start(now)  # the board has booted under our hands
            return
        if version != wire.PROTOCOL:
            self.state = REFUSED
            events.append(Refused(_version_error(hello)))
            return
        if self.state != CONNECTING:
            return
        resumed = bool(hello.get("resumed")) and boot == self._boot
        restarted = self._boot is not None and boot != self._boot
        self.state = READY
        self._received_at = now
        self._silent_since = None
        self.facts = {key: value for key, value in hello.items() if key not in ("v", "nonce", "resumed", "cell")}
        self._baudrate.begin(int(self.facts.get("max_baud", 0)), restarted)
        if resumed:
            self._out += self._sender.resend(now)
        else:
            before, cell = (self._sender, self.cell) if self._boot is None else (None, 0)
            self._boot = boot
            self._begin()
            if before is not None:
                self._sender.take_over(before)  # what was asked of us before the first hello
            self.cell = cell
            if hello.get("cell"):
                # It outlived the session before: it may be interrupted, and need not look at the line.
                self.cell = int(hello["cell"])
                self._started = True
        self._sender.ring = int(hello.get("ring", wire.SAFE_RING))
        events.append(Ready(self.facts, resumed, restarted, int(hello.get("cell", 0))))

    def _body(self, segment: bytes) -> bytes | None:
        """Return the inside of a frame with its CRC, None where that does not fit."""
        body = wire.unstuff(segment)
        nonce = 0 if segment and segment[0] == wire.HELLO else self.nonce
        return body if len(body) >= 6 and crc32(body[:-4], nonce) == int.from_bytes(body[-4:], "little") else None

    def _console(self, data: bytes, events: list[Event], now: float) -> None:
        text, noise = self._text.decode(data)
        if noise:
            self._noise(noise, now)
        if text:
            events.append(Console(text))

    def _noise(self, size: int, now: float) -> None:
        self.counts.noise_bytes += size
        self._on_noise(size, now)

    def _on_noise(self, size: int, now: float) -> None:
        self._has_noise = True
        if self.state == READY:
            self._baudrate.on_noise(size, now)

    # To the board

    @property
    def _is_idle(self) -> bool:
        return not self.cell and not self._sender.is_waiting

    def _hello_content(self) -> dict[str, Any]:
        content = {**self._hello, "baud": self._baudrate.current}
        if content["line"] == "uart":
            content["window"] = uart_window(self._baudrate.current)
        return {**content, **self._more_hello}


def _version_error(hello: dict[str, Any]) -> BoardVersionError:
    return BoardVersionError(
        f"the board speaks version {hello['v']} of the protocol (ucore {hello.get('build', 'unknown')}), "
        f"this computer version {wire.PROTOCOL} (ukernel {wire.BUILD}). Update the older one: "
        "`pip install -U ukernel` here, `ucore install PORT` for the board."
    )
