"""A board's traceback becomes one with the notebook's cell numbers and source lines."""

import re

import pytest

from ukernel.boardtrace import Sources, format_error

TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "<cell>", line 6, in <module>',
    '  File "<cell>", line 3, in divide',
    '  File "lib/deep.py", line 9, in go',
    "ZeroDivisionError: divide by zero",
]


@pytest.fixture
def sources():
    sources = Sources()
    sources.add(4, "%%ucore\ndef divide(n):\n    return deep.go(n)\n\n\ndivide(0)")
    return sources


def plain(lines):
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))


def test_frames_of_the_cell_show_their_source(sources):
    text = plain(format_error("ZeroDivisionError", "divide by zero", TRACEBACK, sources))
    assert "Cell In[4], line 6\n" in text
    assert "----> 6 divide(0)" in text
    assert "Cell In[4], line 3, in divide\n      1 %%ucore\n      2 def divide(n):\n----> 3     return" in text
    assert text.endswith("ZeroDivisionError: divide by zero")


def test_frames_of_files_on_the_board_are_named(sources):
    assert 'File "lib/deep.py", line 9, in go' in plain(format_error("ZeroDivisionError", "", TRACEBACK, sources))


def test_a_function_of_an_earlier_cell_is_found_there(sources):
    sources.add(5, "%%ucore\ndivide(1)")
    later = ['  File "<cell>", line 2, in <module>', '  File "<cell>", line 3, in divide']
    text = plain(format_error("ZeroDivisionError", "", later, sources))
    assert "Cell In[5], line 2\n" in text
    assert "Cell In[4], line 3, in divide\n" in text


def test_a_function_that_was_defined_again_is_the_newer_one(sources):
    sources.add(5, "%%ucore\n\ndef divide(n): return 1 / n\ndivide(0)")
    assert "Cell In[5], line 3, in divide" in plain(
        format_error("ZeroDivisionError", "", ['  File "<cell>", line 3, in divide'], sources)
    )


def test_a_function_that_no_cell_defined_is_only_named(sources):
    text = plain(format_error("ValueError", "", ['  File "<cell>", line 70, in forgotten'], sources))
    assert 'File "<cell>", line 70, in forgotten' in text
    assert "---->" not in text


@pytest.mark.parametrize("name", ["<lambda>", "<genexpr>", "<listcomp>"])
def test_nameless_functions_are_found_too(name):
    sources = Sources()
    sources.add(1, "%%ucore\nf = lambda: 1/0\ng = (1/x for x in [0])\nh = [1/x for x in [0]]")
    line = {"<lambda>": 2, "<genexpr>": 3, "<listcomp>": 4}[name]
    text = plain(format_error("ZeroDivisionError", "", [f'  File "<cell>", line {line}, in {name}'], sources))
    assert f"Cell In[1], line {line}, in {name}" in text


def test_an_error_without_a_traceback_is_one_line(sources):
    assert (
        plain(format_error("BoardNotFoundError", "There is no board.", [], sources)) == "BoardNotFoundError: There is no board."
    )


def test_a_cell_that_this_python_cannot_parse_still_shows_its_lines():
    sources = Sources()
    sources.add(2, "%%ucore\nx = = 1")
    assert "----> 2 x = = 1" in plain(format_error("SyntaxError", "", ['  File "<cell>", line 2'], sources))


def test_old_cells_are_forgotten(monkeypatch):
    sources = Sources()
    for count in range(1000):
        sources.add(count, "%%ucore\n1")
    assert len(sources.texts()) < 1000


@pytest.mark.parametrize("folder", ["", "ucore/", "/site-packages/ucore/", "C:\\lib\\ucore\\"])
def test_what_runs_an_await_is_not_shown_but_for_want_of_anything_else(folder):
    sources = Sources()
    sources.add(3, "%%ucore\nawait f()")
    ours = [f'  File "{folder}tasks.py", line 24, in run', '  File "asyncio/core.py", line 1, in run_until_complete']
    shown = "\n".join(format_error("OSError", "", ['  File "<cell>", line 2, in <module>', *ours], sources))
    assert "tasks.py" not in shown and "asyncio" not in shown and "In[3]" in re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "tasks.py" in "\n".join(format_error("OSError", "", ours, sources))
