from types import SimpleNamespace

import pytest
from picos import Pico, Talker, missing

from ucore import wire
from ukernel.link import session


def pytest_collection_modifyitems(config, items):
    why = missing()
    if why and not config.getoption("--board"):
        for item in items:
            if "tests/chip" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="module")
def pico(board_port):
    """An emulated Pico, or whatever board `--board` names; what counts is its port."""
    if board_port:
        yield SimpleNamespace(port=board_port)
        return
    pico = Pico()
    yield pico
    pico.stop()


@pytest.fixture
def talker(pico, board_port):
    with Talker(pico.port) as talker:
        if board_port:  # some are so fast that frames of the test before are still on their way
            talker.board.send(wire.SHUTDOWN_REQUEST, 0, b"")
            talker.wait_for(session.Ready)
        yield talker
