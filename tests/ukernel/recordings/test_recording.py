"""A recording that any process starts, and any sees and stops: its recorder is a process of its own."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from patience import PATIENCE_S, wait_until
from recordingfile import Contents

from ukernel.errors import RecordingError
from ukernel.recordings import record, recordings, registry
from ukernel.recordings.recovery import recover


@pytest.fixture
def path(tmp_path):
    yield tmp_path / "x.mcap"
    for state in registry.read_all():
        if state["state"] in ("recording", "waiting"):
            registry.ask_stop(state["id"])
            wait_until(lambda id=state["id"]: registry.read(id)["state"] not in ("recording", "waiting"))


def wait_for(recording, frames):
    wait_until(lambda: recording.state.frames >= frames, f"{frames} frames")


def test_it_is_begun_seen_and_stopped(board, path):
    recording = record("adc", path, formats="<f")
    assert recording.state.state == "waiting" and recording.state.pid != os.getpid()
    board.open("adc")
    board.write(bytes(40), 4, 0)
    wait_for(recording, 10)
    state = recording.state
    assert (state.state, state.pipes, state.boards, state.lost, state.file) == ("recording", ["adc"], ["kitchen"], 0, str(path))
    assert state.free_bytes > 0 and state.file_bytes > 0
    assert repr(recording).startswith(f"<Recording {recording.id} of adc to {path}: recording; 10 frames, ")
    assert "none lost" in repr(recording) and "\n" not in repr(recording)
    assert "<td>adc</td><td>kitchen</td><td>recording</td><td>10</td>" in recording._repr_html_()
    (other,) = recordings()
    assert other.id == recording.id
    ended = other.stop()
    assert (ended.state, ended.reason, ended.frames) == ("ended", "stopped", 10)
    assert recording.stop() == ended
    wait_until(lambda: not psutil.pid_exists(state.pid) or psutil.Process(state.pid).status() == psutil.STATUS_ZOMBIE)
    assert recordings() == [] and [one.id for one in recordings(ended=True)] == [recording.id]
    assert Contents(path).data() == [bytes(4)] * 10 and Contents(path).is_finished


def test_nothing_that_is_written_after_it_was_begun_is_missed(board, path):
    board.open("adc")
    board.write(b"ab", 1, 0)
    with record("adc", path) as recording:
        board.write(b"cd", 1, 2)
        wait_for(recording, 2)
    assert Contents(path).data() == [b"c", b"d"]


def test_it_outlives_the_process_that_has_begun_it(board, path):
    code = f"from ukernel.recordings import record; print(record('adc', {str(path)!r}).id)"
    answer = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert answer.stderr == ""
    (recording,) = recordings()
    assert recording.id == answer.stdout.strip()
    board.open("adc")
    board.write(b"ab", 1, 0)
    wait_for(recording, 2)
    recording.stop()
    assert Contents(path).data() == [b"a", b"b"]


def test_a_recorder_that_is_killed_leaves_what_was_flushed_and_is_seen_as_killed(board, path):
    recording = record("adc", path)
    board.open("adc")
    for number in range(20):
        board.write(b"%2d" % number, 2, number)
        wait_until(lambda count=number + 1: len(Contents(path).data()) >= count, "the frame in the file")
    psutil.Process(recording.state.pid).kill()
    wait_until(lambda: recording.state.is_ended, "its end")
    assert recording.state.state == "killed" and recordings() == []
    with pytest.raises(RecordingError, match=r"was killed.*`ucore recover .*x\.mcap` mends the file"):
        recording.stop()
    assert len(Contents(path).data()) == 20 and not Contents(path).is_finished
    report = recover(path)
    assert report.frames == 20 and Contents(path).is_finished and Contents(path).ends() == [(1, "recorder killed")]


def test_a_signal_ends_the_file_whole(board, path):
    recording = record("adc", path)
    board.open("adc")
    board.write(b"ab", 1, 0)
    wait_for(recording, 2)
    os.kill(recording.state.pid, signal.SIGTERM)
    assert recording.wait(PATIENCE_S).reason == "stopped"
    assert Contents(path).is_finished and Contents(path).data() == [b"a", b"b"]


def test_what_cannot_be_recorded_is_said_at_once_and_leaves_nothing(hub, path):
    with pytest.raises(RecordingError, match=r"there is no folder .*nowhere\. Make it first\."):
        record("adc", path.parent / "nowhere" / "x.mcap")
    path.write_bytes(b"precious")
    with pytest.raises(RecordingError, match="is there already"):
        record("adc", path)
    assert path.read_bytes() == b"precious" and recordings(ended=True) == []


def test_without_mcap_the_way_to_get_it_is_said(path, monkeypatch):
    monkeypatch.setattr("ukernel.recordings.recording.find_spec", lambda name: None)
    with pytest.raises(RecordingError, match=r"need mcap, which is not installed: pip install 'ukernel\[record\]'"):
        record("adc", path)


def test_what_cannot_be_understood_is_refused_before_anything_is_started(path):
    with pytest.raises(RecordingError, match="is not a struct format"):
        record("adc", path, formats="<zz")
    assert not path.exists() and registry.read_all() == []


def test_two_recorders_never_share_a_file(hub, path):
    with record("adc", path), pytest.raises(RecordingError, match="is just being recorded to by another recorder"):
        record("adc", path, overwrite=True)


def test_a_file_is_replaced_where_that_is_said(board, path):
    path.write_bytes(b"old" * 10000)
    with record("adc", path, overwrite=True) as recording:
        board.open("adc")
        board.write(b"a", 1, 0)
        wait_for(recording, 1)
    assert Contents(path).data() == [b"a"]


def test_waiting_has_an_end(hub, path):
    with record("adc", path) as recording, pytest.raises(RecordingError, match=r"has not ended within 0\.01 s"):
        recording.wait(0.01)


def test_what_is_nowhere_is_said(hub):
    from ukernel.recordings.recording import Recording

    with pytest.raises(RecordingError, match="There is no recording 000000000000"):
        Recording("000000000000")


def test_what_was_left_by_killed_recorders_is_removed_after_a_day(hub, path, monkeypatch):
    recording = record("adc", path)
    psutil.Process(recording.state.pid).kill()
    wait_until(lambda: recording.state.is_ended)
    assert [one.id for one in recordings(ended=True)] == [recording.id]
    real = time.time
    monkeypatch.setattr(registry.time, "time", lambda: real() + registry.KEEP_S + 10)
    registry.Entry().release()
    assert registry.read(recording.id) is None


def test_entries_are_for_this_user_alone(hub, path):
    with record("adc", path):
        folder = registry._folder()
        assert folder.stat().st_mode & 0o077 == 0
        assert all(file.stat().st_mode & 0o077 == 0 for file in folder.glob("*.json"))


def test_an_entry_that_makes_no_sense_or_is_another_builds_disturbs_nobody(hub, path):
    with record("adc", path) as recording:
        folder = registry._folder()
        for id, content in (("0" * 12, "{"), ("1" * 12, "[]"), ("2" * 12, "{}"), ("3" * 12, '{"state": 3, "file": "x"}')):
            (folder / f"{id}.json").write_text(content)
        (folder / ("4" * 12 + ".json")).write_text('{"state": "ended", "file": "x.mcap", "seen": 1e12, "later": 1}')
        (folder / "notes.txt").write_text("hello")
        assert [one.id for one in recordings()] == [recording.id]
        assert {one.id for one in recordings(ended=True)} == {recording.id, "4" * 12}
