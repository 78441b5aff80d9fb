"""The pipe listener's stream, without a socket: frames and notices to bytes for the hub, and back for its readers.

The stream is a row of parts, each a 32-bit little-endian word and a body. A word up to 65,535 is the length
of one frame. Bit 31 marks a notice: bits 24-30 its kind, bits 0-23 the length of its body. Kind 1 is a JSON
object, kind 2 a batch: many frames of one size, kind 3 a batch with its times.

Python never looks at a single frame here. Parts with the same header stand at regular distances, so a whole
row of them is recognised, and their bodies are taken out, by slicing columns of bytes.
"""

import json
import math
import struct
from collections import deque
from typing import Any, NamedTuple

from ukernel.errors import HubError

__all__ = [
    "Batch",
    "BatchRow",
    "PipeStreamDecoder",
    "Stamp",
    "encode_batch",
    "encode_frames",
    "encode_loss",
    "encode_notice",
    "encode_timed_batch",
]

MAX_FRAME_BYTES = 65_535  # longer lengths are notices
NOTICE = 0x8000_0000
KIND_JSON = 0x81  # the highest byte of the word
KIND_BATCH = 0x82
KIND_TIMED = 0x83
BATCH = struct.Struct("<HI")  # size of a frame, number of the first one
TIMED = struct.Struct("<HIddd")  # the same, then the times of the first and of the last one, and the error
UNTIMED = (0.0, 0.0, math.inf)  # what frames say of their times that came without
NUMBERS = 0xFFFF_FFFF  # frame numbers have 32 bits in the stream; the hub's totals go on counting
NARROW_BYTES = 32  # up to here taking bodies out column by column is faster than slice by slice


class Stamp(NamedTuple):
    """When a frame was written: `time` as `time.time()` counts, and by how much that may be off, both in seconds."""

    time: float
    error: float


class Batch:
    """Frames of one size, end to end in one buffer, oldest first: `total` of them, of which `count` are left to
    take.

    `times`: those of the first and of the last one, between which the others lie evenly, and the error; None
    where nobody asked for them.
    """

    __slots__ = ("_data", "_end", "_times", "count", "size", "total")

    def __init__(self, data: bytes, size: int, count: int, times: tuple[float, float, float] | None = None):
        self._data = data
        self._end = count * size
        self._times = times
        self.size = size
        self.total = count
        self.count = count  # all that ever changes, so that an interrupt finds nothing half done

    @property
    def stamp(self) -> Stamp:
        """Of the oldest frame."""
        first, last, error = self._times or UNTIMED
        return Stamp(last - (last - first) * (self.count - 1) / max(self.total - 1, 1), error)

    def pop(self) -> bytes:
        """Take the oldest frame."""
        size = self.size
        start = self._end - self.count * size
        self.count -= 1
        return self._data[start : start + size]

    def take(self, limit: int) -> memoryview:
        """Take at most `limit` frames, oldest first, end to end and without copying."""
        count = min(limit, self.count)
        start = self._end - self.count * self.size
        self.count -= count
        return memoryview(self._data)[start : start + count * self.size]

    @property
    def ends(self) -> tuple[float, float, float]:
        """The times of its first and of its last frame, whether they are taken or not, and their error."""
        return self._times or UNTIMED

    @property
    def is_timed(self) -> bool:
        """Whether it came with times."""
        return self._times is not None

    @property
    def pace(self) -> tuple[float, float, float]:
        """The time of the oldest frame, from there to the next one, and the error of both."""
        first, last, error = self._times or UNTIMED
        step = (last - first) / max(self.total - 1, 1)
        return first + (self.total - self.count) * step, step, error

    def times(self, limit: int) -> tuple[list[float], float]:
        """Return the times of the oldest frames, at most `limit`, and their error."""
        first, step, error = self.pace
        return [first + index * step for index in range(min(limit, self.count))], error


class BatchRow:
    """Batches with times in a row, of as many frames of one size each: ``batches`` of them, each of ``frames`` frames, as they stand in the stream.

    A million frames may come one to a batch: who has NumPy need not look at each.
    """

    __slots__ = ("_buffer", "_start", "_stride", "batches", "frames", "size")

    def __init__(self, buffer: bytes, start: int, batches: int, frames: int, size: int):
        self._buffer = buffer
        self._start = start
        self._stride = 4 + TIMED.size + frames * size
        self.batches = batches
        self.frames = frames
        self.size = size

    def part(self, start: int, stop: int) -> "BatchRow":
        """Return the batches from one place up to another."""
        stop = min(stop, self.batches)
        return BatchRow(self._buffer, self._start + start * self._stride, stop - start, self.frames, self.size)

    def split(self) -> list[Batch]:
        """Return the batches."""
        size, frames = self.size, self.frames
        end = self._start + self.batches * self._stride
        found = struct.iter_unpack(f"<10xddd{frames * size}s", memoryview(self._buffer)[self._start : end])
        return [Batch(data, size, frames, (first, last, error)) for first, last, error, data in found]

    def as_records(self) -> Any:
        """Return a NumPy array with a record a batch: "first", "last" and "error" are its times, "data" its frames, end to end."""
        import numpy as np

        names, offsets = ["first", "last", "error", "data"], [10, 18, 26, 34]
        formats = ["<f8", "<f8", "<f8", f"V{self.frames * self.size}"]
        layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": self._stride})
        return np.frombuffer(self._buffer, layout, self.batches, self._start)


class _Progress(NamedTuple):
    """How far a decoder is, in one piece, because an interrupt may strike anywhere."""

    received: deque[bytes]  # what is not read yet
    events: list[Batch | dict[str, Any]]  # what was complete at the last look
    needed: int  # bytes, before another look is worth while


class PipeStreamDecoder:
    """Cuts the stream into `Batch`es and notices (dictionaries), in the order they were sent.

    What a socket gives is appended to `received`; `read` then leaves in `events` what is complete, in place of what
    was there. An interrupt may strike anywhere: no byte is lost, and none read twice.
    """

    def __init__(self) -> None:
        self.gives_rows = False  # timed batches in a row as a `BatchRow`
        self._state = _Progress(deque(), [], 4)
        self._counted = 0, 0  # entries of `received`, and their bytes

    @property
    def received(self) -> deque[bytes]:
        return self._state.received

    @property
    def events(self) -> list[Batch | dict[str, Any]]:
        return self._state.events

    def receive_data(self, data: bytes) -> list[Batch | dict[str, Any]]:
        """Take what the socket gave; returns what is complete. Raises HubError where the bytes make no
        sense."""
        self.received.append(data)
        self.read()
        return self.events

    def read(self) -> None:
        """Read what was received. Raises HubError where the bytes make no sense."""
        received, _, needed = self._state
        count, held = self._counted
        for index in range(count, len(received)):
            held += len(received[index])
        self._counted = len(received), held
        if held < needed:
            self._state = _Progress(received, [], needed)
            return
        buffer = b"".join(received)
        events, position, needed = _parse(buffer, self.gives_rows)
        rest = deque([buffer[position:]] if position < len(buffer) else [])
        self._counted = 0, 0
        self._state = _Progress(rest, events, needed)


def _parse(buffer: bytes, gives_rows: bool) -> tuple[list[Any], int, int]:
    """What is complete at the beginning of the buffer, where the rest begins, and how many bytes that must have
    before another look at it is worth while."""
    events: list[Any] = []
    position = 0
    while True:
        start = position + 4
        if len(buffer) < start:
            return events, position, 4
        word = int.from_bytes(buffer[position:start], "little")
        if MAX_FRAME_BYTES < word < NOTICE:
            raise HubError(f"The pipe listener announced a frame of {word:,} bytes; no pipe carries such.")
        body = word & 0xFF_FFFF  # for a frame, all of the word
        if len(buffer) < start + body:
            return events, position, 4 + body
        kind = word >> 24
        if not kind:
            count = _row(buffer, position, 4 + body, 4)
            events.append(Batch(_bodies(buffer, start, 4 + body, body, count), body, count))
            position += count * (4 + body)
        elif kind == KIND_BATCH:
            size, items = _batch_shape(buffer, start, body, BATCH.size)
            count = _row(buffer, position, 4 + body, 6)  # alike but for the number of the first frame
            bodies = _bodies(buffer, start + BATCH.size, 4 + body, items * size, count)
            events.append(Batch(bodies, size, count * items))
            position += count * (4 + body)
        elif kind == KIND_TIMED and body > TIMED.size:
            size, items = _batch_shape(buffer, start, body, TIMED.size)
            count = _row(buffer, position, 4 + body, 6)
            if count == 1:
                times = TIMED.unpack_from(buffer, start)[2:]
                events.append(Batch(buffer[start + TIMED.size : start + body], size, items, times))
            else:
                row = BatchRow(buffer, position, count, items, size)
                events += [row] if gives_rows else row.split()
            position += count * (4 + body)
        else:
            position = start + body  # a kind that this version does not know is left out
            if kind == KIND_JSON:
                events.append(_notice(buffer[start:position]))
            elif kind == KIND_TIMED:
                _batch_shape(buffer, start, body, TIMED.size)  # or it is none
                events.append(Batch(b"", 0, 1, TIMED.unpack_from(buffer, start)[2:]))


def _row(buffer: bytes, position: int, stride: int, head: int) -> int:
    """How many parts from `position` on begin with the same `head` bytes, each `stride` after the last (the
    first one counts)."""
    room = (len(buffer) - position) // stride
    count = 1
    while count < room:
        step = min(room - count, 4 * count)  # small steps first: a stream of mixed sizes must not be searched over and over
        start = position + count * stride
        stop = start + step * stride
        alike = step
        for column in range(head):
            byte = buffer[position + column : position + column + 1]
            found = buffer[start + column : stop : stride]
            if found != byte * step:
                alike = min(alike, step - len(found.lstrip(byte)))
        count += alike
        if alike < step:
            break
    return count


def _bodies(buffer: bytes, start: int, stride: int, width: int, count: int) -> bytes:
    """The `count` bodies of `width` bytes that stand `stride` apart, end to end."""
    if count == 1:
        return buffer[start : start + width]
    stop = start + count * stride
    if width > NARROW_BYTES:
        return b"".join([buffer[at : at + width] for at in range(start, stop, stride)])
    bodies = bytearray(count * width)
    for column in range(width):
        bodies[column::width] = buffer[start + column : stop - stride + width : stride]
    return bytes(bodies)


def _batch_shape(buffer: bytes, start: int, body: int, head: int) -> tuple[int, int]:
    """Size and number of the frames in a batch, whose own head has `head` bytes."""
    if body >= head:
        size = int.from_bytes(buffer[start : start + 2], "little")
        if size and body > head and not (body - head) % size:
            return size, (body - head) // size
        if not size and body == head == TIMED.size:
            return 0, 1  # a single empty one
    raise HubError(f"The pipe listener sent a batch of {body} bytes that does not divide into frames.")


def _notice(body: bytes) -> dict[str, Any]:
    try:
        notice = json.loads(body)
    except ValueError:
        notice = None
    if not isinstance(notice, dict):
        raise HubError(f"The pipe listener sent a notice that cannot be read: {body[:60]!r}.")
    return notice


# --- the hub's end ---------------------------------------------------------------------------------


def encode_frames(data: bytes | bytearray, size: int, count: int) -> bytes:
    """Return ``count`` frames of ``size`` bytes, each with its length in four bytes before it."""
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


def encode_batch(data: bytes | bytearray, size: int, number: int) -> bytes:
    """Return a batch of frames of ``size`` bytes, which is not 0; ``number`` is the first one's."""
    return _word(KIND_BATCH, BATCH.size + len(data)) + BATCH.pack(size, number & NUMBERS) + data


def encode_timed_batch(data: bytes | bytearray, size: int, number: int, times: tuple[float, float, float]) -> bytes:
    """Return a batch with the times of its first and of its last frame, and their error. Of empty frames it holds one."""
    return _word(KIND_TIMED, TIMED.size + len(data)) + TIMED.pack(size, number & NUMBERS, *times) + data


def encode_loss(count: int, cause: str) -> bytes:
    """Return the notice that so many frames are missing."""
    return encode_notice({"lost": count, "cause": cause})


def encode_notice(content: dict[str, Any]) -> bytes:
    """Return a notice, a JSON object."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return _word(KIND_JSON, len(body)) + body


def _word(kind: int, size: int) -> bytes:
    return (kind << 24 | size).to_bytes(4, "little")
