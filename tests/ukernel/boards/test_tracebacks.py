"""A board's traceback becomes one with the notebook's cell numbers and source lines."""

import re

import pytest

from ukernel.boards.tracebacks import format_error, format_stream
from ukernel.kernel.history import CellHistory

TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "<cell b>", line 6, in <module>',
    '  File "<cell b>", line 3, in divide',
    '  File "lib/deep.py", line 9, in go',
    "ZeroDivisionError: divide by zero",
]


class Notebook(CellHistory):
    """A notebook's cells, and what the hub says of whose cell a frame is."""

    def cell(self, count, code):
        key, entry = self.add(code)
        entry.count = count
        return {"key": key}


@pytest.fixture
def notebook():
    return Notebook()


@pytest.fixture
def divide(notebook):
    return notebook.cell(4, "%%ucore\ndef divide(n):\n    return deep.go(n)\n\n\ndivide(0)")


def plain(lines):
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))


def shown(notebook, frames, *owners, name="ZeroDivisionError", text=""):
    return plain(format_error(name, text, [*frames, name], notebook, list(owners)))


def test_frames_of_the_cell_show_their_source(notebook, divide):
    text = plain(format_error("ZeroDivisionError", "divide by zero", TRACEBACK, notebook, [[divide], [divide]]))
    assert "Cell In[4], line 6\n" in text
    assert "----> 6 divide(0)" in text
    assert "Cell In[4], line 3, in divide\n      1 %%ucore\n      2 def divide(n):\n----> 3     return" in text
    assert text.endswith("ZeroDivisionError: divide by zero")


def test_frames_of_files_on_the_board_are_named(notebook, divide):
    text = plain(format_error("ZeroDivisionError", "", TRACEBACK, notebook, [[divide], [divide]]))
    assert 'File "lib/deep.py", line 9, in go' in text


def test_every_frame_is_of_the_cell_that_the_hub_says(notebook, divide):
    later = notebook.cell(5, "%%ucore\ndivide(1)\ndef divide(n): return 5")
    frames = ['  File "<cell c>", line 2, in <module>', '  File "<cell b>", line 3, in divide']
    text = shown(notebook, frames, [later], [divide])
    assert "Cell In[5], line 2\n" in text
    assert "Cell In[4], line 3, in divide\n" in text and "----> 3     return deep.go(n)" in text


def test_of_several_cells_that_a_frame_may_be_of_all_are_named_and_no_line_is_shown(notebook):
    cells = [notebook.cell(count, f"%%ucore\ndef read():\n    return {count}") for count in (1, 2)]
    frame = ['  File "<cell b>", line 3, in read']
    text = shown(notebook, frame, cells)
    assert "Cell In[1] or Cell In[2], line 3, in read" in text and "return" not in text
    assert "Cell In[1] or a cell of the notebook x, line 3, in read" in shown(
        notebook, frame, [cells[0], {"label": "the notebook x"}]
    )
    assert "Cell In[1] or an earlier cell, line 3" in shown(notebook, frame, [cells[0], {}])
    many = [notebook.cell(count, f"%%ucore\ndef read():\n    return -{count}") for count in range(10, 20)]
    assert "One of 10 cells, line 3, in read" in shown(notebook, frame, many)


def test_of_several_cells_only_those_that_have_the_function_there_are_meant(notebook):
    short = notebook.cell(1, "%%ucore\ndef read():\n    return 1\n\n\nread()")
    long = notebook.cell(2, "%%ucore\ndef read():\n    a = 1\n    b = 2\n    return a / (b - 2)")
    assert "----> 5     return a / (b - 2)" in shown(notebook, ['  File "<cell b>", line 5, in read'], [short, long])


def test_a_function_is_found_where_this_python_cannot_read_the_cell(notebook):
    odd = notebook.cell(1, "%%ucore\nT_\N{DEGREE SIGN}C = 21\ndef read():\n    return 1 // 0\nf = lambda: 5\n")
    other = notebook.cell(2, "%%ucore\ndef read(): return 1\nx = [0 for y in z]\n\n")
    assert "----> 4     return 1 // 0" in shown(notebook, ['  File "<cell b>", line 4, in read'], [odd, other])
    assert "----> 5 f = lambda: 5" in shown(notebook, ['  File "<cell b>", line 5, in <lambda>'], [odd, other])


def test_the_same_cell_run_again_is_one(notebook):
    cells = [notebook.cell(count, "%%ucore\ndef read():\n    return 1 // 0") for count in (1, 7)]
    assert "Cell In[7], line 3, in read\n" in shown(notebook, ['  File "<cell b>", line 3, in read'], cells)


def test_a_cell_of_another_notebook_or_an_unknown_one_is_said_to_be_that(notebook, divide):
    frame = ['  File "<cell b>", line 3, in divide']
    assert "A cell of the notebook x, line 3, in divide" in shown(notebook, frame, [{"label": "the notebook x"}])
    for owners in ([], [{"key": 999}]):
        text = shown(notebook, frame, owners)
        assert "An earlier cell, line 3, in divide" in text and "---->" not in text
    assert "An earlier cell" in plain(format_error("ValueError", "", frame, notebook))


@pytest.mark.parametrize("name", ["<lambda>", "<genexpr>", "<listcomp>"])
def test_nameless_functions_are_found_too(notebook, name):
    cell = notebook.cell(1, "%%ucore\nf = lambda: 1/0\ng = (1/x for x in [0])\nh = [1/x for x in [0]]")
    other = notebook.cell(2, "%%ucore\n\n\n\nf = lambda: 1/0\ng = (1/x for x in [0])\nh = [1/x for x in [0]]")
    line = {"<lambda>": 2, "<genexpr>": 3, "<listcomp>": 4}[name]
    assert f"Cell In[1], line {line}, in {name}\n" in shown(
        notebook, [f'  File "<cell b>", line {line}, in {name}'], [cell, other]
    )


def test_cells_that_look_like_one_of_which_the_hub_knows_nothing_are_named(notebook, divide):
    frame = ['  File "<cell b>", line 3, in divide']
    text = shown(notebook, frame, [{}])
    assert "An earlier cell (perhaps In[4]), line 3, in divide" in text and "---->" not in text
    notebook.cell(6, "%%ucore\n\ndef divide(n): return 1")
    notebook.cell(7, "%%ucore\n\ndef divide(n): return 1")
    assert "An earlier cell (perhaps In[4] or In[7]), line 3, in divide" in shown(notebook, frame, [{}])
    for name in ("other", "<lambda>", "<module>"):
        assert "An earlier cell, line 3" in shown(notebook, [f'  File "<cell b>", line 3, in {name}'], [{}])
    for count in (8, 9):
        notebook.cell(count, f"%%ucore\n\ndef divide(n): return {count}")
    assert "An earlier cell, line 3, in divide" in shown(notebook, frame, [{}])


def test_a_printed_line_outside_of_functions_is_of_a_cell_that_catches_its_error_there(notebook):
    one = notebook.cell(1, "%%ucore\ntry:\n    x\nexcept NameError as error:\n    print(error)")
    two = notebook.cell(2, "%%ucore\ny = 2\ntry:\n    z\nexcept NameError as error:\n    sys.print_exception(error)")
    content = {"text": '  File "<cell a>", line 4, in <module>\n', "cells": [[one, two]]}
    assert "Cell In[2], line 4\n" in format_stream(content, notebook) and "----> 4     z" in format_stream(content, notebook)
    content["text"] = content["text"].replace("4", "3")
    assert "Cell In[1], line 3\n" in format_stream(content, notebook)
    failed = notebook.cell(4, "%%ucore\nerror = kept\nraise error")
    notebook._entries[failed["key"]].fail(["Traceback:", '  File "<cell a>", line 3, in <module>'])
    content["cells"] = [[two, failed]]
    assert "Cell In[4], line 3\n" in format_stream(content, notebook)
    odd = notebook.cell(3, "%%ucore\n? = 1\n\n")  # as far as this Python can read it, any line may be caught
    content = {"text": '  File "<cell a>", line 3, in <module>\n', "cells": [[one, odd]]}
    assert "Cell In[1] or Cell In[3], line 3" in format_stream(content, notebook)


def test_an_error_without_a_traceback_is_one_line(notebook):
    assert (
        plain(format_error("BoardNotFoundError", "There is no board.", [], notebook))
        == "BoardNotFoundError: There is no board."
    )


def test_a_cell_that_this_python_cannot_parse_still_shows_its_lines(notebook):
    cell = notebook.cell(2, "%%ucore\nx = = 1")
    assert "----> 2 x = = 1" in shown(notebook, ['  File "<cell b>", line 2'], [cell], name="SyntaxError")


@pytest.mark.parametrize("end", ["\x0c", "\x0b", "\u2028", "\x85", "\x1c"])
def test_only_what_ends_a_line_on_the_board_ends_one_here(notebook, end):
    cell = notebook.cell(1, f"%%ucore\ns = 'a{end}b'\n{end if end == chr(12) else ''}t = 1\n1 / 0")
    text = shown(notebook, ['  File "<cell a>", line 4, in <module>'], [cell])
    assert "----> 4 1 / 0" in text


def test_a_lone_carriage_return_ends_a_line_as_on_the_board(notebook):
    cell = notebook.cell(1, "%%ucore\nx = 1\ry = 2\r\n1 / 0")
    assert "----> 4 1 / 0" in shown(notebook, ['  File "<cell a>", line 4, in <module>'], [cell])


def test_old_cells_are_forgotten(notebook, monkeypatch):
    monkeypatch.setattr("ukernel.kernel.history.MAX_CELLS", 10)
    first = notebook.cell(0, "%%ucore\n1 / 0")
    for count in range(1, 20):
        notebook.cell(count, "%%ucore\n1")
    assert len(notebook.texts()) == 10
    assert "An earlier cell, line 2" in shown(notebook, ['  File "<cell a>", line 2, in <module>'], [first])


def test_what_runs_an_await_is_not_shown_but_for_want_of_anything_else(notebook):
    cell = notebook.cell(3, "%%ucore\nawait f()")
    ours = [
        '  File "asyncio/core.py", line 1, in run_until_complete',
        '  File "/usr/lib/python3.11/asyncio/base_events.py", line 2, in run',
    ]
    text = shown(notebook, ['  File "<cell a>", line 2, in <module>', *ours], [cell])
    assert "asyncio" not in text and "In[3]" in text
    assert "asyncio" in shown(notebook, ours)


@pytest.mark.parametrize("file", ["tasks.py", "link.py", "runner.py", "lib/tasks.py", "my/asyncio/core.py", "myucore/agent.py"])
def test_a_users_file_is_shown_whatever_its_name(notebook, file):
    assert f'File "{file}", line 7, in go' in shown(notebook, [f'  File "{file}", line 7, in go'])


def test_folded_frames_are_told(notebook):
    assert "... 985 equal frames ..." in shown(notebook, ['  File "a.py", line 1, in f', "  ... 985 equal frames ..."])


def test_an_errors_text_is_no_frame(notebook):
    text = format_error(
        "ValueError", "x", [*TRACEBACK[:1], '  File "a.py", line 1', "ValueError: x", '  File "no.py", line 5'], notebook
    )
    assert "a.py" in plain(text) and "no.py" not in plain(text)


def test_tracebacks_in_printed_text_name_cells_too(notebook, divide):
    frame = '  File "<cell b>", line 3, in divide'
    text = f"A thread failed:\n{frame}\nOSError: 5\nsee{frame} there\n{frame}"
    found = format_stream(
        {"name": "stdout", "text": text, "cells": [[divide], [divide], [{"label": "the notebook x"}]]}, notebook
    )
    assert found.startswith("A thread failed:\nCell In[4], line 3, in divide\n      1 %%ucore\n")
    assert f"\nOSError: 5\nsee{frame} there\nA cell of the notebook x, line 3, in divide" in found
    assert format_stream({"name": "stdout", "text": frame}, notebook) == frame
