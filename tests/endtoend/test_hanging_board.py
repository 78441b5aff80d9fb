"""A board hangs in what no interrupt can stop: people get their notebook back in bounded time, and then their board."""

import os
import signal
import threading

import psutil
import pytest
from boardclient import BoardClient
from boardprocess import board_process, wait_for_loop
from patience import PATIENCE_S, wait_until
from scripted import HubThread

from ukernel.client import connection
from ukernel.errors import NoAnswerError
from ukernel.hub import revival, sharedboard
from ukernel.hub.driver import BoardDriver
from ukernel.link import session
from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython

NATIVE = "@micropython.native\ndef hang():\n    while True:\n        pass\n"
HANGS = {
    "native": NATIVE + "hang()",
    "viper": NATIVE.replace("native", "viper") + "hang()",
    "big number": "10 ** (10 ** 7)",
    "thread": NATIVE + "import _thread\n_thread.start_new_thread(hang, ())\nhang()",
}


@pytest.fixture
def impatient(monkeypatch):
    """The hub of this process gives a board less time than a real one."""
    monkeypatch.setattr(session, "SILENT_S", 2.0)
    monkeypatch.setattr(sharedboard, "RESET_PATIENCE_S", 0.5)


@pytest.fixture
def board(micropython):
    with VirtualBoard("micropython") as board:
        yield board


@pytest.fixture
def hub(tmp_path, monkeypatch, impatient):
    """A hub in this process, whose boards are real ones."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    hub = HubThread(60.0)
    hub.hub.boards.make_driver = BoardDriver
    yield hub
    hub.stop()


@pytest.fixture
def notebook(hub, board):
    notebook = BoardClient(board.port)
    yield notebook
    notebook.close()


@pytest.mark.parametrize("hang", HANGS)
def test_the_next_cell_runs_on_the_virtual_board_restarted(notebook, board, hang):
    before = psutil.Process(board._process.pid).children(recursive=True)
    notebook.run("x = 1\nx")
    said, reply = notebook.run(HANGS[hang] + "\n", interrupt_when=lambda: wait_for_loop(board))
    assert reply["ename"] == "NoAnswerError"
    assert "next board cell restarts it" in reply["evalue"]
    assert "button" not in reply["evalue"]  # nobody can press it
    said, reply = notebook.run("'x' in globals()")
    assert reply["status"] == "ok"
    assert "restarted" in said
    assert said.endswith("False")
    assert notebook.run("6 * 7") == ("42", {"status": "ok"})
    psutil.wait_procs(before, 5)
    assert not [process for process in before if process.is_running()]


def test_a_thread_that_hangs_the_board_between_two_cells_is_no_concern_of_the_next_one(hub, notebook, board):
    # Not before the cell has its answer: then it would be of that one's concern.
    later = "import _thread, time\ndef later():\n    time.sleep(0.5)\n    hang()\n_thread.start_new_thread(later, ())"
    notebook.run(NATIVE + later)
    wait_until(lambda: next(iter(hub.hub.boards.by_port.values())).state == "gone", "the loss of the board")
    said, reply = notebook.run("6 * 7")
    assert reply["status"] == "ok"
    assert said.endswith("42")


def test_a_reset_restarts_a_virtual_board_that_hangs_in_a_cell_which_nobody_has_stopped(notebook, board):
    failed = []
    other = BoardClient(board.port)
    thread = threading.Thread(target=lambda: failed.append(other.run(HANGS["native"] + "\n")[1]["ename"]))
    thread.start()
    wait_for_loop(board)
    assert notebook.request("reset_request", {"force": True}, PATIENCE_S)["status"] == "ok"
    thread.join(PATIENCE_S)
    assert failed == ["BoardRestartedError"]
    assert notebook.run("6 * 7") == ("42", {"status": "ok"})
    other.close()


@pytest.mark.parametrize("want", ["reset", "attach"])
def test_who_asks_for_a_virtual_board_that_hung_gets_it_restarted(notebook, board, want):
    notebook.run("x = 1\nx")
    assert notebook.run(HANGS["native"] + "\n", interrupt_when=lambda: wait_for_loop(board))[1]["ename"] == "NoAnswerError"
    answer = notebook.request(f"{want}_request", {"board": board.port, "client": "a test"}, PATIENCE_S)
    assert ("restarted" in answer.get("notice", "")) is (want == "attach")  # who resets it knows
    assert notebook.run("'x' in globals()") == ("False", {"status": "ok"})


def test_a_real_board_that_hangs_needs_its_button_and_works_after_it(notebook, board, monkeypatch):
    monkeypatch.setattr(BoardDriver, "is_virtual", False)
    monkeypatch.setattr(revival, "BUTTON_S", 1.0)
    _, reply = notebook.run(HANGS["native"] + "\n", interrupt_when=lambda: wait_for_loop(board))
    assert reply["ename"] == "NoAnswerError"
    assert "Only its reset button helps" in reply["evalue"]
    for _ in range(2):
        _, again = notebook.run("6 * 7")
        assert (again["ename"], again["evalue"]) == (reply["ename"], reply["evalue"])
    with pytest.raises(NoAnswerError, match="reset button"):
        notebook.request("reset_request", {"force": True}, PATIENCE_S)
    board_process(board).kill()  # the button
    monkeypatch.setattr(revival, "BUTTON_S", 30.0)
    assert notebook.run("6 * 7") == ("42", {"status": "ok"})


def test_a_virtual_board_that_hangs_when_a_new_hub_comes_is_restarted_at_the_second_attempt(hub, board, monkeypatch):
    monkeypatch.setattr("ukernel.hub.driver.ANSWER_S", 4.0)
    os.kill(board_process(board).pid, signal.SIGSTOP)
    with connection.connect(start=False) as asking:
        with pytest.raises(NoAnswerError, match="next attempt"):
            asking.request("attach_request", {"board": board.port}, PATIENCE_S)
        assert asking.request("attach_request", {"board": board.port}, PATIENCE_S)["status"] == "ok"


def test_a_notebooks_own_board_whose_process_hangs_is_replaced(hub, own_notebook):
    """The line's own process stands still: the hub cannot help, so the notebook brings another board."""
    assert own_notebook.run("%%ucore\n1").result == "1"
    kernel = psutil.Process(own_notebook.manager.provisioner.process.pid)
    (owner,) = [child for child in kernel.children() if "ukernel.virtual.process" in child.cmdline()]
    processes = [owner, *owner.children()]
    owner.suspend()
    for _ in range(6):
        outcome = own_notebook.run("%%ucore\n6 * 7")
        if outcome.result:
            break
        assert outcome.error == "NoAnswerError"
    assert outcome.result == "42"
    assert "This is a new one" in outcome.text("stderr")
    psutil.wait_procs(processes, 5)
    assert not [process for process in processes if process.is_running()]


def test_use_virtual_and_reset_bring_a_notebooks_own_board_back(hub, own_notebook):
    for command in ("%ucore use virtual", "%ucore reset --force"):
        request = own_notebook.send("%%ucore\nprint('begun')\n" + HANGS["native"])
        own_notebook.wait_for_text(request, "begun")
        own_notebook.interrupt()
        (outcome,) = own_notebook.finish(request)
        assert outcome.error == "NoAnswerError"
        assert own_notebook.run(command).error is None
        assert own_notebook.run("%%ucore\n6 * 7").result == "42"
