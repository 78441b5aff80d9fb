"""Whose a cell is, its options, and whether it is complete."""

import pytest

from ukernel import cells
from ukernel.errors import UsageError


@pytest.mark.parametrize(
    "code",
    ["%%ucore", "%%ucore\n1", "%%ucore --timeout 3\n1", "\n\n%%ucore\n1", "# note\n  # another\n\n%%ucore\n1", "%%ucore\r\n1"],
)
def test_a_cell_whose_first_real_line_is_the_magic_is_for_the_board(code):
    assert cells.is_board_cell(code)
    assert cells.parse(code) is not None


@pytest.mark.parametrize(
    "code", ["", "1", "1\n%%ucore", "%%ucorex\n1", "%ucore status", "  %%ucore\n1", "# %%ucore", "'''\n%%ucore'''", "%%time\n1"]
)
def test_every_other_cell_is_for_the_host(code):
    assert not cells.is_board_cell(code)
    assert cells.parse(code) is None


@pytest.mark.parametrize("before", ["", "\n", "# one\n\n# two\n"])
def test_lines_keep_their_numbers(before):
    code = before + "%%ucore --timeout 3\nfirst\nsecond"
    body = cells.parse(code).body
    assert body.split("\n").index("second") == code.split("\n").index("second")
    assert body.strip() == "first\nsecond"


def test_the_body_is_found_again_in_the_cell():
    code = "# note\n%%ucore --no-raise\nx = 1"
    cell = cells.parse(code)
    assert code[cell.body_start :] == "x = 1"
    assert code[cell.magic_start :].startswith("%%ucore")


def test_options_are_read_in_any_order_and_form():
    options = cells.parse("%%ucore --no-raise --board='my board' --timeout 2.5 --out result # why\n1").options
    assert options == {"--no-raise": True, "--board": "my board", "--timeout": 2.5, "--out": "result"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--speed 3", ["'--speed'", "--timeout SECONDS", "--board NAME"]),
        ("hello", ["'hello'", "--no-raise"]),
        ("--timeout", ["--timeout needs a value"]),
        ("--timeout soon", ["a number of seconds"]),
        ("--timeout -1", ["a number of seconds"]),
        ("--timeout nan", ["a number of seconds"]),
        ("--no-raise=1", ["--no-raise takes no value"]),
        ("--out 2x", ["'2x'"]),
        ("--out class", ["'class'"]),
        ("--board 'x", ["quotation"]),
    ],
)
def test_an_option_that_is_not_understood_is_explained(line, words):
    with pytest.raises(UsageError) as caught:
        cells.parse(f"%%ucore {line}\n1")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", "incomplete"),
        ("x = 1", "complete"),
        ("x = 1\ny = 2", "complete"),
        ("await f()", "complete"),
        ("async for x in y:", "incomplete"),
        ("for i in x:", "incomplete"),
        ("for i in x:\n    i", "incomplete"),
        ("for i in x:\n    i\n", "complete"),
        ("f(1,", "incomplete"),
        ("'''text", "incomplete"),
        ("1 1", "invalid"),
        ("import = 7q", "invalid"),
    ],
)
def test_completeness_is_told_as_a_console_needs_it(body, status):
    assert cells.completeness(body)["status"] == status


def test_a_block_goes_on_with_its_indent():
    assert cells.completeness("if x:\n    if y:")["indent"] == "        "
    assert cells.completeness("if x:\n    y")["indent"] == "    "


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("\nled?", ("", "led")),
        ("\n?led.on", ("", "led.on")),
        ("\n\nled??\n\n", ("\n", "led")),
        ("\nx = 1\nx?", ("\nx = 1", "x")),
        ("\nled", None),
        ("\n'''\nled?\n'''", None),
        ("\nx = led?", None),
        ("\nled?\nx = 1", None),
        ("", None),
    ],
)
def test_a_question_mark_on_the_last_line_asks_for_help(body, asked):
    assert cells.split_help(body) == asked
