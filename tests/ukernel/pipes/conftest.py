"""What tests of pipes share: a listener in the place of a hub, and a Python without NumPy."""

import re
import sys
import warnings

import pytest
from fakelistener import FakeListener
from patience import wait_until


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


@pytest.fixture
def read_in_vain():
    """Reads a pipe that says nothing more, until its TimeoutError or a warning says what it has just come to know."""

    def read(pipe, words):
        said = []

        def is_said():
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                with pytest.raises(TimeoutError) as caught:
                    pipe.read(timeout=0.3)
            said.extend(map(str, [caught.value, *(one.message for one in warned)]))
            return any(re.search(words, text) for text in said)

        wait_until(is_said, words)

    return read
