"""A kernel among others: notebooks that share a board, a hub that dies, and programs that run notebooks without people."""

import os
import signal
import socket
import time

import pytest
from frontend import Notebook
from patience import PATIENCE_S

from ukernel.protocol import statefile
from ukernel.virtual.launcher import VirtualBoard

ENDLESS = "%%ucore\nimport time\nprint('started')\nwhile True:\n    time.sleep(0.01)"


@pytest.fixture
def shared_board(private_environment, monkeypatch, tmp_path):
    """A virtual board that several kernels use, and a hub of their own."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    with VirtualBoard() as board:
        monkeypatch.setenv("UCORE_BOARD", board.port)
        yield board


def test_two_notebooks_share_a_board_but_not_python(shared_board):
    with Notebook("ucore") as first, Notebook("ucore") as second:
        first.run("mine = 1")
        first.run("%%ucore\nours = 1")
        assert second.run("'mine' in globals()").result == "False"
        assert second.run("%%ucore\nours").result == "1"


def test_the_notebook_that_waits_is_told_who_holds_the_board(shared_board, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/somebody/experiment.ipynb")
    with Notebook("ucore") as first, Notebook("ucore") as second:
        holder = first.send(ENDLESS)
        first.wait_for_text(holder, "started")
        waiting = second.send("%%ucore\nprint('my turn')")
        second.wait_for_text(waiting, "experiment.ipynb")
        first.interrupt()
        assert first.finish(holder)[0].error == "KeyboardInterrupt"
        assert second.finish(waiting)[0].reply["status"] == "ok"


def test_a_cell_that_waits_for_the_board_can_be_interrupted_alone(shared_board):
    with Notebook("ucore") as first, Notebook("ucore") as second:
        holder = first.send(ENDLESS)
        first.wait_for_text(holder, "started")
        waiting = second.send("%%ucore\n1")
        second.wait_for_text(waiting, "Waiting for the board")
        second.interrupt()
        assert second.finish(waiting)[0].error == "KeyboardInterrupt"
        first.interrupt()
        assert first.finish(holder)[0].error == "KeyboardInterrupt"


def test_closing_one_notebook_leaves_the_other_alone(shared_board):
    with Notebook("ucore") as first:
        first.run("%%ucore\nkept = 1")
        with Notebook("ucore") as second:
            second.run("%%ucore\n1")
        assert first.run("%%ucore\nkept").result == "1"


def test_a_killed_hub_fails_the_running_cell_and_the_next_one_gets_a_new_hub(shared_board):
    with Notebook("ucore") as notebook:
        notebook.run("%%ucore\nkept = 3")
        request = notebook.send("%%ucore\nimport time\nprint('started')\ntime.sleep(1)")
        notebook.wait_for_text(request, "started")
        _kill_hub()
        assert notebook.finish(request)[0].error == "HubUnreachableError"
        assert notebook.run("1").result == "1"
        assert notebook.run("%%ucore\nkept").result == "3"


def test_a_hub_that_died_between_two_cells_is_not_noticed(shared_board):
    with Notebook("ucore") as notebook:
        notebook.run("%%ucore\nkept = 4")
        _kill_hub()
        outcome = notebook.run("%%ucore\nkept")
        assert outcome.result == "4"


def test_a_cell_may_name_another_board(shared_board, private_environment):
    with VirtualBoard() as other, Notebook("ucore") as notebook:
        notebook.run("%%ucore\nwhich = 'own'")
        notebook.run(f"%%ucore --board {other.port}\nwhich = 'other'")
        assert notebook.run("%%ucore\nwhich").result == "'own'"
        assert notebook.run(f"%%ucore --board {other.port}\nwhich").result == "'other'"


def test_a_pipe_port_that_is_in_use_is_an_error_that_names_it(shared_board, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("UCORE_PIPE_PORT", str(port))
        with Notebook("ucore") as notebook:
            assert str(port) in notebook.run("%%ucore\n1").reply["evalue"]


def test_a_senseless_pipe_port_is_an_error_in_the_first_board_cell(shared_board, monkeypatch):
    monkeypatch.setenv("UCORE_PIPE_PORT", "everywhere")
    with Notebook("ucore") as notebook:
        assert notebook.run("1").result == "1"
        outcome = notebook.run("%%ucore\n1")
        assert outcome.error == "SettingError"
        assert "everywhere" in outcome.reply["evalue"]


def test_nbclient_runs_a_notebook_with_both_kinds_of_cell(private_environment):
    nbclient = pytest.importorskip("nbclient")
    book = _make_notebook(
        "x = 20", "%%ucore\nfor i in range(3):\n    print(i)\n21 * 2", "x + 1", "%%ucore --no-raise\n1/0", "%%ucore\ninput('?')"
    )
    nbclient.NotebookClient(book, kernel_name="ucore-virtual", timeout=60, allow_errors=True).execute()
    host, board, again, failed, asked = (cell.outputs for cell in book.cells)
    assert host == []
    assert "".join(output.text for output in board if output.get("name") == "stdout") == "0\n1\n2\n"
    assert board[-1].data["text/plain"] == "42"
    assert again[0].data["text/plain"] == "21"
    assert failed[0].name == "stderr" and "ZeroDivisionError" in failed[0].text
    assert asked[0].ename == "StdinNotImplementedError"
    assert [cell.execution_count for cell in book.cells] == [1, 2, 3, 4, 5]


def test_nbclient_stops_at_the_first_error_of_a_board_cell(private_environment):
    nbclient = pytest.importorskip("nbclient")
    book = _make_notebook("%%ucore\n1/0", "1")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        nbclient.NotebookClient(book, kernel_name="ucore-virtual", timeout=60).execute()


def test_papermill_runs_a_notebook_with_parameters(private_environment, tmp_path):
    papermill = pytest.importorskip("papermill")
    nbformat = pytest.importorskip("nbformat")
    book = _make_notebook("number = 1", "%%ucore\n6 * 7", "number")
    book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, tmp_path / "in.ipynb")
    done = papermill.execute_notebook(
        str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), {"number": 5}, kernel_name="ucore-virtual", progress_bar=False
    )
    results = [output.data["text/plain"] for cell in done.cells for output in cell.outputs if "data" in output]
    assert results == ["42", "5"]


def _kill_hub() -> None:
    os.kill(statefile.read().pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while statefile.read() is not None:  # its lock is free once all its files are closed
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _make_notebook(*codes):
    nbformat = pytest.importorskip("nbformat")
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code) for code in codes],
        metadata={"kernelspec": {"name": "ucore-virtual", "display_name": "", "language": "python"}},
    )
