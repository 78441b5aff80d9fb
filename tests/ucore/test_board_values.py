"""Values as bytes, on whatever Python runs this: each comes back with its type, and what cannot travel is named."""

from array import array
from collections import OrderedDict, deque, namedtuple

from ucore import values

Point = namedtuple("Point", ("x", "y"))


def written(value):
    pieces = []
    writer = values.Writer(pieces.append)
    writer.write(value, 0)
    writer.flush()
    assert max([len(piece) for piece in pieces]) < 3 * values.PIECE
    return b"".join(pieces)


def back(value):
    reader = values.Reader(written(value))
    found = reader.read()
    assert reader._at == len(reader._data)
    return found


def stuck(value):
    try:
        written(value)
    except values.Stuck as error:
        return error.where, error.what
    return None


def test_every_kind_of_value_comes_back_as_what_it_was():
    for value in (
        None, True, False, 0, 1, -1, 2**31, -(2**70), 10**40, "", "µ°C 😀 '\"\n\0", b"", b"\x00\xff", bytearray(b"ab"), bytearray(),
        [], [1], (), (1,), [1, [2, (3, None)]], [True, 1, 1.5, "a"], list(range(1000)), [2**60, 1], [2**70] * 40, {}, {"a": [1], 2: {}},
        set(), {1, "a"}, frozenset((1, 2)), range(10), range(5, -5, -2), array("h"), array("h", [1, -2]), array("B", [0, 255]),
        "x" * 5000, b"y" * 5000, ["a"] * 100,
    ):  # fmt: skip
        found = back(value)
        assert type(found) is type(value), (value, found)
        if not isinstance(value, range):  # which MicroPython does not compare
            assert found == value, (value, found)
        assert repr(found) == repr(value) or isinstance(value, (dict, set, frozenset))


def test_every_float_comes_back_bit_for_bit():
    floats = [
        0.0,
        -0.0,
        0.1,
        1 / 3,
        100 / 3,
        0.1 + 0.2,
        1e30,
        1.5e-40,
        float("inf"),
        float("-inf"),
        float("nan"),
        123456789.123456789,
    ]
    for given in ([value] for value in floats):
        assert bytes(array("d", back(given))) == bytes(array("d", given))
        assert bytes(array("d", [back(given[0])])) == bytes(array("d", given))
        assert bytes(array("d", [back((given[0], None))[0]])) == bytes(array("d", given))
    assert bytes(array("d", back(floats * 9))) == bytes(array("d", floats * 9))
    assert bytes(back(array("f", floats))) == bytes(array("f", floats))
    assert (back(complex(0.1, -0.0)).real, back(complex(0.1, -1)).imag) == (0.1, -1.0)


def test_a_named_tuple_keeps_its_names():
    for given in (Point(1, 2), Point("x=1, y=2)", Point(1.5, [Point(None, ())]))):
        found = back(given)
        assert (found.x, found.y, type(found).__name__) == (given.x, given.y, "Point")
    assert isinstance(back([Point(1, 2)])[0].x, int)


def test_a_tuple_that_only_looks_like_a_named_one_is_a_tuple():
    class Odd(tuple):
        def __repr__(self):
            return "Odd(a=b)"

    assert back(Odd((1, 2))) == (1, 2)


def test_what_is_derived_from_a_value_travels_as_that():
    class Words(list):
        pass

    class Table(dict):
        def __getattr__(self, name):
            raise RuntimeError("was asked for " + name)

    words = Words([1, 2])
    assert back(words) == [1, 2]
    table = Table()
    table["a"] = 1
    assert back(table) == {"a": 1}


def test_what_a_derived_class_says_of_itself_does_not_spoil_what_comes_after_it():
    class Volts(float):
        pass

    class Key(bytes):
        pass

    class Table(dict):
        def __len__(self):
            return 7

        def __iter__(self):
            return iter(())

    assert back([Volts(-0.0), Volts(1.5), Key(b"ab"), Table([(1, 2)]), "after"]) == [0.0, 1.5, b"ab", {1: 2}, "after"]
    assert repr(back(Volts(-0.0))) == "-0.0" and type(back(Key(b"ab"))) is bytes and type(back(Volts(2.5))) is float


def test_a_number_that_only_its_class_can_read_is_named():
    class Scaled(float):
        def __mul__(self, other):
            return Scaled(3)

    assert stuck([Scaled(1)]) == ("[0]", "of type Scaled")


def test_an_ordered_dict_keeps_its_order_and_its_type():
    found = back(OrderedDict([("z", 1), ("a", 2)]))
    assert isinstance(found, OrderedDict) and list(found.items()) == [("z", 1), ("a", 2)]


def test_a_queue_comes_back_with_what_is_in_it():
    found = back(deque((1, "a", 2.5), 8))
    assert isinstance(found, deque) and list(found) == [1, "a", 2.5]


def test_a_view_of_memory_travels_as_its_bytes():
    assert back(memoryview(b"abc")[1:]) == b"bc"
    assert back(memoryview(array("h", [1, 2]))) == b"\x01\x00\x02\x00"
    assert back(memoryview(b"")) == b""


def test_what_cannot_travel_is_named_and_found():
    assert stuck(print)[0] == ""
    assert "function" in stuck(print)[1]
    assert stuck([1, {"pins": (0, Point)}])[0] == "[1]['pins'][1]"
    assert stuck([0] * 70 + [len])[0] == "[70]"
    assert stuck({1: {print}})[0] == "[1]"
    assert stuck({print: 1})[0] == ""
    assert stuck({"a": 1, print: 1})[0] == ""
    assert "dict" in stuck({}.keys())[1]


def test_what_holds_itself_is_refused():
    endless = []
    endless.append(endless)
    assert "deep" in stuck(endless)[1]
    table = {}
    table["me"] = table
    assert "deep" in stuck(table)[1]
    assert stuck(table)[0] == ""


def test_fifty_lists_in_lists_travel():
    deep = []
    for _ in range(49):
        deep = [deep]
    assert back(deep) == deep


def test_an_array_of_another_size_keeps_its_numbers_or_is_refused():
    # As a host sends it whose "l" has another size than here.
    here = len(bytes(array("l", [0])))
    other = 12 - here
    numbers = array("i" if other == 4 else "q", [5, -6])
    sent = written(array("h"))[:1] + bytes((ord("l"), other)) + len(bytes(numbers)).to_bytes(4, "little") + bytes(numbers)
    found = values.Reader(sent).read()
    assert list(found) == [5, -6] and len(bytes(found)) == 2 * here


def test_what_is_no_value_is_refused():
    try:
        values.Reader(b"?").read()
    except ValueError as error:
        assert "unknown" in str(error)
    else:
        raise AssertionError("it was read")
