"""The line emulator: what goes in comes out, late or damaged exactly as asked."""

import os
import pathlib
import random
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import tty

import emulator
import pytest
from emulator import BoardUart, Faults, LineEmulator, Noise, has_compiler

PATIENCE_S = 30.0  # before a test says that it hangs
FAULTS = ("flipped_bits", "dropped", "duplicated", "bursts", "burst_lost", "ring_lost", "unheard")
CLEAN = dict.fromkeys(FAULTS, 0)

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="the board's UART is emulated in C: no compiler")


class End:
    """One end of the line, in the test's hands."""

    def __init__(self, fd):
        self.fd = fd

    @classmethod
    def opened(cls, path):
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(fd, termios.TCSANOW)
        return cls(fd)

    def write(self, data):
        while data:
            data = data[os.write(self.fd, data[:4096]) :]

    def read(self, size):
        data = b""
        while len(data) < size:
            assert select.select([self.fd], [], [], PATIENCE_S)[0], f"{len(data)} of {size} bytes came"
            data += os.read(self.fd, size - len(data))
        return data

    def read_until(self, mark):
        data = b""
        while not data.endswith(mark):
            data += self.read(1)
        return data

    def close(self):
        os.close(self.fd)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def heard(line, host):
    """A line notices after a moment that somebody opened its port; until then bytes for the host are lost."""
    host.write(b"?")
    wait_until(lambda: line.stats["to_board"]["taken"] > 0)


@pytest.fixture
def board():
    master, slave = os.openpty()
    tty.setraw(master, termios.TCSANOW)
    end = End(master)
    end.port = os.ttyname(slave)
    yield end
    os.close(slave)
    end.close()


@pytest.fixture
def connect(board):
    """Put a line on the board: returns it and the host's end."""
    to_close = []

    def connect(**settings):
        line = LineEmulator(board.port, **settings).__enter__()
        to_close.append(line.__exit__)
        host = End.opened(line.port)
        to_close.append(host.close)
        heard(line, host)
        board.read(1)
        return line, host

    yield connect
    for close in reversed(to_close):
        close()


@pytest.mark.parametrize("baudrate", [None, 8_000_000])
def test_a_megabyte_passes_unchanged_both_ways_at_once(board, connect, baudrate):
    line, host = connect(baudrate=baudrate)
    sent = {end: random.Random(end is host).randbytes(1_000_000) for end in (board, host)}
    writers = [threading.Thread(target=end.write, args=(data,)) for end, data in sent.items()]
    received = {}
    readers = [threading.Thread(target=lambda e=e: received.update({e: e.read(1_000_000)})) for e in sent]
    for thread in writers + readers:
        thread.start()
    for thread in writers + readers:
        thread.join()
    assert received[host] == sent[board]
    assert received[board] == sent[host]
    assert line.stats["to_host"] == CLEAN | {"taken": 1_000_000, "delivered": 1_000_000}
    assert line.stats["to_board"] == CLEAN | {"taken": 1_000_001, "delivered": 1_000_001}


@pytest.mark.parametrize("baudrate", [9600, 115200, 921600])
def test_order_and_content_survive_a_slow_and_distant_line(board, connect, baudrate):
    _, host = connect(baudrate=baudrate, latency_s=0.016)
    data = random.Random(1).randbytes(1500)
    board.write(data)
    host.write(data[::-1])
    assert host.read(1500) == data
    assert board.read(1500) == data[::-1]


def test_a_slow_line_holds_its_source_back(board, connect):
    line, host = connect(baudrate=1200)
    board.write(bytes(2000))
    host.read(1)
    assert line.stats["to_host"]["taken"] <= 200  # not the whole of it at once


def test_faults_strike_the_same_bytes_for_the_same_seed(board, connect):
    faults = Faults(bit_error_rate=1e-3, drop_rate=0.002, duplicate_rate=0.002, bursts_per_mb=200)
    data = random.Random(2).randbytes(20_000)
    line, host = connect(to_host=faults, seed=7)
    board.write(data)
    expected = Noise(faults, 7, "to_host").apply(data)
    assert host.read(len(expected)) == expected
    stats = line.stats["to_host"]
    assert len(expected) == len(data) - stats["dropped"] - stats["burst_lost"] + stats["duplicated"]
    assert min(stats[kind] for kind in ("flipped_bits", "dropped", "duplicated", "bursts")) > 0
    assert Noise(faults, 8, "to_host").apply(data) != expected
    assert Noise(faults, 7, "to_board").apply(data) != expected


def test_faults_do_not_depend_on_how_the_stream_is_cut():
    faults = Faults(bit_error_rate=2e-3, drop_rate=0.01, duplicate_rate=0.01, bursts_per_mb=3000)
    data = random.Random(3).randbytes(50_000)
    whole, pieces = Noise(faults, 1, "to_host"), Noise(faults, 1, "to_host")
    cuts = random.Random(4)
    at, out = 0, b""
    while at < len(data):
        size = cuts.choice([1, 2, 7, 92, 1000])
        out += pieces.apply(data[at : at + size])
        at += size
    assert out == whole.apply(data)
    for kind in ("flipped_bits", "dropped", "duplicated", "bursts", "burst_lost"):
        assert getattr(pieces, kind) == getattr(whole, kind)


def test_faults_are_as_frequent_as_asked():
    count = 2_000_000
    faults = Faults(bit_error_rate=1e-3, drop_rate=1e-3, duplicate_rate=1e-3, bursts_per_mb=100)
    noise = Noise(faults, 5, "to_host")
    noise.apply(bytes(count))
    assert noise.flipped_bits == pytest.approx(8 * count * 1e-3, rel=0.05)
    assert noise.dropped == pytest.approx(count * 1e-3, rel=0.1)
    assert noise.duplicated == pytest.approx(count * 1e-3, rel=0.1)
    assert noise.bursts == pytest.approx(200, rel=0.3)
    assert noise.burst_lost == 50 * noise.bursts


def test_extreme_faults_damage_everything():
    assert Noise(Faults(bit_error_rate=1.0), 0, "to_host").apply(b"\x00\xf0") == b"\xff\x0f"
    assert Noise(Faults(drop_rate=1.0), 0, "to_host").apply(b"abc") == b""
    assert Noise(Faults(duplicate_rate=1.0), 0, "to_host").apply(b"abc") == b"aabbcc"
    with pytest.raises(ValueError, match="between 0 and 1"):
        Noise(Faults(drop_rate=2.0), 0, "to_host")


def test_faults_can_be_set_while_the_line_runs(board, connect):
    line, host = connect()
    line.set_faults(to_board=Faults(bit_error_rate=1.0))
    host.write(b"\x00\x0f")
    assert board.read(2) == b"\xff\xf0"
    line.set_faults()
    host.write(b"\x00\x0f")
    assert board.read(2) == b"\x00\x0f"


def test_a_stall_keeps_what_was_sent_meanwhile(board, connect):
    line, host = connect(baudrate=115200)
    line.stall(0.1)
    board.write(b"from the board")
    host.write(b"from the host")
    assert host.read(14) == b"from the board"
    assert board.read(13) == b"from the host"


def test_a_stall_can_also_lose_what_was_sent_meanwhile(board, connect):
    line, host = connect()
    line.stall(3600, keep=False)
    board.write(b"lost")
    wait_until(lambda: line.stats["to_host"]["unheard"] == 4)
    line.stall(0)
    board.write(b"heard")
    assert host.read(5) == b"heard"


def test_a_cut_ends_the_hosts_port_and_it_returns_under_another_name(board, connect):
    line, host = connect()
    old = line.port
    line.cut()
    assert line.port is None
    assert not os.path.exists(old)
    with pytest.raises(OSError, match="Input/output error"):
        host.write(b"into the void")
    board.write(b"lost")
    wait_until(lambda: line.stats["to_host"]["unheard"] == 4)
    new = line.restore()
    assert new == line.port != old
    again = End.opened(new)
    again.write(b"hello")
    assert board.read(5) == b"hello"
    board.write(b"welcome back")
    assert again.read(12) == b"welcome back"
    again.close()


def test_nobody_hears_what_is_said_while_the_port_is_closed(board):
    with LineEmulator(board.port) as line:
        board.write(b"nobody there")
        wait_until(lambda: line.stats["to_host"]["unheard"] == 12)
        for _ in range(2):
            host = End.opened(line.port)
            before = line.stats["to_board"]["taken"]
            host.write(b"x")
            wait_until(lambda start=before: line.stats["to_board"]["taken"] > start)
            board.write(b"here")
            assert host.read(4) == b"here"
            taken = line.stats["to_host"]["taken"]
            board.write(b"never read")
            wait_until(lambda start=taken: line.stats["to_host"]["taken"] == start + 10)
            host.close()
            unheard = line.stats["to_host"]["unheard"]
            wait_until(lambda start=unheard: board.write(b".") or line.stats["to_host"]["unheard"] > start)


def test_the_line_can_follow_the_hosts_baud_rate_up_to_what_it_sustains(board, connect):
    _, host = connect(baudrate="port", max_baudrate=115200)
    data = bytes(range(256))

    def set_speed(speed):
        attributes = termios.tcgetattr(host.fd)
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(host.fd, termios.TCSADRAIN, attributes)

    def echo():
        board.write(data)
        return host.read(256)

    set_speed(termios.B921600)
    wait_until(lambda: echo() != data)
    set_speed(termios.B115200)
    wait_until(lambda: echo() == data)


def test_a_board_behind_a_socket_gets_a_port_too():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"socket://127.0.0.1:{server.getsockname()[1]}"
        with LineEmulator(address) as line, server.accept()[0] as board:
            host = End.opened(line.port)
            host.write(b"ping")
            assert board.recv(4, socket.MSG_WAITALL) == b"ping"
            board.sendall(b"pong")
            assert host.read(4) == b"pong"
            host.close()


def test_descriptors_can_be_the_boards_end():
    ours, theirs = socket.socketpair()
    with ours, LineEmulator(theirs.detach()) as line:
        host = End.opened(line.port)
        host.write(b"ping")
        assert ours.recv(4, socket.MSG_WAITALL) == b"ping"
        host.close()


def test_the_port_goes_when_the_board_goes():
    ours, theirs = socket.socketpair()
    with LineEmulator(theirs.detach()) as line:
        assert os.path.exists(line.port)
        ours.close()
        wait_until(lambda: not os.path.exists(line.port))


def test_a_board_that_is_not_there_is_an_error_that_names_it():
    with pytest.raises(OSError, match="/dev/no-such-board"):
        LineEmulator("/dev/no-such-board").__enter__()


def test_the_emulator_ends_with_its_parent_even_when_that_is_killed(board):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from emulator import LineEmulator\n"
        "with LineEmulator(sys.argv[2]) as line: print(line.port, flush=True); sys.stdin.read()\n"
    )
    folder = str(pathlib.Path(emulator.__file__).parent.parent)
    command = [sys.executable, "-c", code, folder, board.port]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        port = parent.stdout.readline().strip()
        assert os.path.exists(port)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not os.path.exists(port))


# The board's own UART


@pytest.fixture
def run_board():
    """Run a board's program on a pseudo-terminal: returns its port, and what to call to let it go on."""
    boards = []

    def run(uart, code):
        master, slave = os.openpty()
        tty.setraw(slave, termios.TCSANOW)
        gate, key = os.pipe()
        command = [sys.executable, "-c", "import os, sys; gate = int(sys.argv[1])\n" + code, str(gate)]
        process = subprocess.Popen(command, stdin=slave, stdout=slave, env={**os.environ, **uart.env}, pass_fds=[gate])
        boards.append((process, key))
        wait_until(lambda: uart.stats["boots"] == 1)
        os.close(slave)
        os.close(gate)
        return master, lambda: os.write(key, b"g")

    yield run
    for process, key in boards:
        os.close(key)
        process.kill()
        process.wait()


@needs_compiler
def test_a_large_write_waits_for_the_fifo_every_128_bytes(run_board):
    data = random.Random(6).randbytes(4096)
    with BoardUart(baudrate=921600) as uart:
        port, go = run_board(uart, f"os.read(gate, 1); os.write(1, {data!r}); os.read(gate, 1)")
        with LineEmulator(port, baudrate=921600, uart=uart) as line:
            host = End.opened(line.port)
            heard(line, host)
            go()
            assert host.read(4096) == data
            host.close()
        assert uart.stats["written"] == 4096
        assert uart.stats["waits"] >= 4096 // 128 - 1


@needs_compiler
def test_threads_that_write_at_once_lose_nothing_in_the_fifo(run_board):
    code = (
        "import threading; os.read(gate, 1)\n"
        "def say(letter):\n"
        "    for _ in range(20): assert os.write(1, letter * 100) == 100\n"
        "for letter in (b'a', b'b', b'c'): threading.Thread(target=say, args=(letter,)).start()\n"
    )
    with BoardUart(baudrate=2_000_000, tick_s=0.001) as uart:
        port, go = run_board(uart, code + "os.read(gate, 1)")
        with LineEmulator(port, baudrate=2_000_000, uart=uart) as line:
            host = End.opened(line.port)
            heard(line, host)
            go()
            data = host.read(6000)
            assert [data.count(letter) for letter in (b"a", b"b", b"c")] == [2000, 2000, 2000]
            host.close()


@needs_compiler
def test_what_does_not_fit_the_boards_input_ring_is_lost(run_board):
    code = "os.read(gate, 1)\nwhile True: os.write(1, os.read(0, 100))"
    data = bytes(range(4, 254)) * 4
    with BoardUart(baudrate=921600, ring_bytes=260) as uart:
        port, go = run_board(uart, code)
        with LineEmulator(port, baudrate=921600, uart=uart) as line:
            host = End.opened(line.port)
            host.write(data)
            wait_until(lambda: line.stats["to_board"]["ring_lost"] == 740)
            assert line.stats["to_board"]["delivered"] == 260
            go()
            assert host.read(260) == data[:260]
            wait_until(lambda: uart.stats["read"] == 260)
            host.write(data[:260])  # there is room again
            assert host.read(260) == data[:260]
            host.close()


@needs_compiler
def test_a_program_that_is_not_on_a_terminal_is_left_alone():
    with BoardUart(baudrate=1200) as uart:
        command = [sys.executable, "-c", "import os; os.write(1, bytes(10_000))"]
        assert subprocess.run(command, env={**os.environ, **uart.env}, capture_output=True).stdout == bytes(10_000)
        assert set(uart.stats.values()) == {0}
