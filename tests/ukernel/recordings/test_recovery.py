"""A recording that was torn off at any byte is mended: all that was flushed is in it, and other tools read it by its index."""

import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import SeekingReader
from mcap.writer import Writer
from recordingfile import Contents

from ukernel.errors import RecordingError
from ukernel.recordings import format as fmt
from ukernel.recordings.mcapfile import McapFile
from ukernel.recordings.order import Meaning
from ukernel.recordings.recovery import recover
from ukernel.recordings.sink import Opening
from ukernel.recordings.writer import RecordingWriter

CHUNKS = 6


@pytest.fixture(autouse=True, scope="module")
def _quick_disk():
    """Hundreds of files are mended here: none of them must outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ukernel.recordings.mcapfile.os.fsync", lambda fd: None)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recording of six chunks, how long the file was after each of them, and where it ends."""
    path = tmp_path_factory.mktemp("made") / "x.mcap"
    writer = RecordingWriter(path, {"notebook": "a.ipynb"}, Meaning({"adc": "<h"}, {}, {}))
    adc, log = (Opening(key, name, "kitchen", "port", 1, "1", {"machine": "m"}) for key, name in ((1, "adc"), (2, "log")))
    writer.opened(adc, 0)
    writer.opened(log, 0)
    ends = []
    for number in range(CHUNKS):
        writer.take(adc, 10, 2, (1000.0 + number, 1000.5 + number, 0.1), memoryview(os.urandom(20)))
        adc.number += 10
        writer.lost(adc, 1, "board")
        adc.number += 1
        writer.take(log, 1, 5, (1000.0 + number, 1000.0 + number, 0.1), memoryview(b"line%d" % number))
        log.number += 1
        writer.flush_if_due(float(number))
        ends.append(path.stat().st_size)
    writer.finish("stopped")
    return path, ends, path.stat().st_size


def check_index(path):
    """The frames of the first opening, as mcap's reader finds them by the index."""
    with open(path, "rb") as stream:
        reader = SeekingReader(stream, validate_crcs=True)
        statistics = reader.get_summary().statistics
        found = list(reader.iter_messages())
        assert statistics.message_count == len(found)
        assert len(list(reader.iter_messages(topics=[fmt.EVENTS_TOPIC]))) == statistics.channel_message_counts[1]


def test_a_file_that_is_torn_at_any_byte_is_mended_to_the_last_flush(made, tmp_path):
    path, ends, size = made
    for cut in sorted({*range(ends[0], size, 7), *(end + offset for end in ends for offset in (-1, 0, 1)), size - 1}):
        torn = tmp_path / "torn.mcap"
        with path.open("rb") as whole:
            torn.write_bytes(whole.read(cut))
        report = recover(torn)
        contents = Contents(torn)
        flushed = sum(end <= cut for end in ends)
        assert contents.is_finished and not report.was_whole and report.damaged == 0
        # A chunk may be whole while its index is torn.
        assert len(contents.data(1)) in (10 * flushed, 10 * min(flushed + 1, CHUNKS)) and len(contents.data(1)) == 10 * len(
            contents.data(2)
        )
        assert contents.next(1) == 11 * len(contents.data(2))
        assert contents.about(fmt.END)["frames"] == str(report.frames) == str(11 * len(contents.data(2)))
        assert {reason for _, reason in contents.ends()} <= {"recorder killed", "stopped"} and len(contents.ends()) == 2
        check_index(torn)
        assert recover(torn).was_whole


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_file_torn_before_its_first_flush_is_mended_or_refused_with_a_sentence(made, tmp_path_factory, data):
    path, ends, _ = made
    cut = data.draw(st.integers(0, ends[0]))
    torn = tmp_path_factory.mktemp("torn") / "x.mcap"
    torn.write_bytes(path.read_bytes()[:cut])
    try:
        recover(torn)
    except RecordingError as error:
        assert "no recording" in str(error)
    else:
        assert Contents(torn).is_finished


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_bytes_that_were_flipped_cost_no_more_than_what_they_hit(made, tmp_path_factory, data):
    path, ends, size = made
    spoilt = tmp_path_factory.mktemp("spoilt") / "x.mcap"
    content = bytearray(path.read_bytes()[: ends[-1]])
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    spoilt.write_bytes(content)
    try:
        report = recover(spoilt)
    except RecordingError:
        return
    contents = Contents(spoilt, has_holes=True)
    assert contents.is_finished and report.frames <= 11 * CHUNKS
    for key in contents.frames:
        assert contents.next(key) <= 11 * CHUNKS


def test_what_a_damaged_part_held_is_counted(made, tmp_path):
    path, ends, _ = made
    spoilt = tmp_path / "x.mcap"
    content = bytearray(path.read_bytes()[: ends[-1]])
    middle = ends[2] + 60  # in the compressed data of the fourth chunk
    content[middle : middle + 4] = bytes(byte ^ 0xFF for byte in content[middle : middle + 4])
    spoilt.write_bytes(content)
    report = recover(spoilt)
    assert report.damaged == 1 and "1 part of it is damaged" in report.describe()
    contents = Contents(spoilt, has_holes=True)
    assert contents.is_finished and len(contents.data(1)) == 10 * (CHUNKS - 1) and len(contents.data(2)) == CHUNKS - 1
    assert '"damaged": ' in contents.about(fmt.END)["lost"]
    check_index(spoilt)


def test_a_copy_is_mended_where_the_file_is_to_stay_as_it_is(made, tmp_path):
    path, ends, _ = made
    torn, copy = tmp_path / "torn.mcap", tmp_path / "copy.mcap"
    torn.write_bytes(path.read_bytes()[: ends[3] + 5])
    before = torn.read_bytes()
    assert recover(torn, copy).torn_bytes == 5
    assert torn.read_bytes() == before and Contents(copy).is_finished
    with pytest.raises(RecordingError, match="is there already"):
        recover(torn, copy)


def test_what_is_no_recording_is_refused_and_left_alone(tmp_path):
    for name, content in (("empty", b""), ("text", b"hello" * 100), ("magic", b"\x89MCAP0\r\n")):
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(RecordingError, match="no recording"):
            recover(file)
        assert file.read_bytes() == content
    with pytest.raises(RecordingError, match="there is no such file"):
        recover(tmp_path / "missing")


def test_another_programs_file_is_refused(tmp_path):
    file = tmp_path / "x.mcap"
    with file.open("wb") as stream:
        writer = Writer(stream)
        writer.start("ros2")
        channel = writer.register_channel("/a", "json", 0)
        writer.add_message(channel, 1, b"{}", 1)
        writer.finish()
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(RecordingError, match="is an MCAP file, but no recording of µcore's"):
        recover(file)
    assert file.read_bytes() == content[:-10]


def test_a_file_of_a_newer_build_is_refused(tmp_path):
    file = McapFile(tmp_path / "x.mcap")
    file.begin(fmt.PROFILE, "later")
    file.add_metadata(fmt.RECORDING, {"format": "2"})
    file.abandon()
    with pytest.raises(RecordingError, match=r"comes from a newer µcore \(format 2\): update this one"):
        recover(tmp_path / "x.mcap")


def test_a_file_that_is_just_recorded_to_is_left_alone(made, tmp_path):
    shutil.copy(made[0], tmp_path / "copy.mcap")
    file = McapFile(tmp_path / "x.mcap")
    with pytest.raises(RecordingError, match="is just being recorded to"):
        recover(tmp_path / "x.mcap")
    file.abandon()
