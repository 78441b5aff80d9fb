"""One board in the hub: attached, lost, found again, reset."""

import pytest
from hubnotebook import KITCHEN, Notebook
from patience import PATIENCE_S, wait_until
from scripted import ScriptedBoard

from ucore import wire
from ukernel.client import connection as client
from ukernel.errors import (
    BoardBusyError,
    BoardGoneError,
    BoardNotFoundError,
    BoardVersionError,
    NoAnswerError,
)
from ukernel.hub import sharedboard
from ukernel.link import session


def test_attaching_tells_which_board_it_is(hub):
    with Notebook() as notebook:
        assert notebook.board["name"] == "kitchen"
        assert notebook.board["port"] == KITCHEN
        assert notebook.board["facts"]["platform"] == "scripted"


def test_a_board_that_goes_takes_its_cells_with_it(hub, notebook):
    held = notebook.send("hold")
    notebook.until("status", held)
    waiting = notebook.send("print never")
    assert notebook.next()["content"]["execution_state"] == "queued"
    hub.boards["kitchen"].gone(BoardGoneError("The board went away."))
    reply = notebook.until("execute_reply", held)[-1][1]
    assert (reply["ename"], reply["evalue"]) == ("BoardGoneError", "The board went away.")
    assert notebook.until("execute_reply", waiting)[-1][1]["ename"] == "BoardGoneError"
    assert notebook.run("print now")[-1][1]["ename"] == "BoardGoneError"


def test_a_restarted_board_ends_its_cell_with_that_reason(hub, notebook):
    held = notebook.send("hold")
    notebook.until("status", held)
    hub.boards["kitchen"].ready(restarted=True)
    assert notebook.until("execute_reply", held)[-1][1]["ename"] == "BoardRestartedError"
    assert notebook.run("print fresh")[-1][1] == {"status": "ok"}


def test_a_board_that_cannot_be_opened_is_an_error_for_who_asked(hub):
    with client.connect(start=False) as asking, pytest.raises(BoardNotFoundError, match="no port"):
        asking.request("attach_request", {"board": "scripted://missing"})
    wait_until(lambda: not hub.hub.boards.by_port)


def test_a_board_that_turns_out_to_be_unusable_says_why_from_then_on(hub, notebook):
    held = notebook.send("hold")
    notebook.until("status", held)
    refusing = hub.boards["kitchen"]
    refusing.tell(session.Refused(BoardVersionError("It speaks version 7.")))
    assert notebook.until("execute_reply", held)[-1][1]["ename"] == "BoardVersionError"
    assert notebook.until("detached", 0)[-1][1]["ename"] == "BoardVersionError"
    assert notebook.run("print again")[-1][1]["evalue"] == "It speaks version 7."
    assert refusing.closed.wait(PATIENCE_S)
    with Notebook() as fresh:
        assert fresh.run("print once more")[-1][1] == {"status": "ok"}


def test_a_silent_board_is_an_error_in_bounded_time(hub, monkeypatch):
    monkeypatch.setattr(sharedboard, "ATTACH_TIMEOUT_S", 0.05)
    monkeypatch.setattr(ScriptedBoard, "start", lambda board: None)
    with client.connect(start=False) as asking, pytest.raises(NoAnswerError, match="reset button"):
        asking.request("attach_request", {"board": KITCHEN})


def test_a_reset_gives_a_fresh_board_and_runs_what_came_meanwhile(hub, notebook):
    board = hub.boards["kitchen"]
    board.open("adc")
    board.boots = False
    reset = notebook.client.send("reset_request", {})
    wait_until(lambda: board.sent and board.sent[-1][0] == wire.SHUTDOWN_REQUEST)
    board.tell(session.Console("boot text"))
    fresh = notebook.send("print fresh")
    assert notebook.until("status", fresh) == [("status", {"execution_state": "queued", "holder": ""})]
    board.boot()
    came = [notebook.next() for _ in range(4)]
    assert [message["content"]["board"] for message in came if message["parent"] == reset] == ["kitchen"]
    assert [message["type"] for message in came if message["parent"] == fresh] == ["status", "stream", "execute_reply"]
    assert notebook.client.request("pipes_request")["pipes"][0]["open"] is False


def test_a_board_that_others_use_is_reset_by_force_only(hub):
    with Notebook(label="mine.ipynb") as mine, Notebook(label="yours.ipynb") as yours:
        held = yours.send("hold")
        yours.until("status", held)
        waiting = yours.send("print never")
        yours.next()
        with pytest.raises(BoardBusyError, match=r"yours\.ipynb"):
            mine.client.request("reset_request")
        assert mine.client.request("reset_request", {"force": True})["board"] == "kitchen"
        for request in (waiting, held):
            reply = yours.until("execute_reply", request)[-1][1]
            assert (reply["ename"], "mine.ipynb" in reply["evalue"]) == ("BoardRestartedError", True)
        assert yours.run("print on")[-1][1] == {"status": "ok"}


def test_a_board_that_does_not_reset_is_an_error_and_goes_on(hub, notebook, monkeypatch):
    monkeypatch.setattr(sharedboard, "RESET_TIMEOUT_S", 0.05)
    hub.boards["kitchen"].boots = False
    with pytest.raises(NoAnswerError):
        notebook.client.request("reset_request")
    assert notebook.run("print still the same")[-1][1] == {"status": "ok"}


def test_a_reset_of_a_board_that_goes_away_meanwhile_says_so(hub, notebook):
    board = hub.boards["kitchen"]
    board.boots = False
    reset = notebook.client.send("reset_request", {})
    wait_until(lambda: board.sent)
    board.gone(BoardGoneError("The board went away."))
    assert notebook.until("reset_reply", reset)[-1][1]["evalue"] == "The board went away."
    with pytest.raises(BoardGoneError):
        notebook.client.request("reset_request")
