"""What clients ask of the hub, and how it says no."""

import asyncio

import pytest
from patience import PATIENCE_S
from scripted import ScriptedBoard

from ucore import wire
from ukernel.client import connection as client
from ukernel.errors import (
    BoardError,
    HubError,
    HubUnreachableError,
    UsageError,
)
from ukernel.hub.boards import Boards
from ukernel.hub.requests import ClientRequests


def test_a_client_without_a_board_is_told_so(hub):
    with client.connect(start=False) as alone:
        request = alone.send("execute_request", {"code": "1"})
        message = alone.receive(PATIENCE_S)
        assert (message["type"], message["parent"]) == ("execute_reply", request)
        with pytest.raises(BoardError, match="attached"):
            alone.request("complete_request", {"code": "1", "cursor_pos": 1})


def test_nonsense_from_a_client_or_a_board_harms_nobody(hub, notebook):
    with client.connect(start=False) as odd:
        odd._socket.sendall(b'not json\n[]\n{"type":1}\n{"type":"execute_request","id":1,"content":[1]}\n')
        with pytest.raises(UsageError, match="dance_request"):
            odd.request("dance_request")
    with pytest.raises(UsageError, match="code"):
        notebook.client.request("complete_request")
    board = hub.boards["kitchen"]
    request = notebook.send("hold")
    notebook.until("status", request)
    board.say(0x7F, b"a type of the future")
    board.say(wire.EXECUTE_RESULT, b"nonsense")
    board.say(wire.INPUT_REQUEST, b"[1]")
    board.tell("no event at all")
    board.write(b"1234", 4, 0, id=99)
    board.say(wire.EXECUTE_REPLY, b"not json either")
    assert notebook.until("execute_reply", request)[-1][1]["ename"] == "BoardError"
    assert notebook.run("print on")[-1][1] == {"status": "ok"}


def test_stop_is_for_anybody_but_a_newer_build_asks_first(hub, notebook):
    with client.connect(start=False) as other:
        with pytest.raises(HubError, match="a notebook"):
            other.request("stop_request", {"only_if_idle": True})
        assert other.request("stop_request") == {"status": "ok"}
    with pytest.raises(HubUnreachableError):
        while True:
            notebook.next()
    hub.join()


class Connection:
    """A client's connection whose messages the test makes up."""

    label = "a client"

    def __init__(self):
        self.sent = []

    def send(self, type, parent, content):
        self.sent.append((type, parent, content))


class HubWithoutBoards:
    """One client's requests, to boards of which there are none, in a loop that the test runs."""

    def __init__(self):
        self.changes = 0
        self.connection = Connection()
        self.ports = []
        self.stops = 0
        boards = Boards(lambda port, deliver: ScriptedBoard(port, deliver), 60.0, self._count)
        self.client = ClientRequests(boards, self, self.connection)
        self.boards = boards

    def _count(self):
        self.changes += 1

    async def listen(self, port):
        await asyncio.sleep(0)
        self.ports.append(port)

    def stop(self):
        self.stops += 1

    async def ask(self, type, content=None, id=5):
        """The answers, once nothing is left to do."""
        before = len(self.connection.sent)
        self.connection.on_message(type, id, content or {})
        while self.client._tasks:
            await asyncio.sleep(0)
        return self.connection.sent[before:]


def in_a_loop(scenario):
    async def run():
        return await scenario(HubWithoutBoards())

    return asyncio.run(asyncio.wait_for(run(), 10))


@pytest.mark.parametrize(
    ("type", "content", "ename", "evalue"),
    [
        ("dance_request", {}, "UsageError", "The board hub knows no 'dance_request'."),
        ("complete_request", {}, "UsageError", "The message 'complete_request' has no 'code'."),
        ("listen_request", {"port": "80"}, "UsageError", "'80' is no port number"),
        ("listen_request", {"port": True}, "UsageError", "True is no port number"),
        ("attach_request", {"board": 7}, "UsageError", "board must be a name, a port or null"),
        ("producers_request", {"stop": 7}, "UsageError", "stop must be the name of a producer"),
        ("execute_request", {"code": 7}, "UsageError", "code must be a str"),
        ("reset_request", {}, "BoardError", "No board is attached yet."),
        ("interrupt_request", {}, "BoardError", "No board is attached yet."),
    ],
)
def test_what_cannot_be_done_is_an_error_in_the_reply_of_that_type(type, content, ename, evalue):
    async def scenario(hub):
        return await hub.ask(type, content)

    ((reply, parent, said),) = in_a_loop(scenario)
    assert (reply, parent) == (type.replace("_request", "_reply"), 5)
    assert (said["status"], said["ename"], said["evalue"]) == ("error", ename, evalue)


@pytest.mark.parametrize(
    ("type", "content", "least"),
    [
        ("pipes_request", {}, 1),  # answered at once
        ("dance_request", {}, 1),  # refused
        ("listen_request", {"port": 4242}, 2),  # by a task: when it begins, and when it has ended
        ("listen_request", {"port": 0}, 2),
    ],
)
def test_the_idle_timers_are_looked_at_after_each_request(type, content, least):
    async def scenario(hub):
        before = hub.changes
        await hub.ask(type, content)
        return hub.changes - before

    assert in_a_loop(scenario) >= least


def test_a_fault_of_the_hubs_own_is_told_too_and_the_next_request_is_answered(monkeypatch):
    async def scenario(hub):
        async def fail(port):
            raise RuntimeError("a bug")

        monkeypatch.setattr(hub, "listen", fail)
        ((_, _, failed),) = await hub.ask("listen_request", {"port": 4242})
        ((_, _, answered),) = await hub.ask("pipes_request")
        return failed, answered

    failed, answered = in_a_loop(scenario)
    assert (failed["status"], failed["ename"]) == ("error", "RuntimeError")
    assert answered == {"status": "ok", "pipes": []}


def test_a_client_counts_until_its_connection_is_lost():
    async def scenario(hub):
        was_used = hub.boards.is_used
        hub.connection.on_lost()
        return was_used, hub.boards.is_used

    assert in_a_loop(scenario) == (True, False)


def test_the_hub_itself_is_asked_to_listen_and_to_stop():
    async def scenario(hub):
        assert await hub.ask("listen_request", {"port": 4242}) == [("listen_reply", 5, {"status": "ok"})]
        assert await hub.ask("stop_request", {"only_if_idle": True}) == [("stop_reply", 5, {"status": "ok"})]
        return hub.ports, hub.stops

    assert in_a_loop(scenario) == ([4242], 1)
