import pytest
from picos import Pico, Talker, missing


def pytest_collection_modifyitems(items):
    why = missing()
    if why:
        for item in items:
            if "tests/chip" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="module")
def pico():
    pico = Pico()
    yield pico
    pico.stop()


@pytest.fixture
def talker(pico):
    with Talker(pico.port) as talker:
        yield talker
