"""A recording is loaded by pipe, board and time, with exact types, and nothing is read that is not asked for."""

import struct
import time
from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from recordingmaker import BEGAN, RecordingMaker

from ukernel.errors import RecordingError, UsageError
from ukernel.recordings import load
from ukernel.recordings.partreader import PartReader
from ukernel.recordings.writer import Rotation


@pytest.fixture
def make(tmp_path):
    return lambda name="x.mcap", **options: RecordingMaker(tmp_path / name, **options)


def ten_seconds(made, pipe="adc", board="kitchen"):
    """100 samples a second for ten seconds, 0 to 999 as int16, a chunk a second."""
    opening = made.open(pipe, board)
    for second in range(10):
        values = np.arange(100 * second, 100 * second + 100, dtype="<i2")
        made.put(opening, values.tobytes(), 2, BEGAN + second, BEGAN + second + 0.99)
        made.flush()
    return opening


def test_values_have_the_type_that_the_board_wrote(make):
    made = make(formats={"adc": "<h", "big": ">d", "xyz": "<fff", "flags": "?"})
    for pipe, dtype, count in (("adc", "<i2", 1), ("big", ">f8", 1), ("xyz", "<f4", 3), ("flags", "?", 1)):
        values = np.arange(4 * count).astype(dtype)
        made.put(made.open(pipe), values.tobytes(), values.itemsize * count, BEGAN, BEGAN + 3)
    recording = load(made.end())
    assert [recording[pipe].values.dtype.str for pipe in ("adc", "big", "xyz", "flags")] == ["<i2", ">f8", "<f4", "|b1"]
    assert recording["xyz"].values.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert recording["big"].values.tolist() == [0, 1, 2, 3] and recording["big"].times.tolist() == [BEGAN + n for n in range(4)]


def test_a_piece_is_what_was_written_in_that_time(make):
    made = make(formats={"*": "<h"})
    ten_seconds(made)
    pipe = load(made.end())["adc"]
    assert pipe[2.5:3.5].values.tolist() == list(range(250, 350))
    assert pipe.between(BEGAN + 9.985).values.tolist() == [999]
    assert pipe.between(None, datetime.fromtimestamp(BEGAN + 0.005, timezone.utc)).values.tolist() == [0]
    assert pipe[2:8][1:2].values.tolist() == list(range(300, 400)) and len(pipe[100:]) == 0
    assert len(pipe) == 1000 and pipe.began == BEGAN and pipe.ended == BEGAN + 9.99


def test_frames_without_a_format_are_bytes_and_can_be_given_one(make):
    made = make()
    log = made.open("log")
    for word in (b"one", b"three", b""):
        made.put(log, word or b"", max(len(word), 1), BEGAN) if word else made.writer.take(
            log, 1, 0, (BEGAN, BEGAN, 0.0), memoryview(b"")
        )
    raw = made.open("raw")
    made.put(raw, struct.pack("<hhh", 1, 2, 3), 2, BEGAN, BEGAN + 2)
    recording = load(made.end())
    assert recording["log"].values.tolist() == [b"one", b"three", b""] == recording["log"].frames
    assert recording["raw"].frames == [b"\1\0", b"\2\0", b"\3\0"]
    assert recording["raw"].as_format("<h").values.tolist() == [1, 2, 3]


def test_frames_of_several_types_are_records(make):
    made = make(formats={"mixed": "<hf"}, names={"mixed": ["count", "volts"]})
    made.put(made.open("mixed"), struct.pack("<hfhf", 1, 0.5, 2, 1.5), 6, BEGAN, BEGAN + 1)
    values = load(made.end())["mixed"].values
    assert values["count"].tolist() == [1, 2] and values["volts"].tolist() == [0.5, 1.5]


def test_frames_that_do_not_fit_are_kept_apart_from_the_values(make):
    made = make(formats={"*": "<h"})
    opening = made.open("adc")
    made.put(opening, struct.pack("<hh", 1, 2), 2, BEGAN, BEGAN + 1)
    made.put(opening, b"odd", 3, BEGAN + 2)
    made.put(opening, struct.pack("<h", 3), 2, BEGAN + 3)
    pipe = load(made.end())["adc"]
    assert pipe.values.tolist() == [1, 2, 3] and pipe.misfits == [b"odd"]
    assert pipe.numbers.tolist() == [0, 1, 3] and pipe.times.tolist() == [BEGAN, BEGAN + 1, BEGAN + 3]
    assert pipe.frames == [b"\1\0", b"\2\0", b"odd", b"\3\0"]


def test_openings_losses_and_ends_are_data(make):
    made = make(formats={"*": "<h"})
    opening = made.open("adc", number=5, unread=5)
    made.put(opening, b"\1\0", 2, BEGAN)
    made.lose(opening, 7)
    made.put(opening, b"\2\0", 2, BEGAN + 1)
    made.writer.ended(opening, "board restarted")
    made.put(made.open("adc"), b"\3\0", 2, BEGAN + 2)
    pipe = load(made.end())["adc"]
    first, second = pipe.openings
    assert (first.first, first.frames, first.unread, first.end_reason) == (5, 14, 5, "board restarted")
    assert [loss[:3] for loss in first.losses] == [(6, 7, "board")] and pipe.losses == {"board": 7}
    assert second.end_reason == "stopped" and pipe.values.tolist() == [1, 2, 3] and len(pipe) == 3


def test_a_piece_has_its_own_losses_and_picture(make, monkeypatch):
    made = make(formats={"*": "<h"})
    opening = ten_seconds(made)
    monkeypatch.setattr("ukernel.recordings.part.time", SimpleNamespace(time=lambda: BEGAN + 10, monotonic=time.monotonic))
    made.lose(opening, 3)
    made.put(opening, b"\0\0", 2, BEGAN + 11)
    pipe = load(made.end())["adc"]
    assert pipe.lost == 3 and pipe[:9].lost == 0 and pipe[9:11].losses == {"board": 3}
    assert pipe[2:8].sparkline() == "▁▂▄▅▇█" and len(pipe.sparkline()) > 6


def test_the_same_pipe_of_two_boards_must_be_named_with_its_board(make):
    made = make(formats={"*": "<h"})
    for board, value in (("kitchen", 1), ("cellar", 2)):
        made.put(made.open("adc", board), struct.pack("<h", value), 2, BEGAN)
    recording = load(made.end())
    assert recording["cellar/adc"].values.tolist() == [2] and recording.pipe("adc", board="kitchen").values.tolist() == [1]
    with pytest.raises(RecordingError, match="cellar/adc and kitchen/adc"):
        recording["adc"]
    with pytest.raises(RecordingError, match="there is cellar/adc, kitchen/adc"):
        recording["nothing"]


def test_rotated_files_are_one_recording(make, tmp_path):
    made = make(formats={"*": "<h"}, rotation=Rotation(1, None, None))
    opening = made.open("adc")
    for number in range(5):
        made.put(opening, struct.pack("<h", number), 2, BEGAN + number)
        made.writer.flush_if_due(float(number))
    recording = load(made.end())
    assert len(recording.files) > 3 and recording["adc"].values.tolist() == [0, 1, 2, 3, 4]
    assert len(recording["adc"].openings) == 1 and recording["adc"].openings[0].breaks == []
    assert len(load(recording.files[1])["adc"].values) < 5
    recording.files[0].unlink()
    recording.files[1].unlink()
    assert load(recording.files[2]).files == recording.files[2:]  # as `keep` leaves them
    assert load(recording.files[3]).files == recording.files[3:4]
    again = make(formats={"*": "<h"})
    again.end()
    assert load(recording.files[2]).files == recording.files[2:]
    assert load(tmp_path / "x.mcap").files == [tmp_path / "x.mcap"]


def test_a_file_of_another_recording_is_no_part(make, tmp_path):
    made = make(rotation=Rotation(1, None, None))
    made.open("adc")
    made.writer.flush_if_due(0.0)
    recording = load(made.end())
    other = make("x.0099.mcap")
    other.end()
    assert len(load(tmp_path / "x.mcap").files) == len(recording.files)


@pytest.mark.parametrize("reason", ["", "connection lost"])
def test_what_a_missing_file_held_is_counted(make, reason):
    made = make(formats={"*": "<h"}, rotation=Rotation(1, None, None))
    opening = made.open("adc")
    for number in range(5):
        made.put(opening, struct.pack("<h", number), 2, BEGAN + number)
        if number == 1 and reason:
            made.writer.ended(opening, reason)
        made.writer.flush_if_due(float(number))
        if number == 1 and reason:
            made.writer.opened(opening, 0)
    whole = load(made.end())
    assert whole["adc"].losses == {}
    assert whole.notes == []
    whole.files[2].unlink()
    adc = load(whole.files[0])["adc"]
    assert adc.values.tolist() == [0, 1, 3, 4] and adc.losses == {"missing file": 1}
    assert [(loss.first, loss.frames) for loss in adc.openings[0].losses] == [(2, 1)] and adc.openings[0].frames == 5
    whole.files[-1].unlink()
    (note,) = load(whole.files[0]).notes
    assert note.text == f"It goes on in {whole.files[-1].name}, which is not loaded." and note.time > BEGAN


def test_a_recording_shows_itself_as_a_table_with_a_picture(make):
    made = make(formats={"*": "<h"}, units={"adc": ["mV"]})
    ten_seconds(made)
    made.open("never")
    made.writer.note("The clock was set.")
    recording = load(made.end())
    text = repr(recording)
    assert "1,000" in text and "▁" in text and "█" in text and "<h mV" in text and "The clock was set." in text
    assert "<table>" in recording._repr_html_()


def test_a_piece_in_something_else_than_seconds_is_refused_with_a_sentence(make):
    made = make(formats={"*": "<h"})
    ten_seconds(made)
    pipe = load(made.end())["adc"]
    for piece in (slice(0, 1, 2), slice("a", None), slice(-1, None), 3):
        with pytest.raises(UsageError, match="second"):
            pipe[piece]


def test_chunks_are_found_as_mcaps_own_reader_finds_them(make):
    """Their indexes differ in length, by the channels that have something in them."""
    made = make(formats={"*": "<h"})
    openings = [made.open(f"p{number}") for number in range(4)]
    for number in range(300):
        for place, opening in enumerate(openings):
            if number % (1, 7, 50, 299)[place] == 0 and (place or number < 200):
                made.put(opening, struct.pack("<h", number), 2, BEGAN + number)
        made.flush()
    path = made.end()
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    wanted = [
        (one.chunk_start_offset, one.chunk_length, one.message_start_time, one.message_end_time, set(one.message_index_offsets))
        for one in summary.chunk_indexes
    ]
    reader = PartReader(path)
    assert [(one.at, one.length, one.first, one.last, one.channels) for one in reader.chunks] == wanted and len(wanted) > 200
    recording = load(path)
    assert [len(recording[f"p{number}"].values) for number in range(4)] == [200, 43, 6, 2]


def test_a_short_time_is_read_without_the_rest(make, monkeypatch):
    made = make(formats={"*": "<h"})
    ten_seconds(made)
    pipe = load(made.end())["adc"]
    read = []
    decompress = PartReader._decompress
    monkeypatch.setattr(PartReader, "_decompress", lambda self, record: read.append(1) or decompress(self, record))
    assert pipe.between(BEGAN + 4, BEGAN + 4.5).values.tolist() == list(range(400, 450))
    assert len(read) <= 3


def test_a_plot_shows_the_extremes_of_what_is_too_much_to_draw(make):
    pytest.importorskip("matplotlib").use("agg")
    made = make(formats={"*": "<h"}, units={"adc": ["mV"]})
    values = np.zeros(30_000, "<i2")
    values[12_345] = 77
    made.put(made.open("adc"), values.tobytes(), 2, BEGAN, BEGAN + 1)
    axes = load(made.end())["adc"].plot()
    (line,) = axes.get_lines()
    assert len(line.get_ydata()) <= 12_000 and max(line.get_ydata()) == 77 and line.get_label() == "adc [mV]"
    import matplotlib.pyplot

    matplotlib.pyplot.close(axes.figure)


def test_frames_that_come_in_any_sizes_and_times_come_back_the_same(tmp_path_factory):
    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20), st.floats(0, 5), st.booleans()), min_size=1, max_size=12))
    def check(batches):
        made = RecordingMaker(tmp_path_factory.mktemp("any") / "x.mcap", formats={"*": "<h"})
        opening = made.open("adc")
        frames, at = [], BEGAN
        for size, count, span_s, flushes in batches:
            new = [bytes([index % 256]) * size for index in range(count if size else 1)]
            made.writer.take(opening, len(new), size, (at, at + span_s, 0.001), memoryview(b"".join(new)))
            opening.number += len(new)
            frames += new
            at += span_s + 1
            if flushes:
                made.flush()
        pipe = load(made.end())["adc"]
        assert pipe.frames == frames and len(pipe) == len(frames)
        assert [value.tobytes() for value in pipe.values] == [frame for frame in frames if len(frame) == 2]
        assert sorted(pipe.misfits) == sorted(frame for frame in frames if len(frame) != 2)
        middle = BEGAN + (at - BEGAN) / 2
        assert pipe.between(None, middle).frames + pipe.between(middle).frames == frames

    check()
