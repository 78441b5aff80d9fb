"""What tests of the public door share: a virtual board behind a hub in this process."""

import pytest
from scripted import HubThread

from ukernel.boards import connect
from ukernel.hub.driver import BoardDriver
from ukernel.virtual.launcher import VirtualBoard


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub in this process, whose boards are real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UCORE_STATE_PATH", str(tmp_path_factory.mktemp("hub") / "state.json"))
        hub = HubThread(60.0)
        hub.hub.boards.make_driver = BoardDriver
        yield hub
        hub.stop()


@pytest.fixture(scope="module")
def virtual(micropython):
    with VirtualBoard("micropython") as virtual:
        yield virtual


@pytest.fixture
def printed():
    """What the board has printed, piece by piece."""
    return []


@pytest.fixture
def board(hub, virtual, printed):
    with connect(virtual.port, output=printed.append) as board:
        yield board
