"""A client's folder on a board: the board's questions reach it, and nobody else."""

import base64
import json

import pytest
from hubnotebook import KITCHEN
from patience import PATIENCE_S, wait_until

from ucore import wire
from ukernel.client import connection as client
from ukernel.errors import BoardBusyError

QUESTION = b'[5,"stat","/"]\n'


def next_of(connection, type):
    while True:
        message = connection.receive(PATIENCE_S)
        assert message is not None, f"no {type}"
        if message["type"] == type:
            return message


@pytest.fixture
def mounted(attached):
    """(the request that has mounted a folder, the mount's number)."""
    request = attached.send("mount_request", {})
    message = next_of(attached, "mounted")
    assert message["parent"] == request
    return request, message["content"]["number"]


def answers(board):
    return [(parent, content) for type, parent, content in board.sent if type == wire.REMOTE_REPLY]


def says_that_nobody_is_there(content):
    head, _, data = content.partition(b"\n")
    return json.loads(head) == [5, 19, None] and not data


def test_a_question_reaches_the_client_and_its_answer_the_board(attached, board, mounted):
    request, number = mounted
    board.say(wire.REMOTE_REQUEST, QUESTION, number)
    asked = next_of(attached, "remote_request")
    assert (asked["parent"], base64.b64decode(asked["content"]["data"])) == (request, QUESTION)
    attached.send("remote_reply", {"parent": request, "data": base64.b64encode(b"[5,0,1]\nxy").decode()})
    wait_until(lambda: answers(board) == [(number, b"[5,0,1]\nxy")])


def test_a_question_that_nobody_can_answer_is_answered_at_once(attached, board, mounted):
    request, number = mounted
    board.say(wire.REMOTE_REQUEST, QUESTION, number + 1)
    board.say(wire.REMOTE_REQUEST, b"nonsense", number + 1)
    board.say(wire.REMOTE_REQUEST, b"[]\n", number + 1)
    wait_until(lambda: answers(board))
    attached.send("unmount_request", {"parent": request})
    assert next_of(attached, "mount_reply")["content"] == {"status": "ok"}
    board.say(wire.REMOTE_REQUEST, QUESTION, number)
    wait_until(lambda: len(answers(board)) == 2)
    assert [parent for parent, _ in answers(board)] == [number + 1, number]
    assert all(says_that_nobody_is_there(content) for _, content in answers(board))


def test_a_client_that_is_gone_has_no_mount(hub, board, attached):
    with client.connect(start=False) as other:
        other.request("attach_request", {"board": KITCHEN, "client": "another"})
        other.send("mount_request", {})
        number = next_of(other, "mounted")["content"]["number"]
        with pytest.raises(BoardBusyError, match="another"):
            attached.request("mount_request", {})
    wait_until(lambda: not hub.hub.boards.by_port[board.port].mounts.number)
    board.say(wire.REMOTE_REQUEST, QUESTION, number)
    wait_until(lambda: answers(board))
    assert says_that_nobody_is_there(answers(board)[0][1])
    attached.send("mount_request", {})
    assert next_of(attached, "mounted")["content"]["number"] not in (0, number)


def test_another_clients_answer_counts_for_nothing(attached, board, mounted):
    request, number = mounted
    with client.connect(start=False) as other:
        other.request("attach_request", {"board": KITCHEN, "client": "another"})
        board.say(wire.REMOTE_REQUEST, QUESTION, number)
        other.send("remote_reply", {"parent": request, "data": base64.b64encode(b"[5,0,2]\n").decode()})
        other.send("unmount_request", {"parent": request})
        other.request("boards_request")  # it is through
    attached.send("remote_reply", {"parent": request, "data": base64.b64encode(b"[5,0,1]\n").decode()})
    wait_until(lambda: answers(board))
    assert answers(board) == [(number, b"[5,0,1]\n")]


@pytest.mark.parametrize(
    "ends, ename",
    [
        (lambda board: board.boot(), "BoardRestartedError"),
        (lambda board: board.ready(resumed=False), "BoardGoneError"),
        (lambda board: board.gone(BoardBusyError("taken")), "BoardBusyError"),
    ],
)
def test_what_ends_a_boards_session_ends_the_mount_and_says_why(attached, board, mounted, ends, ename):
    ends(board)
    content = next_of(attached, "mount_reply")["content"]
    assert (content["status"], content["ename"]) == ("error", ename)


def test_a_reset_ends_the_mount(attached, board, mounted):
    attached.send("reset_request", {})
    assert next_of(attached, "mount_reply")["content"]["ename"] == "BoardRestartedError"


@pytest.mark.parametrize("how", ["unmounts", "leaves"])
def test_a_question_that_is_open_when_the_mount_ends_is_answered_at_once(attached, board, mounted, how):
    request, number = mounted
    board.say(wire.REMOTE_REQUEST, QUESTION, number)
    next_of(attached, "remote_request")
    if how == "unmounts":
        attached.send("unmount_request", {"parent": request})
    else:
        attached.close()
    wait_until(lambda: answers(board))
    ((parent, content),) = answers(board)
    assert parent == number and says_that_nobody_is_there(content)
