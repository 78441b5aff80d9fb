"""Mending a recording that was not finished: what is torn off at its end goes, and what a reader looks for there is put on.

It is done in place: on a disk that is full there is no room for a copy. Until the last byte is written the file is as readable as before.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import zstandard
from mcap import records
from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from ukernel.errors import RecordingError, describe

from . import format as fmt
from .mcapfile import COMPRESSION, HIDDEN, INDEX, McapFile, Mode

__all__ = ["MAX_CHUNK_BYTES", "Recovered", "read_records", "recover"]

KILLED = "recorder killed"  # the reason of ends that nobody has written
DAMAGED = "damaged"  # the cause of frames that are missing because a chunk cannot be read
_UNREADABLE = (McapError, ValueError, OverflowError, MemoryError, struct.error)  # what garbage makes of reading
_HEAD = struct.Struct("<BQ")
MAX_CHUNK_BYTES = 1 << 26  # what one of ours never has
# How a chunk is found where what comes before it says no more where it begins.
_COMPRESSION = len(COMPRESSION).to_bytes(4, "little") + COMPRESSION.encode()
_BEFORE_COMPRESSION = _HEAD.size + 8 + 8 + 8 + 4


class Recovered(NamedTuple):
    """What became of a file. frames: in it. torn_bytes: that were cut off its end. damaged: chunks that cannot be read any more, in the middle.
    was_whole: nothing had to be done."""

    file: str
    frames: int
    torn_bytes: int
    damaged: int
    was_whole: bool

    def describe(self) -> str:
        """Return it as a sentence."""
        if self.was_whole:
            return f"{self.file} is whole: there is nothing to mend."
        parts = "1 part of it is" if self.damaged == 1 else f"{self.damaged} parts of it are"
        damaged = f" {parts} damaged, and what was there is counted as lost." if self.damaged else ""
        return f"{self.file} is mended: {self.frames:,} frames, {self.torn_bytes:,} bytes of an unfinished write were cut off.{damaged}"


def recover(path: str | os.PathLike[str], to: str | os.PathLike[str] | None = None) -> Recovered:
    """Mend a recording whose recorder was killed, in place, or a copy of it.

    Raises RecordingError for what is no recording, is just being recorded, is damaged at another place than its end, or cannot be written.
    """
    file = Path(path).expanduser()
    try:
        if to is not None:
            target = Path(to).expanduser()
            if target.exists():
                raise RecordingError(f"{target} is there already: choose another name for the copy.")
            shutil.copyfile(file, target)
            file = target
        return _mend(file)
    except FileNotFoundError:
        raise RecordingError(f"There is no file {file}.") from None
    except OSError as error:
        raise RecordingError(f"{file} cannot be mended: {describe(error)}.") from error


def _mend(path: Path) -> Recovered:
    file = McapFile(path, Mode.MENDED)
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if stream.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                raise RecordingError(f"{path} is no recording: it does not begin as an MCAP file does.")
            contents = _Contents(path)
            for opcode, at, body in read_records(stream, size):
                contents.heed(opcode, at, body)
        if contents.is_finished and contents.end_at == size:
            return Recovered(str(path), contents.frames, 0, 0, True)
        contents.check()
        torn = size - contents.data_end
        file.resume(contents.data_end, contents.hidden)
        contents.restore(file)
        file.finish()
    finally:
        file.abandon()
    return Recovered(str(path), contents.frames, torn, contents.damaged, False)


def read_records(stream: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield opcode, place and body of all records that are whole; what lies between two of them and is none as a record of opcode `HIDDEN`."""
    at = len(MCAP0_MAGIC)
    while at + _HEAD.size <= size:
        stream.seek(at)
        opcode, length = _HEAD.unpack(stream.read(_HEAD.size))
        if opcode and at + _HEAD.size + length <= size:
            yield opcode, at, stream.read(length)
            at += _HEAD.size + length
            if opcode == Opcode.FOOTER:
                return
            continue
        following = _find_chunk(stream, at + _HEAD.size, size)
        if following is None:
            return
        yield HIDDEN, at, b""
        at = following


def _find_chunk(stream: BinaryIO, at: int, size: int) -> int | None:
    """Return where the next chunk begins that is whole; None where there is none."""
    before = b""
    while at < size:
        stream.seek(at)
        block = before + stream.read(1 << 20)
        start = at - len(before)
        found = block.find(_COMPRESSION)
        while found >= 0:
            place = start + found - _BEFORE_COMPRESSION
            if place >= at - len(before):
                stream.seek(place)
                opcode, length = _HEAD.unpack(stream.read(_HEAD.size))
                if (
                    opcode == Opcode.CHUNK
                    and place + _HEAD.size + length <= size
                    and _decompress(stream.read(length)) is not None
                ):
                    return place
            found = block.find(_COMPRESSION, found + 1)
        at = start + len(block)
        before = block[-128:]  # a chunk may begin in one block and go on in the next
    return None


def _decompress(body: bytes) -> tuple[records.Chunk, bytes] | None:
    """Return a chunk and what it holds; None where it is damaged."""
    try:
        chunk = records.Chunk.read(_stream(body))
        _check_whole(chunk, body)
        if chunk.compression != COMPRESSION or chunk.uncompressed_size > MAX_CHUNK_BYTES:
            return None
        plain = zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=chunk.uncompressed_size)
    except (zstandard.ZstdError, *_UNREADABLE):
        return None
    return (chunk, plain) if zlib.crc32(plain) == chunk.uncompressed_crc and len(plain) == chunk.uncompressed_size else None


class _Opening:
    """What is known of an opening: up to which frame it is accounted for, and whether its end is told."""

    def __init__(self) -> None:
        self.number = 0
        self.is_open = False
        self.has_hole = False  # a chunk of it may be damaged


class _Contents:
    """What is in a file, gathered record by record. data_end: where that what ends a file is to begin."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.end_at = self.data_end = len(MCAP0_MAGIC)
        self.frames = self.size_bytes = 0
        self.is_finished = False
        self._is_data = True
        self.damaged = 0  # parts
        self.hidden: list[tuple[int, int]] = []  # places and lengths of what readers must pass over
        self._hidden_from: int | None = None
        self._outside: list[tuple[int, bytes]] = []  # schemas and channels that stand before the next chunk
        self._index: dict[int, bytes] = {}  # of the last chunk, by channel
        self.header: records.Header | None = None
        self.about: dict[str, str] = {}
        self.schemas: dict[int, records.Schema] = {}
        self.channels: dict[int, records.Channel] = {}
        self.metadata: list[tuple[int, int, str]] = []  # place, length, name
        self.chunks: list[_Chunk] = []
        self.openings: dict[int, _Opening] = {}
        self.losses: dict[str, int] = {}
        self.longest_s = 0.0
        self._layouts: dict[int, tuple[int, fmt.Layout]] = {}  # by channel: opening and layout

    def heed(self, opcode: int, at: int, body: bytes) -> None:
        """Take in a record."""
        end = at + _HEAD.size + len(body)
        self._hide_before(at)
        if opcode == HIDDEN:
            self._hidden_from = at if not body else None
        elif opcode == Opcode.FOOTER:
            self.is_finished, self.end_at = True, end + len(MCAP0_MAGIC)
        elif opcode == Opcode.DATA_END:
            self._is_data = False  # what follows is a summary
        elif self._is_data:
            self.data_end = end
            try:
                self._heed(opcode, at, body)
            except _UNREADABLE:
                if opcode == Opcode.MESSAGE_INDEX:  # readers do without
                    self.hidden.append((at, end - at))
                else:
                    self._hide(at, end)

    def _heed(self, opcode: int, at: int, body: bytes) -> None:
        if opcode == Opcode.HEADER:
            header = records.Header.read(_stream(body))
            _check_whole(header, body)
            self.header = header
            self.check()
        elif opcode == Opcode.METADATA:
            found = records.Metadata.read(_stream(body))
            _check_whole(found, body)
            self.metadata.append((at, _HEAD.size + len(body), found.name))
            if found.name == fmt.RECORDING:
                self.about = found.metadata
                self.check()
        elif opcode == Opcode.CHUNK:
            self._heed_chunk(at, body)
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            self._outside.append((at, body))
            self._define(opcode, body)
        elif opcode == Opcode.MESSAGE_INDEX and self.chunks and self.chunks[-1].end == at:
            channel, length = struct.unpack_from("<HI", body)
            if self._index.get(channel) != body[6:] or length != len(body) - 6:
                raise ValueError("an index that is damaged")
            self.chunks[-1].offsets[channel] = at
            self.chunks[-1].end = at + _HEAD.size + len(body)
        elif opcode < HIDDEN:
            raise ValueError("a record that is none of ours")

    def _hide_before(self, at: int) -> None:
        """What could not be read up to here is none of readers' business."""
        if self._hidden_from is not None:
            self._hide(self._hidden_from, at)
            self._hidden_from = None

    def _hide(self, at: int, end: int) -> None:
        self.damaged += 1
        self.hidden.append((at, end - at))
        for opening in self.openings.values():
            opening.has_hole = True

    def check(self) -> None:
        """Raise RecordingError where this is no recording of ours, or one of a newer µcore."""
        if self.header is None or self.header.profile != fmt.PROFILE:
            raise RecordingError(f"{self._path} is an MCAP file, but no recording of µcore's.")
        version = self.about.get("format", "1")
        if not version.isdecimal() or int(version) > fmt.FORMAT:
            raise RecordingError(f"{self._path} comes from a newer µcore (format {version}): update this one.")

    def _heed_chunk(self, at: int, body: bytes) -> None:
        found = _decompress(body)
        if found is None:
            self._outside = []
            raise ValueError("a chunk that is damaged")
        chunk, plain = found
        self._index = {}
        times: list[int] = []
        defined: set[bytes] = set()
        place = 0
        while place + _HEAD.size <= len(plain):
            opcode, length = _HEAD.unpack_from(plain, place)
            record = plain[place + _HEAD.size : place + _HEAD.size + length]
            if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                defined.add(record)
                self._define(opcode, record)
            elif opcode == Opcode.MESSAGE:
                message = records.Message.read(_stream(record), length)
                times.append(message.log_time)
                self._index[message.channel_id] = self._index.get(message.channel_id, b"") + INDEX.pack(message.log_time, place)
                self._heed_message(self.channels.get(message.channel_id), message.data)
            place += _HEAD.size + length
        self._trust_chunk(defined)
        counts = Counter({channel: len(index) // INDEX.size for channel, index in self._index.items()})
        span = (min(times), max(times)) if times else (0, 0)
        self.chunks.append(_Chunk(chunk, at, at + _HEAD.size + len(body), counts, span))

    def _define(self, opcode: int, body: bytes) -> None:
        record = (records.Schema if opcode == Opcode.SCHEMA else records.Channel).read(_stream(body))
        _check_whole(record, body)
        if isinstance(record, records.Schema):
            self.schemas[record.id] = record
        else:
            self.channels[record.id] = record

    def _trust_chunk(self, defined: set[bytes]) -> None:
        """Schemas and channels stand before their first chunk, too; a checksum vouches for the ones in it."""
        for at, body in self._outside:
            if body not in defined:
                self.hidden.append((at, _HEAD.size + len(body)))
        self._outside = []

    def _heed_message(self, channel: records.Channel | None, data: bytes) -> None:
        if channel is None:
            return
        if channel.topic == fmt.EVENTS_TOPIC:
            self._heed_event(fmt.decode_event(data))
            return
        if channel.id not in self._layouts:
            about = fmt.About.of(channel.metadata)
            self._layouts[channel.id] = about.opening, fmt.Layout(about.format)
        key, layout = self._layouts[channel.id]
        run = layout.decode(data)
        self._fill(key, run.first)
        opening = self.openings.setdefault(key, _Opening())
        opening.number, opening.is_open = run.first + run.frames, True
        self.frames += run.frames
        self.size_bytes += len(run.data)
        self.longest_s = max(self.longest_s, run.time_last - run.time_first)

    def _heed_event(self, event: dict[str, Any]) -> None:
        key = event.get("opening")
        if not isinstance(key, int):
            return
        opening = self.openings.setdefault(key, _Opening())
        if event["event"] == "open":
            opening.number, opening.is_open, opening.has_hole = int(event["number"]), True, False
        elif event["event"] == "lost":
            self._fill(key, int(event["first"]))
            opening.number = int(event["first"]) + int(event["count"])
            self._lose(str(event["cause"]), int(event["count"]))
        elif event["event"] == "end":
            self._fill(key, int(event["frames"]))
            opening.is_open = False

    def _fill(self, key: int, number: int) -> None:
        """Count what lies between what was read last and this frame, where a chunk is damaged."""
        opening = self.openings.get(key)
        if opening is not None and opening.has_hole:
            if number > opening.number:
                self._lose(DAMAGED, number - opening.number)
            opening.has_hole = False

    def _lose(self, cause: str, count: int) -> None:
        self.losses[cause] = self.losses.get(cause, 0) + count

    def restore(self, file: McapFile) -> None:
        """Give a file that is resumed what its summary says, and end what nobody has ended."""
        for schema in self.schemas.values():
            file.restore_schema(schema)
        for channel in sorted(self.channels.values(), key=lambda channel: channel.id):
            file.restore_channel(channel)
        for at, length, name in self.metadata:
            file.restore_metadata(records.MetadataIndex(offset=at, length=length, name=name))
        for chunk in self.chunks:
            file.restore_chunk(chunk.index(), chunk.counts)
        events = next((channel.id for channel in self.channels.values() if channel.topic == fmt.EVENTS_TOPIC), None)
        now = time.time()
        for key, opening in self.openings.items():
            if opening.is_open and events is not None:
                event = {"event": "end", "time": now, "opening": key, "frames": opening.number, "reason": KILLED}
                at = max([fmt.as_nanoseconds(now), *(chunk.times[1] for chunk in self.chunks)])
                file.add_message(events, at, at, fmt.encode_event(event))
        if not any(name == fmt.END for _, _, name in self.metadata):
            file.flush()
            end = {
                "reason": KILLED,
                "ended": repr(now),
                "frames": str(self.frames),
                "size_bytes": str(self.size_bytes),
                "lost": json.dumps(self.losses),
                "longest_s": repr(self.longest_s),
                "next": "",
            }
            file.add_metadata(fmt.END, end)


class _Chunk:
    """A chunk, and where it and its index lie."""

    def __init__(self, record: records.Chunk, at: int, end: int, counts: Counter[int], times: tuple[int, int]):
        self.at = at
        self.length = end - at
        self.end = end  # of its index, as far as that is there
        self.counts = counts
        self.offsets: dict[int, int] = {}
        self.times = times
        self._sizes = len(record.data), record.uncompressed_size
        self._compression = record.compression

    def index(self) -> records.ChunkIndex:
        """Return what the summary says of it. Where its index is torn, it has none: readers look into the chunk then."""
        is_whole = self.offsets.keys() == self.counts.keys()
        return records.ChunkIndex(
            chunk_length=self.length,
            chunk_start_offset=self.at,
            compression=self._compression,
            compressed_size=self._sizes[0],
            message_start_time=self.times[0],
            message_end_time=self.times[1],
            message_index_length=self.end - self.at - self.length if is_whole else 0,
            message_index_offsets=self.offsets if is_whole else {},
            uncompressed_size=self._sizes[1],
        )


def _check_whole(record: records.McapRecord, body: bytes) -> None:
    """Raise ValueError where a record does not say what it was read from: mcap reads less where there is less."""
    builder = RecordBuilder()
    record.write(builder)
    if builder.end()[_HEAD.size :] != body:
        raise ValueError("a record that is damaged")


def _stream(body: bytes) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(body))
