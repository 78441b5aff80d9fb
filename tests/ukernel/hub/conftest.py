"""What tests of the hub share: a hub with scripted boards, in a thread, and who uses it."""

import pytest
from hubfixtures import attached, board, hub  # noqa: F401 - fixtures
from hubnotebook import Notebook

from ukernel.hub import replay


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "run" / "hub.json"))


@pytest.fixture
def notebook(hub):  # noqa: F811
    with Notebook() as notebook:
        yield notebook


@pytest.fixture
def small_buffer(monkeypatch):
    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 1 << 20)
