"""Pipes of a board, through a hub."""

import struct
import threading

import pytest
from scripted import running_hub, wait_until

from ukernel import pipes
from ukernel.client import connection
from ukernel.errors import (
    BoardGoneError,
    PipeDataLostWarning,
    PipeEndedEarlyWarning,
)
from ukernel.pipes import collect, subscribe
from ukernel.protocol import statefile


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A scripted board, on a real hub."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "run" / "hub.json"))
    monkeypatch.delenv("UCORE_PIPE_PORT", raising=False)
    with running_hub() as hub, connection.connect(start=False) as attached:
        attached.request("attach_request", {"board": "scripted://kitchen", "client": "a test"})
        yield hub.boards["kitchen"]


def test_what_is_written_after_subscribing_arrives(board):
    with subscribe("adc") as early:
        board.open("adc")
        board.write(b"abcd", 2, 0)
        with subscribe("adc") as late:
            board.write(b"efgh", 4, 2)
            board.write(b"", 0, 3)
            board.close_pipe(4)
            assert list(early) == [b"ab", b"cd", b"efgh", b""]
            assert list(late) == [b"efgh", b""]
            assert (early.end_reason, late.end_reason, late.lost) == ("closed", "closed", 0)
            assert late.opening["unread"] == 0


def test_what_the_board_lost_is_told(board):
    board.open("adc", drops=True)
    with subscribe("adc") as pipe, pytest.warns(PipeDataLostWarning, match="98 frames are missing"):
        board.write(b"abcd", 2, 0)
        board.write(b"ef", 2, 100)
        board.close_pipe(101)
        assert len(list(pipe)) == 3
        assert pipe.losses == {"board": 98}


def test_a_reader_that_follows_finds_the_pipe_of_a_board_that_restarted(board, read_in_vain):
    board.open("adc")
    with subscribe("adc", follow=True, timeout=20) as pipe:
        board.write(b"ab", 2, 0)
        assert next(pipe) == b"ab"
        board.boot()
        read_in_vain(pipe, "the board restarted")
        board.open("adc")
        board.write(b"cd", 2, 0)
        board.close_pipe(1)
        assert next(pipe) == b"cd"
        with pytest.raises(TimeoutError):
            pipe.read(timeout=0.3)
        board.open("adc", generation=2)
        board.write(b"ef", 2, 0)
        assert next(pipe) == b"ef" and pipe.lost == 0
        assert [end.reason for end in pipe.ends] == ["board restarted", "closed"]


def test_a_reader_that_follows_waits_for_a_board_that_is_gone_and_learns_what_it_missed(board, read_in_vain):
    board.open("adc")
    with subscribe("adc", follow=True, timeout=20) as pipe:
        board.write(b"ab", 2, 0)
        assert next(pipe) == b"ab"
        board.gone(BoardGoneError("unplugged"))
        read_in_vain(pipe, "the board is gone")
        assert pipe._reader.awaits == "board gone"
        board.ready(resumed=True)
        board.open("adc", number=3)  # the same one, announced anew
        board.write(b"cd", 2, 3)
        with pytest.warns(PipeDataLostWarning, match="2 frames are missing"):
            assert next(pipe) == b"cd"
        assert pipe.lost == 2 and pipe._reader.awaits is None


def test_a_reader_that_follows_waits_for_the_next_hub_and_starts_none(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "run" / "hub.json"))
    monkeypatch.delenv("UCORE_PIPE_PORT", raising=False)

    def serve(hub, attached, data):
        attached.request("attach_request", {"board": "scripted://kitchen", "client": "a test"})
        hub.boards["kitchen"].open("adc")
        hub.boards["kitchen"].write(data, 2, 0)

    with running_hub() as hub, connection.connect(start=False) as attached:
        pipe = subscribe("adc", follow=True, timeout=20)
        serve(hub, attached, b"ab")
        assert next(pipe) == b"ab"
    with (
        pytest.warns(PipeEndedEarlyWarning, match="the board hub stopped"),
        pytest.raises(TimeoutError, match="nothing came for 1 s; it has not been opened again: the board hub stopped"),
    ):
        pipe.read(timeout=1)
    assert pipe._reader.awaits == "hub stopped" and statefile.find() is None
    with running_hub() as hub, connection.connect(start=False) as attached:
        serve(hub, attached, b"cd")
        reading = threading.Thread(target=lambda: got.append(next(pipe)))
        got = []
        with pipe:
            reading.start()
            wait_until(lambda: hub.hub.boards.subscriptions.readers)
            hub.boards["kitchen"].write(b"ef", 2, 1)
            reading.join(20)
            assert got == [b"ef"]


def test_a_slow_reader_learns_exactly_what_it_missed(board):
    board.open("adc")
    size, number = 60_000, 0
    with subscribe("adc") as slow, subscribe("adc") as fast:
        while number < 400:  # far more than the hub and the system hold for one reader
            board.write(bytes(size), size, number)
            number += 1
            assert next(fast)
        board.close_pipe(number)
        with pytest.warns(PipeDataLostWarning, match="this reader was too slow"):
            got = len(list(slow))
        assert got < number
        assert got + slow.lost == number
        assert list(fast) == []
        assert fast.lost == 0


def test_a_finite_producer_is_collected_after_its_cell(board):
    board.open("adc")
    for number in range(100):
        board.write(struct.pack("<f", number), 4, number)
    board.close_pipe(100)
    assert collect("adc", n=100, replay=True).tolist() == list(range(100))
    assert collect("adc", seconds=60, replay=True).tolist() == list(range(100))
    with pytest.raises(TimeoutError, match="replay=True gives the 100 that the hub holds"):
        collect("adc", seconds=0.05)


def test_a_replay_may_begin_while_the_producer_writes(board):
    board.open("adc")
    board.write(b"abcd", 2, 0)
    with subscribe("adc", replay=True) as pipe:
        board.write(b"efgh", 2, 2)
        board.close_pipe(4)
        assert list(pipe) == [b"ab", b"cd", b"ef", b"gh"]
        assert (pipe.end_reason, pipe.lost) == ("closed", 0)


def test_the_open_pipes_and_their_readers_are_known(board):
    board.open("adc")
    with subscribe("adc"):
        board.write(b"abcd", 2, 0)
        (state,) = pipes.pipes()
        assert (state.name, state.board, state.open, state.frames, state.readers) == ("adc", "kitchen", True, 2, 1)
        assert (state.lost, state.losses, state.held) == (0, {}, 2)
        assert state.bytes_per_s == 2 * state.frames_per_s > 0
    with pytest.raises(TimeoutError, match="'adc' is open: did you mean that"):
        collect("adc1", seconds=0.05)
