"""What can be read of an MCAP file, whatever has become of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard
from mcap import records
from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from .mcapfile import COMPRESSION, HIDDEN

__all__ = ["HEAD", "MAX_CHUNK_BYTES", "UNREADABLE", "check_whole", "decompress", "read_records", "stream_of"]

HEAD = struct.Struct("<BQ")  # of a record: opcode, length
UNREADABLE = (McapError, ValueError, OverflowError, MemoryError, struct.error)  # what garbage makes of reading
MAX_CHUNK_BYTES = 1 << 26  # what one of ours never has
# How a chunk is found where what comes before it says no more where it begins.
_COMPRESSION = len(COMPRESSION).to_bytes(4, "little") + COMPRESSION.encode()
_BEFORE_COMPRESSION = HEAD.size + 8 + 8 + 8 + 4


def read_records(stream: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield opcode, place and body of all records that are whole; what lies between two of them and is none as a record of opcode `HIDDEN`."""
    at = len(MCAP0_MAGIC)
    while at + HEAD.size <= size:
        stream.seek(at)
        opcode, length = HEAD.unpack(stream.read(HEAD.size))
        if opcode and at + HEAD.size + length <= size:
            yield opcode, at, stream.read(length)
            at += HEAD.size + length
            if opcode == Opcode.FOOTER:
                return
            continue
        following = _find_chunk(stream, at + HEAD.size, size)
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
            if place >= start:
                stream.seek(place)
                opcode, length = HEAD.unpack(stream.read(HEAD.size))
                if (
                    opcode == Opcode.CHUNK
                    and place + HEAD.size + length <= size
                    and decompress(stream.read(length)) is not None
                ):
                    return place
            found = block.find(_COMPRESSION, found + 1)
        at = start + len(block)
        before = block[-128:]  # a chunk may begin in one block and go on in the next
    return None


def decompress(body: bytes) -> tuple[records.Chunk, bytes] | None:
    """Return a chunk and what it holds; None where it is damaged."""
    try:
        chunk = records.Chunk.read(stream_of(body))
        check_whole(chunk, body)
        if chunk.compression != COMPRESSION or chunk.uncompressed_size > MAX_CHUNK_BYTES:
            return None
        plain = zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=chunk.uncompressed_size)
    except (zstandard.ZstdError, *UNREADABLE):
        return None
    return (chunk, plain) if zlib.crc32(plain) == chunk.uncompressed_crc and len(plain) == chunk.uncompressed_size else None


def check_whole(record: records.McapRecord, body: bytes) -> None:
    """Raise ValueError where a record does not say what it was read from: mcap reads less where there is less."""
    builder = RecordBuilder()
    record.write(builder)
    if builder.end()[HEAD.size :] != body:
        raise ValueError("a record that is damaged")


def stream_of(body: bytes) -> ReadDataStream:
    """Return a record's body as mcap reads it."""
    return ReadDataStream(io.BytesIO(body))
