"""What a recording looks like: how frames, and all that happened to them, lie in an MCAP file. Pure functions, for who writes and who reads.

docs/recordings.md, "The file", says it in words. A *run* is a row of frames with rising numbers whose times lie evenly: one message.
Everything else that happened is an *event*, a message of JSON on a topic of its own; what is true of the whole file is a metadata record.
"""

from __future__ import annotations

import json
import math
import re
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ukernel.pipes.decoders import KINDS

__all__ = [
    "BOARD",
    "END",
    "EVENTS_SCHEMA",
    "EVENTS_TOPIC",
    "FORMAT",
    "JSON",
    "JSON_SCHEMA",
    "PROFILE",
    "RECORDING",
    "SCHEMA_ENCODING",
    "About",
    "Layout",
    "Run",
    "as_nanoseconds",
    "decode_event",
    "encode_event",
    "event_schema",
]

FORMAT = 1  # of all that this module says; a reader refuses a higher one
PROFILE = "ucore"  # in the header: this is a recording of ours
SCHEMA_ENCODING, MESSAGE_ENCODING = "ros2msg", "cdr"
JSON_SCHEMA, JSON = "jsonschema", "json"
EVENTS_TOPIC, EVENTS_SCHEMA = "/ucore/events", "ucore.Event"

# Names of metadata records.
RECORDING = "ucore.recording"  # the first record of a file
BOARD = "ucore.board"
END = "ucore.end"  # the last record; a file without it is torn

MAX_NS = (1 << 64) - 1
HEAD_FIELDS = "uint64 first\nfloat64 time_first\nfloat64 time_last\nfloat64 time_error\n"
FRAMES_SCHEMA = "ucore_msgs/msg/Frames"
FRAMES_FIELDS = HEAD_FIELDS + "uint32 count\nuint32[] sizes\nuint8[] data\n"
_HEADS = {"<": struct.Struct("<HHQddd"), ">": struct.Struct(">HHQddd")}  # the first four bytes are CDR's own
_BIG, _LITTLE = 0x0000, 0x0001  # the first two of them, read as big-endian
_HEAD_BYTES = 36
_COUNT_BYTES = 4  # of the length of a row
_NUMPY_KINDS = {"f": "float", "i": "int", "u": "uint", "b": "bool"}


class Run(NamedTuple):
    """Frames in a row: ``frames`` of them from number ``first`` on, end to end in ``data``.

    time_first, time_last: when the first and the last one were written, seconds since 1970; the others lie evenly between. time_error:
    by how much each of them may be off, seconds; infinite where the times are those of the arrival. sizes: bytes of each frame, or a single
    entry where all have the same.
    """

    first: int
    frames: int
    time_first: float
    time_last: float
    time_error: float
    sizes: Sequence[int]
    data: bytes | memoryview


class Layout:
    """How the frames of a channel lie in its messages: as values of one type where the format is of one, else as bytes.

    format: the struct format of a frame, empty where it is not known. size: bytes of a frame, 0 where they differ. columns: values in a frame,
    0 for bytes. dtype: NumPy's name of the type of a value ("<f4"), empty for bytes. schema, fields: the message's name and definition.
    values_at: where in a message the values begin, 0 for bytes. Raises ValueError for what is no struct format.
    """

    __slots__ = ("_head", "_order", "columns", "dtype", "fields", "format", "schema", "size", "values_at")

    def __init__(self, format: str = ""):
        try:
            self.size = struct.calcsize(format)
        except struct.error as error:
            raise ValueError(f"{format!r} is not a struct format: {error}") from None
        self.format = format
        self.schema, self.fields = FRAMES_SCHEMA, FRAMES_FIELDS
        self.columns, self.dtype, self.values_at, self._order = 0, "", 0, "<"
        found = _single_type(format)
        if found:
            self._order, kind, size_bytes, self.columns = found
            element = "bool" if kind == "b" else f"{_NUMPY_KINDS[kind]}{8 * size_bytes}"
            self.dtype = f"{self._order if size_bytes > 1 else '|'}{kind}{size_bytes}"
            self.schema = f"ucore_msgs/msg/{element.title().replace('Uint', 'UInt')}Run"
            self.fields = f"{HEAD_FIELDS}{element}[] values\n"
            self.values_at = (
                _HEAD_BYTES + _COUNT_BYTES + (4 if size_bytes == 8 else 0)
            )  # CDR aligns them, counted after its own four bytes
        self._head = _HEADS[self._order]

    @property
    def is_typed(self) -> bool:
        """Whether messages hold values, not bytes."""
        return bool(self.columns)

    def fits(self, run: Run) -> bool:
        """Whether these frames can be of this layout: any can be bytes."""
        return not self.columns or (len(run.sizes) == 1 and run.sizes[0] == self.size)

    def encode(self, run: Run) -> bytes:
        """Return the message of a run that `fits`."""
        order = self._order
        encapsulation = _LITTLE << 8 if order == "<" else _BIG  # these two bytes are in one order always
        head = self._head.pack(encapsulation, 0, run.first, run.time_first, run.time_last, run.time_error)
        if self.columns:
            count = (run.frames * self.columns).to_bytes(4, "little" if order == "<" else "big")
            return b"".join((head, count, bytes(self.values_at - _HEAD_BYTES - _COUNT_BYTES), run.data))
        sizes = struct.pack(f"<II{len(run.sizes)}I", run.frames, len(run.sizes), *run.sizes)
        return b"".join((head, sizes, len(run.data).to_bytes(4, "little"), run.data))

    def decode(self, message: bytes | memoryview) -> Run:
        """Return the run in a message, its data without copying. Raises ValueError where the bytes are none."""
        try:
            encapsulation, _, first, time_first, time_last, time_error = self._head.unpack_from(message)
            if encapsulation != (_LITTLE << 8 if self._order == "<" else _BIG):
                raise ValueError("of another byte order")
            view = memoryview(message)
            if self.columns:
                data = view[self.values_at :]
                sizes: Sequence[int] = (self.size,)
                values = int.from_bytes(
                    view[_HEAD_BYTES : _HEAD_BYTES + _COUNT_BYTES], "little" if self._order == "<" else "big"
                )
                count = values // self.columns
                if not count or values % self.columns or len(data) != count * self.size:
                    raise ValueError(f"{values} values in {len(data)} bytes")
            else:
                count, data, sizes = _decode_frames(view)
        except (struct.error, ValueError) as error:
            raise ValueError(f"a message that is no {self.schema}: {error}") from None
        return Run(first, count, time_first, time_last, time_error, sizes, data)


def _decode_frames(view: memoryview) -> tuple[int, memoryview, tuple[int, ...]]:
    count, entries = struct.unpack_from("<II", view, _HEAD_BYTES)
    at = _HEAD_BYTES + 8
    if not count or entries not in (1, count) or len(view) < at + 4 * entries + _COUNT_BYTES:
        raise ValueError(f"{entries} sizes of {count} frames in {len(view)} bytes")
    sizes = struct.unpack_from(f"<{entries}I", view, at)
    at += 4 * entries
    data = view[at + _COUNT_BYTES :]
    length = int.from_bytes(view[at : at + _COUNT_BYTES], "little")
    if length != len(data) or length != (sizes[0] * count if entries == 1 else sum(sizes)):
        raise ValueError(f"{len(data)} bytes, where the sizes say otherwise")
    return count, data, sizes


def _single_type(format: str) -> tuple[str, str, int, int] | None:
    """Return byte order, NumPy's letter and size of the one type of all values in this format, and how many there are; None for others."""
    order = format[0] if format[:1] in tuple("@=<>!") else "@"
    found = [(code, int(count or 1)) for count, code in re.findall(r"(\d*)([a-zA-Z?])", format)]
    codes = {code for code, count in found if count}
    if len(codes) != 1 or any(not count for _, count in found):
        return None
    code = codes.pop()
    kind = KINDS.get(code, "")
    if not kind or code == "e":  # ROS has no halves
        return None
    native = "<" if sys.byteorder == "little" else ">"
    return (
        {"<": "<", ">": ">", "!": ">"}.get(order, native),
        kind,
        struct.calcsize(order + code),
        sum(count for _, count in found),
    )


class About(NamedTuple):
    """What a channel's metadata say: whose frames these are, and what they mean.

    opening: the number of the opening in the recording, from 1 on, as events have it. format: as of a `Layout`. names, units: of the columns;
    empty where they are not known.
    """

    board: str
    pipe: str
    generation: int
    opening: int
    format: str = ""
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    @property
    def topic(self) -> str:
        """What other tools call the channel."""
        return f"/{self.board.strip('/')}/{self.pipe}"

    def as_metadata(self) -> dict[str, str]:
        """Return it as a channel's metadata."""
        return {
            "board": self.board,
            "pipe": self.pipe,
            "generation": str(self.generation),
            "opening": str(self.opening),
            "format": self.format,
            "names": json.dumps(self.names, ensure_ascii=False),
            "units": json.dumps(self.units, ensure_ascii=False),
        }

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> About:
        """Read it from a channel's metadata. Raises ValueError where they are none of ours."""
        try:
            names, units = (tuple(map(str, json.loads(metadata[key]))) for key in ("names", "units"))
            generation, opening = int(metadata["generation"]), int(metadata["opening"])
            return cls(metadata["board"], metadata["pipe"], generation, opening, metadata["format"], names, units)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a channel that is no pipe's: {error!r}") from None


def as_nanoseconds(seconds: float) -> int:
    """Return a time as MCAP has it; one that it cannot have as the nearest."""
    if 0.0 <= seconds < 1e10:
        return int(seconds * 1e9)
    return MAX_NS if 1e10 <= seconds < math.inf else 0


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Return the message of an event."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def decode_event(message: bytes | memoryview) -> dict[str, Any]:
    """Return the event in a message. Raises ValueError where it is none."""
    event = json.loads(bytes(message))
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise ValueError(f"a message that is no event: {bytes(message[:60])!r}")
    return event


def event_schema() -> bytes:
    """Return the JSON schema of events."""
    kinds = {
        "event": "string",
        "time": "number",
        "opening": "integer",
        "board": "string",
        "pipe": "string",
        "generation": "integer",
        "number": "integer",
        "unread": "integer",
        "first": "integer",
        "count": "integer",
        "cause": "string",
        "frames": "integer",
        "reason": "string",
        "cell": "string",
        "code": "string",
        "text": "string",
    }
    properties = {name: {"type": kind} for name, kind in kinds.items()}
    return json.dumps(
        {"title": EVENTS_SCHEMA, "type": "object", "properties": properties, "required": ["event", "time"]}
    ).encode()
