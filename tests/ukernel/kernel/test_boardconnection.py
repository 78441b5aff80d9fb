"""The tie to a hub: made in the background, told to whoever waits, made again after a loss."""

import socket
import time

import pytest

from ukernel.errors import BoardNotFoundError, HubUnreachableError
from ukernel.kernel.boardconnection import BoardConnections
from ukernel.kernel.loop import Loop

PATIENCE_S = 30.0


class ScriptedHub:
    """A hub client that answers as it was told. Its socket is real: the loop watches it."""

    def __init__(self, error=None):
        self.error = error
        self.notice = ""
        self.requests = []
        self.sent = []
        self.inbox = []
        self.lost = self.closed = False
        self._ours, self._theirs = socket.socketpair()

    def fileno(self):
        return self._ours.fileno()

    def request(self, msg_type, content=None, timeout_s=10.0):
        self.requests.append((msg_type, content))
        if self.error and msg_type == "attach_request":
            raise self.error
        return {"status": "ok", "board": {"name": "bench", "port": "p", "facts": {}}, "notice": self.notice}

    def send(self, msg_type, content):
        if self.lost:
            raise HubUnreachableError("gone")
        self.sent.append((msg_type, content))
        return len(self.sent)

    def drain(self):
        self._ours.setblocking(False)
        try:
            self._ours.recv(100)
        except BlockingIOError:
            pass
        if self.lost:
            raise HubUnreachableError("gone")
        messages, self.inbox = self.inbox, []
        return messages

    def say(self, parent, msg_type, **content):
        self.inbox.append({"type": msg_type, "parent": parent, "content": content})
        self._theirs.send(b"x")

    def die(self):
        self.lost = True
        self._theirs.send(b"x")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        self.closed = True
        self._ours.close()
        self._theirs.close()


class DyingBoard:
    """A virtual board that ends when the test says so."""

    python = "micropython"

    def __init__(self, number):
        self.port = f"/dev/pts/{number}"
        self.banner = f"virtual board {number}"
        self.dead = self.stopped = False

    def has_ended(self, within_s=0.0):
        return self.dead

    def stop(self):
        self.dead = self.stopped = True


class Bench:
    """A loop and connections whose hubs are scripted."""

    def __init__(self):
        self.loop = Loop()
        self.hubs = []
        self.errors = []
        self.notice = ""
        self.connections = BoardConnections(kernel_id="k", connect=self._connect)

    def virtual(self):
        """Have connections whose own board is a virtual one that the test can kill."""
        self.started = []
        self.connections = BoardConnections(virtual=True, connect=self._connect)
        self.connections.start_virtual_board = lambda: self.started.append(DyingBoard(len(self.started))) or self.started[-1]

    def _connect(self):
        hub = ScriptedHub(self.errors.pop(0) if self.errors else None)
        hub.notice = self.notice
        self.hubs.append(hub)
        return hub

    def run_until(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            self.loop.run_once()


@pytest.fixture
def bench(monkeypatch):
    for name in ("UCORE_BOARD", "UCORE_PIPE_PORT"):
        monkeypatch.delenv(name, raising=False)
    bench = Bench()
    yield bench
    bench.connections.close()
    for hub in bench.hubs:
        hub.close()
    bench.loop.close()


def test_the_board_is_attached_before_anybody_asks(bench, monkeypatch):
    monkeypatch.setenv("UCORE_BOARD", "the one on the shelf")
    bench.connections.start(bench.loop)
    bench.run_until(lambda: bench.connections.get(None).is_ready)
    assert bench.hubs[0].requests[0][0] == "attach_request"
    assert bench.hubs[0].requests[0][1]["board"] == "the one on the shelf"
    told = []
    bench.connections.get(None).when_ready(told.append)
    assert told == [None]


def test_a_fixed_pipe_port_is_asked_for_first(bench, monkeypatch):
    monkeypatch.setenv("UCORE_PIPE_PORT", "5555")
    bench.connections.start(bench.loop)
    bench.run_until(lambda: bench.connections.get(None).is_ready)
    assert bench.hubs[0].requests[0] == ("listen_request", {"port": 5555})


def test_an_error_is_told_to_who_waits_and_the_next_one_tries_again(bench):
    bench.errors = [BoardNotFoundError("none")]
    connection = None
    bench.connections.loop = bench.loop
    connection = bench.connections.get(None)
    told = []
    connection.when_ready(told.append)
    bench.run_until(lambda: told)
    assert isinstance(told[0], BoardNotFoundError)
    assert bench.hubs[0].closed
    connection.when_ready(told.append)
    bench.run_until(lambda: len(told) == 2)
    assert told[1] is None


def test_who_no_longer_waits_is_not_told(bench):
    bench.connections.loop = bench.loop
    told = []
    bench.connections.get(None).when_ready(told.append)
    bench.connections.get(None).forget(told.append)
    bench.connections.get(None).forget(told.append)
    bench.run_until(lambda: bench.connections.get(None).is_ready)
    assert told == []


def test_answers_reach_who_asked_also_after_the_reply(bench):
    bench.connections.start(bench.loop)
    connection = bench.connections.get(None)
    bench.run_until(lambda: connection.is_ready)
    heard = {"a": [], "b": []}
    a = connection.send("execute_request", {}, lambda kind, content: heard["a"].append((kind, content)))
    b = connection.send("execute_request", {}, lambda kind, content: heard["b"].append((kind, content)))
    hub = bench.hubs[0]
    hub.say(b, "stream", text="b")
    hub.say(a, "execute_reply", status="ok")
    hub.say(a, "stream", text="late")
    hub.say(999, "stream", text="nobody's")
    bench.run_until(lambda: len(heard["a"]) == 2)
    assert heard["a"] == [("execute_reply", {"status": "ok"}), ("stream", {"text": "late"})]
    assert heard["b"] == [("stream", {"text": "b"})]


def test_a_hub_that_dies_fails_what_was_asked_and_is_replaced_when_needed(bench):
    bench.connections.start(bench.loop)
    connection = bench.connections.get(None)
    bench.run_until(lambda: connection.is_ready)
    heard = []
    connection.send("execute_request", {}, lambda kind, content: heard.append((kind, content["ename"])))
    bench.hubs[0].die()
    bench.run_until(lambda: heard)
    assert heard == [("execute_reply", "HubUnreachableError")]
    assert not connection.is_ready
    assert len(bench.hubs) == 1
    told = []
    connection.when_ready(told.append)
    bench.run_until(lambda: told)
    assert told == [None]
    assert len(bench.hubs) == 2


def test_a_hub_that_died_unnoticed_is_replaced_before_it_is_used(bench):
    bench.connections.start(bench.loop)
    connection = bench.connections.get(None)
    bench.run_until(lambda: connection.is_ready)
    bench.hubs[0].die()
    told = []
    connection.when_ready(told.append)
    assert told == []
    bench.run_until(lambda: told)
    assert (told, len(bench.hubs)) == ([None], 2)


def test_a_hub_found_dead_on_sending_is_an_error_at_once(bench):
    bench.connections.start(bench.loop)
    connection = bench.connections.get(None)
    bench.run_until(lambda: connection.is_ready)
    bench.hubs[0].lost = True
    with pytest.raises(HubUnreachableError):
        connection.send("execute_request", {})
    assert not connection.is_ready


def test_each_board_has_its_own_connection(bench):
    bench.connections.start(bench.loop)
    other = bench.connections.get("other")
    assert other is bench.connections.get("other") is not bench.connections.get(None)
    other.open()
    bench.run_until(lambda: other.is_ready)
    assert "other" in [content["board"] for hub in bench.hubs for _, content in hub.requests]


def ready(bench, board=None):
    connection = bench.connections.get(board)
    told = []
    connection.when_ready(told.append)
    bench.run_until(lambda: told)
    assert told == [None]
    return connection


def test_a_board_that_has_ended_fails_its_cell_and_is_looked_for_by_the_next(bench):
    bench.connections.start(bench.loop)
    connection = ready(bench)
    heard = []
    number = connection.send("execute_request", {}, lambda kind, content: heard.append(content["ename"]))
    bench.hubs[0].say(number, "execute_reply", status="error", ename="BoardGoneError", evalue="It ended.")
    bench.hubs[0].say(0, "detached", status="error", ename="BoardGoneError", evalue="It ended.")
    bench.run_until(lambda: not connection.is_ready)
    assert heard[0] == "BoardGoneError"
    assert bench.hubs[0].closed
    ready(bench)
    assert len(bench.hubs) == 2


def test_a_dead_virtual_board_is_replaced_and_people_are_told_once(bench):
    bench.virtual()
    bench.connections.start(bench.loop)
    connection = ready(bench)
    assert connection.take_notice() == ""
    bench.started[0].dead = True
    bench.hubs[0].say(0, "detached", status="error", ename="BoardGoneError", evalue="It ended.")
    bench.run_until(lambda: not connection.is_ready)
    ready(bench)
    assert [board.port for board in bench.started] == ["/dev/pts/0", "/dev/pts/1"]
    assert bench.started[0].stopped
    assert bench.hubs[1].requests[-1][1]["board"] == "/dev/pts/1"
    assert "a new one" in connection.take_notice()
    assert connection.take_notice() == ""


def test_a_living_virtual_board_is_kept_when_the_hub_dies(bench):
    bench.virtual()
    bench.connections.start(bench.loop)
    connection = ready(bench)
    bench.hubs[0].die()
    bench.run_until(lambda: not connection.is_ready)
    ready(bench)
    assert len(bench.started) == 1


def test_a_stand_in_for_micropython_is_named_once(bench, monkeypatch):
    monkeypatch.setattr(DyingBoard, "python", "cpython")
    bench.virtual()
    bench.connections.start(bench.loop)
    assert ready(bench).take_notice() == "virtual board 0"


def test_what_the_hub_has_to_tell_is_told(bench):
    bench.notice = "The board was left alone."
    bench.connections.start(bench.loop)
    connection = ready(bench)
    assert connection.take_notice() == "The board was left alone."
    identity = bench.hubs[0].requests[0][1]
    assert identity["kernel"] == "k" and len(identity["instance"]) == 16


def test_using_another_board_lets_the_first_go(bench):
    bench.connections.start(bench.loop)
    first = ready(bench)
    done = []
    bench.connections.use("other", done.append)
    bench.run_until(lambda: done)
    assert done == [None]
    assert bench.connections.get(None) is bench.connections.get("other") is not first
    assert bench.hubs[0].sent == [("leave_request", {})] and bench.hubs[0].closed
    assert not first.is_ready


def test_a_board_that_cannot_be_used_changes_nothing(bench):
    bench.connections.start(bench.loop)
    first = ready(bench)
    bench.errors = [BoardNotFoundError("none")]
    done = []
    bench.connections.use("other", done.append)
    bench.run_until(lambda: done)
    assert isinstance(done[0], BoardNotFoundError)
    assert bench.connections.get(None) is first and first.is_ready


@pytest.mark.parametrize(("restart", "request_type"), [(True, "restart_request"), (False, None)])
def test_the_end_of_a_kernel_says_whether_it_comes_back(bench, restart, request_type):
    bench.connections.start(bench.loop)
    ready(bench)
    hub = bench.hubs[0]
    bench.connections.close(restart)
    assert (("restart_request", None) in hub.requests) == restart
    assert (("leave_request", {}) in hub.sent) == (not restart)


def test_a_mistake_with_one_message_does_not_cost_the_others(bench, capsys):
    bench.connections.start(bench.loop)
    connection = ready(bench)
    heard = []

    def receive(kind, content):
        heard.append(kind)
        raise LookupError("a mistake")

    number = connection.send("execute_request", {}, receive)
    bench.hubs[0].say(number, "stream", text="a")
    bench.hubs[0].say(number, "execute_reply", status="ok")
    bench.run_until(lambda: len(heard) == 2)
    assert "a mistake" in capsys.readouterr().err


def test_a_restart_after_the_hubs_death_asks_another_hub_for_a_fresh_board(bench):
    bench.connections.start(bench.loop)
    connection = ready(bench)
    bench.hubs[0].die()
    bench.run_until(lambda: not connection.is_ready)
    bench.connections.close(restart=True)
    assert [kind for kind, _ in bench.hubs[1].requests] == ["attach_request", "restart_request"]
    assert bench.hubs[1].requests[0][1]["board"] == "p"
    assert bench.hubs[1].closed


def test_a_board_that_was_let_go_is_not_reset_by_a_restart(bench):
    bench.connections.start(bench.loop)
    ready(bench)
    done = []
    bench.connections.use("other", done.append)
    bench.run_until(lambda: done)
    bench.connections.close(restart=True)
    assert [kind for hub in bench.hubs for kind, _ in hub.requests] == ["attach_request", "attach_request", "restart_request"]
