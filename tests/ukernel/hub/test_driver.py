"""A board whose line comes and goes, with streams made by hand. What a real agent answers is tested in tests/endtoend."""

import queue
import threading
import time
import types

import pytest

from ucore import wire
from ukernel.errors import BoardGoneError, BoardNotFoundError, NoAnswerError
from ukernel.hub import driver
from ukernel.hub.driver import BoardDriver
from ukernel.link import session
from ukernel.ports import stream
from ukernel.virtual.launcher import VirtualBoard


class CutStream:
    """A stream whose other end has hung up."""

    kind = "pty"

    def __init__(self, port):
        self.port = port

    def read(self, timeout_s):
        raise BoardGoneError("it hung up")

    def write(self, data):
        pass

    def set_baudrate(self, baudrate):
        pass

    def wake(self):
        pass

    def close(self):
        pass


@pytest.fixture
def opened(monkeypatch):
    monkeypatch.setattr(driver, "GRACE_S", 0.6)
    monkeypatch.setattr(driver, "RETRY_S", 0.02)
    return []


def events_of(port, open_stream):
    events = queue.Queue()
    found = BoardDriver(port, lambda board, event: events.put(event), open_stream=open_stream)
    found.start()
    return found, events


def test_a_pseudo_terminal_that_hung_up_ends_the_board_before_its_number_can_be_a_strangers(opened):
    class Watched(CutStream):
        def close(self):
            opened.append("closed")

    def open_stream(port):
        opened.append(port)
        return Watched(port)

    found = BoardDriver("/dev/pts/99999", lambda board, event: opened.append(type(event)), open_stream=open_stream)
    found.start()
    found._thread.join(20)
    assert opened == ["/dev/pts/99999", session.Refused, "closed"]


def test_a_serial_port_that_vanished_is_looked_for_until_it_is_back(opened):
    def open_stream(port):
        opened.append(port)
        if len(opened) > 1:
            raise BoardNotFoundError("it is not there yet")
        return CutStream(port)

    found, events = events_of("/dev/ttyUSB99", open_stream)
    assert isinstance(events.get(timeout=20), session.Gone)
    found.close()
    assert len(opened) > 1


class Cable:
    """To a real board: what is pulled out and plugged in again."""

    def __init__(self):
        self.is_out = threading.Event()

    def open_stream(self, port):
        if self.is_out.is_set():
            raise BoardNotFoundError("it is not there")
        return _Plugged(self, stream.open_stream(port))


class _Plugged:
    def __init__(self, cable, inner):
        self._cable = cable
        self._inner = inner

    def read(self, timeout_s):
        if self._cable.is_out.is_set():
            raise BoardGoneError("it was pulled out")
        return self._inner.read(min(timeout_s, 0.02) if timeout_s is not None else 0.02)

    def __getattr__(self, name):
        return getattr(self._inner, name)


def test_a_board_that_is_lost_a_second_time_is_told_to_be_gone_again(opened):
    cable, events = Cable(), queue.Queue()
    with VirtualBoard("cpython") as virtual:
        found = BoardDriver(
            virtual.port,
            lambda board, event: isinstance(event, session.Console) or events.put(event),
            open_stream=cable.open_stream,
            look_for=lambda: virtual.port,
        )
        found.start()
        try:
            assert isinstance(events.get(timeout=20), session.Ready)
            for _ in range(2):
                cable.is_out.set()
                assert isinstance(events.get(timeout=20), session.Gone)
                cable.is_out.clear()
                assert isinstance(events.get(timeout=20), session.Ready)
        finally:
            found.close()


def test_a_fault_of_our_own_is_told_instead_of_leaving_a_board_that_looks_alive():
    def open_stream(port):
        raise ZeroDivisionError("a bug")

    found, events = events_of("/dev/ttyUSB99", open_stream)
    event = events.get(timeout=20)
    assert isinstance(event, session.Refused)
    assert "a bug" in str(event.error)
    found.close()


def test_a_board_in_a_boot_loop_says_what_it_printed(monkeypatch, tmp_path):
    monkeypatch.setattr(driver, "ANSWER_S", 2.0)
    (tmp_path / "ucore").mkdir()
    (tmp_path / "ucore" / "__init__.py").write_text("raise OSError('no memory card')")
    with VirtualBoard("cpython", package=tmp_path / "ucore") as virtual:
        events = queue.Queue()
        found = BoardDriver(virtual.port, lambda board, event: events.put(event), install=lambda port: None)
        found.start()
        refused = events.get(timeout=20)
        found.close()
    assert isinstance(refused.error, NoAnswerError)
    assert "OSError: no memory card" in str(refused.error)


def test_a_board_that_boots_long_after_it_was_attached_is_given_time_to_answer(monkeypatch):
    late = []
    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + sum(late), time=time.time)
    monkeypatch.setattr(driver, "time", clock)
    with VirtualBoard("cpython") as virtual:
        events = queue.Queue()
        found = BoardDriver(virtual.port, lambda board, event: isinstance(event, session.Console) or events.put(event))
        found.start()
        assert isinstance(events.get(timeout=20), session.Ready)
        late.append(driver.ANSWER_S + 1)
        found.send(wire.SHUTDOWN_REQUEST, 0, b"")
        event = events.get(timeout=20)
        found.close()
    assert isinstance(event, session.Ready)
    assert event.restarted
