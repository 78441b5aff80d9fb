"""Cells as people type and paste them: what MicroPython takes gets every service, whatever Python the host has."""

import pytest

pytestmark = pytest.mark.board

MIXED_TABS = "def f(x):\n\tif x:\n\t\treturn 10 // x\n        return 0\n"
QUOTES = "d = {'k': 20}\n"


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (MIXED_TABS + "f(2)", "5"),
        (QUOTES + 'f"{d["k"]}"', "'20'"),
        ("f\"{'\\n'.join(['a', 'b'])}\"", "'a\\nb'"),
        ("len(b'µV')", "3"),
        ("T_°C = 21\nT_°C", "21"),
        ("° = 5; °", "5"),
        ("    x = 1\n    x", "1"),
        (" x = 1\nif x:\n    x = 2\nx", "2"),
        (">>> x = 3\n>>> x + 1", "4"),
        (">>> def g():\n...     return 6\n...\n>>> g()", "6"),
        ("x = 7\n\x0c\nx", "7"),
        ("x = 7 \\\n  % 4\nx", "3"),
        ("@micropython.viper\ndef v(p: ptr8) -> int:\n    return p[0]\nv(b'a')", "97"),
        ("from micropython import const\n_A = const(4)\n_A", "4"),
        ("(y := 5)", "5"),
        ("'\u2028'", "'\\u2028'"),
        ("x\r\nx", "3"),
    ],
)
def test_the_result_of_an_odd_cell_is_shown_and_stored(notebook, body, result):
    notebook.run("%%ucore\nimport micropython\nx = 3")
    shown = notebook.run("%%ucore\n" + body)
    assert shown.result == result, shown.traceback
    assert notebook.run("%%ucore\n" + body + ";").result is None
    notebook.run("%%ucore --out value\n" + body)
    assert notebook.run("value").result == result


@pytest.mark.parametrize(
    "before", [MIXED_TABS, QUOTES + 'print(f"{d["k"]}")\n', "b'µ'\n", "T_°C = 21\n", "    \n    x = 1\n    "]
)
def test_an_odd_cell_may_await(notebook, before):
    margin = before.rpartition("\n")[2]
    outcome = notebook.run(f"%%ucore\n{before}import asyncio\n{margin}await asyncio.sleep_ms(1)\n{margin}'slept'")
    assert outcome.result == "'slept'", outcome.traceback


def test_an_await_in_an_f_string_runs(notebook):
    outcome = notebook.run(
        "%%ucore\nasync def f(x):\n    return x\nd = {'k': 1}\nf\"{await f(d[\"k\"])}, {await f('b')!r:>5}\""
    )
    assert outcome.result == "\"1,   'b'\"", outcome.traceback


def test_an_odd_cell_is_asked_about(notebook):
    outcome = notebook.run("%%ucore\nT_°C = 21\n" + MIXED_TABS + "T_°C?")
    assert "Value: 21" in outcome.reply["payload"][0]["data"]["text/plain"]
    assert notebook.complete("%%ucore\nprint(T_|)")["matches"] == ["T_°C"]
    assert "Value: 21" in notebook.inspect("%%ucore\nT_°|C")["data"]["text/plain"]
    assert notebook.is_complete("%%ucore\n" + MIXED_TABS)["status"] == "complete"


def test_an_odd_expression_is_pulled(notebook):
    notebook.run("%%ucore\nT_°C = 21; d = {'k': T_°C}")
    assert notebook.run('x = %ucore pull T_°C, f"{d["k"]}", b\'µ\'\nx').result == "(21, '21', b'\\xc2\\xb5')"


def test_a_traceback_shows_the_lines_of_an_odd_cell(notebook):
    notebook.run("%%ucore\n" + MIXED_TABS.replace("10 // x", "1 // 0  # here"))
    assert "1 // 0  # here" in notebook.run("%%ucore\n\n\nf(1)").traceback


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("x = 1\ny = = 2\nz", 3),
        ("  x = 1\n  x)", 3),
        ("match 5:\n    case 5:\n        pass", 2),
        ("\nf(1 2)\nx", 3),
        ("if 1:\n\tx\n    y", 3),
    ],
)
def test_what_the_board_refuses_is_the_boards_own_error_at_the_users_line(notebook, body, line):
    outcome = notebook.run("%%ucore\n" + body)
    assert outcome.error in ("SyntaxError", "IndentationError")
    shown = next(text for text in outcome.traceback.splitlines() if "---->" in text)
    assert f"> {line}" in shown and "_ucore" not in outcome.traceback
    assert outcome.text("stderr") == ""


def test_time_and_capture_stand_above_a_board_cell(notebook):
    assert notebook.run("%%time\n%%ucore\nimport time\ntime.sleep_ms(20)\n5").result == "5"
    outcome = notebook.run("%%time\n%%capture kept\n%%ucore --no-raise\nprint('a')\nucore.display(html='<b>')\nprint('b')\n6")
    assert outcome.text().startswith("Wall time: ") and outcome.text().count("\n") == 1
    assert outcome.result is None and outcome.contents("display_data") == []
    assert notebook.run("kept.stdout, len(kept.outputs), kept.outputs[1].data['text/plain']").result == "('a\\nb\\n', 2, '6')"
    assert notebook.run("kept.show()").text() == "a\nb\n"
    assert notebook.run("%%capture\n%%ucore\n1/0").error == "ZeroDivisionError"
    assert "%%capture\n%%ucore\n1/0" in notebook.run("%history -l 2").text()


@pytest.mark.parametrize(
    "magic", ["%%timeit -n1 -r1", "%%bash", "%%writefile never.py", "%%html", "%%script cat", "%%own", "%%nobody"]
)
def test_another_magic_above_runs_nowhere_and_says_where_it_belongs(notebook, magic):
    notebook.run("from IPython.core.magic import register_cell_magic\n@register_cell_magic\ndef own(line, cell): print('own')")
    outcome = notebook.run(f"{magic}\n%%ucore\nprint(1)")
    assert "cannot stand above %%ucore" in outcome.text("stderr")
    assert outcome.text() == "" and outcome.contents("display_data") == [] and outcome.reply["status"] == "error"


@pytest.mark.parametrize(
    "first", ["# %%ucore", "#%%ucore --timeout 30", "\ufeff%%ucore", "   %%ucore", "\n# %%time\n# %%ucore", "%%time\n# %%ucore"]
)
def test_a_board_cell_may_begin_as_a_comment_or_with_blanks(notebook, first):
    assert notebook.run(f"{first}\nimport sys\nsys.implementation.name").result == "'micropython'"
    assert notebook.run("%history -l 1").text().strip().endswith("sys.implementation.name")


def test_a_comment_deeper_in_a_host_cell_is_a_comment(notebook):
    assert notebook.run("# a note\n# %%ucore\n__import__('sys').implementation.name").result == "'cpython'"
    assert notebook.run("# %%ucore cells are for the board\n1 + 1").result == "2"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("x = 1\n%%ucore\nprint(1)", "first line of a cell of its own"),
        ("%%Ucore\nprint(1)", "the magic is %%ucore"),
        ("%% ucore\nprint(1)", "the magic is %%ucore"),
        ("%%ucore print(1)", "the line below"),
        ("%%ucore\nprint(1)\n%%ucore\nprint(2)", "Line 3: a cell has one %%ucore"),
        ("%%ucore\n!ls", "Line 2: !ls is for the Python on your computer"),
        ("%%ucore\nx = %ucore pull y", "Line 2: %ucore is for the Python"),
        ("%%ucore\n%%time\nprint(1)", "Line 2: %%time belongs above"),
        ("get_ipython().run_cell_magic('ucore', '', 'print(1)')", "first line of a cell of its own"),
    ],
)
def test_what_cannot_run_is_told_what_to_do(notebook, code, sentence):
    outcome = notebook.run(code)
    assert sentence in outcome.text("stderr") + "".join(error["evalue"] for error in outcome.contents("error"))
    assert outcome.text() == "" and outcome.reply["status"] == "error"
