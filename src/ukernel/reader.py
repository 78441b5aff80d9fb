"""The reading end of the listener's stream, without a socket: bytes in, frames and notices out.

The stream is a row of parts, each a 32-bit little-endian word and a body. A word up to 65,535 is the length
of one frame. Bit 31 marks a notice: bits 24-30 its kind, bits 0-23 the length of its body. Kind 1 is a JSON
object, kind 2 a batch: many frames of one size, kind 3 a batch with its times.

Python never looks at a single frame here. Parts with the same header stand at regular distances, so a whole
row of them is recognised, and their bodies are taken out, by slicing columns of bytes.
"""

import json
import struct
from typing import NamedTuple

from .errors import HubError

__all__ = ["FrameReader", "Frames", "Stamp"]

MAX_FRAME_BYTES = 65_535  # longer lengths are notices
NOTICE = 0x8000_0000
KIND_JSON = 0x81  # the highest byte of the word
KIND_BATCH = 0x82
KIND_TIMED = 0x83
BATCH = struct.Struct("<HI")  # size of a frame, number of the first one
TIMED = struct.Struct("<HIddd")  # the same, then the times of the first and of the last one, and the error
NARROW_BYTES = 32  # up to here taking bodies out column by column is faster than slice by slice


class Stamp(NamedTuple):
    """When a frame was written: `time` as `time.time()` counts, and by how much that may be off, both in seconds."""

    time: float
    error: float


class Frames:
    """Frames of one size, end to end in one buffer, oldest first. `count` of them are left to take.

    `times`: those of the first and of the last one, between which the others lie evenly, and the error; None
    where nobody asked for them.
    """

    __slots__ = ("_data", "_start", "_step", "_time", "count", "error", "size")

    def __init__(self, data: bytes, size: int, count: int, times: "tuple[float, float, float] | None" = None):
        self._data = data
        self._start = 0
        self.size = size
        self.count = count
        self._time, last, self.error = times or (0.0, 0.0, 0.0)
        self._step = (last - self._time) / max(count - 1, 1)

    @property
    def stamp(self) -> Stamp:
        """Of the oldest frame."""
        return Stamp(self._time, self.error)

    def pop(self) -> bytes:
        """Take the oldest frame."""
        start = self._start
        self._start = stop = start + self.size
        self.count -= 1
        self._time += self._step
        return self._data[start:stop]

    def take(self, limit: int) -> memoryview:
        """Take at most `limit` frames, oldest first, end to end and without copying."""
        start, count = self._start, min(limit, self.count)
        self._start = stop = start + count * self.size
        self.count -= count
        self._time += count * self._step
        return memoryview(self._data)[start:stop]

    def times(self, count: int) -> "list[float]":
        """The times of the `count` oldest frames."""
        return [self._time + index * self._step for index in range(count)]


class FrameReader:
    """Cuts the stream into `Frames` and notices (dictionaries), in the order they were sent."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held = 0  # bytes in _parts
        self._needed = 4  # bytes before another look is worth while

    def receive_data(self, data: bytes) -> list[Frames | dict]:
        """Take what the socket gave; returns what is complete. Raises HubError where the bytes make no
        sense."""
        self._parts.append(data)
        self._held += len(data)
        if self._held < self._needed:
            return []
        buffer = data if len(self._parts) == 1 else b"".join(self._parts)
        events: list[Frames | dict] = []
        position = 0
        while True:
            start = position + 4
            if len(buffer) < start:
                self._needed = 4
                break
            word = int.from_bytes(buffer[position:start], "little")
            if MAX_FRAME_BYTES < word < NOTICE:
                raise HubError(f"The pipe listener announced a frame of {word:,} bytes; no pipe carries such.")
            body = word & 0xFF_FFFF  # for a frame, all of the word
            if len(buffer) < start + body:
                self._needed = 4 + body
                break
            kind = word >> 24
            if not kind:
                count = _row(buffer, position, 4 + body, 4)
                events.append(Frames(_bodies(buffer, start, 4 + body, body, count), body, count))
                position += count * (4 + body)
            elif kind == KIND_BATCH:
                size, items = _batch_shape(buffer, start, body, BATCH.size)
                count = _row(buffer, position, 4 + body, 6)  # alike but for the number of the first frame
                bodies = _bodies(buffer, start + BATCH.size, 4 + body, items * size, count)
                events.append(Frames(bodies, size, count * items))
                position += count * (4 + body)
            elif kind == KIND_TIMED:
                size, items = _batch_shape(buffer, start, body, TIMED.size)
                position = start + body
                times = TIMED.unpack_from(buffer, start)[2:]
                events.append(Frames(buffer[start + TIMED.size : position], size, items, times))
            else:
                if kind == KIND_JSON:
                    events.append(_notice(buffer[start : start + body]))
                position = start + body  # a kind that this version does not know is left out
        rest = buffer[position:]
        self._parts, self._held = [rest], len(rest)
        return events


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


def _notice(body: bytes) -> dict:
    try:
        notice = json.loads(body)
    except ValueError:
        notice = None
    if not isinstance(notice, dict):
        raise HubError(f"The pipe listener sent a notice that cannot be read: {body[:60]!r}.")
    return notice
