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
from typing import Any, NamedTuple

import zstandard
from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from ukernel.errors import RecordingError, describe

from . import format as fmt
from .mcapfile import McapFile, Mode

__all__ = ["Recovered", "recover"]

KILLED = "recorder killed"  # the reason of ends that nobody has written
DAMAGED = "damaged"  # the cause of frames that are missing because a chunk cannot be read
_HEAD = struct.Struct("<BQ")
# More than any one record of ours: where so much cannot be read, it is not the end that was torn off.
MAX_TORN_BYTES = 1 << 23


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
        damaged = f" {self.damaged} parts of it are damaged, and what they held is counted as lost." if self.damaged else ""
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
            for opcode, at, body in _read_records(stream, size):
                contents.heed(opcode, at, body)
        if contents.is_finished and contents.end_at == size:
            return Recovered(str(path), contents.frames, 0, 0, True)
        contents.check()
        torn = size - contents.data_end
        if torn > MAX_TORN_BYTES:
            raise RecordingError(
                f"{path} is damaged at byte {contents.data_end:,} of {size:,}: that is not how a recorder's end leaves a file. "
                "What lies before that can be loaded."
            )
        file.resume(contents.data_end, contents.damaged)
        contents.restore(file)
        file.finish()
    finally:
        file.abandon()
    return Recovered(str(path), contents.frames, torn, len(contents.damaged), False)


def _read_records(stream: Any, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield opcode, place and body of the records that are whole, up to the first that is not."""
    at = len(MCAP0_MAGIC)
    while at + _HEAD.size <= size:
        opcode, length = _HEAD.unpack(stream.read(_HEAD.size))
        if not opcode or at + _HEAD.size + length > size:
            return
        yield opcode, at, stream.read(length)
        at += _HEAD.size + length
        if opcode == Opcode.FOOTER:
            return


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
        self.damaged: list[int] = []  # places
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
        if opcode == Opcode.HEADER:
            self.header = records.Header.read(_stream(body))
            self.check()
        elif opcode == Opcode.METADATA:
            found = records.Metadata.read(_stream(body))
            self.metadata.append((at, end - at, found.name))
            if found.name == fmt.RECORDING:
                self.about = found.metadata
                self.check()
        elif opcode == Opcode.CHUNK:
            self._heed_chunk(at, body)
        elif opcode == Opcode.MESSAGE_INDEX and self.chunks and self.chunks[-1].end == at:
            channel, length = struct.unpack_from("<HI", body)
            self.chunks[-1].offsets[channel] = at
            self.chunks[-1].end = end
        elif opcode == Opcode.FOOTER:
            self.is_finished, self.end_at = True, end + len(MCAP0_MAGIC)
            return
        if opcode in (Opcode.HEADER, Opcode.METADATA, Opcode.CHUNK, Opcode.MESSAGE_INDEX):
            self.data_end = end

    def check(self) -> None:
        """Raise RecordingError where this is no recording of ours, or one of a newer µcore."""
        if self.header is None or self.header.profile != fmt.PROFILE:
            raise RecordingError(f"{self._path} is an MCAP file, but no recording of µcore's.")
        version = self.about.get("format", "1")
        if not version.isdecimal() or int(version) > fmt.FORMAT:
            raise RecordingError(f"{self._path} comes from a newer µcore (format {version}): update this one.")

    def _heed_chunk(self, at: int, body: bytes) -> None:
        chunk = records.Chunk.read(_stream(body))
        try:
            plain = (
                zstandard.ZstdDecompressor().decompress(chunk.data, chunk.uncompressed_size)
                if chunk.compression
                else chunk.data
            )
            if zlib.crc32(plain) != chunk.uncompressed_crc:
                raise ValueError("of another checksum")
            counts = self._read_chunk(plain)
        except (zstandard.ZstdError, ValueError, struct.error):
            self.damaged.append(at)
            for opening in self.openings.values():
                opening.has_hole = True
            return
        self.chunks.append(_Chunk(chunk, at, at + _HEAD.size + len(body), counts))

    def _read_chunk(self, plain: bytes) -> Counter[int]:
        """Read a chunk's records; returns how many messages it has, by channel."""
        counts: Counter[int] = Counter()
        at = 0
        while at + _HEAD.size <= len(plain):
            opcode, length = _HEAD.unpack_from(plain, at)
            body = plain[at + _HEAD.size : at + _HEAD.size + length]
            if opcode == Opcode.SCHEMA:
                schema = records.Schema.read(_stream(body))
                self.schemas[schema.id] = schema
            elif opcode == Opcode.CHANNEL:
                channel = records.Channel.read(_stream(body))
                self.channels[channel.id] = channel
            elif opcode == Opcode.MESSAGE:
                message = records.Message.read(_stream(body), length)
                counts[message.channel_id] += 1
                self._heed_message(self.channels.get(message.channel_id), message.data)
            at += _HEAD.size + length
        return counts

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

    def __init__(self, record: records.Chunk, at: int, end: int, counts: Counter[int]):
        self.at = at
        self.length = end - at
        self.end = end  # of its index, as far as that is there
        self.counts = counts
        self.offsets: dict[int, int] = {}
        self.times = record.message_start_time, record.message_end_time
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


def _stream(body: bytes) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(body))
