"""What the board gets to run: the cell as it is, with its last expression shown and its awaits run."""

import asyncio
import sys

import pytest

from ukernel.boards import rewrite
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
        ("    x = 1\n    x", "x = 1\n_ucore_show((x))"),
        (">>> x = 1\n>>> x", "x = 1\n_ucore_show((x))"),
        ("if x:\n\ty\n        z\nT_°C", "if x:\n\ty\n        z\n_ucore_show((T_°C))"),
        ('b\'µ\', f"{d["k"]}"', '_ucore_show((b\'µ\', f"{d["k"]}"))'),
        ("match x:\n    case 1: y\nz", "match x:\n    case 1: y\n_ucore_show((z))"),
    ],
)
def test_the_last_expression_is_handed_to_the_board_to_show(body, wrapped):
    assert rewrite.transform(body) == wrapped


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
    assert rewrite.transform(body) == body


@pytest.mark.parametrize("body", ["x = 1\n\n'é', (\n  1,\n)  # end\n", "\n\n\nf(a,\n  b)"])
def test_wrapping_moves_no_line(body):
    wrapped = rewrite.transform(body)
    assert wrapped.count("\n") == body.count("\n")
    assert wrapped.replace("_ucore_show((", "", 1).replace("))", "", 1).split("\n")[0] == body.split("\n")[0]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("!ls", "Line 2: !ls is for the Python on your computer"),
        ("x = 1\n%matplotlib inline", "Line 3: %matplotlib is"),
        ("    if x:\n        %ucore pull x", "Line 3: %ucore is"),
        ("files = !ls", "Line 2: !ls is"),
        ("x = %ucore pull y", "Line 2: %ucore is"),
        ("print(1)\n%%ucore\nprint(2)", "Line 3: a cell has one %%ucore"),
        ("%%time\nprint(1)", "Line 2: %%time belongs above"),
        ("%%bash\nls", "Line 2: %%bash is"),
    ],
)
def test_what_is_for_the_host_is_told_where_it_belongs(body, sentence):
    with pytest.raises(UsageError) as caught:
        rewrite.program("\n" + body)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("body", "there"),
    [
        ("!ls -l", "`import os; os.listdir()`"),
        ("x = 1\n! cat boot.py", '`print(open("FILE").read())`'),
        ("!rm f", '`import os; os.remove("FILE")`'),
        ("%pwd", "`import os; os.getcwd()`"),
        ("files = !ls", "`import os; os.listdir()`"),
    ],
)
def test_what_a_shell_does_with_files_is_told_in_the_boards_words(body, there):
    with pytest.raises(UsageError, match=r"without %%ucore\. On the board, that is") as caught:
        rewrite.program("\n" + body)
    assert there in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "x = (5\n%3)",
        "x = 7 \\\n%y",
        "'''\n%x\n!y\n'''",
        "x %= 5",
        "x != y",
        "print('a=%d' %x)",
        "x == 5\\\n% 3",
        "# %x",
        "f'{x=}%'",
    ],
)
def test_a_remainder_and_a_string_are_no_magics(body):
    rewrite.program("\n" + body)


@pytest.mark.parametrize(
    ("body", "is_read"),
    [
        ("x = 1", True),
        ("x", True),
        ("f(x y)", False),
        ("if x:\n    y", True),
        ("await x y;", False),
        ("match x:\n    case 1: y", True),
    ],
)
def test_it_is_told_where_a_result_may_be_that_was_not_found(body, is_read):
    assert rewrite.program("\n" + body).is_read is is_read


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
        ('x = f"{await g(d["k"])!r}"', 'x = f"{_ucore_await( g(d["k"]))!r}"'),
        ("if x:\n\tawait y\n        await z", "if x:\n\t_ucore_await( y)\n        _ucore_await( z)"),
        ("  µ = await °C\n  µ;", "µ = _ucore_await( °C)\nµ;"),
        ("async \\\n  for x in y: pass", "for \\\n   x in _ucore_each((y)): pass"),
        ("[x\n async\n for x in y];", "[x\n for\n  x in _ucore_each((y))];"),
        ("f = lambda x=await y: await z", "f = lambda x=_ucore_await( y): await z"),
        ("class A(await b):\n    async def c(self): await d", "class A(_ucore_await( b)):\n    async def c(self): await d"),
        ("async with a.b('as', [1]) as c.d: pass", "with _ucore_within((a.b('as', [1]))) as c.d: pass"),
    ],
)
def test_a_top_level_await_becomes_a_call_that_runs_the_event_loop(body, transformed):
    first, *rest = rewrite.transform("\n" + body).split("\n")
    assert first.startswith("from ucore.tasks import ")
    assert "\n".join(rest) == transformed


@pytest.mark.parametrize("body", ["import time, machine", "t = machine.Timer(-1)", "button.irq(f);", "import driver"])
def test_a_cell_without_an_await_or_a_result_travels_as_it_is(body):
    assert rewrite.transform("\n" + body) == "\n" + body


@pytest.mark.parametrize(
    "body", ["async def f():\n    await g()", "class A:\n    async def f(self):\n        await g()", "f = lambda: 1  # await"]
)
def test_an_await_inside_a_coroutine_is_its_own_business(body):
    assert rewrite.transform("\n" + body) == "\n" + body


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
        exec(rewrite.transform(body), names)
    finally:
        sys.modules.pop("ucore.tasks").event_loop().close()
        asyncio.set_event_loop(None)
    assert shown == [6]
    assert names["squares"] == [0, 1, 4]
    assert (names["door"], names["closed"], names["text"]) == ("open", [None], "kept\n   as it is")
    assert (names["a"], names["b"]) == ("a", "b")
