"""One opening of a pipe, fanned out to all who read it, each at its own pace.

Everything here runs in the hub's event loop. Frames go from the board into the opening's buffer, and on from there: at once to a reader
that has everything before them, later to one that is behind. A batch is encoded once for each way of reading and the bytes are shared;
nothing looks at single frames. A reader that falls behind so far that the buffer has dropped what it was to get next is told how many
frames that were, or cut off where it has not asked to be told.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable

from ukernel.link.clock import Times

from .replay import Batch, ReplayBuffers

__all__ = ["Opening", "Subscriber", "encode_batch", "encode_plain", "encode_timed"]

_TRANSPORT_BYTES = 1 << 16  # what asyncio may hold of one reader before that counts as being behind
_TURN_BYTES = 1 << 18  # what a reader that is behind gets before others have their turn
_RATE_S = 2.0  # the time over which frames a second are counted
_MARK_S = 0.02
_NUMBERS = 0xFFFFFFFF  # frame numbers have 32 bits on the line; the hub's totals go on counting
_BATCH = struct.Struct("<IHI")
_TIMED = struct.Struct("<IHIddd")


class Subscriber(asyncio.Protocol):
    """One peer that reads one opening of a pipe. ``options`` are those of the handshake; each of them implies "notices".

    ``kernel``: of the notebook that it belongs to, as `ClientConnection.kernel`; empty for none.
    """

    def __init__(self, pipe: str, board: str | None, options: frozenset[str] = frozenset(), kernel: str = ""):
        self.pipe = pipe
        self.board = board
        self.kernel = kernel
        self.notices = bool(options)
        self.timestamps = "timestamps" in options
        self.replay = "replay" in options
        self.opening: Opening | None = None
        self.on_lost: Callable[[Subscriber], None] = lambda reader: None
        self._encode = encode_timed if self.timestamps else encode_batch if "batches" in options else encode_plain
        self._transport: asyncio.Transport | None = None
        self._paused = True  # until the handshake is answered
        self._waiting = False  # for its next turn
        self._first = b""  # to be sent before all else
        self._at = 0  # the number of the frame that it gets next
        self._missing: Counter[str] = Counter()  # how many before that were lost before they came to the hub, by cause
        self._new = self.replay  # has not had anything yet
        self._end: tuple[str, int] | None = None  # why it ends, and after how many frames

    def connection_made(self, transport):
        self._transport = transport
        transport.set_write_buffer_limits(high=_TRANSPORT_BYTES)
        self._paused = False
        self._catch_up()

    def connection_lost(self, error):
        self._paused = True
        self._transport = None
        self.on_lost(self)

    def pause_writing(self):
        self._paused = True

    def resume_writing(self):
        self._paused = False
        # Not from within: asyncio must not find its transport closed when this returns.
        asyncio.get_running_loop().call_soon(self._catch_up)

    def join(self, opening: Opening) -> None:
        """Read ``opening``: from here on, or for a replay from its beginning."""
        self.opening = opening
        self._at = 0 if self.replay else opening.frames
        self._missing = Counter() if self.replay else Counter(opening.lost)
        # What went by before is no loss of this reader's: it is told once, here, as `unread`.
        here = {"name": opening.name, "board": opening.board, "generation": opening.generation, "number": self._at & _NUMBERS}
        if self.notices:
            self._first = _notice({"open": {**here, "unread": 0 if self.replay else opening.unread}})
        self._catch_up()

    def offer(self, batch: Batch, encoded: dict) -> None:
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
            if self._at < self.opening.buffer.start and not self._skip(stop):
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
                self._transport.write(_notice({"end": reason, "frames": frames}))
            self._transport.close()
        return None

    def _go_on(self) -> None:
        self._waiting = False
        self._catch_up()

    def _send(self, batch: Batch, data: bytes) -> None:
        self._at += batch.count
        self._new = False
        if not batch.cause:
            self._transport.write(data)
        else:
            self._missing[batch.cause] += batch.count
            if self.notices:
                self._transport.write(data)

    def _skip(self, stop: int) -> bool:
        """Go on where the buffer begins by now, and tell what that leaves out; False where the reader cannot be told."""
        buffer = self.opening.buffer
        start = min(buffer.start, stop)
        lost = start - self._at
        self._at = start
        told = {cause: count - self._missing[cause] for cause, count in buffer.missing.items() if buffer.start <= stop}
        self._missing = Counter(buffer.missing)
        cause = "replay" if self._new else "reader"
        self._new = False
        told[cause] = lost - sum(told.values())
        if not self.notices:
            return not told[cause]
        for cause, count in told.items():
            if count:
                self._transport.write(_lost(count, cause))
        return True


class Opening:
    """One opening of a pipe on one board, and its readers. A pipe opened again is another opening.

    ``number`` is that of its next frame, above 0 where another hub had the ones before; ``drops``: its producer does not wait where the
    board has no room; ``ports``: the names of the board's port. What is missing within a session was dropped for that reason, or because
    no host listened.
    """

    def __init__(
        self, board: str, name: str, generation: int, number: int = 0, *, drops: bool = False, ports=(), replay_buffers=None
    ):
        self.board = board
        self.ports = ports
        self.name = name
        self.generation = generation
        self.frames = number  # written by the board so far, lost ones included: the number of the next frame
        self.lost = {"board": 0, "no_listener": 0}  # never reached the hub: no room on the board, no hub to send to
        self.unread = 0  # reached the hub, and nobody read
        self.ended = ""  # why, once it has
        self.readers: list[Subscriber] = []
        self._cause = "board" if drops else "no_listener"
        self._replay_buffers = replay_buffers if replay_buffers is not None else ReplayBuffers()
        self.buffer = self._replay_buffers.open(self, number)
        self._rate = _Rate()

    def join(self, reader: Subscriber) -> None:
        """Feed ``reader`` from now on."""
        reader.join(self)
        if self.ended:
            reader.end(self.ended, self.frames)
        else:
            self.readers.append(reader)

    def leave(self, reader: Subscriber) -> None:
        """Forget ``reader``."""
        if reader in self.readers:
            self.readers.remove(reader)

    def append(self, number: int, size: int, data: bytes, times: Times | None = None) -> None:
        """Pass on equal-sized frames: ``data`` holds them end to end, ``number`` is the first one's.

        What is missing before it was lost on the board; what has been seen, after a broken session, is left out.
        """
        count = len(data) // size if size else 1
        now = time.time()
        batch = Batch(self.frames, count, size, data, times or Times(now, now, float("inf")))
        ahead = self.catch_up(number)
        if ahead < 0:
            if -ahead >= count:
                return
            batch = batch.part(self.frames - ahead, self.frames + count)
        batch.number = self.frames
        self._rate.add(batch.count, len(batch.data))
        if not self.readers:
            self.unread += batch.count
        self._put(batch)

    def catch_up(self, number: int, cause: str = "") -> int:
        """Count as lost what is missing before frame ``number``; return how far ahead it was, negative for the past."""
        ahead = (number - self.frames) & _NUMBERS
        if ahead > _NUMBERS // 2:
            return ahead - _NUMBERS - 1
        if ahead:
            cause = cause or self._cause
            self.lost[cause] += ahead
            self._put(Batch(self.frames, ahead, 0, b"", None, cause))
        return ahead

    def end(self, reason: str) -> None:
        """Let the readers go, with the reason; they have what came until now."""
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.end(reason, self.frames)

    def close(self, reason: str) -> None:
        """End for good. It is kept for a while, for a replay."""
        self.ended = reason
        self.end(reason)
        self._replay_buffers.end(self)

    def as_dict(self, is_open: bool = True) -> dict:
        """Return what `pipes_reply` says about it."""
        frames_per_s, bytes_per_s = self._rate.per_s() if is_open else (0.0, 0.0)
        return {
            "name": self.name,
            "board": self.board,
            "generation": self.generation,
            "frames": self.frames,
            "lost": dict(self.lost),
            "unread": self.unread,
            "readers": len(self.readers),
            "open": is_open,
            "ended": self.ended,
            "held": self.frames - self.buffer.start,
            "frames_per_s": frames_per_s,
            "bytes_per_s": bytes_per_s,
        }

    def _put(self, batch: Batch) -> None:
        self.frames += batch.count
        encoded: dict = {}
        for reader in tuple(self.readers):  # a reader that is cut off leaves the list
            reader.offer(batch, encoded)
        self._replay_buffers.add(self.buffer, batch)


class _Rate:
    """How much came in a second, lately."""

    def __init__(self) -> None:
        self._frames = self._bytes = 0
        self._began = time.monotonic()
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=int(_RATE_S / _MARK_S) + 1)  # when, and what had come before

    def add(self, frames: int, size_bytes: int) -> None:
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= _MARK_S:
            self._marks.append((now, self._frames, self._bytes))
        self._frames += frames
        self._bytes += size_bytes

    def per_s(self) -> tuple[float, float]:
        """Return frames and bytes a second."""
        now = time.monotonic()
        while self._marks and self._marks[0][0] < now - _RATE_S:
            self._marks.popleft()
        if not self._marks:
            return 0.0, 0.0
        _, frames, size_bytes = self._marks[0]
        seconds = min(max(now - self._began, _RATE_S / 4), _RATE_S)
        return (self._frames - frames) / seconds, (self._bytes - size_bytes) / seconds


def encode_plain(batch: Batch) -> bytes:
    """Return frames, each with its length in four bytes before it."""
    if batch.cause:
        return _lost(batch.count, batch.cause)
    size, count, data = batch.size, batch.count, batch.data
    head, step = size.to_bytes(4, "little"), size + 4
    if count == 1 or not size:
        return head * count + data
    if count < step:
        return b"".join([head + data[at : at + size] for at in range(0, len(data), size)])
    # Many small frames: a column of bytes at a time, so that the loop is over a frame's width, not over the frames.
    out = bytearray(count * step)
    for column in range(4):
        if head[column]:
            out[column::step] = head[column : column + 1] * count
    for column in range(size):
        out[column + 4 :: step] = data[column::size]
    return bytes(out)


def encode_batch(batch: Batch) -> bytes:
    """Return a batch: the word, size of a frame, number of the first frame, frames."""
    if batch.cause or not batch.size:
        return encode_plain(batch)
    return _BATCH.pack(0x82000000 | len(batch.data) + 6, batch.size, batch.number & _NUMBERS) + batch.data


def encode_timed(batch: Batch) -> bytes:
    """Return a batch with its times."""
    if batch.cause:
        return _lost(batch.count, batch.cause)
    if not batch.size and batch.count > 1:  # the size says how many there are
        return b"".join(
            encode_timed(batch.part(number, number + 1)) for number in range(batch.number, batch.number + batch.count)
        )
    return _TIMED.pack(0x83000000 | len(batch.data) + 30, batch.size, batch.number & _NUMBERS, *batch.times) + batch.data


def _lost(count: int, cause: str) -> bytes:
    return _notice({"lost": count, "cause": cause})


def _notice(content: dict) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    return (0x81000000 | len(body)).to_bytes(4, "little") + body
