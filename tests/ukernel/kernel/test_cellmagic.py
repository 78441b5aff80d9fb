"""Whose a cell is, its options, and whether it is complete."""

import pytest

from ukernel.boards import statements
from ukernel.errors import UsageError
from ukernel.kernel import cellmagic


@pytest.mark.parametrize(
    "code",
    [
        "%%ucore", "%%ucore\n1", "%%ucore --timeout 3\n1", "\n\n%%ucore\n1", "# note\n  # another\n\n%%ucore\n1", "%%ucore\r\n1",
        "  %%ucore\n1", "\ufeff%%ucore\n1", "\t%%ucore\t--no-raise\n1", "%%time\n%%ucore\n1", "%%time\n\n# note\n%%ucore\n1",
        "%%capture out --no-stderr\n%%ucore\n1", "%%time\n%%capture\n%%ucore", "# %%ucore\n1", "\n#%%ucore", "# %%ucore --timeout 3\n1",
        "# %%ucore  # note\n1", "# %%time\n# %%ucore\n1", "%%time\n# %%ucore\n1", "# %%time\n%%ucore\n1",
    ],
)  # fmt: skip
def test_a_cell_whose_first_real_line_is_the_magic_is_for_the_board(code):
    assert cellmagic.is_board_cell(code)
    assert cellmagic.parse(code) is not None


@pytest.mark.parametrize(
    "code",
    [
        "", "1", "1\n%%ucore", "%%ucorex\n1", "%ucore status", "'''\n%%ucore'''", "%%time\n1", "%%time\n1\n%%ucore", "%%ucore?", "%%ucore??",
        "# note\n# %%ucore\n1", "1\n# %%ucore", "# %%ucore cells run on the board\n1", "## %%ucore\n1", "# %% ucore\n1", "# %%Ucore",
        "%%bash\n# %%ucore\nls", "%%writefile x.md\n# Title\n%%ucore\n", "%%bash\nls\n%%ucore", "# %%bash\n# %%ucore",
    ],
)  # fmt: skip
def test_every_other_cell_is_for_the_host(code):
    assert not cellmagic.is_board_cell(code)
    assert cellmagic.parse(code) is None


@pytest.mark.parametrize(
    ("line", "above"),
    [
        ("%%time", [("%%time", set(), "")]),
        ("%%capture", [("%%capture", {"stdout", "stderr", "display"}, "")]),
        ("%%capture  --no-stdout x --no-display", [("%%capture", {"stderr"}, "x")]),
        ("# %%time", []),
        ("%%time\n# note\n%%capture x", [("%%time", set(), ""), ("%%capture", {"stdout", "stderr", "display"}, "x")]),
    ],
)
def test_what_stands_above_the_magic_is_read(line, above):
    found = cellmagic.parse(f"{line}\n%%ucore --timeout 3\n1").above
    assert [(one.magic, set(one.kinds) if one.magic == "%%capture" else set(), one.name) for one in found] == above


@pytest.mark.parametrize(
    ("above", "words"),
    [
        ("%%bash", ["%%bash cannot stand above %%ucore", "%%time and %%capture"]),
        ("%%time\n%%script sh", ["%%script cannot"]),
        ("%%writefile x.py", ["%%ucore --save FILE"]),
        ("%%timeit -n 3", ["time.ticks_us()"]),
        ("%%my_own", ["%%my_own cannot"]),
        ("%%capture a b", ["%%capture a b", "--no-stdout"]),
        ("%%capture --no-std", ["--no-stderr"]),
        ("%%capture 2x", ["2x"]),
        ("%%time f()", ["%%time f()", "below"]),
    ],
)
def test_a_magic_that_cannot_stand_above_is_told_where_it_belongs(above, words):
    with pytest.raises(UsageError) as caught:
        cellmagic.parse(f"{above}\n%%ucore\n1")
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("magic", ["%%Ucore", "%%UCORE --no-raise", "%% ucore", "  %%uCore", "%%time\n%%Ucore"])
def test_a_magic_that_is_almost_right_is_told_how_it_is_written(magic):
    with pytest.raises(UsageError, match="the magic is %%ucore"):
        cellmagic.parse(magic + "\n1")


@pytest.mark.parametrize("before", ["", "\n", "# one\n\n# two\n", "%%time\n", "%%time\n\n%%capture x\n# "])
def test_lines_keep_their_numbers(before):
    code = before + "%%ucore --timeout 3\nfirst\nsecond"
    body = cellmagic.parse(code).body
    assert body.split("\n").index("second") == code.split("\n").index("second")
    assert body.strip() == "first\nsecond"


def test_the_body_is_found_again_in_the_cell():
    code = "# note\n%%ucore --no-raise\nx = 1"
    cell = cellmagic.parse(code)
    assert code[cell.body_start :] == "x = 1"
    assert code[cell.magic_start :].startswith("%%ucore")


def test_options_are_read_in_any_order_and_form():
    options = cellmagic.parse("%%ucore --no-raise --board='my board' --timeout 2.5 --out result # why\n1").options
    assert options == {"--no-raise": True, "--board": "my board", "--timeout": 2.5, "--out": "result"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--speed 3", ["'--speed'", "--timeout SECONDS", "--board NAME"]),
        ("hello", ["'hello'", "--no-raise"]),
        ("print(1)", ["'print(1)'", "the line below"]),
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
        cellmagic.parse(f"%%ucore {line}\n1")
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
        ("x =", "invalid"),
        ("'text", "invalid"),
        ("x)", "invalid"),
        ("if x:\n        y\n    z", "invalid"),
        ("@decorated", "incomplete"),
        ("try:\n    x\n", "incomplete"),
        ("x = 1 + \\", "incomplete"),
        ('f"{d["k"]}"', "complete"),
        ("if x:\n\ty = 1\n        z = 2\n", "complete"),
        ("if x:\n\ty = 1\n        z = 2", "incomplete"),
        ("b'µV'; T_°C = 08", "complete"),
        ('f"""{x}', "incomplete"),
        (">>> x = 1", "complete"),
        (">>> for i in x:", "incomplete"),
        ("  x = 1", "complete"),
        ("x = 1\nled?", "complete"),
        ("f\"{'µ'!r}\"\nT_°C?", "complete"),
        ("import = 7q", "invalid"),
    ],
)
def test_completeness_is_told_as_a_console_needs_it(body, status):
    assert statements.completeness(body)["status"] == status


def test_a_block_goes_on_with_its_indent():
    assert statements.completeness("if x:\n    if y:")["indent"] == "        "
    assert statements.completeness("if x:\n    y")["indent"] == "    "


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("\nled?", ("", "led")),
        ("\n?led.on", ("", "led.on")),
        ("\n\nled??\n\n", ("\n", "led")),
        ("\nx = 1\nx?", ("\nx = 1", "x")),
        ("\nT_°C?", ("", "T_°C")),
        ("\nif x:\n\ty\n        z\n?led.µ", ("\nif x:\n\ty\n        z", "led.µ")),
        ("\nx = (\nled?", None),
        ("\nled", None),
        ("\n'''\nled?\n'''", None),
        ("\nx = led?", None),
        ("\nled?\nx = 1", None),
        ("", None),
    ],
)
def test_a_question_mark_on_the_last_line_asks_for_help(body, asked):
    assert statements.split_help(body) == asked
