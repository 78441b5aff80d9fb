"""What tests here share: a kernel whose pipes come from a listener in the test, for charts; a computer's ports; a loop."""

import os

import pytest
from fakelistener import FakeListener
from page import Page

from ukernel.kernel.loop import Loop


@pytest.fixture(scope="module")
def state_path(tmp_path_factory):
    return tmp_path_factory.mktemp("hub") / "state.json"


@pytest.fixture(scope="module")
def kernel(request, state_path):
    """A kernel that has run the module's SET_UP."""
    page = Page(**{**os.environ, "UCORE_STATE_PATH": str(state_path)})
    page.run(request.module.SET_UP)
    yield page
    page.close()


@pytest.fixture
def listener(state_path):
    fake = FakeListener(state_path)
    yield fake
    fake.close()


@pytest.fixture
def page(kernel, listener):
    """The module's kernel, with no chart in it before and after."""
    kernel.messages.clear()
    yield kernel
    kernel.run("stop_live()")
    assert kernel.errors() == []


@pytest.fixture
def plugged(monkeypatch):
    """Call it with what is plugged in."""
    from serial.tools import list_ports

    def plug(*entries):
        monkeypatch.setattr(list_ports, "comports", lambda: list(entries))

    plug()
    return plug


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()
