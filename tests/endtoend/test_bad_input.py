"""Bad input through real kernels: nothing breaks, and what is said helps."""

import os
import re
import shutil
from pathlib import Path

import pytest
from frontend import Notebook

import ucore
from ukernel.pipes import collect, live_plot, subscribe
from ukernel.ports import discovery
from ukernel.virtual.launcher import VirtualBoard

BAD_NAMES = {
    "empty": "",
    "65 bytes": "x" * 65,
    "33 letters of 2 bytes": "ä" * 33,
    "a newline": "a\nb",
    "a null": "a\0b",
    "delete": "a\x7fb",
    "a control of Latin-1": "a\x85b",
}
GOOD_NAMES = {
    "1 byte": "x",
    "64 bytes": "x" * 64,
    "32 letters of 2 bytes": "ä" * 32,
    "words": "Température n° 1",
    "paths": "a/b.c",
}


# Writes


def test_a_write_beyond_65535_bytes_is_refused_and_nothing_is_sent(bench):
    with subscribe("big") as pipe:
        bench.board("pipe = ucore.open_pipe('big')\npipe.write(b'before')")
        outcome = bench.notebook.run("%%ucore\npipe.write(bytes(65536))")
        assert outcome.error == "ValueError"
        assert "65535" in outcome.traceback and "65536" in outcome.traceback
        bench.board("pipe.write(b'after')\npipe.close()")
        assert list(pipe) == [b"before", b"after"]
        assert pipe.frames == 2 and pipe.lost == 0


@pytest.mark.parametrize("data", ["'text'", "5", "None", "..."])
def test_a_write_of_what_is_not_bytes_is_refused(bench, data):
    bench.board("pipe = ucore.open_pipe('adc')")
    assert bench.notebook.run(f"%%ucore\npipe.write({data})").error == "TypeError"


def test_a_conforming_producer_ends_quietly_whenever_its_pipe_is_closed(bench):
    bench.board("quiet, loud = [], []")
    bench.board(
        "def conforming():\n"
        "    try:\n"
        "        pipe = ucore.open_pipe('adc')\n"
        "        while ucore.is_pipe_open('adc'):\n"
        "            pipe.write(b'data')\n"
        "        quiet.append(1)\n"
        "    except BaseException as error:\n"
        "        loud.append(repr(error))"
    )
    for number in range(20):
        bench.board("_thread.start_new_thread(conforming, ())\nwait_until(lambda: ucore.is_pipe_open('adc'))")
        bench.board(
            f"time.sleep_ms({number % 5})\nucore.close_pipe('adc')\nwait_until(lambda: len(quiet) + len(loud) == {number + 1})"
        )
    assert bench.board_value("loud") == []


def test_a_stubborn_writer_gets_an_os_error_that_names_the_pipe(bench):
    bench.board("pipe = ucore.open_pipe('adc')\nucore.close_pipe('adc')")
    bench.board("pipe.write(b'one too late is dropped')")
    outcome = bench.notebook.run("%%ucore\npipe.write(b'another one is not')")
    assert outcome.error == "OSError"
    assert "pipe adc is closed" in outcome.traceback


# Names


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_bad_pipe_name_is_refused_on_both_sides(bench, name):
    outcome = bench.notebook.run(f"%%ucore\nucore.open_pipe({name!r})")
    assert outcome.error == "ValueError"
    for call in (f"subscribe({name!r})", f"collect({name!r}, n=1)", f"live_plot({name!r})"):
        assert bench.notebook.run(call).error == "ValueError"


@pytest.mark.parametrize("name", GOOD_NAMES.values(), ids=GOOD_NAMES)
def test_a_good_pipe_name_is_taken_on_both_sides(bench, name):
    with subscribe(name) as pipe:
        bench.board(f"with ucore.open_pipe({name!r}) as pipe:\n    pipe.write(b'here')")
        assert list(pipe) == [b"here"]


@pytest.mark.parametrize("name", [5, None, b"adc"], ids=repr)
def test_a_name_that_is_no_text_is_refused_on_both_sides(bench, name):
    assert bench.notebook.run(f"%%ucore\nucore.open_pipe({name!r})").error in ("TypeError", "ValueError")
    for call in (subscribe, live_plot, lambda name: collect(name, n=1)):
        with pytest.raises((TypeError, ValueError)):
            call(name)


# Arguments of collect


@pytest.mark.parametrize(
    "limits",
    [
        {},
        *({"n": n} for n in (0, -1, 1.5, "5", True)),
        *({"seconds": seconds} for seconds in (0, -1, "1", float("nan"), float("inf"))),
        {"n": 0, "seconds": 1},
        {"n": 1, "decoder": 5},
    ],
    ids=str,
)
def test_bad_limits_are_refused_before_anything_is_waited_for(limits):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        collect("adc", **limits)


# Cells


def test_a_syntax_error_is_shown_at_its_line(bench):
    outcome = bench.notebook.run("%%ucore\nx = 1\n\nfor x in 1 2:\n    pass")
    assert outcome.error == "SyntaxError"
    assert re.search(r"line\D+4", _plain(outcome.traceback))
    assert "for x in 1 2:" in _plain(outcome.traceback)
    assert bench.board_value("1 + 1") == 2


def test_an_unknown_option_is_refused_with_the_known_ones(bench):
    outcome = bench.notebook.run("%%ucore --turbo\nprint('must not run')")
    assert outcome.reply["status"] == "error"
    assert outcome.reply["ename"] == "UsageError"
    said = outcome.text("stderr") + outcome.traceback
    assert "--turbo" in said
    for option in ("--board", "--timeout", "--out", "--save"):
        assert option in said
    assert outcome.text() == ""


# Boards


def test_without_a_board_the_error_says_what_was_looked_for_and_what_to_do(private_environment):
    if discovery.find_boards():
        pytest.skip("a board is plugged in")
    with _notebook() as notebook:
        outcome = notebook.run("%%ucore\n1")
        assert outcome.error == "BoardNotFoundError"
        said = _plain(outcome.traceback)
        assert "No board found" in said and "UCORE_BOARD" in said and "virtual" in said
        assert notebook.run("1 + 1").result == "2"


def test_a_board_that_is_not_there_is_named_in_the_error(private_environment):
    with _notebook(UCORE_BOARD="no-such-board") as notebook:
        outcome = notebook.run("%%ucore\n1")
        assert outcome.error == "BoardNotFoundError"
        said = _plain(outcome.traceback)
        assert "no-such-board" in said and "virtual" in said


def test_a_board_of_another_protocol_version_says_so_and_how_to_update(private_environment, tmp_path):
    package = tmp_path / "ucore"
    shutil.copytree(Path(ucore.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    wire = package / "wire.py"
    text = wire.read_text()
    assert "\nPROTOCOL = 1\n" in text
    wire.write_text(text.replace("\nPROTOCOL = 1\n", "\nPROTOCOL = 99\n"))
    with (
        VirtualBoard("cpython", package=package) as board,
        _notebook(UCORE_BOARD=board.port) as notebook,
    ):
        outcome = notebook.run("%%ucore\n1")
        assert outcome.error == "BoardVersionError"
        said = _plain(outcome.traceback)
        assert "99" in said and re.search("update|install", said)


def _notebook(**variables: str) -> Notebook:
    return Notebook("ucore", env={**os.environ, **variables})


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_a_name_that_no_cell_of_the_notebook_has_set_is_asked_for_on_the_board(notebook):
    notebook.run("%%ucore\nglobals()['set' + 'ting'] = 4.5\nglobals()['la' + 'mp'] = __import__('machine').Pin('LED')")
    assert "`setting = %ucore pull setting`" in notebook.run("setting").text("stderr")
    assert notebook.run("setting = %ucore pull setting\nsetting").result == "4.5"
    assert "`level = %ucore pull lamp.value()`" in notebook.run("lamp").text("stderr")
    assert notebook.run("level = %ucore pull lamp.value()\nlevel").result in "01"
    assert notebook.run("nowhere").text("stderr") == ""


@pytest.mark.parametrize(("cell", "meant"), [("%ucoer status", "`%ucore`"), ("%%ucoer\n1 + 1", "`%%ucore`")])
def test_a_misspelt_magic_is_told_how_it_is_spelt(notebook, cell, meant):
    assert f"Did you mean {meant}?" in notebook.run(cell).text("stderr")


@pytest.mark.parametrize(
    ("cell", "error", "words"),
    [
        ("from machine import Pin", "ModuleNotFoundError", "`machine` is a module of MicroPython"),
        ("import time\ntime.ticks_us()", "AttributeError", "`time.ticks_us` is MicroPython's"),
        ("only_there + 1", "NameError", "`only_there = %ucore pull only_there`"),
    ],
)
def test_a_host_cell_that_is_the_boards_says_so_below_the_traceback(notebook, cell, error, words):
    notebook.run("%%ucore\nonly_there = 41")
    outcome = notebook.run(cell)
    assert outcome.error == error and "Cell" in outcome.traceback  # IPython's own
    assert words in outcome.text("stderr") and "begin it with `%%ucore`" in outcome.text("stderr")
    assert notebook.run("1/0").text("stderr") == ""
