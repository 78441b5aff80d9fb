"""Values as bytes: the host's end, and a real board's."""

import array
import base64
import collections
import datetime
import enum
import math
import struct
import subprocess
import types
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ucore import wire
from ukernel.protocol import values

ROOT = Path(__file__).parents[3]
Point = collections.namedtuple("Point", "x y")


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


def same(a, b) -> bool:
    """Whether two values are the same: in type, in order, and in every bit."""
    if isinstance(a, tuple) and hasattr(a, "_fields"):
        return a._fields == b._fields and type(a).__name__ == type(b).__name__ and same(tuple(a), tuple(b))
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, complex):
        return same([a.real, a.imag], [b.real, b.imag])
    if isinstance(a, array.array):
        return a.typecode == b.typecode and a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (set, frozenset)):
        return a == b or sorted(map(values.encode, a)) == sorted(map(values.encode, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(map(same, sorted(a.items(), key=repr), sorted(b.items(), key=repr)))
    return a == b


FIXED = [
    None, True, False, 0, -5, 2**64, -(10**40), 10**5000, 0.1 + 0.2, 1.797e308, 100 / 3, 5e-324, -0.0, math.inf, -math.inf, math.nan, 1j,
    complex(-0.0, math.nan), complex(0.0, -0.0), complex(-0.0, -0.0), complex(-1.0, -2.0), "", "µ '\"\n\x00😀", "\ud83d", b"", b"\x00\xff", bytearray(b"ab"), bytearray(), [], [1, [2, (3,)]], (), (1,),
    {}, {"a": {1: None}, b"b": (1, 2)}, {1, 2}, set(), frozenset((1, 2)), frozenset(), range(10), range(5, -9, -3), array.array("h"),
    array.array("h", [1, -2]), array.array("d", [0.1, math.nan]), array.array("Q", [2**64 - 1]), Point(1, 2), [Point(0.5, Point((), ""))],
    collections.OrderedDict([("z", 1), ("a", 2)]), list(range(-500, 500)), [0.5] * 100, [1, 2.0, "3"] * 50, [2**60, -(2**60), 2**61],
    [True, False, 1, 0], {"x" * 300: b"y" * 3000}, "'" * 20000, b"\x00" * 14000,
]  # fmt: skip


@pytest.mark.parametrize("value", FIXED, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(value):
    assert same(values.decode(values.encode(value)), value)
    assert same(values.decode_text(base64.b64encode(values.encode(value)).decode()), value)


# --- there and back through MicroPython ---------------------------------------------------------------------

ECHO = """
import sys
sys.path.append('src')
from binascii import hexlify, unhexlify
from ucore import values
while True:
    line = sys.stdin.readline().strip()
    if not line:
        break
    pieces = []
    writer = values.Writer(pieces.append)
    writer.write(values.Reader(unhexlify(line)).read(), 0)
    writer.flush()
    print(hexlify(b''.join(pieces)).decode())
"""


@pytest.fixture(scope="module")
def through_a_board(micropython):
    program = micropython

    def echo(given: list) -> list:
        """What MicroPython makes of values: it reads them, and writes what it has read."""
        lines = "".join(values.encode(value).hex() + "\n" for value in given)
        command = [program, "-X", "heapsize=16m", "-c", ECHO]
        done = subprocess.run(command, input=lines, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0 and len(done.stdout.split()) == len(given), done.stdout[-2000:] + done.stderr
        return [values.decode(bytes.fromhex(line)) for line in done.stdout.split()]

    return echo


def test_a_board_gives_back_what_it_was_given(through_a_board):
    for value, found in zip(FIXED, through_a_board(FIXED)):
        assert same(value, found), (value, found)


def test_a_full_queue_comes_back_without_its_bound(through_a_board):
    assert through_a_board([collections.deque([1, 2], 2), collections.deque()]) == [
        collections.deque([1, 2]),
        collections.deque(),
    ]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
ARRAYS = st.one_of(
    *[
        st.lists(st.integers(*bounds), max_size=50).map(lambda numbers, code=code: array.array(code, numbers))
        for code, bounds in {"b": (-128, 127), "H": (0, 65535), "i": (-(2**31), 2**31 - 1), "Q": (0, 2**64 - 1)}.items()
    ],
    st.lists(st.floats(), max_size=50).map(lambda numbers: array.array("d", numbers)),
    st.lists(st.floats(width=32), max_size=50).map(lambda numbers: array.array("f", numbers)),
)
VALUES = st.recursive(
    SCALARS | ARRAYS | st.binary().map(bytearray) | st.complex_numbers() | st.sets(KEYS) | st.frozensets(KEYS),
    lambda inner: (
        st.lists(inner)
        | st.lists(st.integers() | st.floats(), max_size=100)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.tuples(inner, inner).map(lambda pair: Point(*pair))
    ),
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(VALUES, min_size=1, max_size=40))
def test_any_value_survives_a_board(through_a_board, given):
    for value, found in zip(given, through_a_board(given)):
        assert same(value, found), (value, found)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=60) | VALUES.map(values.encode).flatmap(lambda data: st.integers(0, len(data)).map(lambda n: data[:n]))
)
def test_damaged_bytes_are_no_value_and_no_crash(data):
    try:
        values.decode(data)
    except ValueError:
        pass


# --- what becomes what -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ([Level.HIGH, 1], [3, 1]),
        (memoryview(b"ab"), b"ab"),
        (type("Words", (list,), {})("ab"), ["a", "b"]),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
    ],
)
def test_what_is_almost_a_value_becomes_one(value, becomes):
    assert same(values.decode(values.encode(value)), becomes)


def test_numpys_numbers_become_numbers_and_its_arrays_arrays():
    numpy = pytest.importorskip("numpy")

    def made(value):
        return values.decode(values.encode(value))

    assert same(made({"x": numpy.float32(0.5), "y": numpy.bool_(True), "z": numpy.int64(7)}), {"x": 0.5, "y": True, "z": 7})
    assert same(made(numpy.array(5)), 5)
    for dtype, code in zip(
        ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"], "bBhHiIqQfd"
    ):
        assert same(made(numpy.array([1, 2, 3], dtype)), array.array(code, [1, 2, 3]))
        assert same(made(numpy.array([1, 2, 3], dtype)[::-2]), array.array(code, [3, 1]))
        assert same(made(numpy.array([], dtype)), array.array(code))
    assert same(made(numpy.array([1, -2], ">i2")), array.array("h", [1, -2]))
    assert same(made(numpy.arange(4.0).reshape(2, 2)), [array.array("d", [0, 1]), array.array("d", [2, 3])])
    assert same(made(numpy.array([True, False])), [True, False])
    assert same(made(numpy.array([0.1], "f2")), [float(numpy.float16(0.1))])
    assert same(made(numpy.array([1j])), [1j])
    assert same(made(numpy.array(["a", "bc"])), ["a", "bc"])
    assert same(made(numpy.array([1, "a", None], object)), [1, "a", None])
    with pytest.raises(TypeError, match="datetime"):
        values.encode(numpy.array(["2026-01-01"], "M8[s]"))
    with pytest.raises(TypeError, match="masked"):
        values.encode(numpy.ma.array([1, 2], mask=[True, False]))
    with pytest.raises(TypeError, match="masked"):
        values.encode([numpy.ma.masked])


def test_what_a_derived_class_says_of_itself_does_not_spoil_what_comes_after_it(through_a_board):
    class Odd:
        def __len__(self):
            return 0

    class Words(Odd, list): ...

    class Pair(Odd, tuple): ...

    class Table(Odd, dict): ...

    class Count(int):
        def __int__(self):
            return 9

    given = [Words([1, 2]), Pair((0.5, "a")), Table({1: 2}), Count(4), "after"]
    assert through_a_board([given]) == [[[1, 2], (0.5, "a"), {1: 2}, 4, "after"]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), ["object"]),
        (types.SimpleNamespace(), ["SimpleNamespace"]),
        ([1, {"at": datetime.datetime.now()}], ["[1]['at']", "datetime"]),
        ({1, Path("/")}, ["Path"]),
        (print, ["builtin"]),
        ((x for x in ()), ["generator"]),
        (array.array("u"), ["array", "u"]),
    ],
)
def test_what_is_no_value_is_named(value, words):
    with pytest.raises(TypeError) as caught:
        values.storing({"lost": value})
    for word in ["lost", "cannot be pushed", *words]:
        assert word in str(caught.value)


def test_a_list_that_holds_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(TypeError, match="deep"):
        values.encode(endless)


def test_a_field_of_a_boards_tuple_may_have_any_name():
    names = ("name", "_machine", "class")
    data = bytes((wire.NAMEDTUPLE,)) + values.encode("tuple") + values.encode(names) + values.encode(("mp", "a chip", 3))
    found = values.decode(data)
    assert (found.name, found._machine, getattr(found, "class")) == ("mp", "a chip", 3)
    assert found == ("mp", "a chip", 3)
    assert repr(found) == "tuple(name='mp', _machine='a chip', class=3)"
    assert type(values.decode(data)) is type(found)


# --- what a board's results make --------------------------------------------------------------------------------


def result(mime: str, data: bytes) -> dict:
    return {"data": {mime: base64.b64encode(data).decode(), "text/plain": "…"}}


def test_parts_make_a_value():
    received = values.ReceivedValue()
    data = values.encode([1, "a"])
    assert not received.take({"data": {"text/plain": "5"}}) and received.is_empty
    assert received.take(result(values.MIME, data[:3])) and received.take(result(values.MIME, data[3:]))
    assert values.decode(received.data) == [1, "a"] and received.stuck is None and not received.is_too_large


def test_what_the_board_could_not_send_is_told_with_its_place():
    received = values.ReceivedValue()
    received.take(result(values.MIME, b"l"))  # it had begun
    received.take(result(values.NO_MIME, b"[3]\nof type Pin\n"))
    received.take(result(values.NO_MIME, b"[1, 2, 3,\nPin(4)]"))
    assert received.stuck == ("[3]", "of type Pin", "[1, 2, 3,\nPin(4)]")


def test_a_value_without_end_is_not_kept(monkeypatch):
    monkeypatch.setattr(values, "MAX_BYTES", 100)
    received = values.ReceivedValue()
    for _ in range(9):
        received.take(result(values.MIME, bytes(50)))
    assert received.is_too_large and len(received.data) == 100
