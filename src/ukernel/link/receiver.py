"""From the board: packets in any state and order become messages and pipe data, each once and in order (selective repeat)."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, field

from ucore import wire
from ukernel.protocol.pipestream import NUMBERS
from ukernel.protocol.truncation import CUT

from .clock import Clock
from .events import Event, Message, PipeBatch, PipeClosed, PipeOpened

__all__ = ["Counts", "Receiver"]

ACK_DELAY_S = 0.004  # an ack waits so long for more to acknowledge
MIN_GAP_S = 0.010  # a packet asked for again comes no sooner: the board looks at its input once a millisecond
MAX_GAP_S = 0.25
MAX_REPORTED = 60  # missing packets one ack can name: a line has 300 bytes


@dataclass
class Counts:
    """What came over the line, since the session's beginning."""

    packets: int = 0
    damaged: int = 0
    noise_bytes: int = 0


@dataclass
class _Batch:
    """Equal frames end to end, being put together from the packets of one read."""

    id: int = -1
    number: int = 0
    size: int = 0
    parts: list[bytes] = field(default_factory=list)
    frames: int = 0


@dataclass
class _Fragments:
    """A frame that is longer than a packet, as far as it has come."""

    number: int
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


class Receiver:
    """One session's packets from the board.

    ack_bytes: received bytes after which an acknowledgement is due at once. ``counts`` is written to. ``clock`` gives stamped packets
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
        self._batches: dict[int, list[int]] = {}  # pipe id -> [frame size, next number]
        self._fragments: dict[int, _Fragments] = {}  # by pipe
        self._batch = _Batch()

    def receive(self, kind: int, seq: int, payload: bytes, events: list[Event], now: float) -> None:
        """Take in a packet whose checksum fits; what can be delivered by now is put into ``events``."""
        ahead = (seq - self._expected) & 255
        if kind & wire.STAMPED and len(payload) >= 4:
            self._clock.received_stamp(int.from_bytes(payload[-4:], "little"), now)
        if ahead == 0:
            self._missing.pop(seq, None)
            if self._asked:
                self._measure_gap(seq, now)
            self._deliver(kind, payload, events, now)
            self._expected = seq = (seq + 1) & 255
            while seq in self._early:
                self._deliver(*self._early.pop(seq), events, now)
                self._expected = seq = (seq + 1) & 255
        elif ahead <= wire.MAX_OUTSTANDING:
            self._early[seq] = (kind, payload)
            self._missing.pop(seq, None)
            if self._asked:
                self._measure_gap(seq, now)
            self._note_missing(seq, now)
        else:
            self._unacked += self._ack_bytes  # our ack was lost, or is late: say it again
        self._unacked += len(payload) + 7
        if self._ack_at is None:
            self._ack_at = now + ACK_DELAY_S
        if self._unacked >= self._ack_bytes:
            self._ack_at = now

    def acks(self, now: float) -> list[bytes]:
        """Return the bodies of the ACK packets that are due: what is missing is asked for again, each packet when its time has come."""
        due = []
        again = [seq for seq, time in self._missing.items() if now >= time]
        if again:
            wait = min(max(self._gap_s * 1.5, MIN_GAP_S), MAX_GAP_S)
            for seq in again:
                self._missing[seq] = now + wait
                self._asked.setdefault(seq, now)
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

    def end_batch(self, events: list[Event]) -> None:
        """Put the batch that goes on into ``events``; at the end of every read, so that nothing is held back."""
        batch = self._batch
        if batch.frames:
            data = batch.parts[0] if len(batch.parts) == 1 else b"".join(batch.parts)
            events.append(PipeBatch(batch.id, batch.number, batch.size, data))
            self._batch = _Batch()

    def _note_missing(self, seq: int, now: float) -> None:
        before = (seq - 1) & 255
        while before != (self._expected - 1) & 255 and before not in self._early and before not in self._missing:
            self._missing[before] = now
            before = (before - 1) & 255

    def _measure_gap(self, seq: int, now: float) -> None:
        asked = self._asked.pop(seq, None)
        if asked is not None:
            self._gap_s += (now - asked - self._gap_s) / 4

    def _ack(self, again: Collection[int]) -> bytes:
        packet = bytes((wire.ACK, self._expected))
        if self._early:
            ahead = max((seq - self._expected) & 255 for seq in self._early) + 1
            lack = [n & 255 for n in range(self._expected, self._expected + ahead) if n & 255 not in self._early]
            if len(lack) > MAX_REPORTED:
                ahead = (lack[MAX_REPORTED] - self._expected) & 255
                lack = lack[:MAX_REPORTED]
            first = [seq for seq in lack if seq in again]
            rest = [seq for seq in lack if seq not in again]
            packet += bytes(((self._expected + ahead) & 255, len(first), *first, *rest))
        self._unacked = 0
        self._ack_at = None
        return packet

    # Packets in order

    def _deliver(self, kind: int, payload: bytes, events: list[Event], now: float) -> None:
        try:
            if kind & wire.STAMPED:
                self._take_stamped(kind, payload, events, now)
            else:
                self._take(kind, payload, events)
        except (IndexError, struct.error):
            self._counts.damaged += 1  # the checksum fits, the content does not: no agent of ours has sent it

    def _take_stamped(self, kind: int, payload: bytes, events: list[Event], now: float) -> None:
        """A pipe packet with a stamp is a batch of its own; an opening's stamp is the time before its first one."""
        self.end_batch(events)
        before = len(events)
        self._take(kind & ~(wire.STAMPED | wire.EXACT), payload[:-4], events)
        self.end_batch(events)
        stamp = int.from_bytes(payload[-4:], "little")
        for event in events[before:]:
            if isinstance(event, PipeBatch):
                frames = len(event.data) // event.size if event.size else 1
                event.times = self._clock.times(event.id, stamp, bool(kind & wire.EXACT), frames, now, event.number)
            elif isinstance(event, PipeOpened):
                self._clock.opened(event.id, stamp, now, event.number)

    def _take(self, kind: int, payload: bytes, events: list[Event]) -> None:
        if kind == wire.SAME:
            self._frames(self._pipe, payload, events)
        elif kind == wire.NEXT:
            self._pipe = payload[0]
            self._frames(self._pipe, payload[1:], events)
        elif kind == wire.BATCH:
            id, size, number = struct.unpack_from("<BHI", payload)
            self._pipe = id
            self._batches[id] = [size, number]
            self._frames(id, payload[7:], events)
        else:
            self.end_batch(events)
            if kind == wire.MESSAGE:
                self._message(payload, events)
            elif kind in (wire.PART, wire.LAST):
                if self._part_bytes <= 2 * wire.MAX_MESSAGE:
                    self._parts.append(payload)
                    self._part_bytes += len(payload)
                    if self._part_bytes > 2 * wire.MAX_MESSAGE:
                        self._parts.append(CUT.encode())  # and that is all
                if kind == wire.LAST and not payload:  # its sender was interrupted
                    self._parts = []
                    self._part_bytes = 0
                elif kind == wire.LAST:
                    whole = b"".join(self._parts)
                    self._parts = []
                    self._part_bytes = 0
                    self._message(whole, events)
            elif kind in (wire.LAST_FRAGMENT, wire.FRAGMENT):
                self._fragment(kind, payload, events)

    def _frames(self, id: int, data: bytes, events: list[Event]) -> None:
        context = self._batches.get(id)
        if context is None or not context[0]:
            return  # no agent of ours sends this
        size, number = context
        frames = len(data) // size
        context[1] = (number + frames) & NUMBERS
        batch = self._batch
        if batch.id != id or batch.size != size or batch.number + batch.frames != number:
            self.end_batch(events)
            batch = self._batch = _Batch(id, number, size)
        batch.parts.append(data)
        batch.frames += frames

    def _fragment(self, kind: int, payload: bytes, events: list[Event]) -> None:
        id, number, offset = struct.unpack_from("<BIH", payload)
        data = payload[7:]
        self._pipe = -1
        self._batches.pop(id, None)
        if offset == 0:
            self._fragments[id] = frame = _Fragments(number)
        else:
            before = self._fragments.get(id)
            if before is None or before.number != number or before.size != offset:
                self._fragments.pop(id, None)  # its beginning went to a host before us: it counts as lost
                return
            frame = before
        frame.parts.append(data)
        frame.size += len(data)
        if kind == wire.LAST_FRAGMENT:
            del self._fragments[id]
            events.append(PipeBatch(id, number, frame.size, b"".join(frame.parts)))

    def _message(self, data: bytes, events: list[Event]) -> None:
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
            self._fragments.pop(id, None)
            events.append(PipeClosed(id, frames))
        else:
            events.append(Message(type, parent, content))
