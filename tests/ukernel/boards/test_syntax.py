"""A cell's text, read by MicroPython's rules: where its lines, its result and its functions are."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukernel.boards import syntax
from ukernel.boards.syntax import Syntax, UnreadableError

SOURCE = Path(__file__).parents[3] / "src"
FILES = sorted((SOURCE / "ucore").glob("*.py")) + sorted((SOURCE / "ukernel").rglob("*.py"))
NAMELESS = {
    ast.Lambda: "<lambda>", ast.GeneratorExp: "<genexpr>", ast.ListComp: "<listcomp>", ast.SetComp: "<setcomp>", ast.DictComp: "<dictcomp>",
}  # fmt: skip


def result(text):
    """Return the expression that ends the text."""
    found = Syntax(text).find_result()
    return found and text[slice(*found)]


@pytest.mark.parametrize(
    "expression",
    [
        "b'µV'",
        "T_°C",
        "°",
        'f"{d["k"]}"',
        "f'{\"\\n\".join(x)}'",
        "f'{x=}'",
        "f'{x!r:>{w}}' 'more'",
        "f'{{{x}}}'",
        "f'''{\n x\n}\n'''",
        'rb\'\\\'\' b"""\n\'\n"""',
        "('a'\n 'b')",
        "x['a:b', 1:2]",
        "'µ' % x",
        "08",
        "0b_1",
        "1_000.5e-3",
        "0xfor",
        "lambda: 5",
        "[x for x in y if z]",
        "x if y else z",
        "None",
        "...",
        "x \\\n + 1",
        "print('a', end='')",
        "'''\n    # no comment\n'''",
        "match",
        "iff",
        "a, *b",
        "'\u2028'",
    ],
)
@pytest.mark.parametrize(
    "before",
    [
        "",
        "if x:\n\ty\n        z\n",
        "s = '''\n  µ'''; ",
        "import x; ",
        "del x['a;b']; assert y; ",
        "# µ\n\n\x0c\n",
        'x = f"{y["a"]}"\n',
        "match x:\n  case 1: y\n",
    ],
)
def test_the_expression_that_ends_a_text_is_found(before, expression):
    assert result(before + expression) == expression
    assert result(before + expression + "  # done\n\n") == expression
    assert result(before + expression + " ;\n") is None


def test_an_expression_is_told_from_anything_else():
    expressions = ('f"{d["k"]}"', " b'µ' ", "T_°C", "x, 1", "await f(\n)", "x  # y")
    assert [text for text in expressions if not syntax.is_expression(text)] == []
    assert [
        text for text in ("", "x;", "x; y", "x = 1", "x\ny", "if x: y", "(x", "x))((y", "# y") if syntax.is_expression(text)
    ] == []


@pytest.mark.parametrize(
    "text",
    ["", "# µ", "x = b'µ'", "T_°C: int = 5", 'x += f"{d["k"]}"', "if x:\n\ty", "if x: y", "while 1: x; y", "yield x", "del x", "return", "@x"],
)  # fmt: skip
def test_other_ends_are_no_result(text):
    assert result(text) is None


@pytest.mark.parametrize(
    ("text", "at_end"),
    [
        ("(x", True),
        ("x = '''\n", True),
        ("x + \\", True),
        ("f(x y)", False),
        ("x)", False),
        ("'x", False),
        ("if x:\n\ty\n    z\nx", False),
        ("x $ y", False),
        ("x\0", False),
        ("print 'x'", False),
        ("'a' 1", False),
    ],
)
def test_what_does_not_follow_the_grammar_is_told(text, at_end):
    with pytest.raises(UnreadableError) as caught:
        Syntax(text).tree()
    assert caught.value.at_end is at_end


@pytest.mark.parametrize("python", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_where_python_reads_the_same_language_it_finds_the_same(python):
    text = python.read_text(encoding="utf-8")
    tree = ast.parse(text)
    Syntax(text).tree()
    functions = [
        (getattr(node, "name", NAMELESS.get(type(node))), node.end_lineno)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, *NAMELESS))
    ]
    assert sorted((name, last) for name, _, last in Syntax(text).find_functions()) == sorted(functions)
    for statement in tree.body:
        if not getattr(statement, "decorator_list", None):
            part = ast.get_source_segment(text, statement)
            assert (result(part) == part) is isinstance(statement, ast.Expr), part


def test_functions_are_found_in_what_python_cannot_read():
    text = "b'µ'\ndef f(x):\n\tif x:\n\t\treturn 1/0\n        return 6\n@asm\ndef g(): mov(r0, 1)\nx = [\n  i for i in y]\nx = = 2\nclass °A:\n  h = lambda: 5\n"
    assert Syntax(text).find_functions() == [
        ("f", 2, 5), ("g", 7, 7), ("<listcomp>", 8, 9), ("_A", 11, 12), ("<lambda>", 12, 12),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pasted", "read"),
    [
        ("\n    x = 1\n    x", "\nx = 1\nx"),
        ("\n x = 1\nif x:\n    x", "\nx = 1\nif x:\n    x"),
        ("\n    x = '''\n    y'''\n    (x,\n     y)", "\nx = '''\n    y'''\n(x,\n     y)"),
        ("\n\tif x:\n\t\ty", "\nif x:\n\ty"),
        ("\n    def f():\n        y\nf()", "\ndef f():\n    y\nf()"),
        ("\n# note\n    x", "\n# note\nx"),
        ("\n>>> x = 1\n>>> x\n1", "\nx = 1\nx\n1"),
        ("\n  >>> if x:\n  ...     y\n  ...\n", "\nif x:\n    y\n\n"),
        ("\n=== x = 1\n=== x", "\nx = 1\nx"),
        ("\nIn [1]: if x:\n   ...:     y\n", "\nif x:\n    y\n"),
        ("\nx\r\ny\rz", "\nx\ny\nz"),
        ("\nx = '''\n>>> y'''", "\nx = '''\n>>> y'''"),
        ("\nx >>> y", "\nx >>> y"),
    ],
)
def test_a_text_is_read_as_people_paste_it(pasted, read):
    assert syntax.read(pasted).text == read


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("x\ntry:\n    y\n    z\nexcept E:\n    w\nfinally:\n    v", [(3, 4)]),
        ("try: x\nexcept: y", [(1, 1)]),
        ("try:\n\n    x\nexcept:\n    try: y\n    except: z", [(3, 3), (5, 5)]),
        ("x\nwith a as b, c:\n    y\nz", [(2, 3)]),
        ("for i in x:\n    with a:\n        y\n", [(2, 3)]),
        ("async with a:\n    y", [(1, 2)]),
        ("x = 1", []),
    ],
)
def test_the_lines_are_found_whose_errors_the_text_catches(text, lines):
    assert Syntax(text).find_catching() == lines


SNIPPETS = st.sampled_from(
    ["x", "await ", "def f():", "if x: ", "\n", "\n", "\n    ", "\n\t", "\n        ", "'", '"', "'''", '"""', "f'", 'f"', "b'", "{", "}", "(", ")",
     "[", "]", ":", "=", "!r", "µ", "\\", "\\\n", "\f", "\0", "# c", "\u2028", "08", ";", ",", ">>> ", "\r", "{{", "%", "lambda: ", "async for i in y:"]
)  # fmt: skip


@given(st.lists(SNIPPETS, max_size=30).map("".join))
def test_any_text_is_read_and_no_line_is_lost(text):
    found = syntax.read(text)
    assert found.text.count("\n") == text.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    assert all(found.text[line.start : line.end].strip(" \t\n\f") for line in found.lines)
    found.find_functions()
    try:
        result = found.find_result()
    except UnreadableError:
        return
    if result:
        expression = found.text[slice(*result)]
        assert Syntax(expression).find_result() == (0, len(expression))
