"""What tests of the hub share: a hub with scripted boards, in a thread, and who uses it."""

import pytest
from hubnotebook import KITCHEN, Notebook
from scripted import running_hub

from ukernel.client import connection as client
from ukernel.hub import replay


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "run" / "hub.json"))


@pytest.fixture
def hub():
    with running_hub() as thread:
        yield thread


@pytest.fixture
def attached(hub):
    with client.connect(start=False) as attached:
        attached.request("attach_request", {"board": KITCHEN, "client": "a notebook"})
        yield attached


@pytest.fixture
def board(hub, attached):
    return hub.boards["kitchen"]


@pytest.fixture
def notebook(hub):
    with Notebook() as attached:
        yield attached


@pytest.fixture
def small_buffer(monkeypatch):
    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 1 << 20)
