"""The recorder: its file ends whole, whatever ends it; parts follow each other; nothing is lost from one to the next."""

import errno
import json
import os
import shutil

import pytest
from hubnotebook import Notebook
from patience import wait_until
from recordingfile import Contents

from ukernel.errors import RecordingError
from ukernel.recordings import mcapfile, registry
from ukernel.recordings.format import BOARD, END, RECORDING
from ukernel.recordings.order import Meaning, Rotation, make_order
from ukernel.recordings.recorder import Recorder
from ukernel.recordings.sink import Opening
from ukernel.recordings.writer import NoRoomError, RecordingWriter


def test_the_file_says_of_itself_what_it_is(board, begin):
    with begin(["adc", "t*"], formats={"adc": "<ff"}, names={"adc": ["x", "y"]}, units={"adc": ["V", "°C"]}) as recording:
        board.open("adc")
        board.write(bytes(16), 8, 0)
        recording.wait_for(2)
        contents = recording.stop()
    about, end = contents.about(RECORDING), contents.about(END)
    assert contents.metadata[0][0] == RECORDING and contents.metadata[-1][0] == END
    assert (about["format"], about["part"], json.loads(about["pipes"])) == ("1", "1", ["adc", "t*"])
    assert (end["reason"], end["frames"], end["size_bytes"], json.loads(end["lost"])) == ("stopped", "2", "16", {})
    assert json.loads(contents.about(BOARD)["facts"])["machine"] == "a scripted board"
    (about, run), *_ = contents.runs
    assert (about.format, about.names, about.units, run.frames) == ("<ff", ("x", "y"), ("V", "°C"), 2)
    assert contents.is_finished


def test_the_cell_that_opened_a_pipe_is_in_the_file(hub, board, begin):
    with Notebook(label="lab.ipynb") as notebook, begin("adc") as recording:
        notebook.send("hold")
        wait_until(lambda: board.running, "the cell")
        board.open("adc")
        recording.wait_until_told("open")
        board.open("imu", id=2)
        board.finish()
        contents = recording.stop()
    (opened,) = contents.events_of("open")
    assert (opened["cell"], opened["code"]) == ("lab.ipynb", "hold")


def test_a_full_disk_ends_the_recording_and_the_file_is_whole(board, begin, monkeypatch):
    write, room = os.write, [3000]

    def limited(fd, data):
        if os.fstat(fd).st_ino == inode:
            if reserve():
                room[0] = 1 << 20  # what was reserved is free now
            if len(data) > room[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            room[0] -= len(data)
        return write(fd, data)

    recording = begin("adc")
    inode = recording.path.stat().st_ino
    reserve = lambda: recording.recorder._writer._part._file._reserve._file is None  # noqa: E731
    monkeypatch.setattr(mcapfile.os, "write", limited)
    board.open("adc")
    number = 0
    while recording._thread.is_alive():
        board.write(os.urandom(500), 500, number)
        number += 1
        recording.wait_for(number)
        assert number < 1000, "the disk is never full"
    recording.join()
    monkeypatch.undo()
    contents = recording.stop()
    assert recording.failure is None and contents.is_finished
    assert recording.state["reason"] == "disk full"
    assert (
        recording.state["error"]
        == f"The recording {recording.path} has ended: the disk is full. All that came before is in it."
    )
    assert contents.about(END)["reason"] == "disk full"
    assert contents.ends() == [(1, "disk full")]
    assert 0 < len(contents.data()) == recording.state["frames"] <= number


def test_a_disk_that_is_full_while_much_comes_is_told_at_the_next_flush_and_costs_nothing(tmp_path, monkeypatch):
    writer = RecordingWriter(tmp_path / "x.mcap", {}, Meaning({}, {}, {}))
    opening = Opening(1, "adc", "kitchen", "port", 1, "", {})
    writer.opened(opening, 0)

    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(mcapfile.os, "write", full)
        for _ in range(100):  # more than a chunk
            writer.take(opening, 1, 20_000, (0.0, 0.0, 0.0), memoryview(os.urandom(20_000)))
            opening.number += 1
        with pytest.raises(NoRoomError, match="the disk is full"):
            writer.flush_if_due(0.0)
    writer.finish("disk full")
    contents = Contents(tmp_path / "x.mcap")
    assert contents.is_finished and len(contents.data()) == 100 and contents.ends() == [(1, "disk full")]


def test_another_file_begins_when_one_is_large_and_nothing_is_lost_between(board, begin, tmp_path, monkeypatch):
    from ukernel.recordings import order

    monkeypatch.setattr(order, "MIN_ROTATE_BYTES", 1000)
    with begin("adc", rotate_mb=0.005) as recording:
        board.open("adc")
        for number in range(0, 100, 10):
            board.write(os.urandom(5000), 500, number)
            recording.wait_for(number + 10)
        recording.stop()
    names = sorted(os.listdir(tmp_path))
    names.remove("run")
    assert names[:2] == ["x.0002.mcap", "x.0003.mcap"] and names[-1] == "x.mcap"
    parts = [Contents(tmp_path / name) for name in [names[-1], *names[:-1]]]
    assert [part.about(RECORDING)["part"] for part in parts] == [str(number) for number in range(1, len(parts) + 1)]
    assert len({part.about(RECORDING)["recording"] for part in parts}) == 1
    assert [part.about(END)["next"] for part in parts] == [*names[:-1], ""]
    assert {part.about(END)["reason"] for part in parts[:-1]} == {"next part"}
    assert {tuple(part.ends()) for part in parts[:-1]} == {((1, "next part"),)}
    assert [number for part in parts for number in part.frames.get(1, {})] == list(range(100))
    assert all(part.is_finished and BOARD in dict(part.metadata) for part in parts)


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_CHUNKS"])
def test_another_file_begins_by_itself_before_one_can_take_no_more(board, begin, tmp_path, monkeypatch, limit):
    from ukernel.recordings import part

    monkeypatch.setattr(part, limit, 1)
    with begin("adc") as recording:
        board.open("adc")
        wait_until(lambda: (tmp_path / "x.0002.mcap").exists(), "another file")
        board.write(b"ab", 1, 0)
        recording.wait_for(2)
        recording.stop()
    assert Contents(tmp_path / "x.mcap").about(END)["reason"] == "next part"


def test_the_latest_files_are_kept(board, begin, tmp_path, monkeypatch):
    from ukernel.recordings import order

    monkeypatch.setattr(order, "MIN_ROTATE_BYTES", 1000)
    with begin("adc", rotate_mb=0.003, keep=2) as recording:
        board.open("adc")
        for number in range(0, 60, 10):
            file = recording.state["file"]
            board.write(os.urandom(5000), 500, number)
            wait_until(lambda file=file: recording.state["file"] != file, "another file")
        recording.stop()
    kept = sorted(name for name in os.listdir(tmp_path) if name.endswith(".mcap"))
    assert len(kept) == 2 and "x.mcap" not in kept


def test_an_old_file_that_cannot_be_removed_is_no_reason_to_end(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    writer = RecordingWriter(tmp_path / "x.mcap", {}, Meaning({}, {}, {}), Rotation(1, None, 1))
    writer.flush_if_due(0.0)
    writer.finish("stopped")
    assert list(writer.notes) == [f"{tmp_path / 'x.mcap'} could not be removed: Operation not permitted."]
    assert Contents(tmp_path / "x.0002.mcap").is_finished


def test_a_part_does_not_replace_what_is_there(board, begin, tmp_path, monkeypatch):
    from ukernel.recordings import order

    monkeypatch.setattr(order, "MIN_ROTATE_BYTES", 1000)
    (tmp_path / "x.0002.mcap").write_bytes(b"precious")
    with begin("adc", rotate_mb=0.003) as recording:
        board.open("adc")
        board.write(os.urandom(5000), 500, 0)
        wait_until(lambda: (tmp_path / "x.0003.mcap").exists(), "another file")
        recording.stop()
    assert (tmp_path / "x.0002.mcap").read_bytes() == b"precious" and (tmp_path / "x.0003.mcap").exists()


def test_another_file_begins_when_it_is_time_to(board, begin, tmp_path, monkeypatch):
    from ukernel.recordings import order

    monkeypatch.setattr(order, "MIN_ROTATE_S", 0.1)
    with begin("adc", rotate_s=0.2) as recording:
        board.open("adc")
        board.write(b"ab", 1, 0)
        wait_until(lambda: (tmp_path / "x.0002.mcap").exists(), "another file")
        recording.wait_for(2)


def test_a_file_that_is_removed_is_followed_by_another_one_that_says_so(board, begin, tmp_path):
    path = tmp_path / "x.mcap"
    with begin("adc") as recording:
        board.open("adc")
        board.write(b"abc", 1, 0)
        recording.wait_for(3)
        path.rename(tmp_path / "moved.mcap")  # which is no harm
        board.write(b"de", 1, 3)
        recording.wait_for(5)
        wait_until(lambda: len(Contents(tmp_path / "moved.mcap").data()) == 5, "what comes after that in the file")
        (tmp_path / "moved.mcap").unlink()
        wait_until(lambda: (tmp_path / "x.0002.mcap").exists(), "another file")
        board.write(b"fg", 1, 5)
        recording.wait_for(7)
        recording.stop()
    contents = Contents(tmp_path / "x.0002.mcap")
    assert contents.is_finished and contents.data() == [b"f", b"g"]
    assert [event["number"] for event in contents.events_of("open")] == [5]
    (note,) = recording.state["notes"]
    assert note == f"{path} was removed while it was written, and with it 5 frames."
    assert [event["text"] for event in contents.events_of("note")] == [note]


def test_a_folder_that_is_removed_ends_the_recording_with_a_sentence(board, begin, tmp_path):
    (tmp_path / "run1").mkdir()
    with begin("adc", name="run1/x.mcap") as recording:
        board.open("adc")
        shutil.rmtree(tmp_path / "run1")
        recording.join()
    assert recording.state["state"] == "ended" and "there is no folder" in recording.state["error"]


def test_what_it_waits_for_is_said(board, begin):
    with begin("adcs") as recording:
        board.open("adc")
        recording.recorder._ask_at = 0.0
        wait_until(lambda: "did you mean" in recording.state["obstacle"], "the hint")
        assert recording.state["obstacle"] == "No pipe 'adcs' is open yet ('adc' is open: did you mean that?)."


def test_it_ends_by_itself_after_the_time_that_was_said(hub, tmp_path):
    state = Recorder(make_order("adc", tmp_path / "x.mcap", seconds=0.01)).run(signals=False)
    assert (state["state"], state["reason"], state["error"]) == ("ended", "stopped", "")


def test_a_file_that_cannot_be_made_leaves_no_entry(hub, tmp_path):
    (tmp_path / "x.mcap").touch()
    with pytest.raises(RecordingError, match="is there already"):
        Recorder(make_order("adc", tmp_path / "x.mcap"))
    assert registry.read_all() == []


def test_an_error_of_ours_still_ends_the_file_whole(board, begin, monkeypatch):
    from ukernel.recordings.follower import Follower

    with begin("adc") as recording:
        board.open("adc")
        board.write(b"ab", 1, 0)
        recording.wait_for(2)

        def fail(self, now):
            raise RuntimeError("broken")

        monkeypatch.setattr(Follower, "_step", fail)
        recording.join()
        assert isinstance(recording.failure, RuntimeError)
        contents = recording.stop()
    assert contents.is_finished and contents.data() == [b"a", b"b"] and contents.about(END)["reason"] == "RuntimeError: broken"
