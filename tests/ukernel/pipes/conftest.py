"""What tests of pipes share: a listener in the place of a hub, and a Python without NumPy."""

import sys

import pytest
from fakelistener import FakeListener


@pytest.fixture
def listener(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    monkeypatch.setenv("UCORE_STATE_PATH", str(path))
    monkeypatch.delenv("UCORE_PIPE_PORT", raising=False)
    fake = FakeListener(path)
    yield fake
    fake.close()


@pytest.fixture
def no_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
