"""The hub dies, or its board does, in mid-stream: every frame arrives, or is counted."""

import os
import signal
import struct

import pytest
from boardprocess import has_written
from patience import wait_until
from rig import PRODUCER

from ukernel.client import connection
from ukernel.errors import PipeEndedEarlyWarning
from ukernel.pipes import subscribe
from ukernel.protocol import statefile
from ukernel.virtual.launcher import VirtualBoard

COUNT = 300_000


@pytest.fixture(params=[pytest.param("micropython", marks=pytest.mark.micropython), "cpython"])
def board(request, tmp_path, monkeypatch):
    """A virtual board and a hub of this test's own."""
    if request.param == "micropython":
        request.getfixturevalue("micropython")
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "0.5")
    with VirtualBoard(request.param) as board:
        yield board
        if statefile.read() is not None:
            with connection.connect(start=False) as hub:
                hub.request("stop_request", {}, 10)


def attach(board):
    hub = connection.connect()
    hub.request("attach_request", {"board": board.port, "client": "a test"}, 30)
    return hub


def start_producer(hub, count=COUNT, pause_s=0.0):
    code = PRODUCER.format(name="p", count=count, first=0)
    if pause_s:
        code = code.replace("write(pack", f"number % 100 or time.sleep({pause_s}); write(pack").replace(
            "import ", "import time, ", 1
        )
    hub.send("execute_request", {"code": code})


def numbers(pipe):
    """Every number that the pipe brings to its end."""
    return [value for chunk in pipe for (value,) in struct.iter_unpack("<I", chunk)]


def test_a_hub_that_is_killed_in_mid_stream_costs_a_known_number_of_frames(board):
    with attach(board) as hub, subscribe("p") as first:
        start_producer(hub, pause_s=0.001)
        before = [struct.unpack("<I", first.read(timeout=20))[0] for _ in range(1000)]
        os.kill(statefile.read().pid, signal.SIGKILL)
        with pytest.warns(PipeEndedEarlyWarning, match="hub"):
            before += numbers(first)
        assert first.end_reason == "connection lost"
    assert before == list(range(len(before)))
    with attach(board), subscribe("p") as second:
        after = numbers(second)
        assert second.end_reason == "closed"
        start = second.opening[
            "number"
        ]  # before what the first hub has read, where it died before it could say so to the board
        assert after == list(range(start, COUNT)) if not second.lost else len(after) + second.lost == COUNT - start


def test_a_board_that_is_killed_in_mid_stream_ends_the_pipe_with_that_reason(board):
    with attach(board) as hub, subscribe("p") as pipe:
        start_producer(hub, pause_s=0.001)
        first = struct.unpack("<I", pipe.read(timeout=20))[0]
        board._process.kill()
        with pytest.warns(PipeEndedEarlyWarning, match="gone"):
            rest = numbers(pipe)
        assert pipe.end_reason == "board gone"
        assert [first, *rest] == list(range(1 + len(rest)))


def test_a_board_that_restarts_in_mid_cell_fails_the_cell_and_ends_the_pipe_with_that_reason(board):
    with attach(board) as hub, subscribe("p") as pipe:
        start_producer(hub, pause_s=0.001)
        pipe.read(timeout=20)
        request = hub.send("execute_request", {"code": "import machine\nmachine.reset()"})
        with pytest.warns(PipeEndedEarlyWarning, match="restarted"):
            got = numbers(pipe)
        assert pipe.end_reason == "board restarted"
        assert got == list(range(1, 1 + len(got)))
        while (message := hub.receive(20))["type"] != "execute_reply" or message["parent"] != request:
            assert message is not None
        assert message["content"]["ename"] == "BoardRestartedError"
        assert "restarted" in message["content"]["evalue"]


def test_prints_that_nobody_heard_are_told_of_before_their_cell_ends(board):
    code = """
import time
print('heard')
while not ucore._link.gone:
    print('.')
    time.sleep(0.05)
print('unheard')
with open('sign', 'w') as file:
    file.write('not heard')
"""
    with attach(board) as hub:
        request = hub.send("execute_request", {"code": code})
        text, reply = "", None
        while "heard" not in text:
            message = hub.receive(20)
            text += message["content"].get("text", "")
        pid = statefile.read().pid
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: has_written(board, "not heard"))
        finally:
            os.kill(pid, signal.SIGCONT)
        while reply is None:
            message = hub.receive(20)
            assert message["parent"] == request
            text += message["content"].get("text", "")
            reply = message if message["type"] == "execute_reply" else None
    assert reply["content"]["status"] == "ok"
    assert "unheard" not in text
    assert text.endswith(" bytes of output lost]\n")
