"""Values as source, on their way to a board and back."""

import enum
import math
import types

import pytest

from ukernel import values


class Colour(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -5, 1.5, 1e300, math.inf, -math.inf, "", "µ '\"\n\x00", b"\x00\xff", [], [1, [2, (3,)]], (), (1,),
        {}, {"a": {1: None}, b"b": (1, 2)}, {1, 2}, set(),
    ],
)  # fmt: skip
def test_a_value_survives_the_way_there_and_back(value):
    assert eval(values.literal(value)) == value
    assert type(eval(values.literal(value))) is type(value)
    assert values.parse_value(repr(value)) == value


def test_what_is_almost_a_value_becomes_one():
    assert values.literal(Colour.RED) == "'red'"
    assert math.isnan(eval(values.literal(math.nan)))
    assert values.parse_value("[nan, inf, -inf]")[1:] == [math.inf, -math.inf]
    assert values.parse_value("array('f', [1.0, 2.5])") == [1.0, 2.5]
    assert values.parse_value("bytearray(b'ab')") == b"ab"
    numpy = pytest.importorskip("numpy")
    assert values.literal(numpy.arange(3)) == "[0, 1, 2]"
    assert values.literal({"x": numpy.float32(0.5), "y": numpy.bool_(True)}) == "{'x': 0.5, 'y': True}"


@pytest.mark.parametrize("value", [object(), 1j, types.SimpleNamespace(), [object()], print])
def test_what_is_no_value_is_named(value):
    with pytest.raises(TypeError, match=type(value[0] if isinstance(value, list) else value).__name__):
        values.literal(value)


def test_a_list_that_holds_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(TypeError, match="deep"):
        values.literal(endless)


@pytest.mark.parametrize("text", ["<object>", "f()", "1 +", "__import__('os')", "(" * 5000])
def test_a_repr_that_is_no_value_is_not_run(text):
    with pytest.raises(ValueError):
        values.parse_value(text)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("[1, 'a']", "x = [1, 'a']"),
        ("<object>", "x = '<object>'"),
        ("nan", "x = float('nan')"),
        ("array('f', [1.0])", "x = [1.0]"),
        ("f()", "x = 'f()'"),
    ],
)
def test_a_boards_value_becomes_an_assignment_that_runs_nothing(text, made):
    assert values.assignment("x", text) == made
