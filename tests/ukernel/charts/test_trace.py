"""One pipe of a chart: the times its samples get, and what it says."""

import math
import re
import struct
import threading
import time
import warnings

import numpy as np
import pytest
from fakelistener import FakeListener

from ukernel.charts import trace
from ukernel.charts.scene import RUNNING, WAITING, ChartOptions, Scene
from ukernel.errors import HubUnreachableError, PipeNameError
from ukernel.pipes.decoders import as_decoder
from ukernel.pipes.reasons import describe_losses
from ukernel.pipes.subscription import open_pipe_reader

UNKNOWN = math.inf


@pytest.fixture
def listener(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "state.json"))
    fake = FakeListener(tmp_path / "state.json")
    yield fake
    fake.close()


@pytest.fixture
def follow(listener):
    """Follows a pipe that this script fills, to its end, and returns the trace."""
    followed = []

    def follow(script, decoder=None, size=1000):
        def whole(feed):
            feed.opened()
            script(feed)
            feed.end()

        listener.script = whole
        reader = open_pipe_reader("adc", None, timestamps=True, hint=False, warns=False)
        one = trace.Trace(reader, as_decoder(decoder), size)
        followed.append(one)
        one.start(lambda: None)
        one._thread.join(30)
        assert one.ended
        return one

    yield follow
    for one in followed:
        one.stop()


def floats(*values):
    return [struct.pack("<f", value) for value in values]


def times_of(one):
    return one.window.since(0)[1][:, 0]


def test_samples_have_the_times_at_which_the_board_wrote_them(follow):
    def script(feed):  # two seconds of a signal that arrive at once
        feed.timed(*floats(*range(100)), times=(5000.0, 5001.98, 0.001))
        feed.timed(*floats(*range(100, 200)), times=(5002.0, 5002.099, 0.001))

    one = follow(script)
    assert times_of(one) == pytest.approx(np.r_[5000 + np.arange(100) / 50, 5002 + np.arange(100) / 1000], abs=1e-9)
    assert one.window.copy()[:, 0].tolist() == list(range(200))


def test_a_frame_that_cannot_be_decoded_does_not_shift_the_times_of_the_others(follow):
    def script(feed):
        feed.timed(*floats(1, 0, 2, 0, 4), times=(10.0, 14.0, 0.001))

    one = follow(script, decoder=lambda frame: 1 / struct.unpack("<f", frame)[0])
    assert one.bad == 2
    assert times_of(one).tolist() == [10.0, 12.0, 14.0]


def test_frames_that_a_slow_decoder_takes_by_and_by_keep_their_times(follow, monkeypatch):
    monkeypatch.setattr(trace, "SLICE_S", 0.0001)
    one = follow(lambda feed: feed.timed(*floats(*range(2000)), times=(0.0, 1999.0, 0.001)), lambda b: b[0], size=2000)
    assert times_of(one).tolist() == list(range(2000))


def test_a_pipe_whose_times_are_not_known_is_drawn_by_arrival(follow):
    def script(feed):
        feed.timed(*floats(1, 2, 3, 4), times=(70.0, 70.0, UNKNOWN))
        feed.timed(*floats(5, 6), times=(70.1, 70.1, UNKNOWN))

    one = follow(script)
    times = times_of(one)
    assert one.window.copy()[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert times[-1] == 70.1 and (np.diff(times) > 0).all()


def test_frames_that_come_without_times_are_drawn_by_arrival(follow):
    times = times_of(follow(lambda feed: feed.floats(1, 2, 3)))
    assert len(times) == 3 and (np.diff(times) > 0).all()


def test_times_do_not_run_backwards_once_they_are_known(follow):
    def script(feed):  # it came at 70.0, and turns out to take 0.3 s on the way
        feed.timed(*floats(1, 2), times=(70.0, 70.0, UNKNOWN))
        feed.timed(*floats(3, 4, 5, 6), times=(69.8, 70.1, 0.001))

    times = times_of(follow(script))
    assert times[1] == 70.0 and times[-1] == 70.1 and (np.diff(times) >= 0).all()


def test_what_was_lost_is_a_gap_where_it_was_lost(follow):
    def script(feed):
        feed.notice(lost=9, cause="board")  # before the first sample: there is nothing to interrupt
        feed.timed(*floats(1, 2), times=(10.0, 10.1, 0.001))
        feed.notice(lost=3, cause="board")
        feed.notice(lost=4, cause="reader")
        feed.frame(b"abc")  # which cannot be decoded
        feed.timed(*floats(3, 4), times=(12.0, 12.1, 0.001))
        feed.notice(lost=5, cause="board")
        feed.timed(*floats(5), times=(13.0, 13.0, 0.001))
        feed.notice(lost=6, cause="board")  # after the last one

    one = follow(script)
    gaps = one.window.gaps()
    assert [(gap.number, gap.lost, gap.began_at, gap.ended_at) for gap in gaps] == [
        (2, 3, 10.1, 12.0),
        (2, 4, 10.1, 12.0),
        (4, 5, 12.1, 13.0),
    ]
    assert "no room" in gaps[0].why and "too slow" in gaps[1].why
    assert one.reader.lost == 27


def test_the_last_word_says_why_after_how_much_and_when(follow):
    one = follow(lambda feed: feed.floats(1, 2, 3))
    (note,) = one.notes()
    assert re.fullmatch(r"Producer closed the pipe, 3 samples, \d+\.\d s, \d\d:\d\d:\d\d", note.text) and note.kind == "info"
    (note,) = follow(lambda feed: None).notes()
    assert re.fullmatch(r"Producer closed the pipe, no samples, \d\d:\d\d:\d\d", note.text)


def test_losses_are_told_on_the_chart_and_not_in_its_cell(follow):
    def script(feed):
        for _ in range(50):
            feed.notice(lost=2, cause="board")
            feed.floats(1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = follow(script)
    assert one.ended.text == "the producer closed the pipe" and one.reader.lost == 100
    assert [note.text for note in one.notes()][1:] == [describe_losses(one.reader.losses)]


def opening(feed, generation, number=0):
    feed.notice(open={"name": "adc", "board": "fake", "generation": generation, "number": number})


def test_a_trace_goes_on_where_a_pipe_ended_for_a_bad_reason_and_the_gap_says_which(listener):
    feeds = iter(
        [
            (lambda feed: opening(feed, 1), [1, 2], "board restarted"),
            (lambda feed: opening(feed, 2, 10), [3], "hub stopped"),
            (lambda feed: opening(feed, 2, 11), [4], "closed"),
        ]
    )

    def script(feed):
        begin, values, reason = next(feeds)
        begin(feed)
        feed.floats(*values)
        feed.end(reason)

    listener.script = script
    one = trace.Trace(open_pipe_reader("adc", None, follow=True, after_close=False, warns=False), as_decoder(None), 10)
    one.start(lambda: None)
    one._thread.join(30)
    assert one.ended.text == "the producer closed the pipe"
    assert one.window.since(0)[1][:, 1].tolist() == [1, 2, 3, 4]
    assert [(gap.number, gap.lost, gap.why) for gap in one.window.gaps()] == [
        (2, 0, "the board restarted"),
        (2, 10, "they were written before the pipe was found again"),
        (3, 0, "the board hub stopped"),
    ]
    assert one.reader.lost == 10


def test_a_trace_says_what_it_waits_for_until_the_pipe_goes_on(listener):
    def script(feed):
        opening(feed, 1, len(requests))
        requests.append(feed)
        if len(requests) == 1:
            feed.floats(1)
            feed.end("board gone")

    requests = []
    listener.script = script
    one = trace.Trace(open_pipe_reader("adc", None, follow=True, after_close=False, warns=False), as_decoder(None), 10)
    changed = threading.Event()
    one.start(changed.set)
    try:
        # The same opening, of which the hub does not know more than before: the board has not come back.
        wait_until(changed, lambda: len(requests) == 2 and one.reader.opening and one.reader.ends)
        assert one.is_waiting
        assert [tuple(note) for note in one.notes()] == [
            ("the board is gone: unplugged, or without power; waiting for the board to open pipe 'adc' again", "warning")
        ]
        requests[1].floats(2)
        wait_until(changed, lambda: one.window.seen == 2)
        assert not one.is_waiting and one.notes() == [] and one.reader.lost == 0
    finally:
        one.stop()
    assert one.ended.text == "stopped"


@pytest.mark.parametrize(
    ("obstacle", "note"),
    [
        (
            HubUnreachableError("there is no hub"),
            "the connection to the board hub broke; waiting for the next hub, which a %%ucore cell starts",
        ),
        (
            PipeNameError("it is open on kitchen and garden."),
            "the connection to the board hub broke; pipe 'adc' cannot be read again: it is open on kitchen and garden.",
        ),
    ],
)
def test_a_chart_waits_between_two_hubs_and_says_so(listener, obstacle, note):
    def refuse(board):
        asked.set()
        raise obstacle

    asked = threading.Event()
    reader = open_pipe_reader("adc", None, follow=True, after_close=False, warns=False)
    feed = listener.feed()
    find, reader._again = reader._again, refuse
    one = trace.Trace(reader, as_decoder(None), 10)
    scene = Scene([one], ChartOptions("adc", 10), 100)
    changed = threading.Event()
    one.start(changed.set)
    try:
        opening(feed, 1)
        feed.floats(1)
        wait_until(changed, lambda: one.window.seen == 1)
        assert scene.state == RUNNING and one.notes() == [] and reader.awaits is None
        before = one.news
        feed.hang_up()
        assert asked.wait(30)
        wait_until(changed, lambda: one.news != before)
        assert (scene.state, reader.awaits, reader.ends) == (WAITING, "connection lost", [(1, "connection lost")])
        wait_until(changed, lambda: [tuple(one) for one in scene.notes()] == [(note, "warning")])
        reader._again = find
        feed = listener.feed()  # of the next hub
        opening(feed, 1, 1)
        feed.floats(2)
        wait_until(changed, lambda: one.window.seen == 2)
        assert scene.state == RUNNING and one.notes() == [] and reader.awaits is None
    finally:
        one.stop()


def wait_until(changed, condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        changed.wait(0.1)
        changed.clear()


def test_a_pipe_of_nearly_the_same_name_is_suggested(listener, monkeypatch):
    monkeypatch.setattr(trace, "did_you_mean", lambda name: " ('adc' is open: did you mean that?)")
    monkeypatch.setattr(trace, "HINT_AFTER_S", 0.0)
    reader = open_pipe_reader("acd", None, hint=False, warns=False)
    one = trace.Trace(reader, as_decoder(None), 10)
    one.start(lambda: None)
    try:
        while not one._meant:
            one._thread.join(0.05)
            assert one._thread.is_alive()
        assert [note.text for note in one.notes()] == [
            "waiting for the board to open pipe 'acd' ('adc' is open: did you mean that?)"
        ]
    finally:
        one.stop()
