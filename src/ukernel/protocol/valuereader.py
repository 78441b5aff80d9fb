"""Values that come from a board, bit for bit (docs/protocol.md, 1.9): each has the type that it had there."""

from __future__ import annotations

import array
import collections
import operator
import sys
from collections.abc import Callable
from typing import Any

from ucore import wire

__all__ = ["CODES", "decode", "little"]

CODES = "bBhHiIlLqQfd"  # of arrays that hold numbers
_BY_SIZE = {1: "b", 2: "h", 4: "i", 8: "q"}
_CONSTANTS = {wire.NONE: None, wire.TRUE: True, wire.FALSE: False}


def little(values: array.array[Any]) -> array.array[Any]:
    """Return the array as a little-endian machine has it, or the other way round."""
    if sys.byteorder == "big":
        values = array.array(values.typecode, values)
        values.byteswap()
    return values


def decode(data: bytes) -> object:
    """Return the value that the bytes stand for. Raises ValueError where they stand for none."""
    reader = _Reader(data)
    try:
        value = reader.read()
    except (IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"no value: {error!r}") from None
    if reader.left:
        raise ValueError("no value: bytes are left over")
    return value


class _Reader:
    def __init__(self, data: bytes):
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def _take(self, size: int) -> bytes:
        if size > self.left:
            raise ValueError("no value: its end is missing")
        self._at += size
        return self._data[self._at - size : self._at]

    def _size(self) -> int:
        return int.from_bytes(self._take(4), "little")

    def _sized(self) -> bytes:
        return self._take(self._size())

    def read(self) -> Any:
        tag = self._take(1)[0]
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        read = _READ.get(tag)
        if read is None:
            raise ValueError(f"no value: the tag {tag} is unknown")
        return read(self)

    def _int(self) -> int:
        return int(self._sized(), 16)

    def _float(self) -> float:
        number: float = little(array.array("d", self._take(8)))[0]
        return number

    def _complex(self) -> complex:
        return complex(*little(array.array("d", self._take(16))))

    def _str(self) -> str:
        return self._sized().decode("utf-8", "surrogatepass")

    def _bytearray(self) -> bytearray:
        return bytearray(self._sized())

    def _list(self) -> list[Any]:
        size = self._size()
        found: list[Any] = []
        while len(found) < size:
            tag = self._data[self._at]
            if tag == wire.INTS:
                self._at += 1
                found.extend(map(int, self._sized().decode().split(", ")))
            elif tag in (wire.DOUBLES, wire.SINGLES):
                self._at += 1
                found.extend(little(array.array("d" if tag == wire.DOUBLES else "f", self._sized())))
            else:
                found.append(self.read())
        return found

    def _tuple(self) -> tuple[Any, ...]:
        return tuple(self._list())

    def _set(self) -> set[Any]:
        return set(self._list())

    def _frozenset(self) -> frozenset[Any]:
        return frozenset(self._list())

    def _dict(self) -> dict[Any, Any]:
        return self._fill({})

    def _fill(self, found: dict[Any, Any]) -> dict[Any, Any]:
        for _ in range(self._size()):
            key = self.read()
            found[key] = self.read()
        return found

    def _ordered(self) -> dict[Any, Any]:
        return self._fill(collections.OrderedDict())

    def _deque(self) -> collections.deque[Any]:
        room = self._size()
        return collections.deque(self.read(), room or None)

    def _range(self) -> range:
        return range(*self.read())

    def _namedtuple(self) -> tuple[Any, ...]:
        name = self.read()
        return tuple.__new__(_named(name, self.read()), self.read())

    def _array(self) -> array.array[Any]:
        code, size = chr(self._take(1)[0]), self._take(1)[0]
        data = self._sized()
        if code not in CODES:
            raise ValueError(f"no value: an array of type {code!r}")
        if array.array(code).itemsize == size:
            return little(array.array(code, data))
        # Its letter stands for another size here: the numbers count, and then the letter.
        by_size = _BY_SIZE[size] if code.islower() else _BY_SIZE[size].upper()
        found = little(array.array(by_size, data))
        try:
            return array.array(code, found)
        except OverflowError:
            return found


_READ: dict[int, Callable[[_Reader], Any]] = {
    wire.INT: _Reader._int,
    wire.FLOAT: _Reader._float,
    wire.COMPLEX: _Reader._complex,
    wire.STR: _Reader._str,
    wire.BYTES: _Reader._sized,
    wire.BYTEARRAY: _Reader._bytearray,
    wire.ARRAY: _Reader._array,
    wire.LIST: _Reader._list,
    wire.TUPLE: _Reader._tuple,
    wire.NAMEDTUPLE: _Reader._namedtuple,
    wire.SET: _Reader._set,
    wire.FROZENSET: _Reader._frozenset,
    wire.DICT: _Reader._dict,
    wire.ORDERED: _Reader._ordered,
    wire.DEQUE: _Reader._deque,
    wire.RANGE: _Reader._range,
}

_named_types: dict[tuple[str, tuple[str, ...]], type[tuple[Any, ...]]] = {}


def _named_repr(value: Any) -> str:
    return f"{type(value).__name__}({', '.join(f'{field}={item!r}' for field, item in zip(value._fields, value))})"


def _named(name: str, fields: tuple[str, ...]) -> type[tuple[Any, ...]]:
    """Return the named tuple's type, the same for the same names; a field that Python would not take, `_machine` say, is one too."""
    known = _named_types.get((name, fields))
    if known is not None:
        return known
    if len(_named_types) > 1000:
        _named_types.clear()
    last = name.rpartition(".")[2]
    made: Any = collections.namedtuple(last if last.isidentifier() else "tuple", fields, rename=True)  # type: ignore[misc]  # its name is the board's
    if made._fields != fields:
        for at, field in enumerate(fields):
            if not hasattr(made, field):
                setattr(made, field, property(operator.itemgetter(at)))
        setattr(made, "_fields", fields)  # noqa: B010 - to mypy, what namedtuple makes has no field yet
        setattr(made, "__repr__", _named_repr)  # noqa: B010
    known = _named_types[name, fields] = made
    return known
