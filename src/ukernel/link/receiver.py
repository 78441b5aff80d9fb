"""From the board: frames in any state and order become messages and pipe data, each once and in order (selective repeat)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ucore import wire
from ukernel.boards.rewrite import CUT

from .clock import Clock
from .events import Message, PipeBatch, PipeClosed, PipeOpened

__all__ = ["Counts", "Receiver"]

ACK_DELAY_S = 0.004  # an ack waits so long for more to acknowledge
MIN_GAP_S = 0.010  # a frame asked for again comes no sooner: the board looks at its input once a millisecond
MAX_GAP_S = 0.25
MAX_REPORTED = 60  # missing frames one ack can name: a line has 300 bytes


@dataclass
class Counts:
    """What came over the line, since the session's beginning."""

    frames: int = 0
    damaged: int = 0
    noise_bytes: int = 0


@dataclass
class _Run:
    """A run of equal items being put together from the frames of one read."""

    id: int = -1
    number: int = 0
    size: int = 0
    parts: list = field(default_factory=list)
    items: int = 0


class Receiver:
    """One session's frames from the board.

    ack_bytes: received bytes after which an acknowledgement is due at once. ``counts`` is written to. ``clock`` gives stamped frames
    their times.
    """

    def __init__(self, ack_bytes: int, counts: Counts, clock: Clock):
        self._ack_bytes = ack_bytes
        self._counts = counts
        self._clock = clock
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

    def receive(self, kind: int, number: int, payload: bytes, events: list, now: float) -> None:
        """Take in a frame whose checksum fits; what can be delivered by now is put into ``events``."""
        ahead = (number - self._expected) & 255
        if kind & wire.STAMPED and len(payload) >= 4:
            self._clock.came(int.from_bytes(payload[-4:], "little"), now)
        if ahead == 0:
            self._missing.pop(number, None)
            if self._asked:
                self._measure_gap(number, now)
            self._deliver(kind, payload, events, now)
            self._expected = number = (number + 1) & 255
            while number in self._early:
                self._deliver(*self._early.pop(number), events, now)
                self._expected = number = (number + 1) & 255
        elif ahead <= wire.MAX_OUTSTANDING:
            self._early[number] = (kind, payload)
            self._missing.pop(number, None)
            if self._asked:
                self._measure_gap(number, now)
            self._note_missing(number, now)
        else:
            self._unacked += self._ack_bytes  # our ack was lost, or is late: say it again
        self._unacked += len(payload) + 7
        if self._ack_at is None:
            self._ack_at = now + ACK_DELAY_S
        if self._unacked >= self._ack_bytes:
            self._ack_at = now

    def acks(self, now: float) -> list[bytes]:
        """Return the bodies of the ACK frames that are due: what is missing is asked for again, each frame when its time has come."""
        due = []
        again = [number for number, time in self._missing.items() if now >= time]
        if again:
            wait = min(max(self._gap_s * 1.5, MIN_GAP_S), MAX_GAP_S)
            for number in again:
                self._missing[number] = now + wait
                self._asked.setdefault(number, now)
            due.append(self._ack(again))
        if self._ack_at is not None and now >= self._ack_at:
            due.append(self._ack(()))
        return due

    def deadline(self) -> float | None:
        """When `acks` will have something without further input; None for never."""
        times = [*self._missing.values()]
        if self._ack_at is not None:
            times.append(self._ack_at)
        return min(times) if times else None

    def end_run(self, events: list) -> None:
        """Put the run of items that goes on into ``events``; at the end of every read, so that nothing is held back."""
        run = self._run
        if run.items:
            data = run.parts[0] if len(run.parts) == 1 else b"".join(run.parts)
            events.append(PipeBatch(run.id, run.number, run.size, data))
            self._run = _Run()

    def _note_missing(self, number: int, now: float) -> None:
        before = (number - 1) & 255
        while before != (self._expected - 1) & 255 and before not in self._early and before not in self._missing:
            self._missing[before] = now
            before = (before - 1) & 255

    def _measure_gap(self, number: int, now: float) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            self._gap_s += (now - asked - self._gap_s) / 4

    def _ack(self, again) -> bytes:
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
        self._unacked = 0
        self._ack_at = None
        return frame

    # Frames in order

    def _deliver(self, kind: int, payload: bytes, events: list, now: float) -> None:
        try:
            if kind & wire.STAMPED:
                self._take_stamped(kind, payload, events, now)
            else:
                self._take(kind, payload, events)
        except (IndexError, struct.error):
            self._counts.damaged += 1  # the checksum fits, the content does not: no agent of ours has sent it

    def _take_stamped(self, kind: int, payload: bytes, events: list, now: float) -> None:
        """A pipe frame with a stamp is a batch of its own; an opening's stamp is the time before its first one."""
        self.end_run(events)
        before = len(events)
        self._take(kind & ~(wire.STAMPED | wire.EXACT), payload[:-4], events)
        self.end_run(events)
        stamp = int.from_bytes(payload[-4:], "little")
        for event in events[before:]:
            if isinstance(event, PipeBatch):
                items = len(event.data) // event.size if event.size else 1
                event.times = self._clock.times(event.id, stamp, bool(kind & wire.EXACT), items, now, event.number)
            elif isinstance(event, PipeOpened):
                self._clock.opened(event.id, stamp, now, event.number)

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
            self.end_run(events)
            if kind == wire.MESSAGE:
                self._message(payload, events)
            elif kind in (wire.PART, wire.LAST):
                if self._part_bytes <= 2 * wire.MAX_MESSAGE:
                    self._parts.append(payload)
                    self._part_bytes += len(payload)
                    if self._part_bytes > 2 * wire.MAX_MESSAGE:
                        self._parts.append(CUT.encode())  # and that is all
                if kind == wire.LAST:
                    whole = b"".join(self._parts)
                    self._parts = []
                    self._part_bytes = 0
                    self._message(whole, events)
            elif kind in (wire.LAST_FRAGMENT, wire.FRAGMENT):
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
            self.end_run(events)
            run = self._run = _Run(id, number, size)
        run.parts.append(data)
        run.items += items

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
        if kind == wire.LAST_FRAGMENT:
            del self._chunks[id]
            events.append(PipeBatch(id, number, held[2], b"".join(held[1])))

    def _message(self, data: bytes, events: list) -> None:
        if len(data) < 3:
            return
        type, parent, content = data[0], data[1] | data[2] << 8, data[3:]
        if type == wire.COMM_OPEN and len(content) >= 7:
            id, generation, number = struct.unpack_from("<BHI", content)
            self._clock.opened(id)  # another pipe had it
            name = content[7:].decode("utf-8", "replace")
            events.append(PipeOpened(id, generation & ~wire.DROPS, name, number, bool(generation & wire.DROPS)))
        elif type == wire.COMM_CLOSE and len(content) >= 5:
            id, frames = struct.unpack_from("<BI", content)
            self._chunks.pop(id, None)
            events.append(PipeClosed(id, frames))
        else:
            events.append(Message(type, parent, content))
