"""Text that is typed or piped, statement by statement."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukernel.boards import statements


def split(text):
    return list(statements.split(text.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n# only words\n", []),
        ("a\nb\n", [(1, "a"), (2, "b")]),
        ("a; b\r\nc", [(1, "a; b"), (2, "c")]),
        ("f(1,\n  2)\nb", [(1, "f(1,\n  2)"), (3, "b")]),
        ("'''a\n\nb'''\nc", [(1, "'''a\n\nb'''"), (4, "c")]),
        ("if x:\n    a\n\n    b\nc", [(1, "if x:\n    a\n\n    b"), (5, "c")]),
        ("if x: a\nelse: b\nc", [(1, "if x: a\nelse: b"), (3, "c")]),
        ("try:\n    a\n# why\nexcept E:\n    b\n", [(1, "try:\n    a\n# why\nexcept E:\n    b")]),
        ("@d\ndef f():\n    '''x\ny'''\n    return 1\nf()", [(1, "@d\ndef f():\n    '''x\ny'''\n    return 1"), (6, "f()")]),
        (")\nb", [(1, ")"), (2, "b")]),
        ("f(1,", [(1, "f(1,")]),
        ("x = \\\n1\ny", [(1, "x = \\\n1"), (3, "y")]),
        ("name?\nb", [(1, "name?"), (2, "b")]),
    ],
)
def test_statements_are_found_as_soon_as_they_are_whole(text, found):
    assert split(text) == found


def test_a_statement_is_yielded_before_the_next_line_is_read():
    def lines():
        yield "a\n"
        raise AssertionError("the next line was read")

    assert next(statements.split(lines())) == (1, "a")


@given(
    st.lists(
        st.sampled_from(
            ["a = 1", "if a:\n    b\nelse:\n    c", "def f(x):\n\n    return [x,\n1]", "'''\n'''", "# x", "", "f(\n)"]
        )
    )
)
def test_the_statements_of_a_program_are_those_of_python(parts):
    text = "\n".join(parts)
    expected = [node.lineno for node in ast.parse(text).body]
    assert [first for first, _ in split(text)] == expected


@given(st.text(alphabet="a1 \n\t()[]:'\"\\#=,.if@é?%"))
def test_no_text_is_lost_or_refused(text):
    kept = "".join(part for _, part in split(text))
    assert [char for char in kept if char == "a"] <= [char for char in text if char == "a"]
