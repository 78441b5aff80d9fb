"""An MCAP file that is written: whole at every moment, whatever happens to the disk or to its process.

`mcap`'s own writer keeps an object a chunk, of which a week has two million, and is lost where a write fails. This one takes its records,
keeps the index as bytes, and writes a chunk in one step that is undone where it fails. What is needed for the end is reserved at the beginning.
"""

from __future__ import annotations

import errno
import os
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import IO

import zstandard
from mcap import records
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from ukernel.errors import RecordingError, describe
from ukernel.protocol.filelock import try_lock

__all__ = ["COMPRESSION", "HIDDEN", "INDEX", "MAX_CHANNELS", "McapFile", "Mode"]


class Mode(Enum):
    """What may be there: NEW: nothing. REPLACED: anything. MENDED: a file that was not finished; `resume` it in the place of `begin`."""

    NEW = "new"
    REPLACED = "replaced"
    MENDED = "mended"


MAX_CHANNELS = 0xFFFF - 1  # ids have two bytes
CHUNK_BYTES = 1 << 20  # before compression: what is read at once where one frame of it is wanted
COMPRESSION, LEVEL = "zstd", 3
LOCK_AT = 1 << 40  # the byte that is locked where locks are on bytes: nobody reads it
# A chunk, and all that ends a file, beside its index.
RESERVE_BYTES = CHUNK_BYTES + (1 << 18)
HIDDEN = 0x80  # the opcode of a record that is for nobody: readers pass over what is private
_READ_WRITE = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FLAGS = {
    Mode.NEW: _READ_WRITE | os.O_CREAT | os.O_EXCL,
    Mode.REPLACED: _READ_WRITE | os.O_CREAT,
    Mode.MENDED: _READ_WRITE,
}
_HEAD = struct.Struct("<BQ")
_CANNOT = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
_MESSAGE = struct.Struct("<BQHIQQ")
_MESSAGE_BYTES = 22  # of its head, without opcode and length
INDEX = struct.Struct("<QQ")
_NEVER = (1 << 64) - 1, 0  # the first and the last of no times


class McapFile:
    """Made with a path, it is open and locked; `begin`, `add_message` and so on, `flush` now and then, and `finish` in the end, or `abandon`.

    size_bytes: of the file. Where the disk is full, `flush` raises OSError, and can be
    called again after `free_reserve`. Raises RecordingError where there can be no such file.
    """

    def __init__(self, path: Path, mode: Mode = Mode.NEW):
        self.path = path
        self.size_bytes = 0
        self.chunks = 0
        self.channels = 0
        self._fd, self._reserve = _open(path, mode)
        self._has_links = os.fstat(self._fd).st_nlink > 0  # not every file system counts them
        self._compressor = zstandard.ZstdCompressor(LEVEL)
        self._chunk = bytearray()
        self._definitions = bytearray()  # schemas and channels, to be written before the chunk
        self._indexes: dict[int, bytearray] = {}  # of the chunk: channel -> log time and place of each message
        self._sequences: dict[int, int] = {}  # by channel, of the next message
        self._first, self._last = _NEVER  # log times in the chunk
        # For the summary.
        self._schemas, self._channels = RecordBuilder(), RecordBuilder()
        self._chunk_indexes, self._metadata_indexes = bytearray(), RecordBuilder()
        self._counts: Counter[int] = Counter()
        self._all_times = _NEVER
        self._schema_count = self._metadata_count = 0

    def begin(self, profile: str, library: str) -> None:
        """Write what a new file begins with. Raises RecordingError."""
        head = RecordBuilder()
        head.write(MCAP0_MAGIC)
        records.Header(profile, library).write(head)
        try:
            self._write(head.end())
        except OSError as error:
            self.abandon()
            raise RecordingError(f"The recording {self.path} cannot be written: {describe(error)}.") from error

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Add a schema; returns its id."""
        self._schema_count += 1
        schema = records.Schema(id=self._schema_count, data=data, encoding=encoding, name=name)
        self._define(_record(schema))
        schema.write(self._schemas)
        return self._schema_count

    def add_channel(self, topic: str, encoding: str, schema: int, metadata: Mapping[str, str]) -> int:
        """Add a channel; returns its id, of which there are `MAX_CHANNELS`."""
        self.channels += 1
        channel = records.Channel(self.channels, topic, encoding, dict(metadata), schema)
        self._define(_record(channel))
        channel.write(self._channels)
        return self.channels

    def _define(self, record: bytes) -> None:
        # Twice: if the chunk that holds it is damaged one day, those after it are still of use.
        self._chunk += record
        self._definitions += record

    def add_message(self, channel: int, log_time: int, publish_time: int, data: bytes) -> None:
        """Put a message into the chunk; times in nanoseconds. Call `flush` where `is_full` then."""
        index = self._indexes.get(channel)
        if index is None:
            index = self._indexes[channel] = bytearray()
        index += INDEX.pack(log_time, len(self._chunk))
        sequence = self._sequences.get(channel, 0)
        self._sequences[channel] = (sequence + 1) & 0xFFFF_FFFF
        self._chunk += _MESSAGE.pack(Opcode.MESSAGE, _MESSAGE_BYTES + len(data), channel, sequence, log_time, publish_time)
        self._chunk += data
        if log_time > self._last:
            self._last = log_time
        if log_time < self._first:
            self._first = log_time

    @property
    def is_full(self) -> bool:
        """Whether the chunk is as large as one is to be."""
        return len(self._chunk) >= CHUNK_BYTES

    def add_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Write a metadata record. Raises OSError."""
        record = RecordBuilder()
        records.Metadata(name, dict(metadata)).write(record)
        data = record.end()
        index = records.MetadataIndex(offset=self.size_bytes, length=len(data), name=name)
        self._write(data)
        index.write(self._metadata_indexes)
        self._metadata_count += 1

    def flush(self) -> None:
        """Finish the chunk and write it, in one step. Raises OSError: the file is then as it was, and so is the chunk."""
        if not self._indexes:
            return
        self._write_chunk(bytes(self._chunk), (self._first, self._last))
        for channel, index in self._indexes.items():
            self._counts[channel] += len(index) // INDEX.size
        times = self._all_times
        self._all_times = (min(times[0], self._first), max(times[1], self._last))
        self._first, self._last = _NEVER
        self._chunk.clear()
        self._definitions.clear()
        self._indexes.clear()

    def _write_chunk(self, plain: bytes, times: tuple[int, int]) -> None:
        data = self._compressor.compress(plain)
        record = RecordBuilder()
        record.write(self._definitions)
        records.Chunk(
            compression=COMPRESSION,
            data=data,
            message_start_time=times[0],
            message_end_time=times[1],
            uncompressed_crc=zlib.crc32(plain),
            uncompressed_size=len(plain),
        ).write(record)
        start, end = len(self._definitions), record.count
        offsets = {}
        for channel, index in self._indexes.items():
            offsets[channel] = self.size_bytes + record.count
            record.write(struct.pack("<BQHI", Opcode.MESSAGE_INDEX, 6 + len(index), channel, len(index)))
            record.write(index)
        chunk_index = RecordBuilder()
        records.ChunkIndex(
            chunk_length=end - start,
            chunk_start_offset=self.size_bytes + start,
            compression=COMPRESSION,
            compressed_size=len(data),
            message_start_time=times[0],
            message_end_time=times[1],
            message_index_length=record.count - end,
            message_index_offsets=offsets,
            uncompressed_size=len(plain),
        ).write(chunk_index)
        indexed = chunk_index.end()
        self._reserve.hold(RESERVE_BYTES + len(self._chunk_indexes) + len(indexed))
        self._write(record.end())
        self._chunk_indexes += indexed
        self.chunks += 1

    def free_reserve(self) -> None:
        """Make room for a last `flush` and for `finish` on a disk that is full."""
        self._reserve.free()

    def finish(self) -> None:
        """Write the summary and close the file. Raises OSError."""
        self.flush()
        self._reserve.free()
        record = RecordBuilder()
        records.DataEnd(0).write(record)
        start = self.size_bytes + record.count
        summary = self._summary(start)
        offset_start = start + len(summary[0])
        footer = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offset_start)
        crc = zlib.crc32(footer, zlib.crc32(summary[0] + summary[1]))
        self._write(b"".join((record.end(), *summary, footer, crc.to_bytes(4, "little"), MCAP0_MAGIC)))
        os.fsync(self._fd)
        self.abandon()

    @property
    def is_removed(self) -> bool:
        """Whether somebody has removed it: what is written then is nowhere. One that was only moved goes on."""
        return self._has_links and os.fstat(self._fd).st_nlink == 0

    def abandon(self) -> None:
        """Close the file as it is."""
        self._reserve.free()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # A file that was not finished

    def resume(self, size_bytes: int, hidden: Iterable[tuple[int, int]]) -> None:
        """Cut a file off after so many bytes, and go on there. ``hidden``: what readers must pass over, places and lengths. Raises OSError."""
        for at, length in hidden:
            os.lseek(self._fd, at, os.SEEK_SET)
            os.write(self._fd, _HEAD.pack(HIDDEN, length - _HEAD.size))
        os.ftruncate(self._fd, size_bytes)
        os.lseek(self._fd, size_bytes, os.SEEK_SET)
        self.size_bytes = size_bytes

    def restore_schema(self, schema: records.Schema) -> None:
        """Put a schema of the file into its summary; likewise the others."""
        schema.write(self._schemas)
        self._schema_count += 1

    def restore_channel(self, channel: records.Channel) -> None:
        channel.write(self._channels)
        self.channels += 1

    def restore_metadata(self, index: records.MetadataIndex) -> None:
        index.write(self._metadata_indexes)
        self._metadata_count += 1

    def restore_chunk(self, index: records.ChunkIndex, messages: Mapping[int, int]) -> None:
        """``messages``: how many the chunk has, by channel."""
        self._chunk_indexes += _record(index)
        self.chunks += 1
        self._counts.update(messages)
        times = self._all_times
        self._all_times = min(times[0], index.message_start_time), max(times[1], index.message_end_time)
        for channel in messages:
            self._sequences[channel] = self._counts[channel] & 0xFFFF_FFFF

    def _summary(self, start: int) -> tuple[bytes, bytes]:
        """Return the summary that begins at ``start``, and the table of where what lies in it."""
        times = self._all_times if self._counts else (0, 0)
        statistics = RecordBuilder()
        records.Statistics(
            attachment_count=0,
            channel_count=self.channels,
            channel_message_counts=dict(self._counts),
            chunk_count=self.chunks,
            message_count=self._counts.total(),
            message_start_time=times[0],
            message_end_time=times[1],
            metadata_count=self._metadata_count,
            schema_count=self._schema_count,
        ).write(statistics)
        groups = (
            (Opcode.SCHEMA, self._schemas.end()),
            (Opcode.CHANNEL, self._channels.end()),
            (Opcode.STATISTICS, statistics.end()),
            (Opcode.CHUNK_INDEX, bytes(self._chunk_indexes)),
            (Opcode.METADATA_INDEX, self._metadata_indexes.end()),
        )
        offsets = RecordBuilder()
        at = start
        for opcode, group in groups:
            if group:
                records.SummaryOffset(group_opcode=opcode, group_start=at, group_length=len(group)).write(offsets)
            at += len(group)
        return b"".join(group for _, group in groups), offsets.end()

    def _write(self, data: bytes) -> None:
        """Append, or leave the file as it was. Raises OSError."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self.size_bytes)
            os.lseek(self._fd, self.size_bytes, os.SEEK_SET)
            raise
        self.size_bytes += len(data)


class _Reserve:
    """Room on the disk that nobody else gets: a file without a name."""

    def __init__(self, folder: Path):
        self._file: IO[bytes] | None = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._size_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """Hold at least so much. Raises OSError where there is no room."""
        if self._file is None or size_bytes <= self._size_bytes:
            return
        size_bytes += size_bytes // 2  # rarely
        try:
            os.posix_fallocate(self._file.fileno(), 0, size_bytes)
        except (AttributeError, OSError) as error:  # not every system and file system can
            if isinstance(error, OSError) and error.errno not in _CANNOT:
                raise
            self._file.write(bytes(size_bytes - self._size_bytes))
        self._size_bytes = size_bytes

    def free(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _open(path: Path, mode: Mode) -> tuple[int, _Reserve]:
    """Open and lock the file, and reserve room beside it. Raises RecordingError."""
    fd, reserve = -1, None
    made = not path.exists()
    try:
        fd = os.open(path, _FLAGS[mode], 0o666)
        os.lseek(fd, LOCK_AT, os.SEEK_SET)
        if not try_lock(fd):
            raise RecordingError(f"{path} is just being recorded to by another recorder: `ucore recordings` lists them.")
        os.lseek(fd, 0, os.SEEK_SET)
        reserve = _Reserve(path.parent)
        if mode is Mode.MENDED:
            reserve.free()  # there may be no room, which is why it has to be mended
        else:
            reserve.hold(RESERVE_BYTES)
            os.ftruncate(fd, 0)
    except BaseException as error:
        if reserve is not None:
            reserve.free()
        if fd >= 0:
            os.close(fd)
            if made:
                path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RecordingError(_why_not(path, mode, error)) from error
        raise
    return fd, reserve


def _why_not(path: Path, mode: Mode, error: OSError) -> str:
    if mode is Mode.MENDED:
        return (
            f"{path} cannot be mended: {'there is no such file' if isinstance(error, FileNotFoundError) else describe(error)}."
        )
    if path.is_dir():  # a new file in its place is refused as one that exists
        return f"{path} is a folder: name a file in it, such as {path / 'data.mcap'}."
    if isinstance(error, FileExistsError):
        return f"{path} is there already: choose another name, or say overwrite=True (--overwrite) to replace it."
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{path} cannot be recorded to: there is no folder {path.parent}. Make it first."
    if isinstance(error, PermissionError):
        return f"{path} cannot be recorded to: you may not write there. Choose another folder."
    if error.errno == errno.ENOSPC:
        return f"{path} cannot be recorded to: the disk is full. At least {RESERVE_BYTES * 2 / 1e6:.0f} MB must be free."
    return f"{path} cannot be recorded to: {describe(error)}."


def _record(record: records.McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    data: bytes = builder.end()
    return data
