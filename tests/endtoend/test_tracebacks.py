"""A traceback shows the line that ran, or none: through real kernels, with boards shared, hubs killed, memories lost."""

import os
import re
import signal

import psutil
import pytest
from frontend import Notebook
from patience import wait_until

from ukernel.protocol import statefile
from ukernel.virtual.launcher import VirtualBoard

BARO = "%%ucore\nclass Baro:\n    def read(self):\n        return 1 // 0\n"
GYRO = "%%ucore\nclass Gyro:\n    def read(self):\n        return 17\n"


def plain(outcome):
    """The traceback without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", outcome.traceback)


@pytest.fixture
def shared_board(monkeypatch, tmp_path):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "0.5")
    with VirtualBoard() as board:
        monkeypatch.setenv("UCORE_BOARD", board.port)
        yield board


def test_of_two_functions_of_one_name_the_one_that_ran_is_shown(own_notebook):
    notebook = own_notebook
    first = notebook.run(BARO).reply["execution_count"]
    notebook.run(GYRO)
    shown = plain(notebook.run("%%ucore\nBaro().read()"))
    assert f"Cell In[{first}], line 4, in read" in shown and "---->" in shown and "return 1 // 0" in shown
    assert "return 17" not in shown


def test_an_object_of_a_class_that_was_edited_since_shows_what_it_runs(notebook):
    notebook.run(BARO + "old = Baro()")
    notebook.run(BARO.replace("1 // 0", "100"))
    shown = plain(notebook.run("%%ucore\nold.read()"))
    assert "return 1 // 0" in shown and "return 100" not in shown


def test_where_the_names_have_gone_round_all_cells_are_named_and_no_line_is_shown(own_notebook):
    notebook = own_notebook
    first = notebook.run(BARO + "old = Baro()").reply["execution_count"]
    for number in range(25):
        last = notebook.run(GYRO.replace("17", str(number))).reply["execution_count"]
    shown = plain(notebook.run("%%ucore\nold.read()"))
    assert f"Cell In[{first}] or Cell In[{last}], line 4, in read" in shown
    assert "return" not in shown


def test_a_function_of_another_notebook_is_said_to_be_that(shared_board, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/driver.ipynb")
    with Notebook("ucore") as other:
        other.run(BARO + "baro = Baro()")
        monkeypatch.delenv("JPY_SESSION_NAME")
        with Notebook("ucore") as notebook:
            notebook.run(GYRO)
            shown = plain(notebook.run("%%ucore\nbaro.read()"))
    assert "A cell of the notebook driver.ipynb, line 4, in read" in shown
    assert "return" not in shown


def test_after_the_hub_was_killed_no_wrong_line_is_shown(shared_board):
    with Notebook("ucore") as notebook:
        notebook.run(BARO + "old = Baro()")
        hub = statefile.read()
        os.kill(hub.pid, signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(hub.pid) or psutil.Process(hub.pid).status() == "zombie", "the hub's end")
        notebook.run("%ucore status")  # if the kernel has not seen the hub's end yet, this is what fails
        assert "An earlier cell (perhaps In[1]), line 4, in read" in plain(notebook.run("%%ucore\nold.read()"))
        notebook.run(GYRO)
        shown = plain(notebook.run("%%ucore\nold.read()"))
        assert "return 17" not in shown and "line 4, in read" in shown
        notebook.run("%ucore reset")
        notebook.run(BARO)
        assert "return 1 // 0" in plain(notebook.run("%%ucore\nBaro().read()"))


def test_a_thread_that_fails_shows_its_line(notebook):
    count = notebook.run("%%ucore\n1").reply["execution_count"] + 1
    text = notebook.run(
        "%%ucore\nimport _thread, time\ndef run(n):\n    return 1 // n\n_thread.start_new_thread(run, (0,))\ntime.sleep(0.3)"
    ).text()
    assert f"Cell In[{count}], line 4, in run\n" in text and "----> 4     return 1 // n\n" in text


def test_a_traceback_that_a_program_prints_shows_its_line(notebook):
    text = notebook.run(
        "%%ucore\nimport sys\ndef f():\n    1 // 0\ntry:\n    f()\nexcept Exception as e:\n    sys.print_exception(e)"
    ).text()
    assert ", line 4, in f\n" in text and "----> 4     1 // 0\n" in text
    assert "----> 6     f()\n" in text  # although other cells have run that define nothing


def test_an_error_that_was_kept_and_raised_again_shows_both_its_lines(notebook):
    notebook.run("%%ucore\n" + "\n" * 9 + "try:\n    1 // 0\nexcept Exception as e:\n    kept = e")
    notebook.run("%%ucore\n" + "\n" * 14 + "raise kept")
    text = notebook.run("%%ucore\nimport sys\nsys.print_exception(kept)").text()
    assert "---> 12     1 // 0\n" in text and "---> 16 raise kept\n" in text


@pytest.mark.parametrize("name", ["tasks", "link", "runner", "agent"])
def test_a_module_of_the_users_is_named_whatever_it_is_called(own_notebook, name):
    module = f"%%ucore --save {name}.py\nimport asyncio\nasync def wait():\n    await asyncio.sleep(0)\n    1 // 0\ndef run():\n    1 // 0"
    own_notebook.run(module)
    for call in (f"{name}.run()", f"await {name}.wait()"):
        shown = plain(own_notebook.run(f"%%ucore\nimport {name}\n{call}"))
        assert f"{name}.py" in shown and "asyncio" not in shown
    text = own_notebook.run(f"%%ucore\nimport _thread, time\n_thread.start_new_thread({name}.run, ())\ntime.sleep(0.3)").text()
    assert f"{name}.py" in text and "in run" in text


def test_a_recursion_is_folded(notebook):
    shown = plain(notebook.run("%%ucore\ndef f(n):\n    return f(n + 1)\nf(0)"))
    assert "equal frames" in shown and shown.count("line 3, in f") < 12


def test_form_feeds_and_odd_line_ends_do_not_shift_the_line(notebook):
    for code in ("%%ucore\nx = 1\n\x0c\ndef f():\n    return 1 // 0\nf()", "%%ucore\ns = 'a\u2028b\x85'\n\n\n1 // 0"):
        assert "----> 5" in plain(notebook.run(code))


def test_an_error_while_saving_shows_no_line_of_the_file(notebook):
    shown = plain(notebook.run("%%ucore --save /nowhere/x.py\nimport this\nimport that"))
    assert "import" not in shown


def test_no_raise_shows_the_same(notebook):
    notebook.run(BARO)
    notebook.run(GYRO)
    text = notebook.run("%%ucore --no-raise\nBaro().read()").text("stderr")
    assert "return 1 // 0" in text


def test_what_answers_to_any_name_is_shown_by_its_repr(notebook):
    proxy = "%%ucore\ncalls = []\nclass Rpc:\n    def __getattr__(self, name):\n        calls.append(name)\n        return lambda *args: name\n"
    assert "Rpc object" in notebook.run(proxy + "rpc = Rpc()\nrpc").result
    assert notebook.run("%%ucore\ncalls").result == "[]"
    notebook.complete("%%ucore\nrpc.|")
    notebook.inspect("%%ucore\nrpc|")
    notebook.complete("%%ucore\nrpc.motor.|")
    assert notebook.run("%%ucore\ncalls").result == "[]"
