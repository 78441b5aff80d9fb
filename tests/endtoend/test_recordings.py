"""A notebook records its board, and the recording does not mind what becomes of the notebook."""

import os
import struct

import pytest
from frontend import Notebook
from patience import PATIENCE_S, wait_until
from recordingfile import Contents

from ukernel.recordings import recordings
from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython

PRODUCER = """%%ucore
import struct, time, _thread
pipe = ucore.open_pipe("count")
def produce():
    for number in range(100_000):
        pipe.write(struct.pack("<I", number))
        time.sleep_ms(2)
_thread.start_new_thread(produce, ())
"""


def test_a_recording_outlives_the_kernel_and_its_restart(private_environment, tmp_path):
    path = tmp_path / "x.mcap"
    with VirtualBoard("micropython") as board:
        with Notebook("ucore", env={**os.environ, "UCORE_BOARD": board.port}) as notebook:
            assert notebook.run("%%ucore\n1").result == "1"
            begun = notebook.run(
                f"from ukernel.recordings import record\nrecording = record('count', {str(path)!r}, formats='<I')\nrecording"
            )
            assert begun.result.startswith("<Recording ") and begun.error is None
            assert notebook.run(PRODUCER).error is None
            (recording,) = recordings()
            wait_until(lambda: recording.state.frames > 100, "frames in the file")
            assert f"Record:  count to {path}: recording" in notebook.run("%ucore status").text()
            notebook.manager.restart_kernel()
            notebook.client.wait_for_ready(timeout=PATIENCE_S)
            restarted = notebook.run("%%ucore\n2")
            assert restarted.result == "2" and "was not reset" in restarted.text("stderr")
            frames = recording.state.frames
            wait_until(lambda: recording.state.frames > frames + 100, "frames after the restart")
        frames = recording.state.frames
        wait_until(lambda: recording.state.frames > frames + 100, "frames after the notebook's end")
        recording.stop()
    contents = Contents(path)
    assert contents.ends() == [(1, "stopped")] and not contents.lost
    assert [struct.unpack("<I", data)[0] for data in contents.data()] == list(range(len(contents.data())))
    (opened,) = contents.events_of("open")
    assert "open_pipe" in opened["code"]
