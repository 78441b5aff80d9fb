"""A board whose port is given back, and its name: what the command line asks for."""

import pytest
from hubnotebook import KITCHEN
from patience import wait_until

from ukernel.client import connection as client
from ukernel.errors import BoardBusyError, BoardError


@pytest.fixture
def command(hub):
    with client.connect(start=False) as command:
        yield command


def test_a_board_is_given_back_its_users_are_told_and_the_next_one_takes_it_again(hub, notebook, command):
    first = hub.boards["kitchen"]
    answer = command.request("detach_request", {"board": "kitchen"})
    assert (answer["detached"], answer["name"]) == (True, "kitchen")
    assert first.closed.is_set()
    while (message := notebook.next())["type"] != "detached":
        pass
    told = message["content"]
    assert told["ename"] == "BoardGoneError" and "detached" in told["evalue"]
    assert [board for board in command.request("boards_request")["boards"] if board["state"] != "free"] == []
    notebook.client.request("attach_request", {"board": KITCHEN, "client": "a notebook"})
    assert hub.boards["kitchen"] is not first


def test_a_board_that_runs_a_cell_is_given_back_by_force_only(hub, notebook, command):
    request = notebook.send("hold")
    notebook.until("status", request)
    with pytest.raises(BoardBusyError, match="a notebook"):
        command.request("detach_request", {"board": None})
    assert command.request("detach_request", {"board": None, "force": True})["detached"]
    assert notebook.until("execute_reply", request)[-1][1]["ename"] == "BoardGoneError"


def test_a_board_that_the_hub_does_not_have_is_not_given_back(command):
    assert command.request("detach_request", {"board": "nowhere"}) == {"status": "ok", "detached": False}
    assert command.request("detach_request")["detached"] is False


def test_of_several_boards_one_must_be_named(notebook, command):
    command.request("attach_request", {"board": "scripted://cellar", "client": "another"})
    with pytest.raises(BoardError, match="cellar, kitchen"):
        command.request("detach_request")


def test_a_pipe_ends_with_the_board_that_is_given_back(hub, board, command):
    board.open("adc")
    wait_until(lambda: command.request("pipes_request")["pipes"], "the opening")
    command.request("detach_request", {"board": "kitchen"})
    (pipe,) = command.request("pipes_request")["pipes"]
    assert (pipe["open"], pipe["ended"]) == (False, "board gone")


def test_a_board_has_its_new_name_at_once(notebook, command):
    assert command.request("rename_request", {"board": KITCHEN, "name": "pantry"})["renamed"]
    assert [board["name"] for board in command.request("boards_request")["boards"] if board["state"] != "free"] == ["pantry"]
    assert command.request("attach_request", {"board": "pantry", "client": "a command"})["board"]["name"] == "pantry"
    assert not command.request("rename_request", {"board": "nowhere", "name": "x"})["renamed"]
