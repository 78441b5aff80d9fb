"""A main.py that never ends is interrupted where a notebook wants the board: it must not cost the board, at whatever start."""

import time

import pytest
from boardclient import BoardClient
from boardprocess import wait_for_loop
from rig import Rig
from scripted import HubThread

from ucore import wire
from ukernel.hub.driver import BoardDriver
from ukernel.install import installer
from ukernel.link import session
from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython

OK = b'{"status":"ok"}'
SOON_S = 5.0  # a second that main.py has, and what a busy computer takes; half of what a silent board is given
MAINS = {
    "busy": "while True: pass\n",
    "sleepy": "import time\nwhile True: time.sleep(0.1)\n",
    "stubborn": "import time\nfor _ in range(2):\n try:\n  while True: time.sleep(0.1)\n except KeyboardInterrupt: pass\n",
}


@pytest.fixture(params=MAINS)
def main(request):
    return MAINS[request.param]


@pytest.fixture
def start_hub(tmp_path, monkeypatch):
    """Call it for a hub in this process, whose boards are real ones."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    hubs = []

    def start():
        hub = HubThread(60.0)
        hub.hub.boards.make_driver = lambda port, deliver: BoardDriver(port, deliver, install=installer.ensure_agent)
        hubs.append(hub)
        return hub

    yield start
    for hub in hubs:
        hub.stop()


@pytest.fixture
def start_board(micropython, tmp_path, monkeypatch):
    """Call it for the virtual board whose files are kept."""
    monkeypatch.setenv("UCORE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("UCORE_VIRTUAL_NAME", "loop")
    return lambda: VirtualBoard("micropython")


def save(notebook, main):
    said, reply = notebook.run(f"with open('/main.py', 'w') as file:\n    file.write({main!r})\n")
    assert reply["status"] == "ok"


def answers(notebook):
    return notebook.run("6 * 7") == ("42", {"status": "ok"})


def test_a_notebook_goes_on_after_a_reset(own_notebook, main):
    assert own_notebook.run("%%ucore --save /main.py\n" + main).error is None
    began = time.monotonic()
    assert own_notebook.run("%ucore reset").error is None
    assert own_notebook.run("%%ucore\n6 * 7").result == "42"
    assert time.monotonic() - began < SOON_S


def test_a_board_that_boots_with_it_is_attached(start_board, start_hub, main):
    start_hub()
    with start_board() as board:
        notebook = BoardClient(board.port)
        save(notebook, main)
        notebook.close()
    with start_board() as board:
        began = time.monotonic()
        notebook = BoardClient(board.port)
        assert answers(notebook)
        assert time.monotonic() - began < SOON_S
        notebook.close()


def test_another_hub_finds_the_board_after_a_restart_from_a_cell(start_board, start_hub, main):
    hub = start_hub()
    with start_board() as board:
        notebook = BoardClient(board.port)
        save(notebook, main)
        assert notebook.run("import machine\nmachine.reset()\n")[1]["ename"] == "BoardRestartedError"
        notebook.close()
        hub.stop()
        start_hub()
        began = time.monotonic()
        notebook = BoardClient(board.port)
        assert answers(notebook)
        assert time.monotonic() - began < SOON_S
        notebook.close()


def test_a_board_without_a_button_on_its_line_is_interrupted_after_a_reset(start_board, start_hub, main, monkeypatch):
    monkeypatch.setattr(BoardDriver, "is_virtual", False)
    monkeypatch.setattr("ukernel.hub.driver.SLOW_MAIN_S", 1.0)
    start_hub()
    with start_board() as board:
        notebook = BoardClient(board.port)
        save(notebook, main)
        began = time.monotonic()
        assert notebook.request("reset_request", {"force": True}, 30)["status"] == "ok"
        assert answers(notebook)
        assert time.monotonic() - began < SOON_S
        notebook.close()


def test_a_board_that_hung_is_restarted_with_it(start_board, start_hub, main, monkeypatch):
    monkeypatch.setattr("ukernel.link.session.SILENT_S", 1.0)
    start_hub()
    with start_board() as board:
        notebook = BoardClient(board.port)
        save(notebook, main)
        hang = "@micropython.native\ndef hang():\n    while True:\n        pass\nhang()\n"
        assert notebook.run(hang, interrupt_when=lambda: wait_for_loop(board))[1]["ename"] == "NoAnswerError"
        began = time.monotonic()
        said, reply = notebook.run("6 * 7")
        assert reply["status"] == "ok"
        assert said.endswith("42")
        assert time.monotonic() - began < SOON_S
        notebook.close()


def test_a_silent_cell_is_not_interrupted_by_another_hub(start_board, start_hub):
    hub = start_hub()
    with start_board() as board:
        notebook = BoardClient(board.port)
        notebook.begin("import time\nended = 0\nfor _ in range(30): time.sleep(0.1)\nended = 1\n")
        notebook.close()
        hub.stop()
        start_hub()
        notebook = BoardClient(board.port)
        assert notebook.run("ended") == ("1", {"status": "ok"})
        notebook.close()


def test_a_cell_is_not_interrupted_although_main_serves_it():
    with Rig() as rig:
        assert (
            rig.run("with open('/main.py', 'w') as file:\n    file.write('import ucore.agent\\nucore.agent.serve()\\n')") == OK
        )
        rig.board.press_reset()
        rig.wait_for(session.Ready, 20)
        cell = "import time\nend = time.ticks_add(time.ticks_ms(), 3000)\nwhile time.ticks_diff(end, time.ticks_ms()) > 0: pass\nprint('done')"
        parent = rig.start_cell(cell)
        rig.wait_for(session.Message, 20, type=wire.STATUS, parent=parent)
        rig.board.close()
        # Another hub meets a board that is silent for longer than main.py is given.
        rig.board = BoardDriver(rig.virtual.port, lambda board, event: rig.events.put(event))
        rig.callback(rig.board.close)
        rig.board.start()
        assert rig.wait_for(session.Message, 20, type=wire.EXECUTE_REPLY, parent=parent).content == OK
