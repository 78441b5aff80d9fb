"""A real board, a real hub, a real recorder, and what happens to them in the middle: each frame says its own number."""

import os
import struct

import psutil
import pytest
from patience import wait_until
from recordingfile import Contents

from ukernel.boards import connect
from ukernel.protocol import statefile
from ukernel.recordings import record
from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython

# Writes its own number, two thousand times a second, and never waits for ever.
PRODUCER = """
import struct, time, _thread
def produce(drop):
    with ucore.open_pipe("count", drop=drop) as pipe:
        number = 0
        while not stopped:
            for _ in range(2):
                pipe.write(struct.pack("<I", number))
                number += 1
            time.sleep_ms(1)
stopped = []
_thread.start_new_thread(produce, (True,))
"""


@pytest.fixture
def virtual():
    with VirtualBoard("micropython") as board:
        yield board


def wait_for(recording, frames):
    wait_until(lambda: recording.state.frames >= frames, f"{frames} frames in {recording!r}")


def check(contents):
    """Every frame in the file is the one that its number says, and all numbers are accounted for."""
    for key, frames in contents.frames.items():
        assert [struct.unpack("<I", data)[0] for data, _, _ in frames.values()] == list(frames)
        assert len(frames) + sum(count for _, count, _ in contents.lost.get(key, ())) == contents.next(key)


def test_a_hub_that_is_killed_costs_what_is_counted(virtual, tmp_path):
    with connect(virtual.port) as board:
        recording = record("count", tmp_path / "x.mcap", board=virtual.port, formats="<I")
        board.run(PRODUCER)
        wait_for(recording, 1000)
    hub = statefile.find().pid
    psutil.Process(hub).kill()
    wait_until(lambda: (here := statefile.read()) is not None and here.pid != hub, "another hub")
    frames = recording.state.frames
    wait_for(recording, frames + 1000)
    with connect(virtual.port) as board:
        board.run("stopped.append(1)")
    wait_until(lambda: not recording.state.pipes, "the pipe's end")
    recording.stop()
    contents = Contents(tmp_path / "x.mcap")
    check(contents)
    assert contents.ends()[0] == (1, "connection lost") and contents.ends()[-1] == (1, "closed")
    assert len({key for key, _ in contents.ends()}) == 1, "it is the same opening all along"


def test_a_board_that_is_reset_ends_its_pipe_and_is_recorded_again(virtual, tmp_path):
    with connect(virtual.port) as board:
        recording = record("count", tmp_path / "x.mcap", formats="<I")
        for _ in range(2):
            board.run(PRODUCER)
            frames = recording.state.frames
            wait_for(recording, frames + 500)
            board.reset()
        recording.stop()
    contents = Contents(tmp_path / "x.mcap")
    check(contents)
    assert contents.ends() == [(1, "board restarted"), (2, "board restarted")]
    assert min(len(contents.data(1)), len(contents.data(2))) >= 500


def test_a_recorder_that_is_slow_loses_nothing_that_the_hub_can_hold(virtual, tmp_path):
    with connect(virtual.port) as board:
        recording = record("count", tmp_path / "x.mcap", formats="<I")
        board.run(PRODUCER)
        wait_for(recording, 100)
        process = psutil.Process(recording.state.pid)
        process.suspend()
        board.run("time.sleep(1)")
        process.resume()
        board.run("stopped.append(1)")
        wait_until(lambda: not recording.state.pipes, "the pipe's end")
        recording.stop()
    contents = Contents(tmp_path / "x.mcap")
    check(contents)
    assert contents.lost_by_cause().keys() <= {"board"} and contents.ends() == [(1, "closed")]


def test_times_are_exact_from_the_first_frame_on_once_a_board_is_followed(virtual, tmp_path):
    with connect(virtual.port) as board:
        recording = record("count", tmp_path / "x.mcap", board=virtual.port, formats="<I")
        board.run(PRODUCER)
        wait_for(recording, 500)
        recording.stop()
        board.run("stopped.append(1)")
    errors = [error for _, _, error in Contents(tmp_path / "x.mcap").frames[1].values()]
    assert max(errors) < float("inf") and os.path.getsize(tmp_path / "x.mcap")
