"""What tests trust in: waiting ends when it should and fails when it should, and a scripted board does what its cells say."""

import json
import threading

import pytest
from patience import wait_until
from scripted import ScriptedBoard, running_hub

from ucore import wire
from ukernel.link import session


def test_waiting_ends_once_it_is_so():
    looks = iter([False, False, True])
    wait_until(lambda: next(looks))
    assert not list(looks)


def test_waiting_in_vain_fails_and_says_for_what():
    with pytest.raises(AssertionError, match="the end of the world did not happen"):
        wait_until(lambda: False, "the end of the world", patience_s=0.01)


def test_what_fails_while_one_waits_is_not_taken_for_not_yet():
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0)


@pytest.fixture
def board():
    board = ScriptedBoard("port/a", lambda board, event: board.heard.append(event))
    board.heard = []
    return board


def said(board, code, until=wire.EXECUTE_REPLY):
    """What the board says of a cell, as (type, content), to a message of this type."""
    board.heard.clear()
    board.send(wire.EXECUTE_REQUEST, 7, code)
    wait_until(lambda: any(event.type == until for event in board.heard))
    assert {event.parent for event in board.heard} == {7}
    return [(event.type, event.content) for event in board.heard]


def test_a_scripted_cell_is_busy_says_its_text_and_ends(board):
    assert said(board, b"print a b") == [
        (wire.STATUS, b""),
        (wire.STREAM, b"a b"),
        (wire.EXECUTE_REPLY, b'{"status": "ok"}'),
    ]


def test_a_scripted_cell_that_fails_has_the_text_as_its_error(board):
    reply = json.loads(said(board, b"fail so")[-1][1])
    assert (reply["status"], reply["evalue"]) == ("error", "so")


@pytest.mark.parametrize("end", ["finish", "interrupt"])
def test_a_scripted_cell_that_holds_ends_when_the_test_says_so(board, end):
    assert said(board, b"hold", until=wire.STATUS) == [(wire.STATUS, b"")]
    getattr(board, end)()
    wait_until(lambda: len(board.heard) == 2)
    assert json.loads(board.heard[-1].content)["status"] == ("ok" if end == "finish" else "error")
    assert board.interrupts == (end == "interrupt")


def test_a_scripted_board_that_is_missing_is_refused(board):
    board.port = "port/missing"
    board.start()
    (event,) = board.heard
    assert isinstance(event, session.Refused)


def test_a_fault_inside_a_hub_in_a_thread_fails_its_test(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    before = threading.active_count()
    with pytest.raises(AssertionError), running_hub() as hub:
        hub.call(lambda: hub.hub._loop.call_soon(lambda: 1 / 0))
        wait_until(lambda: hub.faults)
    assert threading.active_count() == before
