"""Streams: a board is opened without being reset, and missed as soon as it goes."""

import os
import socket
import subprocess
import sys
import threading

import pytest
from scripted import PATIENCE_S

from ukernel.errors import BoardBusyError, BoardGoneError, BoardNotFoundError
from ukernel.ports.stream import open_stream, other_reader

posix = pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")


class RecordingLine:
    """A serial port that records in which order it was prepared and opened."""

    def __init__(self):
        object.__setattr__(self, "steps", [])

    def __setattr__(self, name, value):
        self.steps.append((name, value))

    def open(self):
        self.steps.append("open")
        raise OSError(2, "enough seen")


def test_a_board_is_not_reset_by_opening(monkeypatch, plugged):
    import serial

    line = RecordingLine()
    monkeypatch.setattr(serial, "serial_for_url", lambda port, do_not_open, **kwargs: line)
    with pytest.raises(BoardNotFoundError):
        open_stream("/dev/ttyACM0")
    before = line.steps[: line.steps.index("open")]
    assert ("dtr", True) in before  # and both alike: only a difference pulls a bridge's reset line
    assert ("rts", True) in before
    assert ("exclusive", True) in before


class Ends:
    """A stream, and the far end of it as a file descriptor."""

    def __init__(self, kind):
        if kind == "pty":
            self.far, near = os.openpty()
            name = os.ttyname(near)
            self.stream = open_stream(name)
            os.close(near)
        else:
            with socket.create_server(("127.0.0.1", 0)) as server:
                self.stream = open_stream(f"socket://127.0.0.1:{server.getsockname()[1]}")
                self.socket = server.accept()[0]
            self.far = self.socket.fileno()
        self.kind = kind

    def hang_up(self):
        if self.kind == "socket":
            self.socket.close()
        elif self.far >= 0:
            os.close(self.far)
        self.far = -1

    def read(self, size):
        data = b""
        while len(data) < size:
            data += os.read(self.far, 65536)
        return data


@pytest.fixture(params=[pytest.param("pty", marks=posix), pytest.param("socket", marks=posix)])
def ends(request):
    ends = Ends(request.param)
    yield ends
    ends.stream.close()
    ends.hang_up()


def test_a_stream_knows_its_kind(ends):
    assert ends.stream.kind == ends.kind


def test_bytes_go_both_ways_as_they_are(ends):
    every = bytes(range(256))
    os.write(ends.far, every)
    got = b""
    while len(got) < 256:
        got += ends.stream.read(PATIENCE_S)
    assert got == every
    ends.stream.write(every)
    assert ends.read(256) == every


def test_a_read_takes_all_that_is_there(ends):
    if ends.kind == "pty":
        pytest.skip("how much a pseudo-terminal holds is the system's affair")
    os.write(ends.far, b"x" * 20_000)
    assert len(ends.stream.read(PATIENCE_S)) == 20_000


def test_a_lot_passes_while_the_other_end_reads(ends):
    data = os.urandom(300_000)
    writer = threading.Thread(target=ends.stream.write, args=(data,))
    writer.start()
    assert ends.read(len(data)) == data
    writer.join(PATIENCE_S)


def test_a_read_that_nothing_comes_to_ends_in_time(ends):
    assert ends.stream.read(0) == b""
    assert ends.stream.read(0.01) == b""


def test_a_read_can_be_woken(ends):
    woken = []
    reader = threading.Thread(target=lambda: woken.append(ends.stream.read(None)))
    reader.start()
    ends.stream.wake()
    reader.join(PATIENCE_S)
    assert woken == [b""]


def test_a_wake_before_the_read_counts(ends):
    ends.stream.wake()
    ends.stream.wake()
    assert ends.stream.read(None) == b""
    os.write(ends.far, b"x")
    assert ends.stream.read(PATIENCE_S) == b"x"


def test_a_line_that_goes_is_noticed_by_reading_and_by_writing(ends):
    ends.hang_up()
    with pytest.raises(BoardGoneError, match=ends.stream.port):
        ends.stream.read(PATIENCE_S)
    with pytest.raises(BoardGoneError):
        for _ in range(100):
            ends.stream.write(b"x" * 1000)


def test_what_came_before_the_line_went_is_read_first(ends):
    if ends.kind == "pty":
        pytest.skip("a pseudo-terminal forgets it")
    os.write(ends.far, b"last words")
    ends.hang_up()
    assert ends.stream.read(PATIENCE_S) == b"last words"
    with pytest.raises(BoardGoneError):
        ends.stream.read(PATIENCE_S)


def test_a_line_that_takes_nothing_any_more_is_given_up(ends, monkeypatch):
    monkeypatch.setattr("ukernel.ports.stream._WRITE_TIMEOUT_S", 0.01)
    with pytest.raises(BoardGoneError, match="takes no bytes"):
        ends.stream.write(bytes(50_000_000))


def test_speed_means_nothing_here_and_closing_twice_is_fine(ends):
    ends.stream.set_baudrate(921600)
    ends.stream.close()
    ends.stream.close()
    ends.stream.wake()


@posix
def test_a_port_in_use_is_an_error_that_names_who_has_it(plugged):
    far, near = os.openpty()
    name = os.ttyname(near)
    os.close(near)
    code = f"import ukernel.ports.stream; s = ukernel.ports.stream.open_stream({name!r}); print('up', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"up\n"
        with pytest.raises(BoardBusyError) as caught:
            open_stream(name)
        if sys.platform == "linux":
            assert f"process {holder.pid}" in str(caught.value)
        holder.stdin.close()
    open_stream(name).close()
    os.close(far)


def test_a_port_that_is_not_there_is_an_error_that_says_so(plugged):
    with pytest.raises(BoardNotFoundError, match="ttyNone"):
        open_stream("/dev/ttyNone")
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"socket://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(BoardNotFoundError, match=nobody):
        open_stream(nobody)
    with pytest.raises(BoardNotFoundError, match="host:port"):
        open_stream("socket://nonsense")


def test_lines_without_a_descriptor_work_too(plugged):
    stream = open_stream("loop://")
    stream.write(b"echo")
    got = b""
    while len(got) < 4:
        got += stream.read(PATIENCE_S)
    assert got == b"echo"
    assert stream.read(0.01) == b""
    stream.wake()
    assert stream.read(None) == b""
    stream.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only here it is told from a line that went")
def test_bytes_that_another_program_took_are_not_a_line_that_went(plugged, monkeypatch):
    master, slave = os.openpty()
    try:
        stream = open_stream(os.ttyname(slave))
        thief = os.open(os.ttyname(slave), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        real_wait = stream._waiter.wait

        def wait(timeout_s):
            ready = real_wait(timeout_s)
            os.read(thief, 100)
            return ready

        monkeypatch.setattr(stream._waiter, "wait", wait)
        os.write(master, b"for both")
        assert stream.read(5) == b""
        monkeypatch.undo()
        os.write(master, b"for us")
        assert stream.read(5) == b"for us"
        os.close(thief)
        stream.close()
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_another_reader_of_a_port_is_named_and_the_owner_of_a_terminal_is_none(plugged):
    owner = "import os, pty, sys\nmaster, slave = pty.openpty()\nprint(os.ttyname(slave), flush=True)\nsys.stdin.read()"
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", owner], **how) as process:
        port = process.stdout.readline().strip()
        assert other_reader(port) == ""
        with open(port) as terminal, subprocess.Popen(["sleep", "60"], stdin=terminal) as reader:
            assert other_reader(port) == f"sleep (process {reader.pid})"
            reader.kill()
        process.stdin.close()
