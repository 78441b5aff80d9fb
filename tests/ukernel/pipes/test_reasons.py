"""What is missing and why a pipe ended is told, and what helps."""

import struct
import subprocess
import sys

import pytest

from ukernel.errors import (
    PipeDataLostWarning,
    PipeEndedEarlyWarning,
    PipeEndedError,
)
from ukernel.pipes import subscribe


def test_lost_frames_are_counted_by_cause_and_told(listener):
    with pytest.warns(PipeDataLostWarning) as told, subscribe("adc") as pipe:
        feed = listener.feed()
        feed.opened()
        feed.frame(b"a")
        feed.notice(lost=5, cause="board")
        feed.frame(b"b")
        feed.notice(lost=1200, cause="reader")
        feed.notice(lost=34, cause="reader")
        feed.end("closed")
        assert list(pipe) == [b"a", b"b"]
        assert pipe.lost == 1239
        assert pipe.losses == {"board": 5, "reader": 1234}
    sentences = [str(warning.message) for warning in told]
    assert len(sentences) == 2
    assert "5 frames are missing" in sentences[0]
    assert "1,239 frames are missing" in sentences[1]
    assert "1,234: this reader was too slow" in sentences[1]
    assert "producer is faster than the line" in sentences[0] and "struct format" in sentences[1]
    assert {warning.filename for warning in told} == {__file__}


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        ("board", "write less often, put several values into one frame, or open the pipe without drop=True."),
        ("no_listener", "start the producer after"),
        ("reader", "belongs into another thread."),
        ("replay", "subscribe before the producer starts"),
        ("of another version", None),
    ],
)
def test_a_loss_says_what_to_do_about_its_cause(listener, cause, advice):
    with pytest.warns(PipeDataLostWarning) as told, subscribe("adc") as pipe:
        feed = listener.feed()
        feed.opened()
        feed.notice(lost=1, cause=cause)
        feed.end("closed")
        assert list(pipe) == []
    said = str(told[0].message)
    assert "1 frame is missing" in said and (advice in said if advice else said.endswith("(1: of another version)."))


def test_what_nobody_read_before_the_subscription_is_not_lost_to_it(listener):
    with subscribe("adc") as pipe:
        feed = listener.feed()
        feed.notice(open={"name": "adc", "board": "fake", "generation": 1, "number": 99, "unread": 99})
        feed.frame(b"a")
        feed.end("closed")
        assert list(pipe) == [b"a"]
        assert pipe.lost == 0


@pytest.mark.parametrize("reason", ["board restarted", "board gone", "hub stopped", "a reason of tomorrow"])
def test_a_bad_end_is_told(listener, reason):
    listener.serve(1, end=reason)
    with subscribe("adc") as pipe, pytest.warns(PipeEndedEarlyWarning, match="not by its producer"):
        assert len(list(pipe)) == 1
    assert pipe.end_reason == reason
    with subscribe("adc", strict=True) as pipe:
        next(pipe)
        with pytest.raises(PipeEndedError, match="'adc' ended"):
            next(pipe)


def test_a_connection_that_breaks_is_not_taken_for_an_end(listener):
    with subscribe("adc", strict=True) as pipe:
        feed = listener.feed()
        feed.raw(struct.pack("<I", 10) + b"half")
        feed.hang_up()
        with pytest.raises(PipeEndedError, match="connection"):
            next(pipe)
        assert pipe.end_reason == "connection lost"


def test_a_warning_comes_again_when_a_cell_runs_again(listener):
    listener.serve(1)
    code = (
        "from ukernel.pipes import collect\ncell = compile('collect(\"adc\", n=2)', '<cell>', 'exec')\nexec(cell), exec(cell)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("PipeEndedEarlyWarning") == 2
