"""A recording that is played is read as a board is: by `subscribe`, `collect`, `live_plot`, `pipes` and `record`."""

import math
import os
import struct
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from patience import PATIENCE_S, wait_until
from recordingmaker import BEGAN, RecordingMaker

from ukernel.errors import PipeDataLostWarning, PipeEndedEarlyWarning, PipeEndedError, RecordingError, UsageError
from ukernel.pipes import collect, pipes, subscribe
from ukernel.protocol import statefile
from ukernel.recordings import load, play, record
from ukernel.recordings.writer import Rotation

FAST = math.inf


@pytest.fixture
def make(tmp_path):
    return lambda name="x.mcap", **options: RecordingMaker(tmp_path / name, **options)


def seconds_of(maker, pipe="adc", seconds=3, rate=100, board="kitchen", began=BEGAN, **more):
    """So many seconds of a pipe that counts, as float32, a chunk a second."""
    opening = maker.open(pipe, board, **more)
    for second in range(seconds):
        values = np.arange(rate * second, rate * (second + 1), dtype="<f4")
        maker.put(opening, values.tobytes(), 4, began + second, began + second + 1 - 1 / rate)
        maker.flush()
    return opening


def test_collect_reads_a_recording_as_a_board(make):
    maker = make()
    seconds_of(maker)
    with play(maker.end(), speed=FAST) as player:
        with pytest.warns(PipeEndedEarlyWarning, match="ended after 300 of 1000"):
            samples, times = collect("adc", n=1000, timestamps=True)
        assert samples.tolist() == list(range(300))
        assert np.allclose(times, BEGAN + np.arange(300) / 100, atol=1e-6)
        assert player.wait(PATIENCE_S) and player.state == "ended"


def test_frames_come_with_their_numbers_losses_and_ends(make):
    maker = make()
    adc = maker.open("adc", number=5, unread=4)
    maker.put(adc, struct.pack("<ff", 1, 2), 4, BEGAN, BEGAN + 1)
    maker.lose(adc, 7, "between")
    maker.put(adc, b"odd", 3, BEGAN + 2)
    maker.writer.ended(adc, "board restarted")
    with play(maker.end(), speed=FAST), subscribe("adc", timeout=PATIENCE_S, timestamps=True) as pipe:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            frames = list(pipe)
        assert [frame for frame, _ in frames] == [struct.pack("<f", 1), struct.pack("<f", 2), b"odd"]
        assert [stamp.time for _, stamp in frames] == [BEGAN, BEGAN + 1, BEGAN + 2]
        assert (
            (pipe.opening["number"], pipe.opening["unread"]) == (5, 4)
            and pipe.losses == {"between": 7}
            and pipe.end_reason == "board restarted"
        )
        assert {warning.category for warning in warned} == {PipeDataLostWarning, PipeEndedEarlyWarning}


def test_where_the_recorder_was_stopped_a_pipe_ends_well(make):
    maker = make()
    seconds_of(maker)
    with play(maker.end(), speed=FAST), subscribe("adc", timeout=PATIENCE_S) as pipe:
        assert len(list(pipe)) == 300 and pipe.end_reason == "closed"


def test_at_its_own_speed_it_takes_as_long_as_it_took(make):
    maker = make()
    seconds_of(maker, seconds=1)
    with play(maker.end()) as player:
        began = time.monotonic()
        assert len(collect("adc", n=100)) == 100
        assert time.monotonic() - began >= 0.9
        assert player.position == pytest.approx(0.99, abs=0.02)


def test_nothing_is_played_before_somebody_reads(make):
    maker = make()
    seconds_of(maker)
    with play(maker.end(), speed=FAST) as player:
        assert player.state == "waiting for a reader" and player.position == 0.0
        assert [(pipe.name, pipe.board, pipe.open, pipe.frames) for pipe in pipes()] == [("adc", "kitchen", True, 0)]
        assert len(collect("adc", n=300)) == 300


def test_as_fast_as_they_read_nothing_is_lost_to_a_slow_reader(make, monkeypatch):
    monkeypatch.setattr("ukernel.hub.replay.MAX_PIPE_BYTES", 3 << 20)
    maker = make()
    opening = maker.open("adc")
    total = 2_000_000  # 16 MB: more than the hub and the sockets hold
    for first in range(0, total, 8000):
        values = np.arange(first, first + 8000, dtype="<f8")
        maker.put(opening, values.tobytes(), 8, BEGAN + first / 1e6, BEGAN + (first + 7999) / 1e6)
    with play(maker.end(), speed=FAST) as player, subscribe("adc", timeout=PATIENCE_S) as pipe:
        first = pipe.read_array(8000, "<d")
        places = [-1.0]

        def stands_still():
            places.append(player.position)
            return places[-1] == places[-2]

        wait_until(stands_still, "the player to wait for its reader")
        rest = pipe.read_array(total - 8000, "<d")
        assert (np.concatenate([first, rest]) == np.arange(total)).all() and pipe.lost == 0


def test_a_paused_player_lets_all_readers_come_first(make):
    maker = make()
    for pipe in ("adc", "temp"):
        seconds_of(maker, pipe)
    player = play(maker.end(), speed=FAST, paused=True)
    with player, subscribe("adc", timeout=PATIENCE_S) as adc, subscribe("temp", timeout=PATIENCE_S) as temp:
        assert player.state == "paused"
        player.resume()
        assert len(adc.read_array(300)) == len(temp.read_array(300)) == 300


def test_it_can_be_held_and_go_on(make):
    maker = make()
    seconds_of(maker, seconds=60)
    with play(maker.end(), speed=20) as player, subscribe("adc", timeout=PATIENCE_S) as pipe:
        pipe.read()
        player.pause()
        wait_until(lambda: player.state == "paused", "the pause")
        held = player.position
        assert 0 <= held < 60
        player.speed = FAST
        assert player.position == pytest.approx(held, abs=1.0)
        player.resume()
        pipe.read_array(5999)
        assert player.wait(PATIENCE_S)


def test_seek_ends_the_pipes_and_opens_them_again_there(make):
    maker = make()
    seconds_of(maker)
    with play(maker.end(), speed=FAST) as player:
        assert collect("adc", n=300).tolist() == list(range(300))
        player.seek(2.5)
        assert player.state == "waiting for a reader" and player.position == 2.5
        with subscribe("adc", timeout=PATIENCE_S) as pipe:
            assert pipe.read_array(50).tolist() == list(range(250, 300))
            assert pipe.opening["number"] == 250
        with pytest.raises(UsageError, match="seconds"):
            player.seek(-1)


def test_a_piece_is_played_by_itself(make):
    maker = make()
    seconds_of(maker)
    with play(load(maker.end())[1:2], speed=FAST), subscribe("adc", timeout=PATIENCE_S) as pipe:
        assert pipe.read_array(100).tolist() == list(range(100, 200))
        with pytest.raises(PipeEndedError):
            pipe.read()


def test_a_loop_begins_again_with_new_openings(make):
    maker = make()
    seconds_of(maker)
    with play(maker.end(), speed=FAST, loop=True) as player:
        with subscribe("adc", timeout=PATIENCE_S, follow=True) as pipe:
            found = pipe.read_array(900)
            assert [int(value) for value in found[:3]] == [0, 1, 2] and len(pipe.ends) >= 2 and pipe.lost == 0
        assert player.passes >= 2


def test_pipes_of_several_boards_are_told_apart(make):
    maker = make()
    for board, value in (("kitchen", 1), ("cellar", 2)):
        maker.put(maker.open("adc", board), struct.pack("<f", value), 4, BEGAN)
    player = play(maker.end(), speed=FAST, paused=True)
    with (
        player,
        subscribe("adc", board="cellar", timeout=PATIENCE_S) as cellar,
        subscribe("adc", board="port of kitchen", timeout=PATIENCE_S) as kitchen,
    ):
        player.resume()
        assert cellar.read() == struct.pack("<f", 2) and kitchen.read() == struct.pack("<f", 1)


def test_a_recording_of_a_recording_is_the_same(make, tmp_path):
    maker = make(formats={"*": "<f"})
    adc = seconds_of(maker, cell=("a.ipynb", "ucore.every(5, read)"))
    maker.lose(adc, 5, "board")
    maker.put(adc, struct.pack("<f", 7), 4, BEGAN + 4)
    maker.writer.ended(adc, "board gone")
    first = load(maker.end())
    with play(first, speed=FAST, paused=True) as player:
        with record("*", tmp_path / "again.mcap", formats="<f") as again:
            wait_until(lambda: again.state.pipes, "the recorder to read the pipe")
            player.resume()
            wait_until(lambda: again.state.frames == 301, f"all frames: {again.state}")
        assert statefile.read() is None, "a hub of boards was started"
    second = load(tmp_path / "again.mcap")
    one, other = first["adc"], second["adc"]
    assert (one.values == other.values).all() and (one.numbers == other.numbers).all()
    assert np.allclose(one.times, other.times, atol=1e-6) and np.allclose(one.errors, other.errors, rtol=0.5)
    assert one.losses == other.losses == {"board": 5} and other.openings[0].end_reason == "board gone"
    assert second.boards["kitchen"]["machine"] == "m"
    assert (other.openings[0].cell, other.openings[0].code) == ("a.ipynb", "ucore.every(5, read)")


def test_an_opening_that_breaks_off_again_and_again_and_the_board_s_next_life_are_all_recorded(make, tmp_path):
    maker = make(formats={"*": "<f"})
    adc = seconds_of(maker)
    for _ in range(4):  # the hub was killed, and goes on
        maker.writer.ended(adc, "connection lost")
        maker.writer.opened(adc, 0)
        maker.put(adc, struct.pack("<f", 1), 4, BEGAN + 4)
    maker.writer.ended(adc, "board restarted")
    seconds_of(maker, began=BEGAN + 10)
    first = load(maker.end())["adc"]
    with play(maker.path, speed=FAST, paused=True) as player, record("*", tmp_path / "again.mcap", formats="<f") as again:
        wait_until(lambda: again.state.pipes, "the recorder to read the pipe")
        player.resume()
        wait_until(lambda: again.state.frames == 604, f"all frames: {again.state}")
    second = load(tmp_path / "again.mcap")["adc"]
    assert (first.values == second.values).all() and first.losses == second.losses == {}


def test_who_records_a_recording_leaves_the_boards_alone(make, hub, attached, tmp_path):
    maker = make()
    seconds_of(maker)
    player = play(maker.end(), speed=FAST, paused=True)
    with player, record("*", tmp_path / "again.mcap", formats="<f", board="kitchen") as again:
        wait_until(lambda: again.state.pipes, "the recorder to read the pipe")
        player.resume()
        wait_until(lambda: again.state.frames == 300, f"all frames: {again.state}")
        assert [client.label for client in hub.hub.boards.clients] == ["a notebook"]


def test_a_damaged_chunk_is_a_loss(make):
    maker = make()
    seconds_of(maker)
    path = maker.end()
    recording = load(path)
    chunk = recording._readers[0].chunks[1]
    data = bytearray(path.read_bytes())
    data[chunk.at + chunk.length // 2] ^= 0xFF
    path.write_bytes(data)
    with play(path, speed=FAST), subscribe("adc", timeout=PATIENCE_S) as pipe, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(list(pipe)) == 200 and pipe.losses == {"damaged": 100}


def test_a_missing_file_is_a_loss(make):
    maker = make(rotation=Rotation(1, None, None))
    adc = maker.open("adc")
    for number in range(4):
        maker.put(adc, struct.pack("<f", number), 4, BEGAN + number)
        maker.writer.flush_if_due(float(number))
    path = maker.end()
    load(path).files[2].unlink()
    with play(path, speed=FAST), subscribe("adc", timeout=PATIENCE_S) as pipe, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(list(pipe)) == 3 and pipe.losses == {"missing file": 1}


def test_a_reader_that_leaves_in_the_middle_is_not_written_to(make, caplog):
    maker = make()
    opening = maker.open("adc")
    for first in range(0, 200_000, 1000):
        maker.put(opening, bytes(8000), 8, BEGAN + first / 1e5, BEGAN + (first + 999) / 1e5)
    with play(maker.end(), speed=FAST) as player:
        for _ in range(3):
            with subscribe("adc", timeout=PATIENCE_S) as pipe:
                pipe.read()
            player.seek(0)
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_another_process_of_this_program_reads_it_too(make):
    maker = make()
    seconds_of(maker)
    code = "from ukernel.pipes import collect; print(len(collect('adc', n=300)))"
    with play(maker.end(), speed=FAST):
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert found.stdout.strip() == "300", found.stderr


def test_when_it_is_closed_boards_are_read_again(make, monkeypatch):
    maker = make()
    seconds_of(maker)
    monkeypatch.setenv("UCORE_PIPE_TOKEN", "before")
    first = play(maker.end())
    second = play(maker.path)
    assert os.environ["UCORE_PIPE_PORT"] == str(second.port)
    second.close()
    assert os.environ["UCORE_PIPE_PORT"] == str(first.port)
    first.close()
    first.close()
    assert "UCORE_PIPE_PORT" not in os.environ and os.environ["UCORE_PIPE_TOKEN"] == "before"
    assert first.state == "closed" and "closed" in repr(first)
    with pytest.raises(RecordingError, match="closed"):
        first.resume()


def test_readers_are_told_when_it_is_closed(make):
    maker = make()
    seconds_of(maker)
    player = play(maker.end())
    with subscribe("adc", timeout=PATIENCE_S) as pipe:
        pipe.read()
        player.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            list(pipe)
        assert pipe.end_reason == "hub stopped"


def test_what_cannot_be_played_is_said_at_once(make, tmp_path):
    maker = make()
    path = maker.end()
    for speed in (0, -1, "fast", math.nan, True):
        with pytest.raises(UsageError, match="speed"):
            play(path, speed=speed)
    with pytest.raises(RecordingError, match="no file"):
        play(tmp_path / "missing.mcap")
    with play(path, loop=True) as player:
        with subscribe("adc", timeout=0.05) as pipe, pytest.raises(TimeoutError):
            pipe.read()
        wait_until(lambda: player.state == "ended", "the end of nothing")
