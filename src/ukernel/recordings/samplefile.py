"""An MCAP file with a message a sample, of ROS' own types: for tools such as Foxglove, which draw a message at its time."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ucore.wire import BUILD
from ukernel.errors import UsageError

from .recordedpipe import RecordedPipe, RecordedSamples
from .times import as_datetimes

if TYPE_CHECKING:
    import numpy as np

__all__ = ["write_samples"]

_ENCAPSULATION = b"\x00\x01\x00\x00"  # CDR, little-endian
_TYPES = {
    "b1": ("Bool", "bool", "?"),
    "i1": ("Int8", "int8", "b"),
    "u1": ("UInt8", "uint8", "B"),
    "i2": ("Int16", "int16", "h"),
    "u2": ("UInt16", "uint16", "H"),
    "i4": ("Int32", "int32", "i"),
    "u4": ("UInt32", "uint32", "I"),
    "i8": ("Int64", "int64", "q"),
    "u8": ("UInt64", "uint64", "Q"),
    "f2": ("Float32", "float32", "f"),
    "f4": ("Float32", "float32", "f"),
    "f8": ("Float64", "float64", "d"),
}


def write_samples(path: Path, pipes: Sequence[RecordedPipe]) -> tuple[int, tuple[str, ...]]:
    """Write pipes, a topic a column; returns how many messages there are, and what is to be said of them. Raises OSError."""
    from mcap.writer import CompressionType, Writer

    left_out = [pipe.name for pipe in pipes if pipe.dtype.kind == "O"]
    chosen = [pipe for pipe in pipes if pipe.dtype.kind != "O"]
    if not chosen:
        raise UsageError("None of these pipes has a format: say what their frames are, with formats=.")
    count = 0
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library=f"ukernel {BUILD}")
        schemas: dict[str, int] = {}
        sources = []
        for pipe in chosen:
            channels = []
            for topic, dtype in _topics(pipe):
                name, field, code = _TYPES[dtype.str[1:]]
                if name not in schemas:
                    schemas[name] = writer.register_schema(f"std_msgs/msg/{name}", "ros2msg", f"{field} data\n".encode())
                channels.append((writer.register_channel(topic, "cdr", schemas[name]), struct.Struct("<4s" + code)))
            sources.append((pipe, channels))
        for pipe, channels in sources:
            for samples in pipe.samples():
                columns = list(pipe.as_columns(samples.values).values())
                for (channel, packer), column in zip(channels, columns):
                    count += _write_column(writer, channel, packer, samples, column)
        writer.finish()
    notes = [f"{', '.join(left_out)} is left out: its frames are bytes."] if left_out else []
    return count, tuple(notes)


def _topics(pipe: RecordedPipe) -> Iterator[tuple[str, np.dtype[Any]]]:
    dtype = pipe.dtype
    names = pipe.column_names
    for index, name in enumerate(names):
        topic = f"/{pipe.board.strip('/')}/{pipe.name}"
        yield (
            topic if len(names) == 1 else f"{topic}/{name.removeprefix(pipe.name + '.')}",
            dtype[index] if dtype.names else dtype,
        )


def _write_column(writer: Any, channel: int, packer: struct.Struct, samples: RecordedSamples, column: Any) -> int:
    pack, add = packer.pack, writer.add_message
    for time, value in zip(as_datetimes(samples.times).astype("int64").tolist(), column.tolist()):
        at = max(time, 0)
        add(channel, log_time=at, publish_time=at, data=pack(_ENCAPSULATION, value))
    return len(column)
