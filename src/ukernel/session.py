"""The host's end of the line, without any input or output: bytes in, events out, bytes to send.

    session = Session(line="uart", now=clock())
    events = session.receive_data(data, now)
    stream.write(session.data_to_send(now))
    wait until session.deadline(), or until data arrives

docs/protocol.md specifies what travels; `ucore.wire` holds its numbers; `ucore.link` is the other end.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import struct
from binascii import crc32
from collections import deque
from dataclasses import dataclass, field

from ucore import wire
from ukernel.errors import BoardVersionError

CONNECTING, READY, REFUSED = "connecting", "ready", "refused"

HELLO_S = 0.3  # between two hellos: a board answers in a few ms, one at 9600 baud in 250
ACK_DELAY_S = 0.004  # an ack waits so long for more to acknowledge
FIRST_RTO_S = 0.25
MAX_RTO_S = 4.0
MIN_GAP_S = 0.010  # a frame asked for again comes no sooner: the board looks at its input once a millisecond
MAX_GAP_S = 0.25
PING_S = 3.0  # a silent board is asked whether it lives
SILENT_S = 10.0  # without an answer for so long, a board that runs no cell is taken for gone
NUDGE_S = (
    0.25  # of silence after we have sent something: a newline frees a board that waits for the end of a torn line; then doubled
)
MAX_NUDGES = 6
INTERRUPT_S = (
    0.15,
    1.0,
)  # from the first Ctrl-C to the second (the ticker may have swallowed it), and between the others: a program may be tidying up
MAX_SEGMENT = 4096  # bytes without a mark: more is no frame
MAX_REPORTED = 60  # missing frames one ack can name: a line has 300 bytes

WINDOW_S = 0.18  # of a UART's time: bytes the board may have unacknowledged; more would only wait in queues
WINDOWS = {"usb_jtag": 4096, "usb_cdc": 4096}
PAYLOADS = {
    "uart": 112,
    "usb_jtag": 230,
    "usb_cdc": 230,
}  # bytes of data in a frame: on a UART it fits the 120 bytes of one write
WIDE_WINDOW, WIDE_PAYLOAD = 6144, 470  # where the line has no such limit


@dataclass
class Ready:
    """The board answered: ``resumed`` with nothing lost, else afresh; ``restarted`` where it has booted since we knew it."""

    facts: dict
    resumed: bool
    restarted: bool
    cell_parent: int


@dataclass
class Refused:
    """The board cannot be served; ``error`` says why and what to do."""

    error: Exception


@dataclass
class Gone:
    """The board went away, or answers no more; its requests have failed. It is looked for until it is closed."""

    error: Exception


@dataclass
class Message:
    type: int
    parent: int
    content: bytes


@dataclass
class PipeOpened:
    """A pipe opened; ``number`` is that of its next frame (above 0 only where a new host learns of an old pipe)."""

    id: int
    generation: int
    name: str
    number: int


@dataclass
class PipeBatch:
    """Frames of one size: the first has ``number`` (32 bits); a gap before it is loss on the board."""

    id: int
    number: int
    size: int
    data: bytes


@dataclass
class PipeClosed:
    """A pipe closed after ``frames`` frames in all, lost ones included."""

    id: int
    frames: int


@dataclass
class Console:
    """Text outside of frames: boot messages, what C code prints, tracebacks of a dying program."""

    text: str


@dataclass
class Counts:
    """What the line did, since the session's beginning."""

    received_bytes: int = 0
    frames: int = 0
    damaged: int = 0
    repeated: int = 0
    noise_bytes: int = 0
    asked_again: int = 0
    resent_lines: int = 0


@dataclass
class _Run:
    """A run of equal items being put together from the frames of one read."""

    id: int = -1
    number: int = 0
    size: int = 0
    parts: list = field(default_factory=list)
    items: int = 0


class Session:
    """One host session with one board.

    line: the stream's kind in `ukernel.ports`, "uart", "usb_jtag", "usb_cdc" or one without their limits; baudrate: of a UART, in baud;
    nonce: 32 bits, for tests; hello: more for the board's ears (tests of its pacing).
    """

    def __init__(self, *, line: str = "pty", baudrate: int = 115200, nonce: int | None = None, hello: dict | None = None):
        self.nonce = nonce if nonce is not None else int.from_bytes(os.urandom(4), "little") | 1
        self.state = CONNECTING
        self.facts: dict = {}
        self.counts = Counts()
        self._hello = {
            "v": wire.PROTOCOL,
            "nonce": self.nonce,
            "line": line,
            "baud": baudrate,
            "window": WINDOWS.get(line, WIDE_WINDOW) if line != "uart" else _uart_window(baudrate),
            "payload": PAYLOADS.get(line, WIDE_PAYLOAD),
            **(hello or {}),
        }
        self._ack_bytes = min(400, self._hello["window"] // 5) if line == "uart" else self._hello["window"] // 4
        self._boot: int | None = None
        self._buffer = b""
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._out = bytearray()
        self._hello_at = 0.0
        self._silent_told = False
        self._heard_at = 0.0
        self._begin()

    def _begin(self) -> None:
        """Sequences start afresh."""
        # From the board
        self._expected = 0
        self._early: dict[int, tuple[int, bytes]] = {}
        self._missing: dict[int, float] = {}  # sequence number -> when to ask for it again
        self._asked: dict[int, float] = {}  # asked for at first, at: its coming measures the gap time
        self._gap_s = 0.030
        self._unacked = 0
        self._ack_at: float | None = None
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._pipe = -1
        self._runs: dict[int, list[int]] = {}  # pipe id -> [item size, next number]
        self._chunks: dict[int, list] = {}  # pipe id -> [number, parts, bytes]
        self._run = _Run()
        # To the board
        self._ring = wire.SAFE_RING
        self._next = 0
        self._queue: deque[tuple[int, bytes]] = deque()  # (kind, payload) not yet sent
        self._sent: deque[tuple[int, bytes, int]] = deque()  # (number, line, type) not yet acknowledged
        self._sent_bytes = 0
        self._sent_at = 0.0
        self._fresh = True  # nothing of what is out has been resent, so an ack for it measures the round trip
        self._rtt: float | None = None
        self._rtt_var = 0.0
        self._rto = FIRST_RTO_S
        self._since_heard = 0
        self._silent_since: float | None = None
        self._nudge_at = math.inf
        self._nudges = 0
        # The running cell
        self.cell = 0
        self._started = False
        self._interrupt_at: float | None = None
        self._interrupted = False

    # What the owner calls

    def start(self, now: float) -> None:
        """Say hello, at first or after the stream was lost and found again: the same session goes on where the board knows it."""
        self.state = CONNECTING
        self._buffer = b""
        self._out.clear()
        self._hello_at = now
        self._heard_at = now

    def send(self, type: int, parent: int, content: bytes) -> None:
        """Queue a message for the board."""
        data = bytes((type, parent & 255, parent >> 8)) + content
        step = wire.LINE_PAYLOAD
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        kinds = [wire.MESSAGE] if len(pieces) == 1 else [wire.PART] * (len(pieces) - 1) + [wire.LAST]
        self._queue.extend(zip(kinds, pieces))
        if type == wire.EXECUTE_REQUEST:
            self.cell = parent
            self._started = False
            self._interrupt_at = None

    def interrupt(self, now: float) -> None:
        """Interrupt the running cell: Ctrl-C once it has started, again until it ends."""
        if self.cell and self._interrupt_at is None:
            self._interrupt_at = now
            self._interrupted = False

    def receive_data(self, data: bytes, now: float) -> list:
        """Take in what the line brought; returns the events in it."""
        events: list = []
        self.counts.received_bytes += len(data)
        segments = (self._buffer + data).split(b"\xf7")
        self._buffer = segments.pop()
        for segment in segments:
            if segment:
                self._segment(segment, events, now)
        rest = self._buffer
        if rest and not 0x80 <= rest[0] <= 0x8F:
            self._console(rest, events)  # text need not wait for a mark
            self._buffer = b""
        elif len(rest) > MAX_SEGMENT:
            self.counts.noise_bytes += len(rest)
            self._buffer = b""
        self._end_run(events)
        return events

    def data_to_send(self, now: float) -> bytes:
        """What is due to go out now."""
        out = self._out
        if self.state == CONNECTING:
            if now >= self._hello_at:
                self._hello_at = now + HELLO_S
                content = json.dumps(self._hello, separators=(",", ":")).encode()
                out += b"\n" + self._line(bytes((wire.HELLO,)) + content, 0)
        elif self.state == READY:
            if self._missing:
                self._ask(now)
            if self._ack_at is not None and now >= self._ack_at:
                self._acknowledge(now, ())
            self._resend_due(now)
            self._send_queued(now)
            if self._interrupt_at is not None and self._started and now >= self._interrupt_at:
                out += b"\x03"
                self._interrupt_at = now + INTERRUPT_S[self._interrupted]
                self._interrupted = True
            if not self.cell and now - self._heard_at > PING_S:
                self._heard_at = now - PING_S / 2
                out += self._line(bytes((wire.PING,)), self.nonce)
                if self._silent_since is None:
                    self._silent_since = now
            if out:
                self._nudges = 0
            elif now >= self._nudge_at:
                self._nudges += 1
                out += b"\n"
            if out:
                self._nudge_at = now + NUDGE_S * 2**self._nudges if self._nudges < MAX_NUDGES else math.inf
        data = bytes(out)
        out.clear()
        return data

    def deadline(self, now: float) -> float | None:
        """When `data_to_send` will have something without further input; None for never."""
        if self.state == CONNECTING:
            return self._hello_at
        if self.state == REFUSED:
            return None
        times = [self._ack_at, self._nudge_at]
        if self._missing:
            times.append(min(self._missing.values()))
        if self._sent and self._may_resend():
            times.append(self._sent_at + self._rto)
        if self._queue and self._fits(len(self._queue[0][1]) + 8):
            times.append(now)
        if self._started:
            times.append(self._interrupt_at)
        if not self.cell:
            times.append(self._heard_at + PING_S)
        first = min(time for time in times if time is not None)
        return first if first < math.inf else None

    def check_silence(self, now: float) -> bool:
        """True once the board owes an answer since SILENT_S: hellos go out then, until it answers."""
        if self.state == READY and self._silent_since is not None and now - self._silent_since > SILENT_S and not self._started:
            self.start(now)
            self._silent_since = None
            return True
        return False

    # From the board

    def _segment(self, segment: bytes, events: list, now: float) -> None:
        kind = segment[0]
        if not 0x80 <= kind <= 0x8F:
            self._console(segment, events)
            return
        body = wire.unstuff(segment)
        size = len(body)
        nonce = 0 if kind == wire.HELLO else self.nonce
        if size < 6 or crc32(body[:-4], nonce) != int.from_bytes(body[-4:], "little"):
            self.counts.damaged += 1
            return
        if kind == wire.HELLO:
            self._on_hello(body[1:-4], events, now)
            return
        if self.state != READY:
            return
        self.counts.frames += 1
        self._heard_at = now
        self._nudge_at = math.inf
        self._silent_since = None if not self._sent else self._silent_since
        self._since_heard = 0
        if kind == wire.ACK:
            self._on_ack(body[1], now)
            return
        number = body[1]
        ahead = (number - self._expected) & 255
        if ahead == 0:
            self._missing.pop(number, None)
            if self._asked:
                self._measure_gap(number, now)
            self._deliver(kind, body[2:-4], events)
            self._expected = number = (number + 1) & 255
            while number in self._early:
                kind, payload = self._early.pop(number)
                self._deliver(kind, payload, events)
                self._expected = number = (number + 1) & 255
        elif ahead <= wire.MAX_OUTSTANDING:
            if number in self._early:
                self.counts.repeated += 1
            self._early[number] = (kind, body[2:-4])
            self._missing.pop(number, None)
            if self._asked:
                self._measure_gap(number, now)
            self._note_missing(number, now)
        else:
            self.counts.repeated += 1
            self._unacked += self._ack_bytes  # our ack was lost, or is late: say it again
        self._unacked += size + 1
        if self._ack_at is None:
            self._ack_at = now + ACK_DELAY_S
        if self._unacked >= self._ack_bytes:
            self._ack_at = now

    def _note_missing(self, number: int, now: float) -> None:
        before = (number - 1) & 255
        while before != (self._expected - 1) & 255 and before not in self._early and before not in self._missing:
            self._missing[before] = now
            before = (before - 1) & 255

    def _measure_gap(self, number: int, now: float) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            self._gap_s += (now - asked - self._gap_s) / 4

    def _ask(self, now: float) -> None:
        """Ask again for what is missing, each frame when its time has come."""
        again = [number for number, time in self._missing.items() if now >= time]
        if again:
            wait = min(max(self._gap_s * 1.5, MIN_GAP_S), MAX_GAP_S)
            for number in again:
                self._missing[number] = now + wait
                self._asked.setdefault(number, now)
            self.counts.asked_again += len(again)
            self._acknowledge(now, again)

    def _acknowledge(self, now: float, again) -> None:
        frame = bytes((wire.ACK, self._expected))
        if self._early:
            ahead = max((number - self._expected) & 255 for number in self._early) + 1
            lack = [n & 255 for n in range(self._expected, self._expected + ahead) if n & 255 not in self._early]
            if len(lack) > MAX_REPORTED:
                ahead = (lack[MAX_REPORTED] - self._expected) & 255
                lack = lack[:MAX_REPORTED]
            first = [number for number in lack if number in again]
            rest = [number for number in lack if number not in again]
            frame += bytes(((self._expected + ahead) & 255, len(first), *first, *rest))
        self._out += self._line(frame, self.nonce)
        self._unacked = 0
        self._ack_at = None

    def _deliver(self, kind: int, payload: bytes, events: list) -> None:
        try:
            self._take(kind, payload, events)
        except (IndexError, struct.error):
            self.counts.damaged += 1  # the checksum fits, the content does not: no agent of ours has sent it

    def _take(self, kind: int, payload: bytes, events: list) -> None:
        if kind == wire.SAME:
            self._items(self._pipe, payload, events)
        elif kind == wire.NEXT:
            self._pipe = payload[0]
            self._items(self._pipe, payload[1:], events)
        elif kind == wire.BATCH:
            id, size, number = struct.unpack_from("<BHI", payload)
            self._pipe = id
            self._runs[id] = [size, number]
            self._items(id, payload[7:], events)
        else:
            self._end_run(events)
            if kind == wire.MESSAGE:
                self._message(payload, events)
            elif kind in (wire.PART, wire.LAST):
                if self._part_bytes <= 2 * wire.MAX_MESSAGE:
                    self._parts.append(payload)
                    self._part_bytes += len(payload)
                if kind == wire.LAST:
                    whole = b"".join(self._parts)
                    self._parts = []
                    self._part_bytes = 0
                    self._message(whole, events)
            elif kind in (wire.CHUNK, wire.CHUNK_PART):
                self._chunk(kind, payload, events)

    def _items(self, id: int, data: bytes, events: list) -> None:
        context = self._runs.get(id)
        if context is None or not context[0]:
            return  # no agent of ours sends this
        size, number = context
        items = len(data) // size
        context[1] = (number + items) & 0xFFFFFFFF
        run = self._run
        if run.id != id or run.size != size or run.number + run.items != number:
            self._end_run(events)
            run = self._run = _Run(id, number, size)
        run.parts.append(data)
        run.items += items

    def _end_run(self, events: list) -> None:
        run = self._run
        if run.items:
            data = run.parts[0] if len(run.parts) == 1 else b"".join(run.parts)
            events.append(PipeBatch(run.id, run.number, run.size, data))
            self._run = _Run()

    def _chunk(self, kind: int, payload: bytes, events: list) -> None:
        id, number, offset = struct.unpack_from("<BIH", payload)
        data = payload[7:]
        self._pipe = -1
        self._runs.pop(id, None)
        if offset == 0:
            held = self._chunks[id] = [number, [data], len(data)]
        else:
            held = self._chunks.get(id)
            if held is None or held[0] != number or held[2] != offset:
                self._chunks.pop(id, None)  # its beginning went to a host before us: it counts as lost
                return
            held[1].append(data)
            held[2] += len(data)
        if kind == wire.CHUNK:
            del self._chunks[id]
            events.append(PipeBatch(id, number, held[2], b"".join(held[1])))

    def _message(self, data: bytes, events: list) -> None:
        if len(data) < 3:
            return
        type, parent, content = data[0], data[1] | data[2] << 8, data[3:]
        if type == wire.COMM_OPEN and len(content) >= 7:
            id, generation, number = struct.unpack_from("<BHI", content)
            events.append(PipeOpened(id, generation, content[7:].decode("utf-8", "replace"), number))
        elif type == wire.COMM_CLOSE and len(content) >= 5:
            id, frames = struct.unpack_from("<BI", content)
            self._chunks.pop(id, None)
            events.append(PipeClosed(id, frames))
        else:
            if type == wire.STATUS and parent == self.cell:
                self._started = True
            elif type == wire.EXECUTE_REPLY and parent == self.cell:
                self.cell = 0
                self._started = False
                self._interrupt_at = None
            events.append(Message(type, parent, content))

    def _on_hello(self, content: bytes, events: list, now: float) -> None:
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
        self._heard_at = now
        self._silent_since = None
        self.facts = {key: value for key, value in hello.items() if key not in ("v", "nonce", "resumed", "cell")}
        if resumed:
            self._resend(now)
        else:
            waiting, cell = (self._queue, self.cell) if self._boot is None else ((), 0)
            self._boot = boot
            self._begin()
            self._queue.extend(waiting)  # what was asked of us before the first hello
            self.cell = cell
            if hello.get("cell"):
                # It outlived the session before: it may be interrupted, and need not look at the line.
                self.cell = int(hello["cell"])
                self._started = True
        self._ring = int(hello.get("ring", wire.SAFE_RING))
        events.append(Ready(self.facts, resumed, restarted, int(hello.get("cell", 0))))

    def _console(self, data: bytes, events: list) -> None:
        text = self._text.decode(data)
        if not text.isprintable():
            lines = text.splitlines(keepends=True)
            kept = [line for line in lines if "\ufffd" not in line and all(c >= " " or c in "\t\r\n\b\x1b\x04" for c in line)]
            self.counts.noise_bytes += sum(map(len, lines)) - sum(map(len, kept))
            text = "".join(kept)
        elif "\ufffd" in text:
            self.counts.noise_bytes += len(text)
            text = ""
        if text:
            events.append(Console(text.replace("\r\n", "\n")))

    # To the board

    def _line(self, body: bytes, nonce: int) -> bytes:
        return wire.escape(wire.checked(body, nonce)) + b"\n"

    def _fits(self, size: int) -> bool:
        return not self._sent or self._sent_bytes + size <= self._ring

    def _send_queued(self, now: float) -> None:
        while self._queue:
            kind, payload = self._queue[0]
            line = self._line(bytes((kind, self._next)) + payload, self.nonce)
            if not self._fits(len(line)):
                return
            self._queue.popleft()
            if not self._sent:
                self._sent_at = now
                self._fresh = True
                if self._silent_since is None:
                    self._silent_since = now
            self._sent.append((self._next, line, now))
            self._sent_bytes += len(line)
            self._since_heard += len(line)
            self._next = (self._next + 1) & 255
            self._out += line

    def _may_resend(self) -> bool:
        # A running cell may not look at its input for hours; what is resent then would only overrun the ring.
        return not self._started or self._since_heard + self._sent_bytes <= self._ring

    def _resend_due(self, now: float) -> None:
        if self._sent and now >= self._sent_at + self._rto and self._may_resend():
            self._rto = min(self._rto * 2, MAX_RTO_S)
            self._resend(now)

    def _resend(self, now: float) -> None:
        """Go back: all that is out goes again, after a newline that frees a board stuck in a torn line."""
        if not self._sent:
            return
        self._fresh = False
        self._sent_at = now
        self._since_heard += self._sent_bytes
        self.counts.resent_lines += len(self._sent)
        self._out += b"\n" + b"".join(line for _, line, _ in self._sent)

    def _on_ack(self, expected: int, now: float) -> None:
        out = len(self._sent)
        if not out:
            return
        first = self._sent[0][0]
        done = (expected - first) & 255
        if done > out:
            return
        if done == 0:
            # Said again: a line was damaged or lost. Once a round trip, for the lines behind it say the same.
            if now - self._sent_at >= min(self._rtt or self._rto, self._rto):
                self._resend(now)
            return
        for _ in range(done):
            _, line, at = self._sent.popleft()
            self._sent_bytes -= len(line)
        if self._fresh:
            self._measure(now - at)
        self._rto = max(0.05, self._rtt + 4 * self._rtt_var) if self._rtt is not None else FIRST_RTO_S
        self._sent_at = now
        self._silent_since = now if self._sent or self._queue else None
        if not self._sent:
            self._fresh = True

    def _measure(self, rtt: float) -> None:
        # RFC 6298
        if self._rtt is None:
            self._rtt, self._rtt_var = rtt, rtt / 2
        else:
            self._rtt_var += (abs(rtt - self._rtt) - self._rtt_var) / 4
            self._rtt += (rtt - self._rtt) / 8


def _uart_window(baudrate: int) -> int:
    return max(1024, min(int(baudrate / 10 * WINDOW_S), WIDE_WINDOW))


def _version_error(hello: dict) -> BoardVersionError:
    return BoardVersionError(
        f"the board speaks version {hello['v']} of the protocol (ucore {hello.get('build', 'unknown')}), "
        f"this computer version {wire.PROTOCOL} (ukernel {wire.BUILD}). Update the older one: "
        "`pip install -U ukernel` here, `ucore install PORT` for the board."
    )
