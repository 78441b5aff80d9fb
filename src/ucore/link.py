"""Reliable messages over the board's byte stream: numbered frames, acks, windows, resends, hello.

Nobody reads in the background: whoever waits, pumps. Two locks, always taken in the order rx, then tx, and nobody waits for the
host while holding one. KeyboardInterrupt strikes the main thread at jumps and in blocking calls only, so state is committed in
straight lines, and the bytes are written last: a frame half written is resent.

So do scheduled callbacks (machine.Timer, Pin.irq, micropython.schedule), with a GIL in any thread, without one in the main thread.
Such a callback must not wait for a lock that the very thread has which it interrupted; with a GIL for nothing at all, for while it
runs a thread that computes does not pass the GIL on; and it must be short, or a fast timer leaves no time for anything else. So what
it asks for is put aside, and done by threads and by the ticker.

A branch is a jump, and so is the call of a function that would give it a name, which costs heap besides. So where a straight line has to
choose, an element does: ``(a, b)[x == y]``, ``rooms[taken]``, ``gives[taken]``.
"""

import sys
from _thread import get_ident

import ucore
from ucore import wire
from ucore.quirks import (
    CPYTHON,
    ESP32,
    MAIN_WRITES,
    MAX_BAUD,
    PACED,
    SOON_MS,
    SPEEDS,
    hurry,
    json,
    micropython,
    sleep_ms,
    sleep_us,
    ticker,
    ticks_add,
    ticks_diff,
    ticks_ms,
    ticks_us,
)
from ucore.wire import MARK, crc32

GONE_MS = 3000  # no ack progress for so long: the host is gone, output is dropped and counted
MIN_RTO_MS = 100  # below this, a busy host's scheduling looks like loss
TICK_MS = 5
TRIES = 3  # of the main thread to write what another core has committed; if it has the lock itself, more would only hold it up
FIRST_RTO_MS = 250
MAX_RTO_MS = 4000
# At a raised baud rate, between two cells, without a valid line: back to the first one. The host pings every 3 s.
DEAF_MS = 8000
MAX_DEAF = 5  # the same for damaged lines in a row
MAX_ASIDE = 50
QUIET_MS = 3  # after so long without a frame a stray print may stand before the next: it gets a mark of its own
_NOTHING = (b"", 0, None, True)
_asked = set()  # the number of each `_answer` that is scheduled
_answer = _asked.discard


def rare(module, function, *args):
    """Call a function of a module that is seldom needed, and drop the module again."""
    mend()
    __import__("ucore." + module)
    found = sys.modules.pop("ucore." + module)
    ucore.__dict__[module] = None
    return found.__dict__[function](*args)


def mend():
    """Put back what is the agent's where a program has cleared sys.modules, or sys.path: then MicroPython finds not even what is loaded."""
    if not sys.path:
        sys.path.append("")
    if sys.modules.get("ucore") is not ucore:
        sys.modules["ucore"] = ucore
        rare("startup", "take_over", ucore._link.runner)


class Link:
    """The board's end of the line.

    ``inbox`` holds the messages received, (type, parent, content); ``session`` counts the host sessions, so that who waits for an
    answer sees that its session is over. ``flush(now)`` sends what has been held long enough; ``keep()`` tells what outlives a
    session, which ``renew(kept)`` sends in the next; all three with tx held. ``forget(thread)`` is called when a thread begins or
    ends. Each is None until its module is loaded. ``fetched``, ``remote``: of a mounted folder, see `ucore.remote`. ``calls``: what callbacks have put aside, (function, arguments); ``busy``: the main
    thread is where a ticker that interrupts it must not do them.

    What it begins with is in `ucore.startup`.
    """

    def get(self, name):
        """What `ucore` does not have yet."""
        return rare("about", "get", self, name)

    def begin(self, hello):
        """A host session starts afresh; called with both locks held (or before there are two threads)."""
        self.payload = hello.get("payload", 112)
        line = hello.get("line")
        uart = line == "uart"
        self.max_write = 120 if uart else 4096
        if PACED:
            self._jtag = line == "usb_jtag"
            self._pace = (uart and ESP32) or hello.get("fifo")
        if SPEEDS and line and line[:3] == "usb":
            rare("speed", "set_baud", MAX_BAUD)  # most firmware says everything on the UART as well, and waits for it
        self.run_at(uart and hello.get("baud", 115200), hello.get("window", 2048))
        self._rto = self._rto_min + FIRST_RTO_MS
        self.seq = self.base = 0
        self.out = {}  # seq -> [frame, sent at, meta, resent]
        self.flight = 0
        self.gone = False
        self.last = None  # the pipe of the last pipe frame
        self.expected = self._held = 0
        self._parts = None
        self._clean = False
        self._srtt = 0
        self._var = 0
        self._sent_at = self._progress = self.pumped = ticks_ms()
        self.nonce = hello.get("nonce", 0)  # last: an interrupt before it leaves the old session, and the host asks again

    def run_at(self, baud, window):
        """The line takes ``baud`` (0 where that means nothing), and the host ``window`` bytes that it has not acknowledged."""
        self.window = window
        # A window full of frames may wait in a UART's queue before an ack can come; that is no loss.
        self._rto_min = MIN_RTO_MS + (window * 10000 // baud if baud else 0)
        if PACED:
            self._pace = self._pace and baud
            self._empty_at = ticks_us()
        if SPEEDS:
            self.first_baud = self.first_baud or baud
            self.baud = baud
            self._deaf = 0
            self._heard = ticks_ms()

    # Out

    def room(self, size, reserve=0):
        """Whether a frame with ``size`` bytes of payload may go out now, leaving ``reserve`` bytes of window; tx held."""
        return (
            self.nonce != 0
            and not self.gone
            and self.flight + size + 16 <= self.window - reserve
            and (self.seq - self.base) & 255 < wire.MAX_OUTSTANDING
        )

    def commit(self, body, meta):
        """Number, keep and write a frame: ``body`` is kind, an empty byte, payload; tx held, `room` asked.

        ``meta`` says what the frame is, for the next session; None where it dies with this one.
        """
        seq = self.seq
        body[1] = seq
        self.enter(body + crc32(body, self.nonce).to_bytes(4, "little"), meta)

    def enter(self, body, meta):
        """Keep and write a finished frame, numbered ``self.seq`` and with its CRC; tx held."""
        frame = wire.stuff(bytes(body)) + MARK
        seq = self.seq
        now = ticks_ms()
        self._progress = (self._progress, now)[seq == self.base]  # no jump here, see above
        self.out[seq] = [frame, now, meta, False]
        self.seq = (seq + 1) & 255
        self.flight += len(frame)
        self._write(frame, now)

    def _write(self, frame, now):
        if MAIN_WRITES:
            if get_ident() != self.main:
                self._late.append(frame)
                self._tries = TRIES
                return hurry(self._tick)
            if self._late:
                self._write_late(now)
        self._put(frame, now)

    def _write_late(self, now):
        late = self._late
        self._late = []
        for frame in late:
            self._put(frame, now)

    def _put(self, frame, now):
        if not self._clean or ticks_diff(now, self._sent_at) > QUIET_MS:
            frame = MARK + frame
        size = len(frame)
        if PACED and self._jtag and size & 63 == 0:
            frame += MARK  # a USB packet that is full to the brim may wait for another
            size += 1
        self._clean = False
        if PACED and self._pace:
            self._write_paced(frame, size)
            self._clean = True
        else:
            done = self.writer.write(frame) or 0 if size <= self.max_write else 0
            more = True
            while done < size and more:
                # The port takes only so much at once, or a write was cut short. Where it takes nothing, the frame is resent in its time.
                more = self.writer.write(memoryview(frame)[done : done + self.max_write]) or 0
                done += more
            self._clean = done == size
        self._sent_at = now

    def _write_paced(self, frame, size):
        # The ESP32's UART takes 128 bytes; a write that does not fit waits for a 10 ms tick. So wait by the clock instead.
        view = memoryview(frame)
        done = 0
        while done < size:
            part = min(size - done, 60)  # small steps, so that the FIFO does not run dry
            ahead = ticks_diff(self._empty_at, ticks_us()) - (122 - part) * 10000000 // self._pace
            if ahead > 0:
                sleep_us(ahead)
            now = ticks_us()
            if ticks_diff(self._empty_at, now) < 0:
                self._empty_at = now
            self.writer.write(view[done : done + part])
            self._empty_at = ticks_add(self._empty_at, part * 10000000 // self._pace)
            done += part

    def bare(self, kind, payload, nonce):
        """Write a frame that is neither numbered nor kept; tx held."""
        body = wire.checked(bytes((kind,)) + payload, nonce)
        self._write(wire.stuff(body) + MARK, ticks_ms())

    def send(self, type, parent, content, meta=None, session=None):
        """Send a message after what is printed, in parts where it is large; waits for the window.

        On a busy thread. Returns False where the session ended first.
        """
        self.output.drain()
        session = self.session if session is None else session
        data = bytes((type, parent & 255, parent >> 8)) + content
        if len(data) <= self.payload:
            return self._send_frame(wire.MESSAGE, data, meta, session)
        with self.big:  # parts of two messages must not mix; who holds it pumps
            try:
                for at in range(0, len(data), self.payload):
                    kind = wire.PART if at + self.payload < len(data) else wire.LAST
                    if not self._send_frame(kind, data[at : at + self.payload], None, session):
                        return False
                session = None
            finally:
                if session is not None:  # interrupted: what has been sent is taken back, or it would begin the next message
                    self._send_frame(wire.LAST, b"", None, session)
        return True

    def _send_frame(self, kind, data, meta, session):
        while True:
            with self.tx:
                if session != self.session or self.leave:
                    return False
                if self.room(len(data)):
                    self.commit(bytearray((kind, 0)) + data, meta)
                    return True
            self.pump(1)

    # In

    def take(self, type):
        """Take the first message of a type out of the inbox; None where there is none."""
        with self.rx:
            for message in self.inbox:
                if message[0] == type:
                    self.inbox.remove(message)
                    return message

    def pump(self, wait_ms=0):
        """Take in what has arrived, send what is due; then give others a moment, ``wait_ms`` long."""
        with self.rx:
            while not self.leave and any(self.ready(0)):
                first = self.reader.read(1)
                if (first == b"\r" and not (SPEEDS and self.baud != self.first_baud)) or not first:
                    # No line of ours holds a carriage return: mpremote or a person at a terminal wants the REPL, and what follows
                    # is for it (but at a raised baud rate it is noise). Or the input has ended, and nobody will ever come.
                    with self.tx:
                        self.leave = True
                        self.nonce = 0
                elif first > b"\n":
                    self._line(first + self.reader.readline(wire.MAX_LINE))
                    self.short = 0
        self.pumped = now = ticks_ms()
        if not self.leave:
            with self.tx:
                self._timers(now)
            if MAIN_WRITES and self._late:
                hurry(self._tick)  # who committed it had the lock itself, perhaps throughout the main thread's tries
        if wait_ms:
            sleep_ms(wait_ms)

    def inside(self):
        """Whether this is a callback."""
        return (not MAIN_WRITES or get_ident() == self.main) and self.in_callback()

    def in_callback(self):
        """Whether a scheduled callback is running, in this thread as far as one can know: then no other runs, not even `_answer`.

        Not for the other core of a board without a GIL, which runs none.
        """
        if CPYTHON:
            return micropython is not None and micropython.in_callback()
        if MAIN_WRITES and self.busy:
            return True  # the main thread itself asks for nothing then
        token = self._asks
        asked = token in _asked  # by another, and not answered yet
        for _ in b"0123456789":  # a jump runs one callback, and 8 may wait before ours
            if not asked:
                try:
                    micropython.schedule(_answer, (token + 1) & 0xFFFF)
                    # No jump from here on, so it has not been answered yet. A new number for each: another may ask before we look.
                    self._asks = token = (token + 1) & 0xFFFF
                    _asked.add(token)
                    asked = True
                except RuntimeError:  # as many wait as can
                    if MAIN_WRITES:
                        return False  # who is not busy may wait
            elif token not in _asked:
                return False
        return True

    def do(self, call, *args):
        """Call it as a thread may, after what has been put aside, and return what it returns.

        In a callback, put it aside instead: returns None; False where too much is, and this has been dropped.
        """
        if MAIN_WRITES and get_ident() != self.main:  # nothing interrupts the other core, and a shared list is not safe there
            return call(*args)
        if self.in_callback():
            self.idle_ms = SOON_MS
            return False if len(self.calls) >= MAX_ASIDE else self.calls.append((call, args))
        self.busy = True
        try:  # no jump before it
            if ticks_diff(ticks_ms(), self.pumped) > 0:
                self.pump()
            if self.calls:
                self.catch_up()
            return call(*args)
        finally:
            self.busy = False

    def catch_up(self, most_ms=GONE_MS):
        """Do what has been put aside; on a busy thread, or in the ticker."""
        if MAIN_WRITES:
            began = ticks_ms()
        if not MAIN_WRITES:
            self._catching += 1
        try:  # no jump before it
            # One thread at a time, or they would come out of order. What a fast timer adds meanwhile is for the next.
            for _ in range(len(self.calls) if MAIN_WRITES else len(self.calls) * (self._catching == 1)):
                if MAIN_WRITES and ticks_diff(ticks_ms(), began) >= most_ms:
                    break
                call, args = self.calls[0]
                try:
                    call(*args)
                finally:
                    self.calls.pop(0)  # at last: until then pipes know that something is to come before
        finally:
            if not MAIN_WRITES:
                self._catching -= 1

    def tick(self, change):
        """One more (1) or one less (-1) needs the ticker: it sends what is held while the main thread is busy."""
        with self.tx:
            self.ticks += change
            if self.ticks and not self._ticker:
                self._ticker = ticker(self._tick, TICK_MS)
            elif not self.ticks and self._ticker:
                self._ticker()
                self._ticker = None

    def _tick(self, timer):
        # It may have interrupted who has the lock: never wait for it here. Nor raise: where memory is full, all threads share one
        # exception, and the main thread's MemoryError would become another.
        taken = False
        try:
            taken = self.tx.acquire(False)
            if taken:
                now = ticks_ms()
                if MAIN_WRITES and self._late:
                    self._write_late(now)
                self.flush(now)
            elif MAIN_WRITES and self._late and self._tries:
                self._tries -= 1
                hurry(self._tick)
        finally:
            self.gives[taken]()
        # A ticker that is a callback itself neither waits for the line nor takes all of the main thread's time.
        if self.calls and not (MAIN_WRITES and (self.busy or (self.nonce and not self.room(self.payload, self.window // 2)))):
            self.catch_up(1)

    def _timers(self, now):
        self.flush(now)
        if SPEEDS and not self.cell and ticks_diff(now, self._heard) > DEAF_MS:
            self.slow_down()
        oldest = self.out.get(self.base)
        if oldest and (self.cell or not self.gone):  # a cell that has lost what the host said must hear it again
            if not self.gone and ticks_diff(now, self._progress) > GONE_MS:
                self.gone = True
                if SPEEDS:
                    self.slow_down()
            elif ticks_diff(now, oldest[1]) > self._rto:
                self._rto = min(self._rto * 2, MAX_RTO_MS)
                self._resend(self.base, now)

    def _resend(self, seq, now):
        kept = self.out[seq]
        kept[1] = now
        kept[3] = True
        self._clean = False
        self._write(kept[0], now)

    def _line(self, line):
        if b"\x03" in line:
            line = line.replace(b"\x03", b"")  # an interrupt that came between two cells
        if len(line) < 2:
            return
        body = wire.unescape(line[:-1])
        kind = body[0] if body else 0
        body = wire.unchecked(body, 0 if kind == wire.HELLO else self.nonce)
        if SPEEDS:
            self._deaf += 1
            if body:
                self._deaf = 0
                self._heard = ticks_ms()
            elif self._deaf > MAX_DEAF:  # here, because noise without an end of line keeps the timers waiting
                self.slow_down()
        if body is None or (kind != wire.HELLO and not self.nonce):
            if self.nonce:
                self._ack()  # a damaged line: what we expect, said again, makes the host resend at once
            return
        if self.gone:
            self.gone = False
            self._progress = ticks_ms()
        if kind == wire.ACK:
            self._acked(body)
        elif kind == wire.HELLO:
            self._hello(body)
        elif kind == wire.PING:
            self._ack()
        elif kind == wire.CLOCK:
            self.stamps = body[2]
            with self.tx:
                self.bare(kind, body[1:2] + (ticks_us() & wire.CLOCK_MASK).to_bytes(4, "little"), self.nonce)
        elif SPEEDS and kind == wire.BAUDRATE:
            with self.tx:
                self.bare(kind, body[1:], self.nonce)
                rare("speed", "switch", self, int.from_bytes(body[1:5], "little"), body[5] | body[6] << 8)
        else:
            self._numbered(kind, body)

    def _numbered(self, kind, body):
        expected = self.expected
        if len(body) > 1 and body[1] == expected:
            head = body[2:5]
            content = body[5:]
            parts = None
            held = 0
            if kind != wire.MESSAGE:
                parts = self._parts
                held = self._held
                content = body[2:]
                if not parts:
                    # All of its room at once: a piece that grows, or many pieces, would fragment the heap.
                    try:
                        parts = head, bytearray(int.from_bytes(body[5:9], "little"))
                    except MemoryError:
                        parts = head, None
                    content = body[9:]
                head, room = parts
                if room:
                    room[held : held + len(content)] = content  # at its place: an interrupted step is taken again
                    held += len(content)
                if kind == wire.LAST:
                    content = room or b"raise MemoryError('the cell is too large')"
                    parts = None
                    held = 0
            # A straight line: an interrupt, or too little memory for the message, finds all of it done, or nothing.
            if kind != wire.PART:
                self.inbox.append((head[0], head[1] | head[2] << 8, content))
            self._parts = parts
            self._held = held
            self.expected = (expected + 1) & 255
        self._ack()

    def _ack(self):
        with self.tx:
            self.bare(wire.ACK, bytes((self.expected,)), self.nonce)

    def _acked(self, body):
        with self.tx:
            out = self.out
            seq = self.base
            ack = body[1]
            if ((ack - seq) & 255) > ((self.seq - seq) & 255):
                return
            before = self.flight
            now = ticks_ms()
            fresh = None
            while seq != ack:
                kept = out.pop(seq, _NOTHING)
                self.flight -= len(kept[0])
                self.base = seq = (seq + 1) & 255
                if not kept[3]:
                    fresh = kept
            if len(body) > 4:
                # What lies between and is not missing has arrived: it leaves the window before its turn.
                missing = list(body[4:])
                again = missing[: body[3]]
                while seq != body[2] and seq != self.seq:
                    if seq not in missing:
                        self.flight -= len(out.pop(seq, _NOTHING)[0])
                    elif seq in again and seq in out:
                        self._resend(seq, now)
                    seq = (seq + 1) & 255
            if self.flight != before:
                self._progress = now
                if fresh:  # as TCP does (RFC 6298), in whole milliseconds
                    rtt = ticks_diff(now, fresh[1]) + 1
                    if self._srtt:
                        self._var += (abs(rtt - self._srtt) - self._var) // 4
                        self._srtt += (rtt - self._srtt) // 8
                    else:
                        self._srtt = rtt
                        self._var = rtt // 2
                self._rto = max(self._rto_min, self._srtt + 4 * self._var)

    # The baud rate

    def slow_down(self):
        """Go back to the rate that the UART began with: the REPL's, and a new host's."""
        if self.baud != self.first_baud:
            rare("speed", "set_baud", self.first_baud)
            self.run_at(self.first_baud, 2048)

    # Hello

    def _hello(self, body):
        try:
            hello = json.loads(body[1:])
            nonce = int(hello["nonce"])
            known = nonce == self.nonce
            fits = hello["v"] == wire.PROTOCOL
        except (ValueError, KeyError, TypeError):
            return
        with self.tx:
            frames = []
            if fits and not known:
                frames = self.keep() if self.keep else None
                self.begin(hello)
                self.session += 1
                self.inbox = []
            self.answer(nonce, known)
            if fits and not known:
                if self.renew:
                    self.renew(frames)
            elif known:
                self._progress = now = ticks_ms()
                seq = self.base
                while seq != self.seq:
                    if seq in self.out:
                        self._resend(seq, now)
                    seq = (seq + 1) & 255

    def answer(self, nonce, resumed):
        """Say hello; tx held."""
        reply = '{"nonce":%d,"resumed":%d,"cell":%d,%s}' % (nonce, resumed, self.cell, self._facts)
        self._clean = False
        self.bare(wire.HELLO, reply.encode(), 0)
