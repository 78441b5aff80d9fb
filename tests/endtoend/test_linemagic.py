"""`%ucore` in host cells, and the board of a kernel that restarts."""

import re
import time

import pytest
from frontend import Notebook
from patience import PATIENCE_S
from workbench import Workbench

from ukernel.virtual.launcher import VirtualBoard

ENDLESS = "%%ucore\nimport time\nprint('started')\nwhile True:\n    time.sleep(0.01)"


@pytest.fixture(params=["micropython", "cpython"])
def board(request, private_environment, monkeypatch):
    """A virtual board that several kernels use."""
    if request.param == "micropython":
        request.getfixturevalue("micropython")
    with VirtualBoard(request.param) as board:
        monkeypatch.setenv("UCORE_BOARD", board.port)
        yield board


# --- push and pull ---------------------------------------------------------------------------------------


def test_a_value_goes_to_the_board_and_comes_back(bench):
    value = {"a": [1, 2.5, None, True], "b": ("µ", b"\x00\xff"), 3: {}}
    bench.host(f"given = {value!r}")
    bench.host("%ucore push given")
    assert bench.board_value("given") == value
    bench.host("back = %ucore pull given")
    assert bench.value("back") == value


KINDS = """
import array, collections, math
Point = collections.namedtuple("Point", "x y")
kinds = [
    0.1 + 0.2, 1.797e308, 100 / 3, 5e-324, math.inf, 10**40, -(2**63), True, None, "µ'\\n", b"\\x00" * 14000, bytearray(b"ab"),
    array.array("h"), array.array("h", [1, -2]), array.array("d", [0.1]), Point(1, (2.5, ())), frozenset((1, 2)), {1, "a"}, range(9, 0, -2),
    collections.OrderedDict([("z", 1), ("a", 2)]), {"a": {1: [2]}}, list(range(3000)), "'" * 20000, 1j,
]
"""


def test_every_kind_of_value_travels_exactly_both_ways(bench):
    bench.host(KINDS)
    bench.host("back = []\nfor one in kinds:\n    %ucore push one\n    got = %ucore pull one\n    back.append(got)")
    assert bench.value("[a for a, b in zip(kinds, back) if (a, type(a).__name__) != (b, type(b).__name__)]") == []
    assert bench.value("len(back) == len(kinds) and back[15].y == (2.5, ())") is True
    bench.host("%ucore push low = -0.0\n%ucore push no = [math.nan]\nlow = %ucore pull low\nno = %ucore pull no")
    assert bench.value("(repr(low), repr(no))") == ("-0.0", "[nan]")


def test_a_board_gets_the_very_bits_of_a_float(bench):
    bench.host("import struct\nthird = 100 / 3\n%ucore push third\nbits = %ucore pull __import__('struct').pack('<d', third)")
    assert bench.value("bits == struct.pack('<d', third)") is True


def test_a_numpy_array_arrives_packed(bench):
    bench.host(
        "import numpy\ntable = numpy.array([[1, 2], [3, 4]], 'u2')\nwave = numpy.linspace(0, 1, 5000)\n%ucore push table wave"
    )
    assert bench.value("%ucore pull (table[1][0], len(wave), wave[-1], sum(table[0]))") == (3, 5000, 1.0, 3)
    bench.host("back = %ucore pull wave")
    assert bench.value("bytes(back) == wave.tobytes()") is True


def test_a_pull_leaves_the_boards_last_result_alone(bench):
    bench.board("41 + 1")
    bench.host("%ucore pull 5")
    assert bench.board("_").result == "42"


def test_push_and_pull_take_expressions_in_the_middle_of_code(bench):
    bench.host("def twice(n):\n    %ucore push n\n    m = %ucore pull n * 2\n    return m\n")
    assert bench.value("twice(21)") == 42
    bench.host("step = 3\n%ucore push pushed = [step, step * 2]")
    assert bench.board_value("pushed") == [3, 6]
    assert bench.value("%ucore pull (pushed[0], {'k': pushed})") == (3, {"k": [3, 6]})
    assert bench.host("%ucore pull None").result is None
    assert bench.value("%ucore pull pushed[1], 9  # with a comment") == (6, 9)


def test_what_a_pulled_expression_prints_is_printed(bench):
    outcome = bench.host("%ucore pull print('from the board')")
    assert outcome.text() == "from the board\n"


def test_producers_are_listed_and_stopped_from_a_host_cell(bench):
    assert "has no producer" in bench.host("%ucore producers").text()
    bench.board("ucore.every(10, lambda: 1.5, pipe='my sensor')\nucore.every(2.5, lambda: None, name=\"that's µ\");")
    bench.host("samples = collect('my sensor', n=5)")
    assert bench.value("samples.tolist()") == [1.5] * 5
    lines = bench.host("%ucore producers").text().splitlines()
    assert re.fullmatch(r"my sensor +every 10 ms, [\d,]+ calls, to the pipe my sensor", lines[0])
    assert re.fullmatch(r"that's µ +every 2.5 ms, [\d,]+ calls, no pipe", lines[1])
    missed = bench.notebook.run("%ucore stop sensor")
    assert missed.error == "UsageError" and "my sensor, that's µ" in missed.traceback
    bench.host("ucore = 5\n%ucore stop that's µ")
    bench.board("kept, ucore = ucore, 5")  # a variable of that name hides it from cells only
    bench.host("%ucore stop my sensor")
    assert "has no producer" in bench.host("%ucore producers").text()
    bench.board("del ucore, kept")
    assert not bench.pipe("my sensor").open


BUSY = "%%ucore\nprint('started')\nwhile True:\n    pass"


def test_producers_are_listed_and_stopped_while_a_cell_computes(bench):
    bench.board("ucore.every(10, lambda: 1.5, pipe='adc')\nucore.every(500, lambda: None, name='blink');")
    held = bench.neighbour.send(BUSY)
    bench.neighbour.wait_for_text(held, "started")
    listed = bench.host("%ucore producers")
    assert [line.split()[0] for line in listed.text().splitlines()] == ["adc", "blink"]
    assert bench.host("%ucore stop adc").text() == "The producer adc has stopped.\n"
    bench.wait_for(lambda: not bench.pipe("adc").open, "the end of the pipe")
    # Of those that are left none has a pipe: their thread keeps away from the line.
    waiting = bench.notebook.send("%ucore producers")
    bench.notebook.wait_for_text(waiting, "Waiting for the board: a notebook")
    bench.neighbour.interrupt()
    assert bench.neighbour.finish(held)[0].error == "KeyboardInterrupt"  # it ran all the time
    assert "blink" in bench.notebook.finish(waiting)[0].text()
    bench.host("%ucore stop blink")
    assert bench.board_value("ucore.producers()") == {}


def test_where_no_producer_goes_on_the_question_waits_for_the_cell_and_says_so(bench):
    held = bench.neighbour.send(BUSY)
    bench.neighbour.wait_for_text(held, "started")
    waiting = bench.notebook.send("%ucore producers")
    bench.notebook.wait_for_text(waiting, "Waiting for the board: a notebook")
    bench.neighbour.interrupt()
    bench.neighbour.finish(held)
    assert "The board has no producer." in bench.notebook.finish(waiting)[0].text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%ucore pull no_such_name", ["BoardError", "NameError", "no_such_name"]),
        ("%ucore pull print", ["TypeError", "cannot be pulled"]),
        ("%ucore push print", ["print", "not defined"]),
        ("%ucore push lost = object()", ["TypeError", "object", "cannot be pushed"]),
        ("%ucore push big = 'x' * 100_000", ["UsageError", "big has", "bytes", "Push parts"]),
        ("%ucore pull ['x' * 100_000] * 50", ["ValueError", "too large", "slices"]),
        ("%ucore pull (lambda r: (r.append(r), r))([])", ["TypeError", "holds itself"]),
        ("%ucore pull [1, {'key': print}]", ["TypeError", "its [1]['key'] is of type", "cannot be pulled"]),
        ("%ucore push lost = [1, {'key': object()}]", ["TypeError", "lost[1]['key'] is of type object"]),
    ],
)
def test_what_cannot_be_copied_is_an_error_with_the_users_line_only(bench, line, words):
    outcome = bench.notebook.run(f"a = 1\n{line}")
    assert outcome.reply["status"] == "error"
    text = re.sub(r"\x1b\[[0-9;]*m", "", outcome.traceback)
    for word in words:
        assert word in text
    assert "line 2" in text and "ukernel/" not in text


def test_a_board_error_can_be_caught(bench):
    outcome = bench.host(
        "from ukernel.errors import BoardError\ntry:\n    %ucore pull 1/0\nexcept BoardError as error:\n    print(error)"
    )
    assert "ZeroDivisionError" in outcome.text()


def test_an_interrupt_stops_a_pull_on_both_sides(bench):
    bench.board("import time\ndef forever():\n    print('started')\n    while True:\n        time.sleep(0.01)")
    request = bench.notebook.send("%ucore pull forever()")
    bench.notebook.wait_for_text(request, "started")
    bench.notebook.interrupt()
    outcome = bench.notebook.finish(request)[0]
    assert outcome.error == "KeyboardInterrupt"
    assert "line 1" in outcome.traceback and "ukernel/" not in outcome.traceback and "zmq" not in outcome.traceback
    assert bench.board_value("1 + 1") == 2


def test_a_pull_waits_its_turn_and_says_for_whom(bench):
    held = bench.neighbour.send(ENDLESS)
    bench.neighbour.wait_for_text(held, "started")
    waiting = bench.notebook.send("%ucore pull 6 * 7")
    bench.notebook.wait_for_text(waiting, "Waiting for the board")
    bench.neighbour.interrupt()
    bench.neighbour.finish(held)
    assert bench.notebook.finish(waiting)[0].result == "42"


def test_threads_may_push_and_pull_at_once(bench):
    bench.host(
        "import threading\npulled = []\ndef pull(first):\n    for number in range(first, first + 10):\n"
        "        pulled.append(get_ipython().run_line_magic('ucore', f'pull {number}'))"
    )
    bench.host("threads = [threading.Thread(target=pull, args=(first,)) for first in (0, 10, 20, 30)]")
    bench.host("for thread in threads:\n    thread.start()\nfor thread in threads:\n    thread.join(60)")
    assert bench.value("sorted(pulled)") == list(range(40))


def test_a_thread_pulls_on_while_a_cell_waits_for_input_and_each_gets_its_own_answer(bench):
    bench.board("count = 0\ndef pulled():\n    global count\n    count += 1\n    return count")
    bench.host(
        "import threading\npulled, stop = [], threading.Event()\ndef pull():\n    while not stop.is_set():\n"
        "        pulled.append(get_ipython().run_line_magic('ucore', 'pull pulled()'))\n"
        "thread = threading.Thread(target=pull, daemon=True)\nthread.start()"
    )
    for number in range(5):
        request = bench.notebook.send("typed = input('? ')", allow_stdin=True)
        asked = bench.notebook.client.get_stdin_msg(timeout=PATIENCE_S)
        assert asked["content"] == {"prompt": "? ", "password": False}
        before = int(bench.elsewhere("count").result)
        bench.wait_for(lambda before=before: int(bench.elsewhere("count").result) > before + 2, "the thread's pulls")
        bench.notebook.client.input(f"mine {number}")
        assert bench.notebook.finish(request)[0].reply["status"] == "ok"
        assert bench.value("typed") == f"mine {number}"
    bench.host("stop.set()\nthread.join(30)")
    assert bench.value("thread.is_alive()") is False
    assert bench.value("pulled == list(range(1, len(pulled) + 1))") is True


# --- telling ------------------------------------------------------------------------------------------------


def test_status_tells_what_the_board_is_and_does(bench):
    text = bench.host("%ucore status").text()
    assert bench.port in text and "ready" in text
    assert {"micropython": "MicroPython", "cpython": "CPython"}[bench.python] in text
    assert text.count("a notebook") == 2  # both that use it
    bench.board("produce('told')")
    text = bench.host("%ucore status").text()
    assert "told (" in text and "frames and" in text and "per second, none lost)" in text


def test_status_says_why_there_is_no_board(private_environment, monkeypatch):
    monkeypatch.setenv("UCORE_BOARD", "no-such-board")
    with Notebook("ucore") as notebook:
        outcome = notebook.run("%ucore status")
        assert outcome.reply["status"] == "ok" and "no-such-board" in outcome.text()
        assert notebook.run("%ucore pull 1").error == "BoardNotFoundError"


def test_boards_marks_the_notebooks_own(bench):
    line = next(line for line in bench.host("%ucore boards").text().splitlines() if bench.port in line)
    assert line.startswith("* ")


def test_pipes_are_shown_as_a_table_that_front_ends_can_draw(bench):
    bench.board("produce('shown')")
    outcome = bench.host("%ucore pipes\n1")
    data = outcome.contents("display_data")[0]["data"]
    assert "<td>shown</td>" in data["text/html"] and "shown" in data["text/plain"]
    assert bench.notebook.run("%ucore pipes please").reply["ename"] == "UsageError"


@pytest.mark.parametrize("line", ["%ucore", "%ucore help"])
def test_help_lists_what_there_is(notebook, line):
    text = notebook.run(line).text()
    for command in ("status", "boards", "use", "push", "pull", "interrupt", "reset"):
        assert f"%ucore {command}" in text


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("%ucore dance", "%ucore boards"),
        ("%ucore stauts", "Did you mean `%ucore status`?"),
        ("%ucore Reset", "Did you mean `%ucore reset`?"),
        ("%ucore --help", "Did you mean `%ucore help`?"),
        ("%ucore inter", "Did you mean `%ucore interrupt`?"),
        ("%ucore use", "BOARD"),
        ("%ucore use one two", "BOARD"),
        ("%ucore push", "EXPRESSION"),
        ("%ucore push 1a", "1a"),
        ("%ucore push class = 1", "class"),
        ("%ucore push a = 1 +", "1 +"),
        ("%ucore pull", "EXPRESSION"),
        ("%ucore pull 1 +", "1 +"),
        ("%ucore reset now", "--force"),
        ("%ucore status please", "please"),
    ],
)
def test_a_line_that_is_not_understood_is_a_usage_error(notebook, line, word):
    outcome = notebook.run(line)
    assert outcome.reply["ename"] == "UsageError"
    assert outcome.text("stderr").startswith("UsageError: ") and word in outcome.text("stderr")


def test_the_line_is_completed_and_explained(notebook):
    assert {"push", "pull"} <= set(notebook.complete("%ucore pu|")["matches"])
    assert "--force" in notebook.complete("%ucore reset |")["matches"]
    commands = notebook.complete("%ucore |")["matches"]
    assert {"status", "boards", "pipes", "push", "pull", "help"} <= set(commands) and "and" not in commands
    assert notebook.complete("a = 1\nx = %ucore re|")["matches"] == ["reset"]
    assert "reset" not in notebook.complete("%ucore push re|")["matches"]
    page = notebook.run("%ucore?").reply["payload"][0]["data"]["text/plain"]
    assert "%ucore pull EXPRESSION" in page


# --- acting -------------------------------------------------------------------------------------------------


def test_use_changes_the_board_of_the_cells_that_follow(board):
    with VirtualBoard("cpython") as other, Notebook("ucore") as notebook:
        notebook.run("%%ucore\nwhich = 'first'")
        assert other.port in notebook.run(f"%ucore use {other.port}").text()
        notebook.run("%%ucore\nwhich = 'second'")
        assert notebook.run("%ucore pull which").result == "'second'"
        assert notebook.run("%ucore use no-such-board").error == "BoardNotFoundError"
        assert notebook.run("%%ucore\nwhich").result == "'second'"
        notebook.run(f"%ucore use {board.port}")
        assert notebook.run("%%ucore\nwhich").result == "'first'"


def test_any_notebook_can_bring_a_virtual_board(board):
    with Notebook("ucore") as notebook:
        assert notebook.run("%%ucore\nmine = 1").reply["status"] == "ok"
        assert notebook.run("%ucore use virtual").reply["status"] == "ok"
        assert notebook.run("%%ucore\nmine").error == "NameError"
        assert notebook.run("%%ucore\nimport machine\nmachine.Pin(2)").reply["status"] == "ok"


def test_after_a_reset_the_only_names_are_the_users_and_pythons(board):
    with Notebook("ucore") as notebook:
        notebook.run("%ucore reset")
        names = notebook.run("%%ucore\nkept = 1\nsorted(name for name in globals() if name[:2] != '__')")
        assert names.result == "['kept', 'ucore']"
        found = set(notebook.complete("%%ucore\n|")["matches"])
        assert {"kept", "print", "ucore"} <= found and "sessions" not in found
        assert "_virtualboot" not in notebook.complete("%%ucore\n_|")["matches"]


def test_reset_starts_the_board_afresh(board):
    with Notebook("ucore") as notebook:
        notebook.run("%%ucore\nkept = 1\nucore.open_pipe('p')")
        outcome = notebook.run("%ucore reset")
        assert "restarted" in outcome.text()
        assert notebook.run("%%ucore\nkept").error == "NameError"
        assert notebook.run("%%ucore\nucore.is_pipe_open('p')").result == "False"


def test_a_shared_board_is_reset_and_its_cell_interrupted_by_force_only(board, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/somebody/neighbour.ipynb")
    with Notebook("ucore") as neighbour, Notebook("ucore") as notebook:
        held = neighbour.send(ENDLESS)
        neighbour.wait_for_text(held, "started")
        for command in ("interrupt", "reset"):
            outcome = notebook.run(f"%ucore {command}")
            assert outcome.error == "BoardBusyError"
            assert "neighbour.ipynb" in outcome.reply["evalue"] and "--force" in outcome.reply["evalue"]
        assert "neighbour.ipynb" in notebook.run("%ucore interrupt --force").text()
        assert neighbour.finish(held)[0].error == "KeyboardInterrupt"
        held = neighbour.send(ENDLESS)
        neighbour.wait_for_text(held, "started")
        assert notebook.run("%ucore reset --force").reply["status"] == "ok"
        assert neighbour.finish(held)[0].error == "BoardRestartedError"
        assert neighbour.run("%%ucore\n'time' in globals()").result == "False"


# --- restart ------------------------------------------------------------------------------------------------


def test_a_restart_gives_both_sides_a_clean_start(board):
    with Notebook("ucore") as notebook:
        notebook.run("old = 1")
        notebook.run("%%ucore\nold = 1")
        _restart(notebook)
        assert notebook.run("'old' in globals()").result == "False"
        outcome = notebook.run("%%ucore\n'old' in globals()")
        assert outcome.result == "False"
        assert outcome.text("stderr") == ""


def test_a_restart_in_the_middle_of_a_board_cell_frees_the_board(board):
    with Notebook("ucore") as notebook:
        notebook.wait_for_text(notebook.send(ENDLESS), "started")
        _restart(notebook)
        assert notebook.run("%%ucore\n'time' in globals()").result == "False"


def test_a_restart_leaves_a_shared_board_alone_and_says_so_once(board, monkeypatch):
    with Notebook("ucore") as notebook:
        monkeypatch.setenv("JPY_SESSION_NAME", "/home/somebody/neighbour.ipynb")
        with Notebook("ucore") as neighbour:
            notebook.run("%%ucore\nours = 1")
            neighbour.run("%%ucore\nours")
            _restart(notebook)
            outcome = notebook.run("%%ucore\nours")
            assert outcome.result == "1"
            assert "neighbour.ipynb" in outcome.text("stderr") and "not reset" in outcome.text("stderr")
            assert notebook.run("%%ucore\nours").text("stderr") == ""
            assert neighbour.run("%%ucore\nours").result == "1"


def test_a_restarted_virtual_notebook_has_a_fresh_board(own_notebook):
    own_notebook.run("%%ucore\nold = 1")
    _restart(own_notebook)
    assert own_notebook.run("%%ucore\n'old' in globals()").result == "False"


def _restart(notebook: Notebook) -> None:
    notebook.manager.restart_kernel()
    notebook.client.wait_for_ready(timeout=PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while notebook.received():
        assert time.monotonic() < deadline


# --- whatever the board's variables are called ---------------------------------------------------------------


SHADOWS = "open = repr = float = set = str = bytes = list = dict = int = len = range = map = print = input = ucore = time = Exception = 5"


@pytest.mark.parametrize(
    "havoc",
    [
        SHADOWS,
        "globals().clear()",
        "for name in list(globals()):\n    if not name.startswith('_'):\n        del globals()[name]",
        "import sys\nsys.modules.clear()",
        "import sys\nsys.path.clear()",
        "import sys\nsys.modules.clear()\nglobals().clear()",
    ],
)
def test_no_havoc_among_the_boards_names_stops_a_service(micropython, tmp_path, havoc):
    with Workbench("micropython", tmp_path) as bench:
        bench.board(havoc)
        bench.host("given = [0.1, {'a': b'x'}]\n%ucore push given\nback = %ucore pull given")
        assert bench.value("back == given") is True
        assert "Saved to kept.txt" in bench.notebook.run("%%ucore --save kept.txt\nkept").text()
        assert bench.board("5").result == "5"
        assert bench.notebook.run("%%ucore\n1/0").error == "ZeroDivisionError"
        bench.board("del ucore" if havoc == SHADOWS else "pass")
        assert bench.board("ucore.is_pipe_open('none')").result == "False"
        assert bench.board("ucore.display(html='<b>')").contents("display_data")
        bench.board("import sys\nsys.path.append('.frozen')")  # where asyncio is
        assert bench.board("import asyncio\nawait asyncio.sleep_ms(1)\n'slept'").result == "'slept'"
        assert bench.board("import _thread\n__name__").result == "'__main__'"
        assert (
            bench.board("import _thread, time\n_thread.start_new_thread(eval, ('1',));\ntime.sleep_ms(50);").reply["status"]
            == "ok"
        )
        assert "open_pipe" in bench.notebook.complete("%%ucore\nucore.op|")["matches"]


def test_files_with_the_names_of_modules_stop_no_service(micropython, tmp_path):
    with Workbench("micropython", tmp_path) as bench:
        for name in ("json", "struct", "select", "io", "os", "binascii", "time", "collections", "array", "errno"):
            bench.notebook.run(
                f"%%ucore --save {name}.py\nmine = True\ndef dumps(value):\n    return 'mine'\nloads = pack = poll = open = dumps"
            )
        bench.host("%ucore reset --force")
        assert bench.board("import json, select\njson.mine and select.mine").result == "True"
        assert bench.notebook.run("%%ucore\n1/0").error == "ZeroDivisionError"
        assert bench.board("ucore.display(json={'a': 1})").contents("display_data")[0]["data"]["application/json"] == {"a": 1}
        bench.host("given = [0.1, {'a': b'x'}]\n%ucore push given\nback = %ucore pull given")
        assert bench.value("back == given") is True
        assert "Saved to kept.txt" in bench.notebook.run("%%ucore --save kept.txt\nkept").text()
        assert (
            bench.board("with ucore.open_pipe('own') as pipe:\n    pipe.write(b'abcd')\nucore.is_pipe_open('own')").result
            == "False"
        )
        assert "open_pipe" in bench.notebook.complete("%%ucore\nucore.op|")["matches"]


def test_cells_run_in_the_module_main(bench):
    assert bench.board("xyz = 5\nfrom __main__ import xyz as same\nsame").result == "5"
    assert bench.board("import __main__, sys\n__main__.xyz = 6\n(xyz, sys.modules[__name__].xyz)").result == "(6, 6)"
    bench.board("del xyz, same")
