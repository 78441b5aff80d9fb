"""From one opening of a pipe to the next, through interrupts, and with a hint while it waits."""

import asyncio
import signal
import struct
import threading
import warnings

import numpy as np
import pytest
from fakelistener import PIPE_STATE, floats
from scripted import wait_until

from ukernel.errors import (
    HubUnreachableError,
    PipeDataLostWarning,
    PipeEndedEarlyWarning,
    PipeNameError,
)
from ukernel.pipes import reader, subscribe


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
@pytest.mark.parametrize("batches", [False, True], ids=["frames", "batches"])
def test_an_interrupted_read_goes_on_and_no_byte_is_lost_or_read_twice(listener, batches):
    count = 1_000_000

    def script(feed):
        feed.opened()
        for first in range(0, count, 1000):
            body = struct.pack("<1000I", *range(first, first + 1000))
            if batches:
                feed.raw(struct.pack("<IHI", 0x8200_0000 | 4006, 4, first) + body)
            else:
                feed.raw(b"".join(b"\4\0\0\0" + body[at : at + 4] for at in range(0, 4000, 4)))
            if first % 100_000 == 0:
                feed.notice(lost=1, cause="reader")
        feed.end()

    def strike(number, frame):
        if frame.f_globals["__name__"] in (
            "ukernel.pipes.pipe",
            "ukernel.pipes.reader",
            "ukernel.protocol.pipestream",
        ):  # anywhere in them, and only there
            raise KeyboardInterrupt

    listener.script = script
    interrupts, chunks = 0, []
    previous = signal.signal(signal.SIGALRM, strike)
    try:
        with pytest.warns(PipeDataLostWarning), subscribe("adc") as pipe:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            while (
                pipe._reader.end_reason is None
            ):  # asked in no code of the package, where a strike could come outside of the `try`
                try:
                    for chunk in pipe:
                        chunks.append(chunk)
                except KeyboardInterrupt:
                    interrupts += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert pipe.losses == {"reader": 10}
            assert pipe.frames == count
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    values = np.frombuffer(b"".join(chunks), "<u4")
    assert interrupts > 3
    assert count - interrupts <= len(values) <= count  # one that was about to be returned is lost with the call
    assert (np.diff(values.astype(int)) >= 1).all()


def openings(listener, *parts):
    """Serve these, one for each subscription: generation, number of the first frame, chunks, and why it ends. Then the pipe is not
    opened any more. Returns the requests."""
    requests, left = [], iter(parts)

    def script(feed):
        requests.append(feed.request)
        generation, number, chunks, reason = next(left, (0, 0, (), None))
        if not generation:
            return
        feed.notice(open={"name": "adc", "board": "fake", "generation": generation, "number": number})
        feed.frame(*chunks)
        feed.end(reason)

    listener.script = script
    return requests


def test_one_opening_after_the_other_is_followed_and_each_end_is_known(listener):
    openings(listener, (1, 0, [b"a", b"b"], "closed"), (2, 0, [], "board restarted"), (1, 0, [b"c"], "closed"))
    with subscribe("adc", follow=True, timeout=30) as pipe:
        with pytest.warns(PipeEndedEarlyWarning, match="the board restarted. Reading goes on when it is opened again") as told:
            assert [next(pipe), next(pipe), next(pipe)] == [b"a", b"b", b"c"]
        assert len(told) == 1
        assert pipe.ends == [(2, "closed"), (2, "board restarted")]
        assert (pipe.frames, pipe.lost, pipe.end_reason) == (3, 0, None)
    assert pipe.end_reason == "left" and list(pipe) == []


def test_what_was_written_between_is_counted(listener):
    requests = openings(listener, (1, 5, [b"a", b"b"], "hub stopped"), (1, 17, [b"c"], "closed"), (2, 3, [b"d"], "closed"))
    with (
        pytest.warns(PipeEndedEarlyWarning),
        pytest.warns(PipeDataLostWarning, match="written before the pipe was found again"),
        subscribe("adc", follow=True, replay=True, timeout=30) as pipe,
    ):
        assert [next(pipe) for _ in range(4)] == [b"a", b"b", b"c", b"d"]
        assert pipe.losses == {"between": 10 + 3}
    # On the board where it was; and what was before it is not read anew.
    assert [(request["board"], "replay" in request["options"]) for request in requests[:3]] == [
        (None, True),
        ("fake", False),
        ("fake", False),
    ]


def test_a_wait_for_the_next_opening_ends_in_time_and_can_be_left(listener, read_in_vain):
    openings(listener, (1, 0, [b"a"], "closed"))
    pipe = subscribe("adc", follow=True)
    assert pipe.read() == b"a"
    read_in_vain(pipe, "it has not been opened again: the producer closed it")
    assert "after 1 end" in repr(pipe) or "not open yet" in repr(pipe)
    leaving = threading.Timer(0.2, pipe.close)
    leaving.start()
    assert list(pipe) == [] and pipe.end_reason == "left"
    leaving.join()


def test_a_board_that_counts_its_openings_anew_has_another_one_after_a_restart(listener):
    openings(listener, (1, 0, [], "board restarted"), (1, 0, [], "board restarted"), (1, 7, [b"a"], "closed"))
    with pytest.warns(PipeEndedEarlyWarning), subscribe("adc", follow=True, timeout=30) as pipe:
        with pytest.warns(PipeDataLostWarning):
            assert next(pipe) == b"a"
        assert pipe.losses == {"between": 7}


def test_a_reader_whose_hub_was_killed_says_why_nothing_comes_until_there_is_another_one(listener, read_in_vain):
    def break_off(feed):
        feed.opened()
        feed.frame(b"a")
        feed.hang_up()

    def refuse(board):
        raise HubUnreachableError("there is no hub")

    listener.script = break_off
    with subscribe("adc", follow=True, timeout=30) as pipe:
        find, pipe._reader._again = pipe._reader._again, refuse
        assert next(pipe) == b"a" and pipe._reader.awaits is None
        read_in_vain(pipe, "it has not been opened again: the connection to the board hub broke")
        assert pipe._reader.awaits == "connection lost"
        openings(listener, (2, 0, [b"b"], None))
        pipe._reader._again = find
        assert pipe.read(timeout=30) == b"b" and pipe._reader.awaits is None


def test_what_keeps_a_reader_from_the_next_opening_is_said(listener, read_in_vain):
    def refuse(board):
        raise PipeNameError("the pipe is open on kitchen and garden.")

    openings(listener, (1, 0, [b"a"], "board gone"))
    with subscribe("adc", follow=True, timeout=30) as pipe:
        assert next(pipe) == b"a"
        pipe._reader._again = refuse
        read_in_vain(pipe, "it cannot be read again: the pipe is open on kitchen and garden")


def test_an_array_goes_on_over_an_end(listener):
    openings(listener, (1, 0, floats(1, 2), "closed"), (2, 0, floats(3, 4), "closed"))
    with subscribe("adc", follow=True, timeout=30) as pipe:
        assert pipe.read_array(4).tolist() == [1, 2, 3, 4]


def test_openings_are_followed_asynchronously(listener):
    openings(listener, (1, 0, [b"a"], "closed"), (2, 0, [b"b"], "board gone"), (3, 0, [b"c"], "closed"))

    async def read():
        async with subscribe("adc", follow=True, timeout=30) as pipe:
            async for chunk in pipe:
                found.append(chunk)
                if chunk == b"c":
                    break
            with pytest.raises(TimeoutError):
                pipe._timeout_s = 0.3
                await anext(aiter(pipe))
        return pipe

    found = []
    with pytest.warns(PipeEndedEarlyWarning, match="the board is gone"):
        pipe = asyncio.run(read())
    assert found == [b"a", b"b", b"c"] and [end.reason for end in pipe.ends] == ["closed", "board gone", "closed"]


def test_a_filter_that_makes_errors_of_warnings_stops_an_iteration_and_not_the_pipe(listener):
    openings(listener, (1, 0, [b"a"], "board gone"), (2, 0, [b"b"], "closed"))
    with subscribe("adc", follow=True, timeout=30) as pipe:
        assert next(pipe) == b"a"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(PipeEndedEarlyWarning):
                next(pipe)
        assert next(pipe) == b"b"


def test_a_wait_for_a_pipe_of_nearly_the_same_name_says_so(listener, monkeypatch, capsys):
    listener.pipes = [{**PIPE_STATE, "name": "Temperature"}]
    with (
        subscribe("temprature", timeout=0.05) as pipe,
        pytest.raises(TimeoutError, match="'Temperature' is open: did you mean"),
    ):
        next(pipe)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(reader, "HINT_AFTER_S", 0.01)
    said, hint = threading.Event(), reader.PipeReader._hint
    monkeypatch.setattr(reader.PipeReader, "_hint", lambda pipe: (hint(pipe), said.set()))
    monkeypatch.setattr(reader, "MAX_WAIT_S", 0.01)
    looks, receive = [], reader.PipeReader._receive
    monkeypatch.setattr(reader.PipeReader, "_receive", lambda pipe, wait_s: (looks.append(1), receive(pipe, wait_s))[1])

    def script(feed):
        said.wait(10)
        before = len(looks)
        wait_until(lambda: len(looks) > before + 2)  # it says it once, however long it waits
        feed.opened()
        feed.frame(b"x")

    listener.script = script
    for name, printed in (
        ("temprature", "Pipe 'temprature' is not open yet ('Temperature' is open: did you mean that?)\n"),
        ("another", "Pipe 'another' is not open yet (open now: 'Temperature')\n"),
    ):
        said.clear()
        with subscribe(name) as pipe:
            assert next(pipe) == b"x"
        assert capsys.readouterr().err == printed
