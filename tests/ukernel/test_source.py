"""What the board gets to run: the cell as it is, with its last expression shown and its awaits run."""

import asyncio
import enum
import math
import sys
import types

import pytest

from ukernel import cells, source
from ukernel.errors import UsageError


@pytest.mark.parametrize(
    ("body", "wrapped"),
    [
        ("1 + 1", "_ucore_show((1 + 1))"),
        ("\nx = 1\nx", "\nx = 1\n_ucore_show((x))"),
        ("a; b", "a; _ucore_show((b))"),
        ("(1,\n 2)  # pair", "_ucore_show(((1,\n 2)))  # pair"),
        ("1, 2", "_ucore_show((1, 2))"),
        ("*a, b", "_ucore_show((*a, b))"),
        ("'µ'; 'é' + (\n  'ü')", "'µ'; _ucore_show(('é' + (\n  'ü')))"),
        ("'''one\ntwo'''", "_ucore_show(('''one\ntwo'''))"),
        ("f'{x!r:>{w}}'", "_ucore_show((f'{x!r:>{w}}'))"),
        ("x\n\n# done\n", "_ucore_show((x))\n\n# done\n"),
        ("x \\\n  + 1", "_ucore_show((x \\\n  + 1))"),
        ("(y := 5)", "_ucore_show(((y := 5)))"),
        ("x\r\ny", "x\n_ucore_show((y))"),
        ("'\\d'", "_ucore_show(('\\d'))"),
    ],
)
def test_the_last_expression_is_handed_to_the_board_to_show(body, wrapped):
    assert source.transform(body) == wrapped


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n# nothing",
        "x = 1",
        "x;",
        "x ;  # quiet",
        "'a;b';",
        "for i in x:\n    i",
        "if x: y",
        "def f():\n    return 1",
        "x = = 1",
        "print 'python 2'",
        "x\0",
        "(" * 1000,
    ],
)
def test_what_has_no_last_expression_goes_to_the_board_as_it_is(body):
    assert source.transform(body) == body


@pytest.mark.parametrize("body", ["x = 1\n\n'é', (\n  1,\n)  # end\n", "\n\n\nf(a,\n  b)"])
def test_wrapping_moves_no_line(body):
    wrapped = source.transform(body)
    assert wrapped.count("\n") == body.count("\n")
    assert wrapped.replace("_ucore_show((", "", 1).replace("))", "", 1).split("\n")[0] == body.split("\n")[0]


def test_a_cell_to_be_saved_becomes_a_program_that_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = cells.parse("# note\n%%ucore --save main.py\nprint('µ')\n")
    exec(source.board_source(cell), {})
    assert (tmp_path / "main.py").read_text(encoding="utf-8") == "print('µ')\n"


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
    assert source.assignment("x", text) == made


# --- top-level await -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "transformed"),
    [
        ("x = await f()", "x = _ucore_await( f())"),
        ("await f()", "_ucore_show((_ucore_await( f())))"),
        ("await f();", "_ucore_await( f());"),
        ("-await a ** 2", "_ucore_show((-_ucore_await( a) ** 2))"),
        ("await f(await g(1), 'é')", "_ucore_show((_ucore_await( f(_ucore_await( g(1)), 'é'))))"),
        ("'é', await f()", "_ucore_show(('é', _ucore_await( f())))"),
        ("if await f():\n    await g()", "if _ucore_await( f()):\n    _ucore_await( g())"),
        ("async for x in y:\n  await x", "for x in _ucore_each((y)):\n  _ucore_await( x)"),
        ("async  with a as b, c: pass", "with _ucore_within((a)) as b, _ucore_within((c)): pass"),
        ("z = [x async for x in await y]", "z = [x for x in _ucore_each((_ucore_await( y)))]"),
        ("@await f()\ndef g(a=await h()): pass", "@_ucore_await( f())\ndef g(a=_ucore_await( h())): pass"),
        ("x = await (\n  f()\n)", "x = _ucore_await( (\n  f()\n))"),
        ("s = '''await\n  it'''\nawait s;", "s = '''await\n  it'''\n_ucore_await( s);"),
    ],
)
def test_a_top_level_await_becomes_a_call_that_runs_the_event_loop(body, transformed):
    first, *rest = source.transform("\n" + body).split("\n")
    assert first.startswith("from ucore.tasks import ")
    assert "\n".join(rest) == transformed


@pytest.mark.parametrize("body", ["import time, machine", "t = machine.Timer(-1)", "button.irq(f);", "import driver"])
def test_a_cell_without_an_await_or_a_result_travels_as_it_is(body):
    assert source.transform("\n" + body) == "\n" + body


@pytest.mark.parametrize(
    "body", ["async def f():\n    await g()", "class A:\n    async def f(self):\n        await g()", "f = lambda: 1  # await"]
)
def test_an_await_inside_a_coroutine_is_its_own_business(body):
    assert source.transform("\n" + body) == "\n" + body


def test_an_await_in_an_f_string_is_replaced_or_explained():
    body = "\ntext = f'{await f()}'"
    if sys.version_info >= (3, 12):
        assert "{_ucore_await( f())}" in source.transform(body)
    else:
        try:
            assert "{_ucore_await( f())}" in source.transform(body)
        except UsageError as error:
            assert "Line 2" in str(error) and "f-string" in str(error)


def test_a_cell_with_awaits_runs_and_its_names_are_there_afterwards(monkeypatch):
    """On CPython, with the board's own module; tests/endtoend does the same on MicroPython."""
    shown = []
    names = {"_ucore_show": shown.append, "asyncio": asyncio}
    body = """
async def numbers(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i

class Door:
    async def __aenter__(self):
        return "open"
    async def __aexit__(self, *error):
        closed.append(error[0])

closed = []
total = 0
async for i in numbers(4):
    total += i
squares = [i * i async for i in numbers(3)]
async with Door() as door:
    pass
text = '''kept
   as it is'''
a, b = await asyncio.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b"))
await asyncio.sleep(0, total)
"""
    monkeypatch.delitem(sys.modules, "ucore.tasks", raising=False)  # not another test's: its event loop ends here
    try:
        exec(source.transform(body), names)
    finally:
        sys.modules.pop("ucore.tasks").event_loop().close()
        asyncio.set_event_loop(None)
    assert shown == [6]
    assert names["squares"] == [0, 1, 4]
    assert (names["door"], names["closed"], names["text"]) == ("open", [None], "kept\n   as it is")
    assert (names["a"], names["b"]) == ("a", "b")


# --- values ------------------------------------------------------------------------------------------------


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
    assert eval(source.literal(value)) == value
    assert type(eval(source.literal(value))) is type(value)
    assert source.parse_value(repr(value)) == value


def test_what_is_almost_a_value_becomes_one():
    assert source.literal(Colour.RED) == "'red'"
    assert math.isnan(eval(source.literal(math.nan)))
    assert source.parse_value("[nan, inf, -inf]")[1:] == [math.inf, -math.inf]
    assert source.parse_value("array('f', [1.0, 2.5])") == [1.0, 2.5]
    assert source.parse_value("bytearray(b'ab')") == b"ab"
    numpy = pytest.importorskip("numpy")
    assert source.literal(numpy.arange(3)) == "[0, 1, 2]"
    assert source.literal({"x": numpy.float32(0.5), "y": numpy.bool_(True)}) == "{'x': 0.5, 'y': True}"


@pytest.mark.parametrize("value", [object(), 1j, types.SimpleNamespace(), [object()], print])
def test_what_is_no_value_is_named(value):
    with pytest.raises(TypeError, match=type(value[0] if isinstance(value, list) else value).__name__):
        source.literal(value)


def test_a_list_that_holds_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(TypeError, match="deep"):
        source.literal(endless)


@pytest.mark.parametrize("text", ["<object>", "f()", "1 +", "__import__('os')", "(" * 5000])
def test_a_repr_that_is_no_value_is_not_run(text):
    with pytest.raises(ValueError):
        source.parse_value(text)
