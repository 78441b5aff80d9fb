"""The tie to a hub: made in the background, told to whoever waits, made again after a loss."""

import socket
import time

import pytest

from ukernel.attachment import Attachments
from ukernel.errors import BoardNotFoundError, HubUnreachableError
from ukernel.loop import Loop

PATIENCE_S = 30.0


class ScriptedHub:
    """A hub client that answers as it was told. Its socket is real: the loop watches it."""

    def __init__(self, error=None):
        self.error = error
        self.requests = []
        self.sent = []
        self.inbox = []
        self.lost = self.closed = False
        self._ours, self._theirs = socket.socketpair()

    def fileno(self):
        return self._ours.fileno()

    def request(self, msg_type, content, timeout_s=10.0):
        self.requests.append((msg_type, content))
        if self.error and msg_type == "attach_request":
            raise self.error
        return {"status": "ok", "board": {"name": "bench", "port": "p", "facts": {}}}

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

    def close(self):
        self.closed = True
        self._ours.close()
        self._theirs.close()


class Bench:
    """A loop and attachments whose hubs are scripted."""

    def __init__(self):
        self.loop = Loop()
        self.hubs = []
        self.errors = []
        self.attachments = Attachments(connect=self._connect)

    def _connect(self):
        hub = ScriptedHub(self.errors.pop(0) if self.errors else None)
        self.hubs.append(hub)
        return hub

    def turn_until(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            self.loop.turn()


@pytest.fixture
def bench(monkeypatch):
    for name in ("UCORE_BOARD", "UCORE_PIPE_PORT"):
        monkeypatch.delenv(name, raising=False)
    bench = Bench()
    yield bench
    bench.attachments.close()
    for hub in bench.hubs:
        hub.close()
    bench.loop.close()


def test_the_board_is_attached_before_anybody_asks(bench, monkeypatch):
    monkeypatch.setenv("UCORE_BOARD", "the one on the shelf")
    bench.attachments.start(bench.loop)
    bench.turn_until(lambda: bench.attachments.get(None).is_ready)
    assert bench.hubs[0].requests[0][0] == "attach_request"
    assert bench.hubs[0].requests[0][1]["board"] == "the one on the shelf"
    told = []
    bench.attachments.get(None).when_ready(told.append)
    assert told == [None]


def test_a_fixed_pipe_port_is_asked_for_first(bench, monkeypatch):
    monkeypatch.setenv("UCORE_PIPE_PORT", "5555")
    bench.attachments.start(bench.loop)
    bench.turn_until(lambda: bench.attachments.get(None).is_ready)
    assert bench.hubs[0].requests[0] == ("listen_request", {"port": 5555})


def test_an_error_is_told_to_who_waits_and_the_next_one_tries_again(bench):
    bench.errors = [BoardNotFoundError("none")]
    attachment = None
    bench.attachments.loop = bench.loop
    attachment = bench.attachments.get(None)
    told = []
    attachment.when_ready(told.append)
    bench.turn_until(lambda: told)
    assert isinstance(told[0], BoardNotFoundError)
    assert bench.hubs[0].closed
    attachment.when_ready(told.append)
    bench.turn_until(lambda: len(told) == 2)
    assert told[1] is None


def test_who_no_longer_waits_is_not_told(bench):
    bench.attachments.loop = bench.loop
    told = []
    bench.attachments.get(None).when_ready(told.append)
    bench.attachments.get(None).forget(told.append)
    bench.attachments.get(None).forget(told.append)
    bench.turn_until(lambda: bench.attachments.get(None).is_ready)
    assert told == []


def test_answers_reach_who_asked_also_after_the_reply(bench):
    bench.attachments.start(bench.loop)
    attachment = bench.attachments.get(None)
    bench.turn_until(lambda: attachment.is_ready)
    heard = {"a": [], "b": []}
    a = attachment.send("execute_request", {}, lambda kind, content: heard["a"].append((kind, content)))
    b = attachment.send("execute_request", {}, lambda kind, content: heard["b"].append((kind, content)))
    hub = bench.hubs[0]
    hub.say(b, "stream", text="b")
    hub.say(a, "execute_reply", status="ok")
    hub.say(a, "stream", text="late")
    hub.say(999, "stream", text="nobody's")
    bench.turn_until(lambda: len(heard["a"]) == 2)
    assert heard["a"] == [("execute_reply", {"status": "ok"}), ("stream", {"text": "late"})]
    assert heard["b"] == [("stream", {"text": "b"})]


def test_a_hub_that_dies_fails_what_was_asked_and_is_replaced_when_needed(bench):
    bench.attachments.start(bench.loop)
    attachment = bench.attachments.get(None)
    bench.turn_until(lambda: attachment.is_ready)
    heard = []
    attachment.send("execute_request", {}, lambda kind, content: heard.append((kind, content["ename"])))
    bench.hubs[0].die()
    bench.turn_until(lambda: heard)
    assert heard == [("execute_reply", "HubUnreachableError")]
    assert not attachment.is_ready
    assert len(bench.hubs) == 1
    told = []
    attachment.when_ready(told.append)
    bench.turn_until(lambda: told)
    assert told == [None]
    assert len(bench.hubs) == 2


def test_a_hub_that_died_unnoticed_is_replaced_before_it_is_used(bench):
    bench.attachments.start(bench.loop)
    attachment = bench.attachments.get(None)
    bench.turn_until(lambda: attachment.is_ready)
    bench.hubs[0].die()
    told = []
    attachment.when_ready(told.append)
    assert told == []
    bench.turn_until(lambda: told)
    assert (told, len(bench.hubs)) == ([None], 2)


def test_a_hub_found_dead_on_sending_is_an_error_at_once(bench):
    bench.attachments.start(bench.loop)
    attachment = bench.attachments.get(None)
    bench.turn_until(lambda: attachment.is_ready)
    bench.hubs[0].lost = True
    with pytest.raises(HubUnreachableError):
        attachment.send("execute_request", {})
    assert not attachment.is_ready


def test_each_board_has_its_own_attachment(bench):
    bench.attachments.start(bench.loop)
    other = bench.attachments.get("other")
    assert other is bench.attachments.get("other") is not bench.attachments.get(None)
    other.open()
    bench.turn_until(lambda: other.is_ready)
    assert "other" in [content["board"] for hub in bench.hubs for _, content in hub.requests]
