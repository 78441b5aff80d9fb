"""Files that are torn, damaged or none at all: what was safe is read, and what is wrong is said in a sentence."""

import math
import os
import signal
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import wait_until
from recordingmaker import BEGAN, RecordingMaker

from ukernel.errors import PipeDataLostWarning, RecordingError
from ukernel.pipes import collect
from ukernel.recordings import format as fmt
from ukernel.recordings import load, play, record
from ukernel.recordings.mcapfile import McapFile
from ukernel.recordings.recovery import recover

CHUNKS = 6
FRAMES = 50  # in each of them


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The bytes of a recording, how long it was after each flush, and where it lies."""
    maker = RecordingMaker(tmp_path_factory.mktemp("made") / "x.mcap", formats={"adc": "<h"})
    adc, log = maker.open("adc"), maker.open("log")
    ends = []
    for number in range(CHUNKS):
        values = np.arange(FRAMES * number, FRAMES * (number + 1), dtype="<i2")
        maker.put(adc, values.tobytes(), 2, BEGAN + number, BEGAN + number + 0.9)
        maker.put(log, b"line%d" % number, 5, BEGAN + number)
        maker.flush()
        ends.append(maker.path.stat().st_size)
    maker.end()
    return maker.path.read_bytes(), ends


def test_a_file_torn_at_any_byte_gives_all_that_was_safe_or_a_sentence(made, tmp_path):
    data, ends = made
    path = tmp_path / "torn.mcap"
    every = sorted({*range(900), *range(900, len(data), 11), *(end + offset for end in ends for offset in (-1, 0, 1))})
    for cut in every:
        path.write_bytes(data[:cut])
        flushed = sum(end <= cut for end in ends)
        if cut == 0:
            with pytest.raises(RecordingError, match="empty"):
                load(path)
            continue
        recording = load(path)
        assert recording.why_torn
        if not flushed and "adc" not in recording:
            continue
        values = recording["adc"].values
        # A chunk is whole before its index is.
        assert len(values) in (FRAMES * flushed, FRAMES * min(flushed + 1, CHUNKS)) and (values == np.arange(len(values))).all()
        assert len(recording["adc"]) == len(values) == FRAMES * (len(recording["log"].frames) if "log" in recording else 0)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_damaged_byte_costs_at_most_its_chunk_and_that_is_counted(made, tmp_path_factory, data):
    whole, _ = made
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "x.mcap"
    path.write_bytes(damaged)
    try:
        recording = load(path)
        if "adc" not in recording:
            return
        pipe = recording["adc"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PipeDataLostWarning)
            values = pipe.values
    except RecordingError as error:
        assert str(error).endswith(".")
        return
    assert set(values.tolist()) <= set(range(CHUNKS * FRAMES)) and len(values) >= (CHUNKS - 1) * FRAMES
    assert len(values) + pipe.lost == CHUNKS * FRAMES and len(pipe) == len(values)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_with_a_sentence(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "x.mcap"
    path.write_bytes(b"\x89MCAP0\r\n" + data)
    try:
        load(path)
    except RecordingError as error:
        assert str(error).endswith(".")
    path.write_bytes(b"x" + data)
    with pytest.raises(RecordingError, match="does not begin as an MCAP file does"):
        load(path)


def test_what_is_no_recording_of_ours_is_refused(tmp_path):
    path = tmp_path / "x.mcap"
    with pytest.raises(RecordingError, match="There is no file"):
        load(path)
    with pytest.raises(RecordingError, match="cannot be read"):
        load(tmp_path)
    other = McapFile(path)
    other.begin("ros2", "another tool")
    other.finish()
    with pytest.raises(RecordingError, match="no recording of µcore's"):
        load(path)


def test_a_recording_of_a_newer_ucore_is_refused(tmp_path):
    path = tmp_path / "x.mcap"
    newer = McapFile(path)
    newer.begin(fmt.PROFILE, "ukernel 99")
    newer.add_metadata(fmt.RECORDING, {"format": "99"})
    newer.finish()
    with pytest.raises(RecordingError, match="newer µcore"):
        load(path)


def test_a_recording_can_be_loaded_while_it_is_written(tmp_path):
    maker = RecordingMaker(tmp_path / "x.mcap", formats={"*": "<h"})
    adc = maker.open("adc")
    maker.put(adc, struct.pack("<hh", 1, 2), 2, BEGAN, BEGAN + 1)
    maker.flush()
    recording = load(maker.path)
    assert recording["adc"].values.tolist() == [1, 2] and "writes it just now" in recording.why_torn
    assert recording["adc"].openings[0].end_reason == "recorder killed" and "no proper end" in repr(recording)
    maker.put(adc, struct.pack("<h", 3), 2, BEGAN + 2)
    maker.end()
    assert load(maker.path)["adc"].values.tolist() == [1, 2, 3] and not load(maker.path).why_torn


def test_what_a_killed_recorder_has_written_is_loaded_and_played(board, tmp_path):
    board.open("adc")
    recording = record("adc", tmp_path / "x.mcap", formats="<h")
    board.write(np.arange(500, dtype="<h").tobytes(), 2, 0)
    wait_until(
        lambda: recording.state.frames == 500 and load(recording.path).pipes and len(load(recording.path)["adc"]) == 500,
        "a flush",
    )
    pid = recording.state.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: recording.state.is_ended, "the end of the recorder")
    found = load(tmp_path / "x.mcap")
    assert found["adc"].values.tolist() == list(range(500)) and "no proper end" in found.why_torn
    with play(found, speed=math.inf):
        assert len(collect("adc", n=500, decoder="<h")) == 500
    recover(tmp_path / "x.mcap")
    mended = load(tmp_path / "x.mcap")
    assert not mended.why_torn and mended["adc"].values.tolist() == list(range(500))


def test_a_chunk_that_is_damaged_is_counted_as_lost_before_and_after_it_is_mended(made, tmp_path):
    data, ends = made
    path = tmp_path / "x.mcap"
    path.write_bytes(data)
    chunk = load(path).source.readers[0].chunks[2]
    damaged = bytearray(data)
    damaged[chunk.at + chunk.length // 2] ^= 0xFF
    path.write_bytes(damaged)
    before = load(path)["adc"]
    with pytest.warns(PipeDataLostWarning, match="the file is damaged, 50 frames are missing"):
        assert len(before.values) == (CHUNKS - 1) * FRAMES
    assert before.losses == {"damaged": FRAMES} and len(before) == (CHUNKS - 1) * FRAMES
    path.write_bytes(damaged[: ends[4]])
    recover(path)
    after = load(path)
    assert not after.why_torn and after["adc"].losses == {"damaged": FRAMES}
    assert after["adc"].values.tolist() == [*range(2 * FRAMES), *range(3 * FRAMES, 5 * FRAMES)]


def test_a_clock_that_jumps_costs_no_frame(tmp_path):
    maker = RecordingMaker(tmp_path / "x.mcap", formats={"*": "<h"})
    adc = maker.open("adc")
    for number, began in enumerate((BEGAN, BEGAN + 1, BEGAN - 5000, BEGAN - 4999, BEGAN + 9000)):
        maker.put(adc, struct.pack("<h", number), 2, began)
        maker.flush()
    pipe = load(maker.end())["adc"]
    assert pipe.values.tolist() == [0, 1, 2, 3, 4]
    assert pipe.between(BEGAN - 6000, BEGAN).values.tolist() == [2, 3]
    assert pipe.between(BEGAN, BEGAN + 2).values.tolist() == [0, 1]
