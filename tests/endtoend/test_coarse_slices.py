"""Threads that compute take long turns, as on a chip: the main thread is late, and everything holds that holds elsewhere."""

import os
import signal
import time

import pytest
from rig import Rig

from ucore import wire
from ukernel.client import connection
from ukernel.link import session
from ukernel.protocol import statefile
from ukernel.virtual.launcher import VirtualBoard

pytestmark = [pytest.mark.micropython, pytest.mark.slow, pytest.mark.timeout(300)]

SLICE_MS = 1000
COMPUTING = """
import _thread, time
stopping = []
def compute():
    while not stopping:
        pass
for _ in range(2):
    _thread.start_new_thread(compute, ())
"""


@pytest.mark.parametrize(
    "cell",
    ["while True: pass", "time.sleep(600)", "while True: time.sleep_ms(9)", "while True: print('x' * 40)"],
    ids=["busy", "asleep", "many sleeps", "printing"],
)
def test_an_interrupt_stops_the_cell_once_the_main_thread_has_its_turn(cell):
    with Rig(slice_ms=SLICE_MS) as rig:
        rig.run(COMPUTING)
        for _ in range(2):
            parent = rig.start_cell(cell)
            rig.wait_for(session.Message, 60, type=wire.STATUS, parent=parent)
            rig.board.interrupt()
            reply = rig.wait_for(session.Message, 60, type=wire.EXECUTE_REPLY, parent=parent)
            assert b"KeyboardInterrupt" in reply.content
            assert not [event for event in rig.passed_over if isinstance(event, session.Gone)]
        assert rig.run("stopping.append(1)", 60) == b'{"status":"ok"}'


def test_a_board_whose_threads_compute_is_busy_and_not_gone():
    with Rig(slice_ms=SLICE_MS) as rig:
        rig.run(COMPUTING)
        end = time.monotonic() + session.SILENT_S + session.PING_S
        while time.monotonic() < end:
            assert rig.run("pass", 60) == b'{"status":"ok"}'
            assert not [event for event in rig.passed_over if isinstance(event, session.Gone)]
            time.sleep(session.PING_S + 1)


def test_frames_and_prints_wait_for_their_turn_and_none_is_lost():
    with Rig(slice_ms=SLICE_MS) as rig:
        rig.run(COMPUTING)
        rig.produce(500, timeout_s=90)
        assert rig.receive(500, 90)["lost"] == 0
        parent = rig.start_cell("for i in range(20): print(i)")
        rig.wait_for(session.Message, 90, type=wire.EXECUTE_REPLY, parent=parent)
        printed = b"".join(event.content for event in rig.passed_over if getattr(event, "type", 0) == wire.STREAM)
        assert printed.split() == [str(i).encode() for i in range(20)]


def test_a_new_hub_finds_the_board_and_its_variables(tmp_path, monkeypatch, micropython):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "0.5")

    def run(hub, code):
        request = hub.send("execute_request", {"code": code})
        while True:
            message = hub.receive(60)
            if message["parent"] == request and message["type"] == "execute_reply":
                return message["content"]

    with VirtualBoard("micropython", slice_ms=SLICE_MS) as board:
        for code in (COMPUTING, "stopping.append(1)"):
            with connection.connect() as hub:
                hub.request("attach_request", {"board": board.port}, 60)
                assert run(hub, code) == {"status": "ok"}
                os.kill(statefile.read().pid, signal.SIGKILL)


def test_a_time_limit_and_a_reset_hold(own_notebook, monkeypatch):
    monkeypatch.setenv("UCORE_VIRTUAL_SLICE_MS", str(SLICE_MS))
    own_notebook.client.stop_channels()
    own_notebook.manager.restart_kernel(now=True)
    own_notebook.client = own_notebook.manager.client()
    own_notebook.client.start_channels()
    own_notebook.client.wait_for_ready(timeout=60)
    assert own_notebook.run("%%ucore\n" + COMPUTING).error is None
    assert own_notebook.run("%%ucore --timeout 0.5\nwhile True: pass").error == "TimeoutError"
    assert "has restarted" in own_notebook.run("%ucore reset").text()
    assert own_notebook.run("%%ucore\n'stopping' in globals()").result == "False"
