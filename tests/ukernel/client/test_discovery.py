"""Finding the hub: what happens while hubs come, go and are of another build. No process is started here."""

import pytest

from ucore.wire import BUILD
from ukernel.client import discovery
from ukernel.errors import HubError, HubUnreachableError
from ukernel.protocol import statefile

TOKEN = "0f" * 32


class Started:
    """In the place of the hub's process: counts how often one was asked for."""

    def __init__(self):
        self.asked = self.closed = 0
        self.on_start = lambda: None

    def ensure_started(self):
        self.asked += 1
        self.on_start()

    def close(self):
        self.closed += 1


@pytest.fixture
def process(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    process = Started()
    monkeypatch.setattr(discovery, "HubProcess", lambda: process)
    return process


@pytest.fixture
def publish():
    """Have a hub of this build, or another, say where it is."""
    held = []

    def publish(build=BUILD, port=4242):
        if not held:
            held.append(statefile.StateFile())
            assert held[0].acquire()
        held[0].write(statefile.HubInfo(1, "127.0.0.1", port, TOKEN, build))

    yield publish
    for state_file in held:
        state_file.remove()
        state_file.release()


def never(*args):
    raise AssertionError("called for nothing")


def find(open_, stop_old_hub=never, *, start=True, any_build=False, timeout_s=5.0):
    return discovery.with_hub(open_, stop_old_hub, start=start, any_build=any_build, timeout_s=timeout_s)


def test_a_hub_that_runs_is_used_and_none_is_started(process, publish):
    publish()
    assert find(lambda here, left_s: (here.port, 0 < left_s <= 5)) == (4242, True)
    assert (process.asked, process.closed) == (0, 1)


def test_where_there_is_none_it_is_started_and_looked_for_until_it_is_there(process, publish):
    process.on_start = lambda: publish() if process.asked == 3 else None
    assert find(lambda here, left_s: here.port) == 4242
    assert (process.asked, process.closed) == (3, 1)


def test_who_must_not_start_one_is_told_that_there_is_none(process):
    with pytest.raises(HubUnreachableError, match="No board hub runs"):
        find(never, start=False)
    assert process.asked == 0


def test_a_hub_that_leaves_while_it_is_connected_to_is_looked_for_again(process, publish):
    publish()
    refusals = [ConnectionRefusedError(), ConnectionResetError()]

    def open_(here, left_s):
        if refusals:
            raise refusals.pop()
        return "connected"

    assert find(open_) == "connected"


def test_one_that_never_answers_is_an_error_in_time_that_says_so(process, publish):
    publish()

    def open_(here, left_s):
        raise ConnectionRefusedError("refused")

    with pytest.raises(HubUnreachableError, match=r"within 0.05 s: it is not answering \(refused\)"):
        find(open_, timeout_s=0.05)
    assert process.closed == 1


def test_one_of_another_build_is_stopped_and_replaced(process, publish):
    publish(build="older", port=1)
    stopped = []

    def stop(here):
        stopped.append(here.port)
        publish(port=2)

    assert find(lambda here, left_s: here.port, stop) == 2
    assert stopped == [1]


def test_one_of_another_build_that_cannot_be_stopped_is_an_error(process, publish):
    publish(build="older")

    def stop(here):
        raise HubError("used by x")

    with pytest.raises(HubError, match="used by x"):
        find(never, stop)
    assert process.closed == 1


def test_whoever_only_reads_pipes_takes_any_build(process, publish):
    publish(build="older")
    assert find(lambda here, left_s: here.build, any_build=True) == "older"
