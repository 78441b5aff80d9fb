"""`collect`: samples, and what it says where there are none."""

import os
import signal
import socket
import struct
import threading
import time

import numpy as np
import pytest
from fakelistener import PIPE_STATE

from ukernel import pipes
from ukernel.errors import (
    HubUnreachableError,
    PipeDataLostWarning,
    PipeDecodeWarning,
    PipeEndedEarlyWarning,
)
from ukernel.pipes import collect, collection
from ukernel.protocol import statefile


def test_n_samples(listener):
    listener.serve(*range(300), end=None)
    samples = collect("adc", n=200)
    assert samples.dtype == np.float64
    assert samples.tolist() == list(range(200))


def test_seconds_are_waited_out_when_nothing_comes(listener):
    started = time.monotonic()
    assert collect("adc", seconds=1, allow_empty=True).shape == (0,)
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("decoder", [None, lambda b: time.sleep(0.001) or 1.0], ids=["default", "slow decoder"])
def test_seconds_end_a_flood(listener, decoder):
    stream = struct.pack("<If", 4, 1.5) * 100_000

    def script(feed):
        while True:
            feed.raw(stream)

    listener.script = script
    started = time.monotonic()
    samples = collect("adc", seconds=0.5, decoder=decoder)
    assert time.monotonic() - started >= 0.5
    assert len(samples) > 100


def test_whichever_comes_first(listener):
    listener.serve(*range(10), end=None)
    assert len(collect("adc", n=10, seconds=60)) == 10
    assert len(collect("adc", n=11, seconds=1)) == 10


@pytest.mark.parametrize(
    "arguments",
    [{}]
    + [{"n": n} for n in (0, -1, True, 1.5, 10.0, "10", np.nan)]
    + [{"seconds": s} for s in (0, -1, True, float("nan"), float("inf"), "1", 1j)]
    + [{"n": 1, "decoder": d} for d in (5, "", "<Q5", "<4s", "<0sf", "<f4", "<4x", b"<f")],
    ids=str,
)
def test_bad_arguments_are_refused_before_anything_happens(arguments):
    with pytest.raises(ValueError, match=r".{20}"):
        collect("adc", **arguments)


def test_numpy_numbers_are_numbers(listener):
    listener.serve(1, 2, end=None)
    assert len(collect("adc", n=np.int32(2), seconds=np.float32(5))) == 2


def test_an_early_end_returns_what_came_with_a_warning(listener):
    listener.serve(1, 2, 3)
    with pytest.warns(PipeEndedEarlyWarning, match="3 of 10 samples: the producer closed it") as told:
        assert collect("adc", n=10).tolist() == [1, 2, 3]
    assert told[0].filename == __file__
    with pytest.warns(PipeEndedEarlyWarning, match=r"3 samples and 0\.\d of 60 s"):
        assert len(collect("adc", seconds=60)) == 3


def test_an_end_after_the_last_sample_is_not_early(listener):
    listener.serve(1, 2, 3)
    assert len(collect("adc", n=3)) == 3


def test_lost_frames_are_told(listener):
    def script(feed):
        feed.floats(1)
        feed.notice(lost=7, cause="reader")
        feed.floats(2)

    listener.script = script
    with pytest.warns(PipeDataLostWarning, match="7 frames"):
        assert collect("adc", n=2).tolist() == [1, 2]


def test_without_numpy_there_is_a_list(listener, no_numpy):
    listener.serve(1, 2, 3, end=None)
    assert collect("adc", n=2) == [1, 2]
    assert collect("adc", n=2, decoder="<hh") == [(0, 16256), (0, 16384)]
    assert collect("adc", n=2, decoder=len) == [4, 4]


def test_a_format_gives_columns(listener):
    def script(feed):
        feed.batch(*(struct.pack("<hBx", i, 2 * i) for i in range(5)))

    listener.script = script
    samples = collect("imu", n=4, decoder="<hBx")
    assert samples.dtype == np.float64
    assert samples.tolist() == [[0, 0], [1, 2], [2, 4], [3, 6]]


@pytest.mark.parametrize("format", ["<f", ">d", "!hhh", "<fxxI", "@bq", "=?e", "<2i3B", "b 2h", "q"])
def test_a_format_means_what_struct_says(listener, format):
    packer = struct.Struct(format)
    count = len(packer.unpack(bytes(packer.size)))
    rows = [tuple(range(i, i + count)) for i in range(1, 4)]
    listener.script = lambda feed: feed.frame(*(packer.pack(*row) for row in rows))
    expected = [[float(v) for v in packer.unpack(packer.pack(*row))] for row in rows]
    assert collect("x", n=3, decoder=format).reshape(3, -1).tolist() == expected


def test_a_callable_sees_each_frame(listener):
    listener.script = lambda feed: feed.frame(b"a", b"bcd", b"", b"efghi")
    assert collect("x", n=4, decoder=len).tolist() == [1, 3, 0, 5]
    samples = collect("x", n=2, decoder=lambda b: (len(b), 0.5))
    assert samples.tolist() == [[1, 0.5], [3, 0.5]]


def test_a_bad_frame_costs_that_frame(listener):
    def script(feed):
        feed.floats(1)
        feed.frame(b"abc", b"")
        feed.floats(2, 3)

    listener.script = script
    expected = "2 of 5 frames could not be decoded and were left out; the first: a frame of 3 bytes"
    with pytest.warns(PipeDecodeWarning, match=expected) as told:
        assert collect("adc", n=3).tolist() == [1, 2, 3]
    assert len(told) == 1
    with pytest.warns(PipeDecodeWarning, match=r"2 of 5 frames.*error: unpack requires a buffer of 4 bytes"):
        assert collect("adc", n=3, decoder=lambda b: struct.unpack("<f", b)[0]).tolist() == [1, 2, 3]


@pytest.mark.parametrize("wrong", [None, "x", [1.0, 2.0], {}, [[1], [1, 2]]], ids=repr)
def test_what_is_no_number_costs_that_frame(listener, wrong):
    listener.script = lambda feed: feed.frame(b"1", b"?", b"2")
    with pytest.warns(PipeDecodeWarning, match="1 of 3 frames"):
        assert collect("x", n=2, decoder=lambda b: wrong if b == b"?" else float(b)).tolist() == [1, 2]


def test_nan_is_a_number(listener):
    listener.serve(1, float("nan"), float("inf"), end=None)
    samples = collect("adc", n=3, decoder=lambda b: struct.unpack("<f", b)[0])
    assert np.isnan(samples[1])
    assert np.isinf(samples[2])


def why_nothing(**arguments):
    with pytest.raises(TimeoutError) as raised:
        collect("adc", **arguments)
    return str(raised.value)


def test_no_samples_because_the_pipe_is_not_open(listener):
    assert "the board has not opened it (no pipe is open). Run the cell" in why_nothing(seconds=0.05)


def test_no_samples_and_other_pipes_are_open(listener):
    listener.pipes = [{**PIPE_STATE, "name": "imu"}, {**PIPE_STATE, "name": "old", "open": False}]
    assert "(open now: 'imu')" in why_nothing(seconds=0.05)
    listener.pipes.append({**PIPE_STATE, "name": "adc0"})
    assert "'adc0' is open: did you mean that" in why_nothing(seconds=0.05)


def test_a_sentence_names_no_more_open_pipes_than_can_be_read(listener):
    listener.pipes = [{**PIPE_STATE, "name": f"line{number:03}"} for number in range(30)]
    why = why_nothing(seconds=0.05)
    assert "'line009' and 20 more)" in why and "line010" not in why


def test_no_samples_because_the_producer_was_faster(listener):
    listener.pipes = [{**PIPE_STATE, "name": "adc", "frames": 1234, "open": False, "ended": "closed"}]
    why = why_nothing(seconds=0.05)
    assert "it ended before this call, after 1,234 frames: the producer closed it." in why and "replay" not in why
    listener.pipes[0]["held"] = 1000
    assert "replay=True gives the 1,000 that the hub holds" in why_nothing(seconds=0.05)
    for listener.pipes[0]["ended"] in ("board gone", ""):  # for good, or it may come back
        assert "after 1,234 frames: the board is gone" in why_nothing(seconds=0.05)


def test_no_samples_because_nothing_was_written(listener):
    listener.script = lambda feed: feed.opened()
    assert "it is open, but nothing was written to it" in why_nothing(seconds=1)


def test_no_samples_because_the_producer_closed(listener):
    listener.serve()
    assert "ended before anything was written to it: the producer closed it" in why_nothing(n=5)


def test_no_samples_because_the_board_is_gone(listener):
    listener.serve(end="board gone")
    assert "the board is gone" in why_nothing(seconds=5)


def test_no_samples_because_none_could_be_decoded(listener):
    listener.script = lambda feed: feed.frame(b"abc")
    assert "1 of 1 frames could not be decoded" in why_nothing(seconds=1)


def test_no_samples_can_be_allowed(listener):
    assert collect("adc", seconds=0.05, allow_empty=True).shape == (0,)
    assert collect("adc", seconds=0.05, allow_empty=True, decoder="<fff").shape == (0, 3)


def test_waiting_long_without_a_deadline_prints_one_hint(listener, monkeypatch, capsys):
    monkeypatch.setattr(collection, "HINT_AFTER_S", 0.1)
    said, hint = threading.Event(), collection._hint
    monkeypatch.setattr(collection, "_hint", lambda *state: (hint(*state), said.set()))

    def script(feed):
        said.wait(10)
        feed.floats(1, 2)

    listener.script = script
    assert len(collect("adc", n=2)) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "collect('adc'): still waiting for 2 samples; no pipe of that name is open yet" in printed
    assert len(collect("adc", n=2, seconds=5)) == 2
    assert capsys.readouterr().err == ""


def test_the_hint_says_when_frames_arrive_that_cannot_be_decoded(listener, monkeypatch, capsys):
    monkeypatch.setattr(collection, "HINT_AFTER_S", 0.1)
    said, hint = threading.Event(), collection._hint
    monkeypatch.setattr(collection, "_hint", lambda *state: (hint(*state), said.set()))

    def script(feed):
        feed.opened()
        feed.frame(b"x")
        said.wait(10)
        feed.floats(1)

    listener.script = script
    with pytest.warns(PipeDecodeWarning):
        assert len(collect("adc", n=1)) == 1
    assert "1 of 1 frames could not be decoded" in capsys.readouterr().err


@pytest.fixture
def interruptible():
    """SIGINT is KeyboardInterrupt, also where the run was started in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to oneself")
def test_an_interrupt_ends_the_wait_and_the_subscription(listener, interruptible):
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        collect("adc", n=1)
    assert listener.feed().connection.recv(1) == b""


def test_no_hub_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "none.json"))
    monkeypatch.setenv("UCORE_PIPE_PORT", "1")
    monkeypatch.setenv("UCORE_PIPE_TOKEN", "0" * 64)
    for ask in (lambda: collect("adc", n=1), pipes.pipes):
        with pytest.raises(HubUnreachableError, match="port 1 "):
            ask()
    monkeypatch.delenv("UCORE_PIPE_PORT")
    assert pipes.pipes() == []


def test_a_hub_that_does_not_answer_holds_nobody_up_beyond_the_seconds(monkeypatch, tmp_path):
    path = tmp_path / "hub.json"
    monkeypatch.setenv("UCORE_STATE_PATH", str(path))
    monkeypatch.setattr(collection, "LEAST_HUB_S", 0.2)
    state_file = statefile.StateFile(path)
    assert state_file.acquire()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        state_file.write(statefile.HubInfo(os.getpid(), "127.0.0.1", silent.getsockname()[1], 64 * "0", "fake"))
        with pytest.raises(HubUnreachableError, match=r"within 0\.2 s: it is not answering"):
            collect("adc", seconds=0.1)
    state_file.remove()
    state_file.release()
