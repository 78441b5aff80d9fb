"""One file of a recording, as it is read: where its chunks lie, and the messages in them.

A file that was finished says at its end where what is. One that is torn, damaged or just being written is looked through from its beginning, without
decompressing anything: that takes as long as reading the file.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard
from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from ukernel.errors import RecordingError, describe

from . import format as fmt
from .mcapscan import MAX_CHUNK_BYTES, read_records

__all__ = ["Chunk", "Message", "PartReader"]

CACHED_CHUNKS = 8  # decompressed: values, times and frames of a short time are asked for one after the other
_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_FOOTER_BYTES = _HEAD.size + 20 + len(MCAP0_MAGIC)
_CHUNK_HEAD = struct.Struct("<QQQII")  # times, size and checksum of what is in it, length of the compression's name
_CHUNK_INDEX = struct.Struct("<QQQQI")  # times, place and length of the chunk, length of the map
_CHUNK_INDEX_OPCODE = bytes([Opcode.CHUNK_INDEX])
_UNREADABLE = (McapError, ValueError, OverflowError, MemoryError, struct.error, zstandard.ZstdError)


class Chunk(NamedTuple):
    """Where a chunk lies. first, last: log times of messages in it, nanoseconds. channels: that have messages in it; None: who knows."""

    at: int
    length: int
    first: int
    last: int
    channels: frozenset[int] | None


class Message(NamedTuple):
    """A message: the channel's id, its two times in nanoseconds, and its bytes, uncopied."""

    channel: int
    log_time: int
    publish_time: int
    data: memoryview


class PartReader:
    """What one file has: channels by id, chunks in the order of the file, metadata as pairs of name and content. size_bytes: of it.

    why_torn: a sentence; empty for a file that was finished. damaged: chunks that cannot be read, as far as they have been met.
    Raises RecordingError for a file that is none, no recording, of a newer µcore, or cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path
        self.channels: dict[int, records.Channel] = {}
        self.chunks: list[Chunk] = []
        self.metadata: list[tuple[str, dict[str, str]]] = []
        self.why_torn = ""
        self.damaged = 0
        self.size_bytes = 0
        self._cache: OrderedDict[int, bytes | None] = OrderedDict()
        self._decompressor = zstandard.ZstdDecompressor()
        try:
            with path.open("rb") as stream:
                self._open(stream)
        except FileNotFoundError:
            raise RecordingError(f"There is no file {path}.") from None
        except OSError as error:
            raise RecordingError(f"{path} cannot be read: {describe(error)}.") from error

    def about(self, name: str) -> dict[str, str]:
        """Return the first metadata record of this name, empty where there is none."""
        return next((content for found, content in self.metadata if found == name), {})

    def messages(self, chunks: Collection[Chunk], channels: Collection[int]) -> Iterator[Message]:
        """Yield the messages of these channels in these chunks, in the order of the file. Raises RecordingError."""
        wanted = frozenset(channels)
        try:
            with self.path.open("rb") as stream:
                for chunk in chunks:
                    if chunk.channels is None or not wanted.isdisjoint(chunk.channels):
                        plain = self._read_chunk(stream, chunk)
                        if plain is not None:
                            yield from _messages(plain, wanted)
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be read any more: {describe(error)}.") from error

    # Opening

    def _open(self, stream: BinaryIO) -> None:
        size = self.size_bytes = os.fstat(stream.fileno()).st_size
        begin = stream.read(len(MCAP0_MAGIC) + _HEAD.size + 256)
        if not begin:
            raise RecordingError(f"{self.path} is empty: nothing had been written when its recorder ended.")
        if begin[: len(MCAP0_MAGIC)] != MCAP0_MAGIC[: len(begin)]:
            raise RecordingError(f"{self.path} is no recording: it does not begin as an MCAP file does.")
        self._check_profile(begin)
        try:
            finished = self._read_summary(stream, size)
        except _UNREADABLE:
            finished = False
        if not finished:
            self.channels, self.chunks, self.metadata = {}, [], []
            self._look_through(stream, size)
        version = self.about(fmt.RECORDING).get("format", "1")
        if not version.isdecimal() or int(version) > fmt.FORMAT:
            raise RecordingError(f"{self.path} comes from a newer µcore (format {version[:20]}): update this one.")

    def _check_profile(self, begin: bytes) -> None:
        try:
            opcode, length = _HEAD.unpack_from(begin, len(MCAP0_MAGIC))
            body = begin[len(MCAP0_MAGIC) + _HEAD.size :]
            if opcode == Opcode.HEADER and len(body) < min(length, 256):
                return  # torn within
            profile = body[4 : 4 + int.from_bytes(body[:4], "little")].decode("utf-8", "replace")
        except struct.error:
            return  # torn before: there is nothing in it
        if opcode != Opcode.HEADER or profile != fmt.PROFILE:
            raise RecordingError(f"{self.path} is an MCAP file, but no recording of µcore's.")

    def _read_summary(self, stream: BinaryIO, size: int) -> bool:
        """Read what a finished file has at its end; False where it is not finished, or not readable."""
        if size < _FOOTER_BYTES + len(MCAP0_MAGIC):
            return False
        stream.seek(size - _FOOTER_BYTES)
        opcode, _, start, offsets, crc, magic = struct.unpack("<BQQQI8s", stream.read(_FOOTER_BYTES))
        if magic != MCAP0_MAGIC or opcode != Opcode.FOOTER or not 0 < start < size:
            return False
        stream.seek(start)
        summary = stream.read(size - _FOOTER_BYTES - start)
        footer = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offsets)
        if crc and zlib.crc32(footer, zlib.crc32(summary)) != crc:
            return False
        metadata: list[tuple[int, int]] = []
        at = 0
        while at + _HEAD.size <= len(summary):
            opcode, length = _HEAD.unpack_from(summary, at)
            if opcode == Opcode.CHUNK_INDEX:
                chunks, at = _read_chunk_indexes(summary, at)
                self.chunks += chunks
                continue
            at += _HEAD.size
            if opcode == Opcode.CHANNEL:
                self._add_channel(summary[at : at + length])
            elif opcode == Opcode.METADATA_INDEX:
                index = records.MetadataIndex.read(ReadDataStream(io.BytesIO(summary[at : at + length])))
                metadata.append((index.offset, index.length))
            at += length
        for place, length in metadata:
            stream.seek(place + _HEAD.size)
            self._add_metadata(stream.read(length - _HEAD.size))
        return True

    def _look_through(self, stream: BinaryIO, size: int) -> None:
        """Find what there is in a file without an end."""
        for opcode, at, body in read_records(stream, size):
            try:
                if opcode == Opcode.CHUNK:
                    first, final, *_ = _CHUNK_HEAD.unpack_from(body)
                    self.chunks.append(Chunk(at, _HEAD.size + len(body), first, final, None))
                elif opcode == Opcode.CHANNEL:
                    self._add_channel(body)
                elif opcode == Opcode.METADATA:
                    self._add_metadata(body)
                elif opcode == Opcode.DATA_END:
                    break
                elif opcode == 0x80 and not body:
                    self.damaged += 1
            except _UNREADABLE:
                self.damaged += 1
        self._define_from_chunks(stream)
        ended = "its recorder was killed, or writes it just now"
        self.why_torn = f"{self.path} has no proper end: {ended}. It was read up to its last whole chunk."
        if not self.chunks and not self.metadata:
            self.why_torn = f"{self.path} has no proper end, and nothing had been made safe in it."

    def _define_from_chunks(self, stream: BinaryIO) -> None:
        """Channels stand before their first chunk and in it; where the first is damaged, the second counts."""
        for chunk in self.chunks if self.damaged else ():
            plain = self._read_chunk(stream, chunk)
            for opcode, at, length in _records(plain or b""):
                if opcode == Opcode.CHANNEL and plain is not None:
                    self._add_channel(plain[at : at + length])

    def _add_channel(self, body: bytes) -> None:
        channel = records.Channel.read(ReadDataStream(io.BytesIO(body)))
        self.channels[channel.id] = channel

    def _add_metadata(self, body: bytes) -> None:
        found = records.Metadata.read(ReadDataStream(io.BytesIO(body)))
        self.metadata.append((found.name, found.metadata))

    # Chunks

    def _read_chunk(self, stream: BinaryIO, chunk: Chunk) -> bytes | None:
        """Return what is in a chunk; None, and counted once, where it is damaged."""
        if chunk.at in self._cache:
            self._cache.move_to_end(chunk.at)
            return self._cache[chunk.at]
        try:
            stream.seek(chunk.at)
            plain = self._decompress(stream.read(chunk.length))
        except _UNREADABLE:  # places that no file has
            plain = None
        if plain is None:
            self.damaged += 1
        self._cache[chunk.at] = plain
        for at in [at for at, found in self._cache.items() if found is not None][:-CACHED_CHUNKS]:
            del self._cache[at]
        return plain

    def _decompress(self, record: bytes) -> bytes | None:
        try:
            *_, size, crc, name_bytes = _CHUNK_HEAD.unpack_from(record, _HEAD.size)
            at = _HEAD.size + _CHUNK_HEAD.size
            compression = record[at : at + name_bytes].decode()
            at += name_bytes + 8
            if size > MAX_CHUNK_BYTES or compression not in ("", "zstd"):
                return None
            plain = self._decompressor.decompress(memoryview(record)[at:], size) if compression else record[at:]
        except _UNREADABLE:
            return None
        return plain if len(plain) == size and (not crc or zlib.crc32(plain) == crc) else None


def _read_chunk_indexes(summary: bytes, at: int) -> tuple[list[Chunk], int]:
    """Return the chunks of the indexes that begin there, and where the last of them ends.

    A week has two million of them: rows of equal length, in which the same channels stand, are read as one.
    """
    import numpy as np

    chunks: list[Chunk] = []
    known: dict[bytes, frozenset[int] | None] = {}
    count = 1
    while summary[at : at + 1] == _CHUNK_INDEX_OPCODE:
        _, length = _HEAD.unpack_from(summary, at)
        stride = _HEAD.size + length
        rows_here = min((len(summary) - at) // stride, 16 + 4 * count)
        if not rows_here:
            raise ValueError("an index that is torn")
        rows = np.frombuffer(summary, np.uint8, rows_here * stride, at).reshape(rows_here, stride)
        map_at = _HEAD.size + _CHUNK_INDEX.size
        map_end = map_at + int.from_bytes(summary[at + map_at - 4 : at + map_at], "little")
        if map_end > stride:
            raise ValueError("an index that is damaged")
        kept = [*range(_HEAD.size), *range(map_at - 4, map_at)]
        kept += [place for entry in range(map_at, map_end, 10) for place in (entry, entry + 1)]
        differs = (rows[:, kept] != rows[0, kept]).any(1)
        count = int(differs.argmax()) if differs.any() else rows_here
        ids = summary[at + map_at : at + map_end : 10] + summary[at + map_at + 1 : at + map_end : 10]
        if ids not in known:
            known[ids] = frozenset(low | high << 8 for low, high in zip(ids[: len(ids) // 2], ids[len(ids) // 2 :])) or None
        fields = rows[:count, _HEAD.size : _HEAD.size + 32].copy().view("<u8")
        chunks += [Chunk(place, length, first, last, known[ids]) for first, last, place, length in fields.tolist()]
        at += count * stride
    return chunks, at


def _records(plain: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield opcode, place and length of what is in a chunk."""
    at, end = 0, len(plain)
    while at + _HEAD.size <= end:
        opcode, length = _HEAD.unpack_from(plain, at)
        at += _HEAD.size
        if at + length > end:
            return
        yield opcode, at, length
        at += length


def _messages(plain: bytes, wanted: Collection[int]) -> Iterator[Message]:
    view = memoryview(plain)
    for opcode, at, length in _records(plain):
        if opcode == Opcode.MESSAGE and length >= _MESSAGE.size:
            channel, _, log_time, publish_time = _MESSAGE.unpack_from(plain, at)
            if channel in wanted:
                yield Message(channel, log_time, publish_time, view[at + _MESSAGE.size : at + length])
