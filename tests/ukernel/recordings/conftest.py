"""What tests of recordings share: a hub with scripted boards, and a folder for files."""

import threading
from pathlib import Path

import pytest
from hubfixtures import attached, board, hub  # noqa: F401 - fixtures
from patience import PATIENCE_S, wait_until
from recordingfile import Contents

from ukernel.recordings.order import make_order
from ukernel.recordings.recorder import Recorder


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "run" / "hub.json"))
    for name in ("UCORE_PIPE_PORT", "UCORE_BOARD", "UCORE_KERNEL_ID", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


class Recording:
    """A recorder in a thread of this process, and what is in its file."""

    def __init__(self, order):
        self.path = Path(order.path)
        self.recorder = Recorder(order, pause_s=0.01)
        self.failure = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: self.recorder._follower.is_ready or not self._thread.is_alive(), "meeting the hub")

    def _run(self):
        try:
            self.recorder.run(signals=False)
        except Exception as error:
            self.failure = error

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stop()

    @property
    def state(self):
        return self.recorder.state()

    def wait_for(self, frames):
        wait_until(lambda: self.state["frames"] >= frames or not self._thread.is_alive(), f"{frames} frames in {self.state}")

    def wait_until_lost(self, count):
        wait_until(lambda: sum(self.state["losses"].values()) >= count, f"{count} lost frames in {self.state}")

    def wait_until_told(self, kind, count=1):
        wait_until(lambda: len(Contents(self.path).events_of(kind)) >= count, f"{count} {kind} events")

    def stop(self):
        """End it and return what is in its file."""
        self.recorder.stop()
        self.join()
        return Contents(self.path) if self.path.exists() else None

    def join(self):
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the recorder does not end"


@pytest.fixture
def begin(tmp_path):
    """Begin a recording: arguments are those of `make_order`, the path set aside."""
    begun = []

    def begin(pipes="*", name="x.mcap", **options):
        begun.append(Recording(make_order(pipes, tmp_path / name, **options)))
        return begun[-1]

    yield begin
    for recording in begun:
        recording.stop()
