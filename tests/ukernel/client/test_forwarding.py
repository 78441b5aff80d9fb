"""A remote hub's pipes, through a forwarded port: UCORE_PIPE_PORT and UCORE_PIPE_TOKEN are all that a reader needs."""

import pytest
from forwarder import Forwarder
from scripted import running_hub

from ukernel.client import connection
from ukernel.errors import HubDeniedError, HubUnreachableError, PipeEndedError
from ukernel.pipes import collect, pipes, subscribe
from ukernel.protocol import statefile


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """(a scripted board on a hub whose state file is out of reach, the tunnel that leads to the hub)."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "there" / "hub.json"))
    with running_hub() as hub, connection.connect(start=False) as attached:
        attached.request("attach_request", {"board": "scripted://kitchen", "client": "a remote notebook"})
        here = statefile.read()
        with Forwarder(here.port) as tunnel:
            monkeypatch.setenv("UCORE_PIPE_PORT", str(tunnel.port))
            monkeypatch.setenv("UCORE_PIPE_TOKEN", here.token)
            monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "here" / "hub.json"))
            yield hub.boards["kitchen"], tunnel
        monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "there" / "hub.json"))


def test_a_pipe_is_read_through_a_forwarded_port(remote, tmp_path):
    board, _ = remote
    board.open("adc")
    board.write(b"\0\0\x80?" * 3, 4, 0)
    with subscribe("adc", replay=True, timestamps=True) as pipe:
        board.write(b"\0\0\0@", 4, 3)
        board.close_pipe(4)
        assert [chunk for chunk, _ in pipe] == [b"\0\0\x80?"] * 3 + [b"\0\0\0@"]
        assert (pipe.end_reason, pipe.lost) == ("closed", 0)
    assert collect("adc", n=4, replay=True).tolist() == [1, 1, 1, 2]
    assert not (tmp_path / "here").exists()  # nothing was started on this side


def test_the_remote_pipes_are_listed_and_hinted_at(remote):
    board, _ = remote
    board.open("temperature")
    assert [(pipe.name, pipe.open) for pipe in pipes()] == [("temperature", True)]
    with pytest.raises(TimeoutError, match="'temperature' is open: did you mean"):
        collect("temprature", seconds=0.05)


def test_a_tunnel_that_breaks_is_no_clean_end(remote):
    board, tunnel = remote
    board.open("adc")
    with subscribe("adc", strict=True) as pipe:
        board.write(b"a", 1, 0)
        assert next(pipe) == b"a"
        tunnel.cut()
        with pytest.raises(PipeEndedError, match="the connection to the board hub broke"):
            next(pipe)
        assert pipe.end_reason == "connection lost"


def test_without_the_token_nothing_is_read(remote, monkeypatch):
    monkeypatch.delenv("UCORE_PIPE_TOKEN")
    with pytest.raises(HubDeniedError, match="ucore token"):
        subscribe("adc")
    monkeypatch.setenv("UCORE_PIPE_TOKEN", "0" * 64)
    with pytest.raises(HubDeniedError, match="UCORE_PIPE_TOKEN must be its token"):
        subscribe("adc")


def test_a_tunnel_that_is_not_there_is_said(remote):
    _, tunnel = remote
    tunnel.__exit__()
    with pytest.raises(HubUnreachableError, match="port forwarding"):
        subscribe("adc")
