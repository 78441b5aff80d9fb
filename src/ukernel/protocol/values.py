"""Values on their way between the host and a board, bit for bit (docs/protocol.md, 1.9). The board's end is `ucore.values`.

What a board gives back has the type that it had there. What the host sends is the board's nearest: subclasses (enums, say) become
what they derive from, NumPy's numbers become numbers, and its arrays, dimension by dimension, lists of `array.array`.
"""

from __future__ import annotations

import array
import base64
import collections
from collections.abc import Iterable
from typing import Any

from ucore import wire
from ukernel.errors import BoardValueError
from ukernel.imports import find_imported

from .valuereader import CODES, decode, little

__all__ = [
    "GENERATOR",
    "MIME",
    "NONE",
    "NO_MIME",
    "WHAT_CAN",
    "ReceivedValue",
    "calling",
    "decode",
    "decode_text",
    "encode",
    "saving",
    "storing",
]

MIME = "application/vnd.ucore.value"  # a part of a value that a board gives: base64
NO_MIME = "application/vnd.ucore.novalue"  # where and what cannot travel, a line each, and then the repr of all
GENERATOR = "application/vnd.ucore.generator"  # in the place of a value: the host may take its items
NONE = bytes((wire.NONE,))  # the value None
MAX_BYTES = 4 << 20  # of one value from a board
MAX_DEPTH = 50  # of a value's lists in lists; a board's stack holds no more
WHAT_CAN = (
    "What can is None, bool, int, float, complex, str, bytes, bytearray, array.array, range, and lists, tuples, sets, dicts and "
    "deques of them."
)
_NUMPY = {**dict(zip("bhiqBHIQfd", "bhiqBHIQfd", strict=True)), "l": "q", "L": "Q"}  # NumPy's letters of types, and an array's
_CONSTANTS = {None: wire.NONE, True: wire.TRUE, False: wire.FALSE}


def storing(values: dict[str, object]) -> bytes:
    """Return the order to a board to give these names these values. Raises TypeError: which, and what it is."""
    parts = [bytes((0, wire.STORE, wire.DICT)), _number(len(values))]
    for name, value in values.items():
        parts.append(encode(name))
        try:
            parts.append(encode(value))
        except _StuckError as stuck:
            where = f"{name}{stuck.where} is" if stuck.where else "it is"
            raise TypeError(f"{name} cannot be pushed: {where} {stuck.what}. {WHAT_CAN}") from None
    return b"".join(parts)


def calling(name: str, args: tuple[object, ...], kwargs: dict[str, object], key: str, awaited: bool) -> bytes:
    """Return the order to a board to call what has this name (docs/protocol.md, 1.6). Raises BoardValueError: which argument, and what
    it is."""
    parts = [bytes((0, wire.CALL, wire.TUPLE)), _number(5), encode(name), bytes((wire.TUPLE,)), _number(len(args))]
    named = [(f"argument {place + 1}", value) for place, value in enumerate(args)]
    parts += [_argument(where, value) for where, value in named]
    parts += [bytes((wire.DICT,)), _number(len(kwargs))]
    for where, value in kwargs.items():
        parts += [encode(where), _argument(f"argument {where}", value)]
    return b"".join([*parts, encode(key), encode(awaited)])


def _argument(where: str, value: object) -> bytes:
    try:
        return encode(value)
    except _StuckError as stuck:
        raise BoardValueError(f"{where}{stuck.where} cannot travel to a board: it is {stuck.what}. {WHAT_CAN}") from None


def saving(path: str, text: str) -> bytes:
    """Return the order to a board to write a text to a file."""
    name = path.encode("utf-8", "replace")
    return bytes((0, wire.SAVE)) + len(name).to_bytes(2, "little") + name + text.encode("utf-8", "replace")


class _StuckError(TypeError):
    """What cannot travel: where in the value it is, and what."""

    def __init__(self, what: str):
        super().__init__(what)
        self.what = what
        self.where = ""
        self.is_deep = False  # it goes on, and where has no end

    def inside(self, place: str) -> _StuckError:
        self.where = "" if self.is_deep else place + self.where
        return self

    def __str__(self) -> str:
        return f"{self.where} {self.what}" if self.where else self.what


def encode(value: object, depth: int = 0) -> bytes:
    """Return a value as bytes. Raises TypeError for what cannot travel."""
    if value is None or value is True or value is False:
        return bytes((_CONSTANTS[value],))
    if depth > MAX_DEPTH:
        stuck = _StuckError(f"nested more than {MAX_DEPTH} deep, or holds itself")
        stuck.is_deep = True
        raise stuck
    depth += 1
    if isinstance(value, int):
        return _sized(wire.INT, b"%x" % int.__index__(value))
    if isinstance(value, float):
        return bytes((wire.FLOAT,)) + _doubles((value,))
    if isinstance(value, complex):
        return bytes((wire.COMPLEX,)) + _doubles((value.real, value.imag))
    if isinstance(value, str):
        return _sized(wire.STR, str.encode(value, "utf-8", "surrogatepass"))
    if isinstance(value, bytearray):
        return _sized(wire.BYTEARRAY, value)
    if isinstance(value, (bytes, memoryview)):
        return _sized(wire.BYTES, bytes(value))
    if isinstance(value, array.array):
        return _array(value)
    if isinstance(value, list):
        return _many(wire.LIST, list(value), depth)
    if isinstance(value, tuple):
        fields = getattr(type(value), "_fields", None)
        items = list(value)  # of a class with its own idea of a length, this is what counts
        whole = _many(wire.TUPLE, items, depth)
        if type(value) is tuple or not isinstance(fields, tuple) or len(fields) != len(items):
            return whole
        return bytes((wire.NAMEDTUPLE,)) + encode(type(value).__name__, depth) + encode(tuple(fields), depth) + whole
    if isinstance(value, dict):
        return _dict(wire.ORDERED if isinstance(value, collections.OrderedDict) else wire.DICT, value, depth)
    if isinstance(value, (set, frozenset)):
        return _many(wire.SET if isinstance(value, set) else wire.FROZENSET, list(value), depth)
    if isinstance(value, collections.deque):
        return bytes((wire.DEQUE,)) + _number(value.maxlen or 0) + _many(wire.LIST, list(value), depth)
    if isinstance(value, range):
        return bytes((wire.RANGE,)) + encode((value.start, value.stop, value.step), depth)
    return _of_numpy(value, depth)


def _of_numpy(value: Any, depth: int) -> bytes:
    numpy = find_imported("numpy")
    if numpy is not None and isinstance(value, numpy.ma.MaskedArray) and numpy.ma.is_masked(value):
        raise _StuckError("a masked array")
    if numpy is not None and isinstance(value, numpy.ndarray) and value.ndim:
        if value.ndim > 1:
            return _many(wire.LIST, list(value), depth)
        found = _NUMPY.get(value.dtype.char)
        if value.dtype.itemsize == 4:  # whose letters differ from system to system
            found = {"i": "i", "u": "I", "f": "f"}.get(value.dtype.kind)
        if found:
            native = value.astype(value.dtype.newbyteorder("="), copy=False)
            return _array(array.array(found, native.tobytes()))
    if hasattr(type(value), "tolist") and hasattr(value, "dtype"):
        plain = value.tolist()
        if type(plain) is not type(value):
            return encode(plain, depth)
    raise _StuckError(f"of type {type(value).__name__}")


def _number(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _sized(tag: int, data: bytes | bytearray) -> bytes:
    return bytes((tag,)) + _number(len(data)) + bytes(data)


def _doubles(values: Iterable[float]) -> bytes:
    return little(array.array("d", values)).tobytes()


def _array(value: array.array[Any]) -> bytes:
    if value.typecode not in CODES:
        raise _StuckError(f"an array of type {value.typecode}")
    return bytes((wire.ARRAY, ord(value.typecode), value.itemsize)) + _sized(0, little(value).tobytes())[1:]


def _many(tag: int, items: list[Any], depth: int) -> bytes:
    parts = [bytes((tag,)), _number(len(items))]
    kinds = set(map(type, items))
    at = 0
    try:
        if kinds == {float}:
            parts.append(_sized(wire.DOUBLES, _doubles(items)))
        elif kinds == {int} and max(items) < 1 << 60 and min(items) > -1 << 60:
            parts.append(_sized(wire.INTS, ", ".join(map(str, items)).encode()))
        else:
            for item in items:
                parts.append(encode(item, depth))
                at += 1
    except _StuckError as stuck:
        raise stuck.inside("" if tag in (wire.SET, wire.FROZENSET) else f"[{at}]") from None
    return b"".join(parts)


def _dict(tag: int, value: dict[Any, Any], depth: int) -> bytes:
    pairs = list(value.items())
    parts = [bytes((tag,)), _number(len(pairs))]
    where = ""
    try:
        for key, item in pairs:
            where = ""  # a key has no place
            parts.append(encode(key, depth))
            text = repr(key)
            where = f"[{text if len(text) <= 50 else text[:50] + '...'}]"
            parts.append(encode(item, depth))
    except _StuckError as stuck:
        raise stuck.inside(where) from None
    return b"".join(parts)


# --- from a board ------------------------------------------------------------------------------------------


class ReceivedValue:
    """What a board gives as a cell's value, put together from its results."""

    def __init__(self) -> None:
        self._parts: dict[str, list[bytes]] = {MIME: [], NO_MIME: []}
        self._size = 0
        self.is_generator = False

    def take(self, content: dict[str, Any]) -> bool:
        """Take in an execute_result's content; False where it is none of a value's."""
        if GENERATOR in content["data"]:
            self.is_generator = True
            return True
        found = [mime for mime in self._parts if mime in content["data"]]
        for mime in found:
            part = base64.b64decode(content["data"][mime])
            self._size += len(part)
            if self._size <= MAX_BYTES:
                self._parts[mime].append(part)
        return bool(found)

    @property
    def is_empty(self) -> bool:
        return not self._size

    @property
    def is_too_large(self) -> bool:
        return self._size > MAX_BYTES

    @property
    def data(self) -> bytes:
        """The value, as bytes; not to be used where there is a `stuck`."""
        return b"".join(self._parts[MIME])

    @property
    def stuck(self) -> tuple[str, str, str] | None:
        """Where and what cannot travel, and the repr of all; None where nothing is in the way."""
        text = b"".join(self._parts[NO_MIME]).decode("utf-8", "replace")
        if not text:
            return None
        where, what, shown = text.split("\n", 2)
        return where, what, shown


def decode_text(text: str) -> object:
    """Return the value that base64 stands for."""
    return decode(base64.b64decode(text))
