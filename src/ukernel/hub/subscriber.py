"""One peer that reads one opening of a pipe, at its own pace.

A batch is encoded once for each way of reading, and the bytes are shared; nothing looks at single frames. A reader that falls behind so
far that the replay buffer has dropped what it was to get next is told how many frames that were, or cut off where it has not asked to be
told.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Protocol, cast

from ukernel.protocol import pipestream
from ukernel.protocol.reasons import LossCause

from .replay import Batch, Gap, ReplayBuffer

__all__ = ["Encoder", "Source", "Subscriber", "encode_batch", "encode_plain", "encode_timed"]

_TRANSPORT_BYTES = 1 << 16  # what asyncio may hold of one reader before that counts as being behind
_TURN_BYTES = 1 << 18  # what a reader that is behind gets before others have their turn

Encoder = Callable[[Batch | Gap], bytes]


class Source(Protocol):
    """What a subscriber needs of the opening that it reads."""

    board: str
    name: str
    generation: int
    frames: int
    lost: dict[str, int]
    unread: int
    buffer: ReplayBuffer

    def leave(self, subscriber: Subscriber) -> None:
        """Forget the subscriber."""


class Subscriber(asyncio.Protocol):
    """One peer that reads one opening of a pipe. ``options`` are those of the handshake; each of them implies "notices".

    ``kernel``: of the notebook that it belongs to, as `Client.kernel`; empty for none. ``wanted``: the id of the only opening that it
    reads; None for any. ``first``: with the option "replay" the number of the frame to begin with.
    """

    def __init__(
        self,
        pipe: str,
        board: str | None,
        options: frozenset[str] = frozenset(),
        kernel: str = "",
        wanted: int | None = None,
        first: int = 0,
    ):
        self.pipe = pipe
        self.board = board
        self.kernel = kernel
        self.wanted = wanted
        self.notices = bool(options)
        self.timestamps = "timestamps" in options
        self.replay = "replay" in options
        self.opening: Source | None = None
        self.on_lost: Callable[[Subscriber], None] = lambda subscriber: None
        self._encode: Encoder = encode_timed if self.timestamps else encode_batch if "batches" in options else encode_plain
        self._transport: asyncio.Transport | None = None
        self._paused = True  # until the handshake is answered
        self._waiting = False  # for its next turn
        self._first = b""  # to be sent before all else
        self._at = 0  # the number of the frame that it gets next
        self._lost: Counter[str] = Counter()  # how many before that were lost before they came to the hub, by cause
        self._first_number = first
        self._new = self.replay  # has not had anything yet
        self._end: tuple[str, int] | None = None  # why it ends, and after how many frames

    @property
    def is_ended(self) -> bool:
        """Whether it gets no more than what is there."""
        return self._end is not None

    @property
    def next_number(self) -> int:
        """The number of the frame that it gets next."""
        return self._at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # of a socket
        self._transport.set_write_buffer_limits(high=_TRANSPORT_BYTES)
        self._paused = False
        self._catch_up()

    def connection_lost(self, error: Exception | None) -> None:
        self._paused = True
        self._transport = None
        self.on_lost(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        # Not from within: asyncio must not find its transport closed when this returns.
        asyncio.get_running_loop().call_soon(self._catch_up)

    def join(self, opening: Source) -> None:
        """Read ``opening``: from here on, or for a replay from its beginning, or from a number on."""
        self.opening = opening
        self._at = _unroll(self._first_number, opening.frames) if self.replay else opening.frames
        self._lost = opening.buffer.lost_before(self._at) if self._at else Counter()
        # What went by before is no loss of this reader's: it is told once, here, as `unread`.
        here = {
            "name": opening.name,
            "board": opening.board,
            "generation": opening.generation,
            "number": self._at & pipestream.NUMBERS,
        }
        if self.notices:
            self._first = pipestream.encode_notice({"open": {**here, "unread": 0 if self.replay else opening.unread}})
        self._catch_up()

    def offer(self, batch: Batch | Gap, encoded: dict[Encoder, bytes]) -> None:
        """Send what has just come, if it is what this reader gets next; others share what was ``encoded`` for them."""
        if self._paused or self._at != batch.number:
            return
        data = encoded.get(self._encode)
        if data is None:
            data = encoded[self._encode] = self._encode(batch)
        self._send(batch, data)

    def end(self, reason: str, frames: int) -> None:
        """Say why the pipe ended, and close once everything before that is out."""
        if self._end is None:
            self._end = reason, frames
            self._catch_up()

    def cut(self) -> None:
        """Break the connection with a reset: a reader that cannot be told must not take a gap for a clean end."""
        self._paused = True
        if self._transport is not None:
            linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()

    def _catch_up(self) -> None:
        """Send what is due, until the peer takes no more, or others have waited long enough."""
        if self._paused or self._waiting or self._transport is None or self._transport.is_closing():
            return None
        if self._first:
            first, self._first = self._first, b""
            self._transport.write(first)
        sent = 0
        while not self._paused and self.opening is not None:
            stop = self._end[1] if self._end is not None else self.opening.frames
            if self._at >= stop:
                break
            if self._at < self.opening.buffer.start and not self._skip(self.opening.buffer, stop):
                return self.cut()
            if self._at < stop:
                batch = self.opening.buffer.get(self._at, stop)
                data = self._encode(batch)
                self._send(batch, data)
                sent += len(data)
            if sent > _TURN_BYTES:
                self._waiting = True
                asyncio.get_running_loop().call_soon(self._go_on)
                return None
        if self._end is not None and not self._paused:
            reason, frames = self._end
            if self.notices:
                self._transport.write(pipestream.encode_notice({"end": reason, "frames": frames}))
            self._transport.close()
        return None

    def _go_on(self) -> None:
        self._waiting = False
        self._catch_up()

    def _write(self, data: bytes) -> None:
        if (
            self._transport is not None and not self._transport.is_closing()
        ):  # asyncio complains of writes to a peer that has left
            self._transport.write(data)

    def _send(self, batch: Batch | Gap, data: bytes) -> None:
        self._at += batch.count
        self._new = False
        if isinstance(batch, Gap):
            self._lost[batch.cause] += batch.count
            if not self.notices:
                return
        self._write(data)

    def _skip(self, buffer: ReplayBuffer, stop: int) -> bool:
        """Go on where the buffer begins by now, and tell what that leaves out; False where the reader cannot be told."""
        start = min(buffer.start, stop)
        skipped = start - self._at
        self._at = start
        told = {cause: count - self._lost[cause] for cause, count in buffer.lost.items() if buffer.start <= stop}
        self._lost = Counter(buffer.lost)
        cause: str = LossCause.REPLAY if self._new else LossCause.READER
        self._new = False
        told[cause] = skipped - sum(told.values())
        if not self.notices:
            return not told[cause]
        for cause, count in told.items():
            if count:
                self._write(pipestream.encode_loss(count, cause))
        return True


def _unroll(number: int, frames: int) -> int:
    """Return the number of a frame of an opening that has had so many, of which 32 bits are known; one that is still to come is the next."""
    behind = (frames - number) & pipestream.NUMBERS
    return max(frames - behind, 0) if number and behind <= pipestream.NUMBERS // 2 else frames if number else 0


def encode_plain(batch: Batch | Gap) -> bytes:
    """Return frames, each with its length in four bytes before it."""
    if isinstance(batch, Gap):
        return pipestream.encode_loss(batch.count, batch.cause)
    return pipestream.encode_frames(batch.data, batch.size, batch.count)


def encode_batch(batch: Batch | Gap) -> bytes:
    """Return a batch; empty frames, whose number its size does not say, one by one."""
    if isinstance(batch, Gap) or not batch.size:
        return encode_plain(batch)
    return pipestream.encode_batch(batch.data, batch.size, batch.number)


def encode_timed(batch: Batch | Gap) -> bytes:
    """Return a batch with its times."""
    if isinstance(batch, Gap):
        return encode_plain(batch)
    if not batch.size and batch.count > 1:  # the size says how many there are
        numbers = range(batch.number, batch.number + batch.count)
        return b"".join(encode_timed(batch.part(number, number + 1)) for number in numbers)
    return pipestream.encode_timed_batch(batch.data, batch.size, batch.number, batch.times)
