"""Open pipes: batching, back-pressure, and the exact count of every frame.

Equal-sized writes travel as batches. A write goes out at once while writes are rare, so that a slow sensor is seen at once; where
they come fast, as many are held back as come in HOLD_MS, up to a frame full. Held items leave with the next write, with whoever
pumps, or by the ticker, whichever is first.
"""

import sys
from _thread import allocate_lock, get_ident

import ucore
from ucore import wire
from ucore.quirks import CPYTHON, MAIN_WRITES, struct, ticks_diff, ticks_ms, ticks_us
from ucore.wire import crc32

HOLD_MS = 4
LONG_MS = 16  # where more than one comes in a millisecond: there, what a frame costs a slow chip weighs more than latency
RESERVE = 256  # bytes of window that pipes leave to replies
_TOLD = -1  # in a kept frame's meta (opening, number, item size): what stands there for an opening or a close
SHARED = -1
_TAIL = 8  # a stamp and the CRC
_DATA = 12  # where items begin in a frame buffer, after kind, number, pipe id, item size, first number; a copy to a multiple of 4 is quick

_link = None
_open = {}  # name -> _Opening
_threads = {}  # (thread, name) -> _Opening: which opening a producer thread has seen; each touches its own keys only, the main one none
_main = 0
_generation = 0
_names = allocate_lock()


class _Opening:
    """One opening of a pipe: from open_pipe to close_pipe."""

    def __init__(self, name, id, generation, drop):
        self.name = name
        self.id = id
        self.generation = generation
        self.drop = drop
        self.open = True
        self.number = 0  # of the first item held; items dropped count too
        self.end = _DATA
        self.at = self.timed = 0  # the last `_write`: when it was called, in us, and where its item ends
        self.size = -1
        self.hold = HOLD_MS
        self.wire_size = -1  # what the host expects next, if this run goes on
        self.wire_number = 0
        self.flushed = ticks_ms()
        self.skipped = 0  # writes of callbacks that were too many to put aside
        self.late = []  # threads that have had their one write after the close, theirs or this one's
        self.writer = None  # the thread that writes; SHARED where it has been said that others do, too
        self.take = _link.tx.acquire if MAIN_WRITES else _link.tx.locked
        if MAIN_WRITES:
            self.give = _link.tx.release
            self.gives = _link.gives
        self.buffer = bytearray(_DATA + _link.payload + _TAIL)
        self.view = memoryview(self.buffer)
        self.room = self.view
        self._make_room(0)

    def _make_room(self, stop):
        """Let `write` hold items up to ``stop`` by itself, the next one where `end` is now; tx held, or in a callback.

        It is none while anything is put aside, which may be for this pipe: nothing is to overtake that.
        """
        self.next = self.end + self.size
        if len(self.room) != stop:
            self.room = self.view[: stop * (not _link.calls)]  # no jump, or a callback could put something aside in between
            # By what `take` returns: whether it has the lock, or whether another has.
            self.rooms = (self.view[:0], self.room) if MAIN_WRITES else (self.room, self.view[:0])

    def write(self, data):
        """Send one frame, at most 65,535 bytes; blocks while the line is full.

        Raises ValueError for a larger one, TypeError for what is not bytes, OSError where the pipe is closed (the first write
        after the close is dropped in silence, so that a loop on is_pipe_open ends quietly).
        """
        # The one path that matters: a lock that is taken, room that is not there, another size, and what is not bytes all raise, and cost
        # nothing before.
        if not data:
            pass  # it would fit where there is no room
        elif CPYTHON:
            try:
                1 // (not _link.inside())  # a callback has its write put aside
                with _link.tx:
                    self.room[self.end : self.next] = data
                    self.end = self.next
                    self.next += self.size
                    return
            except Exception:
                pass
        elif not MAIN_WRITES:
            # Threads give way to each other, and to callbacks, at jumps only, and here is none. To take the lock would pass the GIL on.
            try:
                self.rooms[self.take()][self.end : self.next] = data
                self.end = self.next
                self.next += self.size
                return
            except:  # noqa: E722
                pass
        else:
            # An interrupt strikes at jumps only, and here is none. With one block and three names the call fits the C stack; otherwise
            # its frame comes from the heap each time, and finding room there takes longer than all else.
            taken = False
            try:
                taken = self.take(False)
                self.rooms[taken][self.end : self.next] = data
                self.end = self.next
                self.next += self.size
                self.give()
                return
            except:  # noqa: E722
                self.gives[taken]()
        self._write(data)

    def _write(self, data):
        if not isinstance(data, bytes):
            try:  # MicroPython's memoryview would take a str
                data = bytes(memoryview(None if isinstance(data, str) else data))
            except TypeError:
                raise TypeError(_link.get("write")(data))
        size = len(data)
        if size > wire.MAX_WRITE:
            raise ValueError("pipe.write takes at most 65535 bytes, not %d" % size)
        called = ticks_us()
        thread = get_ident()
        who = [thread]
        done = _link.do(self._write_for, data, called, who)
        if done:
            if thread != _main:
                _threads.setdefault((thread, self.name), self)
                if self.writer != thread and self.writer != SHARED:
                    self._meet(thread)
                if MAIN_WRITES and ticks_diff(ticks_ms(), _link.pumped) > 0:
                    _link.pump()  # where `do` has not
        elif done is None:
            who[0] = None  # a callback
            self._make_room(0)
        else:
            self._skip()

    def _meet(self, thread):
        """Another thread than the last one writes; a cell that was run twice has two. Say so, once, where both go on."""
        if _threads.get((thread, self.name)) is not self and thread not in self.late:
            self.late.append(thread)  # its own opening has ended: one write is not to be blamed
        elif (self.writer, self.name) not in _threads:
            self.writer = thread
        else:
            self.writer = SHARED
            __import__("ucore.threads")  # as `link.rare` does
            sys.modules.pop("ucore.threads").warn(self.name)
            ucore.threads = None

    def _write_for(self, data, called, who):
        try:
            self._write_now(data, called, who[0])
        except:  # it may be an interrupt of the thread that does it for a callback
            if who[0] is None and self.at != called:
                self._skip()
            raise
        return True

    def _skip(self):
        """A callback's write is dropped: it is to be counted."""
        if not self.skipped:
            _link.calls.append((self._count, ()))  # not to be left out
        self.skipped += 1

    def _count(self):
        while True:
            with _link.tx:
                if self._flush(ticks_ms(), self.drop):
                    self.number += self.skipped
                    self.skipped = 0
                    return
            _link.pump(1)

    def _write_now(self, data, called, thread):
        size = len(data)
        if size == 0 or size > len(self.buffer) - _DATA - _TAIL:
            return self._write_chunk(data, called, thread)
        while True:
            with _link.tx:
                if not self.open:
                    return self._too_late(thread)
                if self.end == _DATA and size != self.size:
                    self.size = size
                    self._make_room(0)
                if size == self.size and self.end + size + _TAIL <= len(self.buffer):
                    joins = self.next <= len(self.room)  # only the lock was not there at once
                    self.buffer[self.end : self.end + size] = data
                    self.timed = self.end = self.end + size
                    self.next = self.end + size
                    self.at = called
                    return None if joins else self._due(ticks_ms())
                # Full, or another size: what is held goes first. A host that is gone drops it, and it is counted.
                if self._flush(ticks_ms(), self.drop):
                    continue
            _link.pump(1)

    def _due(self, now):
        """Send what is held, or say how much more may be held; tx held."""
        items = (self.end - _DATA) // self.size
        quiet = ticks_diff(now, self.flushed)
        if quiet >= self.hold or self.end + self.size + _TAIL > len(self.buffer):
            self._flush(now)
        else:
            self._expect(items, quiet)

    def _expect(self, items, quiet):
        """``items`` came in ``quiet`` ms: let `write` hold as many as come until `hold` is over; tx held."""
        want = items * self.hold // max(quiet, 1) if quiet <= 2 * self.hold else 1
        # Whole items: the rest of one would be room for a smaller write.
        full = (len(self.buffer) - _DATA - _TAIL) // self.size
        self._make_room(_DATA + (max(1, min(want, full)) - 1) * self.size)

    def _flush(self, now, drop=False):
        """Send the items held; False where the window has no room, unless they may be dropped then. tx held."""
        end = self.end
        if end == _DATA:
            return True
        link = _link
        if not link.room(end - 3, RESERVE):
            if link.nonce and not (link.gone or drop):
                return False
            # Nobody listens, or nobody waits: the numbers go on, so the host learns how many it missed.
            self.number += (end - _DATA) // self.size
            self.end = _DATA
            self._make_room(0)
            return True
        buffer = self.buffer
        size = self.size
        if size == self.wire_size and self.number == self.wire_number:
            if link.last is self:
                start = _DATA - 2
                kind = wire.SAME
            else:
                start = _DATA - 3
                kind = wire.NEXT
                buffer[_DATA - 1] = self.id
        else:
            start = _DATA - 9
            kind = wire.BATCH
            struct.pack_into("<BHI", buffer, start + 2, self.id, size, self.number)
        if link.stamps:
            kind |= wire.STAMPED
            at = ticks_us()
            if self.timed == end:
                kind |= wire.EXACT
                at = self.at
            struct.pack_into("<I", buffer, end, at & wire.CLOCK_MASK)
            end += 4
        buffer[start] = kind
        buffer[start + 1] = link.seq
        struct.pack_into("<I", buffer, end, crc32(self.view[start:end], link.nonce))
        body = buffer[start : end + 4]
        meta = (self, self.number, size)
        items = (self.end - _DATA) // size
        quiet = ticks_diff(now, self.flushed)
        # A straight line from here to the write inside `enter`: an interrupt finds all of it done, or nothing.
        self.number = self.wire_number = self.number + items
        self.wire_size = -1  # where there is no memory for the frame, or it comes to an interrupt, the next one says its number
        self.end = _DATA
        self.timed = 0
        self.flushed = now
        link.last = self
        link.enter(body, meta)
        self.wire_size = size
        self.hold = LONG_MS if items > quiet else HOLD_MS
        self._expect(items, quiet)
        self.flushed = ticks_ms()  # a slow line is no slow producer
        return True

    def _write_chunk(self, data, called, thread):
        """A write that does not fit into one frame, or is empty: it has a number of its own."""
        link = _link
        session = link.session
        at = 0
        room = link.payload - 7
        while True:
            with _link.tx:
                if not self.open:
                    break
                if session != link.session:  # a new host has seen nothing of it
                    session = link.session
                    at = 0
                if self._flush(ticks_ms(), self.drop):
                    last = at + room >= len(data)
                    if not link.nonce or link.gone:
                        self.number += 1
                        return
                    # A producer that must not wait sends all of it or nothing.
                    if link.room(len(data) - at if self.drop else room + 7, RESERVE):
                        head = struct.pack("<BBBIH", wire.LAST_FRAGMENT if last else wire.FRAGMENT, 0, self.id, self.number, at)
                        body = bytearray(head) + data[at : at + room]
                        _stamp(body, called)
                        meta = (self, self.number, 0)
                        # A straight line, as in _flush.
                        at += room
                        self.at = (self.at, called)[last]
                        self.number += last
                        self.wire_size = -1
                        link.last = None
                        link.commit(body, meta)
                        if last:
                            return
                        continue
                    if self.drop:
                        self.number += 1
                        return
            link.pump(1)
        self._too_late(thread)

    def _too_late(self, thread):
        if thread in self.late:
            raise OSError("pipe %s is closed" % self.name)
        if thread is not None:
            self.late.append(thread)


def _begin(opening):
    """Tell the host of an opening for the first time; tx held."""
    body = _opened(opening, 0)
    meta = (opening, 0, _TOLD)
    # A straight line, as in _flush.
    seq = _link.seq
    _open[opening.name] = opening
    try:
        _link.commit(body, meta)
    except:
        if _link.seq == seq:  # no memory for the frame: the host has not been told
            del _open[opening.name]
        raise


def _end(opening):
    """Tell the host that an opening has ended, and how many frames it had; tx held."""
    body = _message(opening, wire.COMM_CLOSE, struct.pack("<I", opening.number))
    meta = (opening, opening.number, _TOLD)
    opening._make_room(0)  # whoever waits for the lock must not find any
    seq = _link.seq
    # A straight line, as in _flush.
    opening.open = False
    try:
        _link.commit(body, meta)
    except:
        opening.open = _link.seq == seq  # as in _begin
        raise


def _opened(opening, number):
    return _message(opening, wire.COMM_OPEN, struct.pack("<HI", opening.generation, number) + opening.name.encode())


def _message(opening, type, content):
    body = bytearray((wire.MESSAGE, 0, type, 0, 0, opening.id)) + content
    _stamp(body, ticks_us())
    return body


def _stamp(body, at):
    if _link.stamps:
        body[0] |= wire.STAMPED | wire.EXACT
        body += (at & wire.CLOCK_MASK).to_bytes(4, "little")


class Pipe:
    """A handle to an open pipe; a context manager that closes it on exit."""

    def __init__(self, opening):
        self.name = opening.name
        self.write = opening.write
        self._opening = opening

    def __repr__(self):
        return "<Pipe %s, %s>" % (self.name, "open" if self._opening.open else "closed")

    def close(self):
        """The same as ``ucore.close_pipe(self.name)``."""
        close_pipe(self.name)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        _close(self._opening)


def open_pipe(name, drop=False):
    """Open the pipe ``name`` and return a `Pipe`; another handle where it is open already. Raises ValueError for a bad name,
    OSError where 255 others are open.

    ``drop``: its producer never waits for the host: frames for which there is no room are dropped, and counted.
    """
    wire.check_name(name)
    opening = _open.get(name)
    if not (opening and opening.open):
        if _link.inside():
            raise RuntimeError("not in a callback")
        opening = _link.do(_open_now, name, drop)
    if get_ident() != _main:
        _threads[get_ident(), name] = opening
    return Pipe(opening)


def _open_now(name, drop):
    global _generation
    opening = _open.get(name)
    if opening and not opening.open:
        _close_now(opening)  # an interrupt came before all of it was done
    with _names:
        opening = _open.get(name)
        if not opening:
            used = []
            for other in _open.values():
                used.append(other.id)
            if len(used) == 255:
                raise OSError("255 pipes are open")
            generation = _generation = (_generation + 1) & 0x7FFF
            id = generation % 255
            while id in used:
                id = (id + 1) % 255
            opening = _Opening(name, id, generation | (wire.DROPS if drop else 0), drop)
            _link.tick(1)  # held items must leave in time even where the main thread computes
            try:
                _tell(opening, _begin)
                _open[name] = opening
            finally:
                if name not in _open:
                    _link.tick(-1)
    return opening


def close_pipe(name):
    """Close the pipe; does nothing where it is not open."""
    opening = _open.get(name)
    if opening:
        _close(opening)


def is_pipe_open(name):
    """Whether the pipe is open; for a thread whose own opening of it has ended: False, even where it was opened again."""
    opening = _open.get(name)
    thread = get_ident()
    if thread != _main:
        seen = _threads.get((thread, name))
        if seen:
            return seen.open
        if opening and not _link.inside():
            _threads[thread, name] = opening
    return opening is not None and opening.open


def forget(thread):
    """A thread ends, or one that has got its number begins: what it had seen counts no more."""
    for key in list(_threads):
        if key[0] == thread:
            del _threads[key]


def _close(opening):
    if _link.do(_close_now, opening) is False and (_close_now, (opening,)) not in _link.calls:
        _link.calls.append((_close_now, (opening,)))  # not to be left out


def _close_now(opening):
    with _names:
        if opening.open:
            _tell(opening, _end)
            with _link.tx:  # also where no host was there to be told
                opening.open = False
                opening._make_room(0)
        if _open.get(opening.name) is opening:
            del _open[opening.name]
            _link.tick(-1)


def _tell(opening, send):
    """Send an opening or a close, after what is held. It waits for the window, not for a host that is gone."""
    while True:
        with _link.tx:
            if opening._flush(ticks_ms()):
                if not _link.nonce:
                    return None  # a host that comes is told what is open
                if (_link.seq - _link.base) & 255 < wire.MAX_OUTSTANDING:
                    return send(opening)
                if _link.gone:
                    _link.nonce = 0  # too much to remember: the host that returns finds a new session
                    return None
        _link.pump(1)


def flush_due(now):
    """Send what has been held for HOLD_MS; tx held."""
    for opening in list(_open.values()):
        if opening.end != _DATA and ticks_diff(now, opening.flushed) >= opening.hold:
            opening._flush(now)


def _keep():
    """What nobody acknowledged, oldest first: (meta, kind, payload) of the frames that outlive their session; tx held."""
    frames = []
    seq = _link.base
    while seq != _link.seq:
        kept = _link.out.get(seq)
        if kept and kept[2]:
            body = wire.unstuff(kept[0][:-1])
            frames.append((kept[2], body[0], body[2:-4]))
        seq = (seq + 1) & 255
    return frames


def _renew(frames):
    """A new host: tell it what is open, and send again what the old one had not acknowledged; tx held."""
    first = {}
    for (opening, number, size), kind, payload in frames:
        first.setdefault(opening, number)
    for opening in _open.values():
        first.setdefault(opening, opening.number)
    for opening, number in first.items():
        opening.wire_size = -1
        _link.commit(_opened(opening, number), (opening, number, _TOLD))
    for (opening, number, size), kind, payload in frames:
        if size > 0:
            stamped = kind & (wire.STAMPED | wire.EXACT)
            kind -= stamped
            start = 7 if kind == wire.BATCH else 1 if kind == wire.NEXT else 0
            head = bytearray((wire.BATCH | stamped, 0)) + struct.pack("<BHI", opening.id, size, number)
            _link.commit(head + payload[start:], (opening, number, size))
        elif not size:
            _link.commit(bytearray((kind, 0)) + payload, (opening, number, size))
    for opening in first:
        if not opening.open:  # which the old one may not even have been told
            _end(opening)


def start(link):
    """Bind the pipes to the agent's link; done once."""
    global _link, _main
    if _link:
        return
    _main = link.main
    _link = link
    first = link.flush

    def flush(now):
        first(now)
        flush_due(now)

    link.flush = flush
    link.keep = _keep
    link.renew = _renew
    link.forget = forget
    ucore.open_pipe = open_pipe
    ucore.close_pipe = close_pipe
    ucore.is_pipe_open = is_pipe_open
    ucore.Pipe = Pipe
