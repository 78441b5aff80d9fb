"""Input, interrupts, restarts, crashes and ends, on both sides."""

import os
import signal
from pathlib import Path

import psutil
import pytest
from frontend import Notebook, wait_for_end
from patience import PATIENCE_S, wait_until

from ukernel.client.connection import connect

ENDLESS = "import time\nprint('started')\nwhile True:\n    time.sleep(0.01)"


def test_input_on_the_board_asks_the_front_end(notebook):
    assert _answer(notebook, "%%ucore\nname = input('who? ')\nname + '!'", "who? ", "me").result == "'me!'"


def test_input_on_the_host_still_asks_the_front_end(notebook):
    assert _answer(notebook, "input('where? ')", "where? ", "here").result == "'here'"


def test_input_without_a_front_end_that_takes_it_is_an_error(notebook):
    outcome = notebook.run("%%ucore\ninput('who? ')")
    assert outcome.error == "StdinNotImplementedError"
    assert notebook.run("%%ucore\n1").result == "1"


def test_input_is_interruptible(notebook):
    request = notebook.send("%%ucore\ninput('who? ')", allow_stdin=True)
    notebook.client.get_stdin_msg(timeout=PATIENCE_S)
    notebook.interrupt()
    assert notebook.finish(request)[0].error == "KeyboardInterrupt"
    assert _answer(notebook, "%%ucore\ninput('again? ')", "again? ", "yes").result == "'yes'"


@pytest.mark.parametrize("magic", ["", "%%ucore\n"], ids=["host", "board"])
def test_an_interrupt_stops_the_cell_and_keeps_everything(notebook, magic):
    notebook.run(magic + "kept = 5")
    request = notebook.send(magic + ENDLESS)
    notebook.wait_for_text(request, "started")
    notebook.interrupt()
    outcome = notebook.finish(request)[0]
    assert outcome.error == "KeyboardInterrupt"
    assert notebook.run(magic + "kept").result == "5"


def test_an_interrupt_of_a_board_cell_aborts_what_waits(notebook):
    requests = [notebook.send(code) for code in ("%%ucore\n" + ENDLESS, "%%ucore\n1", "2")]
    notebook.wait_for_text(requests[0], "started")
    notebook.interrupt()
    outcomes = notebook.finish(*requests)
    assert [outcome.reply["status"] for outcome in outcomes] == ["error", "aborted", "aborted"]


def test_an_interrupt_with_nothing_running_does_nothing(notebook):
    # By hand, to have its answer: a cell that is sent before that may be what it stops.
    assert notebook.ask("interrupt_request", {}, channel="control")["status"] == "ok"
    assert notebook.run("1").result == "1"
    assert notebook.run("%%ucore\n1").result == "1"


def test_an_interrupted_board_cell_does_not_hurt_the_host_side(notebook):
    notebook.run("import threading; ticks = []; alive = threading.Event()")
    request = notebook.send("%%ucore\n" + ENDLESS)
    notebook.wait_for_text(request, "started")
    notebook.interrupt()
    notebook.finish(request)
    assert notebook.run("alive.is_set()").result == "False"


def test_a_crash_of_python_is_reported_in_the_cell_and_python_comes_back(own_notebook):
    own_notebook.run("%%ucore\non_board = 7")
    own_notebook.run("gone = 1")
    outcome = own_notebook.run("import os; os._exit(3)")
    assert outcome.error == "PythonExited"
    assert "exit code 3" in outcome.traceback
    assert outcome.types[-1] == "idle"
    assert own_notebook.run("'gone' in globals()").result == "False"
    assert own_notebook.run("%%ucore\non_board").result == "7"


def test_a_killed_python_is_named_by_its_signal(own_notebook):
    outcome = own_notebook.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "SIGKILL" in outcome.traceback
    assert own_notebook.run("1").result == "1"


def test_a_crash_aborts_what_waits_behind_the_cell(own_notebook, tmp_path):
    go = tmp_path / "go"
    crash = f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.05)\nos._exit(1)"
    requests = own_notebook.send(crash), own_notebook.send("1")  # the second waits before the first ends
    go.touch()
    outcomes = own_notebook.finish(*requests)
    assert [outcome.reply["status"] for outcome in outcomes] == ["error", "aborted"]


def test_a_board_cell_outlives_a_crash_of_python(own_notebook):
    pid = int(own_notebook.run("import os; os.getpid()").result)
    request = own_notebook.send("%%ucore\nimport time\nprint('started')\ntime.sleep(1)\n'survived'")
    own_notebook.wait_for_text(request, "started")
    os.kill(pid, signal.SIGKILL)
    outcome = own_notebook.finish(request)[0]
    assert outcome.result == "'survived'"
    assert "SIGKILL" in outcome.text("stderr")
    outcome = own_notebook.run("1")
    assert (outcome.result, outcome.text("stderr")) == ("1", "")


@pytest.mark.parametrize("magic", ["", "%%ucore\n"], ids=["host", "board"])
def test_an_end_of_python_between_two_cells_is_told_in_the_next_one(own_notebook, magic):
    python = psutil.Process(int(own_notebook.run("import os; os.getpid()").result))
    own_notebook.run("exit()")
    wait_for_end([python])
    own_notebook.is_complete("1")  # answered by the next one, or with the end of this one
    outcome = own_notebook.run(magic + "1")
    assert outcome.result == "1"
    assert "its variables are gone" in outcome.text("stderr")
    assert own_notebook.run(magic + "1").text("stderr") == ""


def test_completion_that_was_under_way_gets_an_answer_when_python_dies(own_notebook):
    own_notebook.send("import os, time; time.sleep(0.5); os._exit(1)")
    assert own_notebook.complete("zi|")["status"] == "error"


def test_a_restart_gives_a_fresh_python(own_notebook):
    own_notebook.run("old = 1")
    own_notebook.manager.restart_kernel()
    own_notebook.client.wait_for_ready(timeout=PATIENCE_S)
    assert own_notebook.run("'old' in globals()").result == "False"
    assert own_notebook.run("%%ucore\n1").result == "1"


def test_a_shutdown_leaves_no_process_and_no_file(private_environment):
    with Notebook("ucore-virtual") as notebook:
        notebook.run("%%ucore\n1")
        processes = _family(notebook)
    wait_for_end(processes)
    assert _leftovers(private_environment) == []


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_killed_switchboard_takes_everything_with_it(private_environment, busy):
    with Notebook("ucore-virtual") as notebook:
        notebook.run("%%ucore\n1")
        if busy:
            request = notebook.send(ENDLESS)
            notebook.wait_for_text(request, "started")
        processes = _family(notebook)
        os.kill(notebook.manager.provisioner.pid, signal.SIGKILL)
        wait_for_end(processes)
    assert _leftovers(private_environment) == []


def test_a_program_started_by_a_cell_ends_with_a_killed_switchboard(private_environment):
    with Notebook("ucore") as notebook:
        notebook.run("import subprocess; child = subprocess.Popen(['sleep', '1000'])")
        child = psutil.Process(int(notebook.run("child.pid").result))
        os.kill(notebook.manager.provisioner.pid, signal.SIGKILL)
        wait_for_end([child])


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="a process must be stopped for it")
def test_a_python_that_dies_before_it_has_stored_a_boards_value_holds_no_cell_up(own_notebook):
    python = int(own_notebook.run("import os; os.getpid()").result)
    own_notebook.run("%%ucore\nimport time")
    with connect(start=False) as hub:

        def is_busy():
            return any(board.get("running") for board in hub.request("boards_request")["boards"])

        request = own_notebook.send("%%ucore --out value\ntime.sleep_ms(500)\n5")
        own_notebook.wait_for(
            lambda message: message["msg_type"] == "execute_input" and message["parent_header"]["msg_id"] == request
        )
        wait_until(is_busy)
        os.kill(python, signal.SIGSTOP)
        wait_until(lambda: not is_busy())
        os.kill(python, signal.SIGKILL)
    outcome = own_notebook.finish(request)[0]
    assert outcome.reply["status"] == "ok"
    assert "its variables are gone" in outcome.text("stderr") + own_notebook.run("1").text("stderr")


def test_nothing_on_disk_shows_where_the_sub_kernel_listens(notebook, private_environment):
    assert _leftovers(private_environment, "ucore-*/connection.json") == []


def test_a_notebook_of_an_unwilling_board_says_so_in_its_first_board_cell(private_environment, monkeypatch):
    monkeypatch.setenv("UCORE_BOARD", str(private_environment / "no-such-port"))
    with Notebook("ucore") as notebook:
        assert notebook.run("1").result == "1"
        outcome = notebook.run("%%ucore\n1")
        assert outcome.reply["status"] == "error"
        assert outcome.types[-1] == "idle"
        assert "no-such-port" in outcome.reply["evalue"]


def _answer(notebook, code, prompt, value):
    request = notebook.send(code, allow_stdin=True)
    asked = notebook.client.get_stdin_msg(timeout=PATIENCE_S)
    assert asked["content"] == {"prompt": prompt, "password": False}
    assert asked["parent_header"]["msg_id"] == request
    notebook.client.input(value)
    return notebook.finish(request)[0]


def _family(notebook) -> list[psutil.Process]:
    """The kernel's processes: itself and what it started."""
    switchboard = psutil.Process(notebook.manager.provisioner.pid)
    return [switchboard, *switchboard.children(recursive=True)]


def _leftovers(environment: Path, pattern: str = "ucore-*") -> list[Path]:
    """What kernels left in the folder for temporary files, apart from folders that an open notebook uses."""
    return [path for path in (environment / "tmp").glob(pattern) if not path.name.startswith("ucore-virtual-")]


def test_sys_stdin_on_the_board_is_what_the_user_types(notebook):
    assert _answer(notebook, "%%ucore\nimport sys\nsys.stdin.readline()", "", "typed").result == r"'typed\n'"


def test_a_program_in_a_file_reads_what_the_user_types(notebook):
    notebook.run(
        "%%ucore\nwith open('asks.py', 'w') as file:\n    file.write('from sys import stdin\\nword = stdin.readline()')"
    )
    assert _answer(notebook, "%%ucore\nimport asks\nasks.word", "", "typed").result == r"'typed\n'"


def test_a_board_cell_may_look_whether_the_user_has_typed_something(notebook):
    code = "import select, sys\npoll = select.poll()\npoll.register(sys.stdin, select.POLLIN)\nwhile not poll.poll(10):\n    pass\n"
    assert _answer(notebook, f"%%ucore\n{code}sys.stdin.read(2)", "", "ok").result == "'ok'"


def test_a_stream_reader_on_the_board_awaits_what_the_user_types(notebook):
    code = "import asyncio, sys\nreader = asyncio.StreamReader(sys.stdin)\nline = await reader.readline()\nline"
    assert _answer(notebook, f"%%ucore\n{code}", "", "typed").result == r"b'typed\n'"


def test_sys_stdin_without_a_front_end_that_takes_it_is_an_error(notebook):
    assert notebook.run("%%ucore\nimport sys\nsys.stdin.readline()").error == "StdinNotImplementedError"
    assert notebook.run("%%ucore\n1").result == "1"


def test_a_star_import_of_sys_and_thread_brings_their_names_and_no_others(notebook):
    code = "output = link = 1\nfrom _thread import *\nfrom sys import *\nstart_new_thread(lambda: None, ())\nfirst = stdin.read(1)\n"
    code += "(first, get_ident() == allocate_lock, len(path) > 0, output, link, 'open_pipe' in globals())"
    assert _answer(notebook, f"%%ucore\n{code}", "", "typed").result == "('t', False, True, 1, 1, False)"


def test_a_star_import_in_a_file_does_not_crash_the_board(notebook):
    code = "with open('stars.py', 'w') as file:\n    file.write('from _thread import *\\nfrom getpass import *\\nfrom sys import *')\nimport stars"
    assert notebook.run(f"%%ucore\n{code}").reply["status"] == "ok"


def test_the_rest_of_the_module_sys_is_the_boards(notebook):
    code = "from sys import exit, path, platform\nimport sys\n(sys.modules['sys'] is sys, path is sys.path, '__name__' in dir(sys))"
    assert notebook.run(f"%%ucore\n{code}").result == "(True, True, True)"
