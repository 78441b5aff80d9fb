"""Frames of a board's traceback, with the lines of the program that was sent."""

import pytest

from ukernel.boards.sources import Source, Sources, format_frames

FRAME = ['  File "<cell b>", line 3, in read']


@pytest.fixture
def sources():
    return Sources()


def test_a_frame_of_what_was_sent_has_its_file_and_line(sources):
    key = sources.add(Source("\ndef read():\n    1 / 0", "fails.py", 0))
    assert format_frames(FRAME, sources, [[{"key": key}]]) == '  File "fails.py", line 2, in read\n    1 / 0'


def test_one_that_an_earlier_cell_may_have_too_is_shown_and_that_is_said(sources):
    """A hub that has just begun does not know what the board ran before: that is so each time that `ucore run` starts one."""
    key = sources.add(Source("\ndef read():\n    1 / 0", "fails.py", 0))
    shown = format_frames(FRAME, sources, [[{"key": key}, {}]])
    assert shown == '  File "fails.py", line 2, in read (if not in an earlier cell)\n    1 / 0'


@pytest.mark.parametrize(
    ("owners", "said"),
    [([{}], "an earlier cell"), ([{"label": "a.ipynb"}], "a cell of a.ipynb"), ([{"key": 99}], "an earlier cell")],
)
def test_one_of_nothing_that_was_sent_is_said_to_be_that(sources, owners, said):
    assert format_frames(FRAME, sources, [owners]) == f"  In {said}, line 3, in read"


def test_of_two_different_texts_none_is_shown(sources):
    keys = [sources.add(Source(f"\ndef read():\n    {number} / 0", "fails.py", 0)) for number in range(2)]
    assert format_frames(FRAME, sources, [[{"key": key} for key in keys]]) == "  In an earlier cell, line 3, in read"
