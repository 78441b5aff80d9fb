import errno
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from boardprocess import board_process, has_written
from lineboard import PACKAGE, PYTHONS, LineBoard
from patience import PATIENCE_S, wait_until

from ukernel.errors import BoardGoneError
from ukernel.virtual import launcher
from ukernel.virtual.launcher import VirtualBoard
from ukernel.virtual.line import RESET, RING

ENDLESS = {
    "a busy loop": "while True: pass",
    "an allocating loop": "while True: [i for i in range(50)]",
    "time.sleep": "time.sleep(600)",
    "time.sleep_ms": "time.sleep_ms(600000)",
    "many short sleeps": "while True: time.sleep_ms(1)",
    "a loop that prints": "while True: print('x' * 50)",
    "poll": "p = select.poll(); p.register(source, select.POLLIN); p.poll(600000)",
    "a blocked read": "source.read(1)",
}
THREE_THREADS = (
    "exec('def work():\\n while True: [bytes(20) for i in range(30)]'); _thread.stack_size(32768); "
    "[_thread.start_new_thread(work, ()) for i in range(3)]"
)


KINDS = [*PYTHONS, "cpython on a socket"]


def line_board(kind):
    python, _, on_socket = kind.partition(" ")
    return LineBoard(python, socket=bool(on_socket))


@pytest.fixture(params=KINDS)
def board(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where a board that is killed leaves its folder
    monkeypatch.setattr("tempfile.tempdir", None)
    with line_board(request.param) as board:
        yield board


@pytest.fixture(scope="module", params=KINDS)
def lasting_board(request):
    """A board that goes on from one interrupted program to the next, as a board does."""
    with line_board(request.param) as board:
        yield board


def test_a_board_runs_what_it_is_sent(board):
    assert board.ask("print(6 * 7)") == "42"
    assert board.ask("print(sys.implementation.name, sys.platform)") == f"{board.board.python} linux"


def test_the_banner_says_which_python_runs(board):
    name = {"micropython": "MicroPython", "cpython": "CPython"}[board.board.python]
    assert f"{name} {board.board.version}" in board.board.banner
    version = board.ask("print('.'.join(str(n) for n in sys.implementation.version[:3]))")
    assert version == board.board.version


def test_hubs_may_come_and_go(board):
    board.ask("kept = 'the board runs on'")
    for _ in range(3):
        board.line.close()
        board.open()
        assert board.ask("print(kept)") == "the board runs on"


@pytest.mark.parametrize("what", ENDLESS)
def test_0x03_interrupts(lasting_board, what):
    for _ in range(5):
        lasting_board.send(ENDLESS[what])
        lasting_board.interrupt()
    assert lasting_board.ask("print(1)") == "1"


def test_sleep_ms_lets_other_threads_run(board):
    board.ask("n = []; exec('def count():\\n while len(n) < 1000: n.append(0)')")
    board.ask("_thread.start_new_thread(count, ())")
    board.ask("exec('while len(n) < 1000: time.sleep_ms(1)')")


def test_a_busy_thread_does_not_keep_others_from_running(board):
    board.ask("n = []; exec('def count():\\n while True: n.append(time.sleep_ms(1))')")
    board.ask("_thread.start_new_thread(count, ())")
    board.ask("exec('while len(n) < 20: pass')")


def test_0x03_is_data_while_kbd_intr_is_off(board):
    board.send("micropython.kbd_intr(-1); print('off'); data = source.read(1); micropython.kbd_intr(3); print(data)")
    board.read_until("off\r?\n")  # the byte before would interrupt
    board.line.write(b"\x03")
    assert board.read_until("DONE\r?\n").strip() == r"b'\x03'"
    board.send(ENDLESS["a busy loop"])
    board.interrupt()


@pytest.mark.parametrize(
    ("end", "cause", "number"),
    [
        ("machine.reset()", "machine.reset", "2"),
        ("machine.soft_reset()", "machine.soft_reset", "5"),
        ("sys.exit()", "its program ended", "5"),
        ("_thread.start_new_thread(machine.reset, ()); time.sleep(600)", "machine.reset", "2"),
        ("machine._virtualchip.reset(9, False)", "it crashed, exit code 9", "3"),
    ],
)
def test_a_board_that_ends_boots_again(board, end, cause, number):
    board.ask("forgotten = 1")
    board.send(end)
    assert cause in board.read_until("READY\r?\n")
    assert board.ask("print('forgotten' in globals(), machine.reset_cause())") == f"False {number}"


@pytest.mark.parametrize("cut", [0, 5])
def test_the_reset_button_on_the_line_restarts_a_board_that_hangs(board, cut):
    board.ask("forgotten = 1")
    process = board_process(board.board)
    process.suspend()
    board.line.write(b"#" * 3000)  # more than its ring holds, and nothing of it is for the next boot
    for part in (RESET[:cut], RESET[cut:]):
        board.line.write(part)
        board.line.flush()
        time.sleep(0.1 if cut else 0)
    assert "its reset button" in board.read_until("READY\r?\n")
    assert board.ask("print('forgotten' in globals(), machine.reset_cause())") == "False 2"
    assert not process.is_running()


@pytest.mark.parametrize("slice_ms", [1, 500])
def test_the_slice_is_how_long_a_thread_waits_for_one_that_computes(slice_ms):
    with LineBoard("micropython", slice_ms=slice_ms) as board:
        board.ask("exec('def work():\\n while True: pass'); _thread.start_new_thread(work, ())")

        def wait_ms():
            return int(board.ask("t = time.ticks_ms(); time.sleep_ms(20); print(time.ticks_diff(time.ticks_ms(), t))"))

        # On a busy machine one may take longer, or the other thread may come too late to be waited for.
        wait_until(lambda: (wait_ms() > 400) == (slice_ms == 500), "a wait of this length")


@pytest.mark.micropython
def test_a_thread_that_sleeps_over_and_over_keeps_a_coarse_slice_no_longer_than_one_that_computes():
    with LineBoard("micropython", slice_ms=500) as board:
        board.ask("naps = [0]; exec('def nap():\\n while True: naps[0] += 1; time.sleep_ms(4)')")
        board.ask("_thread.start_new_thread(nap, ()); turns = [0]")
        board.line.timeout = PATIENCE_S
        board.ask("exec('while len(turns) < 10:\\n if naps[0] != turns[-1]: turns.append(naps[0])')")
        turns = [int(word) for word in board.ask("print(*turns)").split()]
    # 125 are a slice; where it has no end they are thousands.
    assert max(after - before for before, after in zip(turns, turns[1:], strict=False)) < 600, turns


@pytest.mark.parametrize("text", ["0", "-1", "nan", "20000", "much"])
def test_a_slice_that_makes_no_sense_is_refused(text, monkeypatch):
    with pytest.raises(BoardGoneError, match="number of milliseconds"):
        VirtualBoard("cpython", slice_ms=text).start()
    monkeypatch.setenv("UCORE_VIRTUAL_SLICE_MS", text)
    with pytest.raises(BoardGoneError, match="UCORE_VIRTUAL_SLICE_MS"):
        VirtualBoard("cpython").start()


def test_a_board_keeps_its_identity_over_a_reset(board):
    identity = board.ask("print(machine.unique_id())")
    board.send("machine.reset()")
    board.read_until("READY\r?\n")
    assert board.ask("print(machine.unique_id())") == identity


def test_the_environment_sets_the_identity():
    with LineBoard("cpython", env={"UCORE_VIRTUAL_ID": "0203ff000001"}) as board:
        assert board.ask("print(machine.unique_id())") == r"b'\x02\x03\xff\x00\x00\x01'"


def test_the_working_folder_is_the_boards_own_and_goes_with_it(board):
    folder = board.ask("print(os.getcwd())")
    if board.board.python == "micropython":
        assert folder == "/"  # on a flash of its own, see test_boot.py
        return
    board.ask("open('data.txt', 'w').close()")
    assert os.listdir(folder) == ["data.txt"]
    board.board.stop()
    assert not os.path.exists(folder)


@pytest.mark.parametrize("python", PYTHONS)
def test_too_much_input_is_dropped_but_0x03_comes_through(python):
    with LineBoard(python) as board:
        board.send(ENDLESS["a busy loop"])
        for _ in range(20):
            board.line.write(b"#" * RING)
        board.interrupt()
        # The rest of the flood is a comment at the start of the first line; while the ring is full, lines are lost.
        board.line.timeout = 0.1
        while b"free" not in board.line.read_until(b"free\n"):
            board.line.write(b"print('free')\n")


def test_output_that_nobody_reads_does_not_stop_the_program(board):
    board.send("[print('x' * 1000) for i in range(30)]; f = open('f', 'w'); f.write('finished'); f.close(); time.sleep(600)")
    wait_until(lambda: has_written(board.board, "finished"))
    board.interrupt()
    assert board.ask("print(1)") == "1"


def test_the_board_dies_with_its_process_even_by_sigkill(board):
    board.ask("pass")
    process = psutil.Process(board.board._process.pid)
    children = process.children(recursive=True)
    assert children
    process.kill()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(number):
    command = [sys.executable, "-m", "ukernel.virtual.process", "--python", "cpython"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        while not psutil.Process(process.pid).children():
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.communicate(timeout=20) == (b"", b"")
        assert process.returncode == 0
    assert not psutil.wait_procs(children, timeout=20)[1]


def test_it_ends_when_the_process_that_started_it_is_killed():
    script = (
        "from ukernel.virtual.launcher import VirtualBoard\n"
        "board = VirtualBoard('cpython').start()\n"
        "print(board._process.pid, flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        board = psutil.Process(int(process.stdout.readline()))
        process.kill()
    psutil.wait_procs([board], timeout=20)
    assert not board.is_running()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders there")
def test_when_both_that_would_remove_its_files_are_killed_the_next_start_does(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    script = (
        "from ukernel.virtual.launcher import VirtualBoard\n"
        "board = VirtualBoard('cpython').start()\n"
        "print(board._process.pid, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        board = psutil.Process(int(process.stdout.readline()))
        processes = [board, *board.children(recursive=True)]
        (left,) = tmp_path.glob("ucore-virtual-*")
        board.kill()
        process.kill()
    assert not psutil.wait_procs(processes, timeout=20)[1]
    assert left.exists()
    with VirtualBoard("cpython"):
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_board_that_cannot_start_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("UCORE_VIRTUAL_ID", "none")
    with pytest.raises(BoardGoneError, match="UCORE_VIRTUAL_ID"):
        VirtualBoard("cpython").start()
    command = [sys.executable, "-m", "ukernel.virtual.process", "--python", "cpython"]
    assert b"UCORE_VIRTUAL_ID" in subprocess.run(command, stderr=subprocess.PIPE).stderr
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_is_taken_turns_others_away():
    with LineBoard("cpython", socket=True) as board:
        assert board.ask("print(1)") == "1"
        host, port = board.board.port.removeprefix("socket://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as second:
            assert second.recv(1) == b""
        assert board.ask("print(2)") == "2"


def test_without_micropython_the_banner_says_that_cpython_runs_and_how_to_build(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_CACHE_DIR", str(tmp_path))
    with VirtualBoard(package=PACKAGE) as board:
        assert board.python == "cpython"
        assert "CPython" in board.banner
        assert "ucore virtual --build" in board.banner


def test_asking_for_micropython_that_is_not_built_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_CACHE_DIR", str(tmp_path))
    with pytest.raises(BoardGoneError, match="ucore virtual --build"):
        VirtualBoard("micropython").start()


@pytest.mark.micropython
def test_the_heap_is_as_large_as_asked_for():
    with LineBoard("micropython", heap="120k") as board:
        assert 60_000 < int(board.ask("gc.collect(); print(gc.mem_free())")) < 120 * 1024


@pytest.mark.micropython
def test_an_interrupt_in_every_moment_leaves_the_heap_usable():
    with LineBoard("micropython") as board:
        for _ in range(100):
            board.send(ENDLESS["an allocating loop"])
            board.interrupt()
        assert board.ask("gc.collect(); print(len(bytearray(100000)))") == "100000"


def test_a_full_disk_is_an_error_in_a_sentence(monkeypatch):
    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x")

    monkeypatch.setattr(launcher.tempfile, "mkdtemp", no_room)
    with pytest.raises(BoardGoneError, match=r"did not start: No space left on device \(/tmp/x\)\.$"):
        VirtualBoard("cpython").start()


# The last tests here: the three threads of a crowded board compute until it ends, and would do so beside all tests that follow.


@pytest.fixture(scope="module", params=KINDS)
def crowded_board(request):
    """The same, with three threads that allocate all the time."""
    with line_board(request.param) as board:
        board.ask(THREE_THREADS)
        yield board


@pytest.mark.parametrize("what", ENDLESS)
def test_0x03_interrupts_the_main_thread_while_other_threads_allocate(crowded_board, what):
    for _ in range(5):
        crowded_board.send(ENDLESS[what])
        crowded_board.interrupt()
    assert crowded_board.ask("print(1)") == "1"
