"""Files over a bad line, a cable that is cut, a hub that is killed, a flash that is full: whole, or as it was."""

import contextlib
import os
import signal
import threading

import pytest
from emulator import Faults, LineEmulator
from patience import PATIENCE_S, wait_until
from scripted import HubThread

from ukernel.boards import BoardCodeError, BoardTimeoutError, connect
from ukernel.client import connection
from ukernel.errors import BoardError, UcoreError
from ukernel.hub import driver
from ukernel.hub.driver import BoardDriver
from ukernel.protocol import statefile
from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython

BAUDRATE = 460800
CONTENT = os.urandom(60_000)
BAD = Faults(bit_error_rate=1e-4, drop_rate=1e-4)
# To the board a flipped bit may make the byte that interrupts a program, which is then what happens.
GAPS = Faults(drop_rate=2e-4)


@pytest.fixture
def line(micropython):
    """A board's line, which a test may spoil or cut."""
    with VirtualBoard("micropython") as virtual, LineEmulator(virtual.port, baudrate=BAUDRATE, latency_s=0.001) as line:
        yield line


@pytest.fixture
def board(line, tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "state.json"))
    hub = HubThread(60.0)
    first = line.port
    hub.hub.boards.make_driver = lambda port, deliver: BoardDriver(
        port, deliver, kind="uart", baudrate=BAUDRATE, max_baudrate=BAUDRATE, look_for=lambda: line.port or first
    )
    with contextlib.ExitStack() as stack:
        stack.callback(hub.stop)
        yield stack.enter_context(connect(line.port))


class Halfway(threading.Thread):
    """A put in a thread of its own. ``reached``: a third of it is there."""

    def __init__(self, board, data, path="/a"):
        super().__init__(daemon=True)
        self.board, self.data, self.path = board, data, path
        self.reached = threading.Event()
        self.error = None
        self.start()

    def run(self):
        try:
            self.board.files.write(self.path, self.data, progress=self.watch)
        except Exception as error:
            self.error = error

    def watch(self, path, done, size):
        if done > size // 3:
            self.reached.set()

    def wait(self):
        self.join(PATIENCE_S)
        assert not self.is_alive()


def test_every_byte_is_right_on_a_bad_line(board, line):
    line.set_faults(seed=3, to_host=BAD, to_board=GAPS)
    board.files.write("/a", CONTENT)
    assert board.files.read("/a") == CONTENT


def test_a_cable_that_is_put_back_soon_is_not_even_noticed(board, line):
    put = Halfway(board, CONTENT)
    assert put.reached.wait(PATIENCE_S)
    line.cut()
    line.restore()
    put.wait()
    assert put.error is None
    assert board.files.read("/a") == CONTENT


def test_a_cable_that_is_cut_leaves_the_old_file_and_the_next_put_goes_on(board, line, monkeypatch):
    board.files.write("/a", b"old")
    monkeypatch.setattr(driver, "GRACE_S", 0.3)
    put = Halfway(board, CONTENT)
    assert put.reached.wait(PATIENCE_S)
    line.cut()
    put.wait()
    assert isinstance(put.error, BoardError)
    line.restore()
    wait_until(lambda: _answers(board))
    assert board.files.read("/a") == b"old"
    done = []
    board.files.write("/a", CONTENT, progress=lambda path, at, size: done.append(at))
    assert done[1] > len(CONTENT) // 4
    assert board.files.read("/a") == CONTENT
    assert [info.path for info in board.files.ls("/") if info.path.startswith("/a")] == ["/a"]


def test_a_cable_that_is_cut_while_a_file_is_fetched_leaves_the_old_one_here(board, line, monkeypatch, tmp_path):
    board.files.write("/a", CONTENT)
    (tmp_path / "got").mkdir()
    (tmp_path / "got/a").write_bytes(b"old")
    monkeypatch.setattr(driver, "GRACE_S", 0.3)

    def cut(path, done, size):
        if done and line.port is not None:
            line.cut()

    with pytest.raises(BoardError):
        board.files.get("/a", tmp_path / "got", progress=cut)
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "got").iterdir()] == [("a", b"old")]


def test_a_flash_that_is_full_amid_a_sync_leaves_whole_files(board, line, tmp_path):
    line.set_line(baudrate=None)
    (tmp_path / "code").mkdir()
    for number in range(3):
        (tmp_path / "code" / f"{number}").write_bytes(bytes([number]) * 900_000)
    board.files.write("/2", b"old")
    with pytest.raises(OSError, match="no room on the board"):
        board.files.sync(tmp_path / "code", "/")
    assert board.files.read("/2") == b"old"
    assert [info.path for info in board.files.ls("/") if "~" in info.path] == []
    assert board.files.stat("/0").size == board.files.stat("/1").size == 900_000


def test_a_program_that_reads_a_mounted_folder_gets_an_oserror_when_the_cable_is_cut(board, line, monkeypatch, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_bytes(b"1")
    monkeypatch.setattr(driver, "GRACE_S", 0.3)
    board.run("import _thread, time\nfound = []")
    mount = board.files.mount(tmp_path / "folder")
    board.run(
        "def read():\n    try:\n        while True:\n            open('/remote/a').read()\n            time.sleep_ms(5)\n"
        "    except OSError as error:\n        found.append(error.errno)\n"
        "_thread.start_new_thread(read, ())"
    )
    line.cut()
    with pytest.raises(UcoreError):
        mount.wait(PATIENCE_S)
    line.restore()
    wait_until(lambda: _answers(board))
    wait_until(lambda: board.eval("found"))
    assert board.eval("found[0]") in (19, 110)
    mount.close()
    with board.files.mount(tmp_path / "folder"):
        assert board.eval("open('/remote/a').read()") == "1"


def test_a_mounted_folder_is_right_on_a_bad_line(board, line, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_bytes(CONTENT)
    line.set_faults(seed=5, to_host=BAD, to_board=GAPS)
    with board.files.mount(tmp_path / "folder", write=True):
        board.run("with open('/remote/a', 'rb') as f, open('/remote/b', 'wb') as g:\n    g.write(f.read())")
    assert (tmp_path / "folder/b").read_bytes() == CONTENT


def _answers(board):
    try:
        return board.eval("1") == 1
    except BoardError:
        return False


@pytest.fixture
def own_hub(micropython, tmp_path, monkeypatch):
    """A board behind a hub's process."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "0.5")
    with VirtualBoard("micropython") as virtual, LineEmulator(virtual.port, baudrate=BAUDRATE) as line:
        with connect(line.port) as board:
            yield board
        if statefile.read() is not None:
            with connection.connect(start=False) as hub:
                hub.request("stop_request", {}, 10)


def test_a_hub_that_is_killed_leaves_the_old_file_and_the_next_put_goes_on(own_hub):
    own_hub.files.write("/a", b"old")
    put = Halfway(own_hub, CONTENT)
    assert put.reached.wait(PATIENCE_S)
    os.kill(statefile.read().pid, signal.SIGKILL)
    put.wait()
    assert isinstance(put.error, UcoreError)
    assert own_hub.files.read("/a") == b"old"
    done = []
    own_hub.files.write("/a", CONTENT, progress=lambda path, at, size: done.append(at))
    assert done[1] > 0
    assert own_hub.files.read("/a") == CONTENT


def test_a_hub_that_is_killed_ends_a_mount(own_hub, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_bytes(b"1")
    with own_hub.files.mount(tmp_path / "folder") as mount:
        assert own_hub.eval("open('/remote/a').read()") == "1"
        os.kill(statefile.read().pid, signal.SIGKILL)
        with pytest.raises(UcoreError):
            mount.wait(PATIENCE_S)
        with pytest.raises(BoardCodeError, match="OSError"):
            own_hub.eval("open('/remote/a').read()")
    with own_hub.files.mount(tmp_path / "folder"):
        assert own_hub.eval("open('/remote/a').read()") == "1"


@pytest.mark.parametrize(
    "code",
    [
        "_ucore_show(bytes(60000), True)",
        "'x' * 60000",
        "class Rich:\n    def _repr_html_(self):\n        return 'x' * 30000\n_ucore_show(Rich())",
    ],
)
def test_an_interrupt_amid_a_large_answer_costs_that_answer_and_nothing_else(board, line, code):
    line.set_line(baudrate=57600)
    with pytest.raises(BoardTimeoutError):
        board.run(code, timeout=0.5)
    assert board.eval("bytes(range(256)) * 20") == bytes(range(256)) * 20
    with pytest.raises(BoardCodeError, match="ZeroDivisionError"):  # an answer in several pieces, with its traceback
        board.run("def fail(n):\n    return fail(n - 1) if n else 1 / 0\nfail(10)")
