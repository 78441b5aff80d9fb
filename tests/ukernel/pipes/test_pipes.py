import asyncio
import inspect
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from fakelistener import FakeListener
from scripted import running_hub, wait_until

from ukernel import pipes
from ukernel.client import connection
from ukernel.errors import (
    BoardGoneError,
    HubUnreachableError,
    PipeClosedError,
    PipeDataLostWarning,
    PipeDecodeWarning,
    PipeEndedEarlyWarning,
    PipeEndedError,
    PipeNameError,
)
from ukernel.pipes import collect, collection, reader, subscribe
from ukernel.protocol import statefile


@pytest.fixture
def listener(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    monkeypatch.setenv("UCORE_STATE_PATH", str(path))
    monkeypatch.delenv("UCORE_PIPE_PORT", raising=False)
    fake = FakeListener(path)
    yield fake
    fake.close()


@pytest.fixture
def no_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)


def serve(listener, *values, end="closed"):
    """Let every reader have these floats, then the end."""

    def script(feed):
        feed.opened()
        feed.floats(*values)
        if end:
            feed.end(end)

    listener.script = script


# The published face


def test_the_signatures_are_those_of_the_page():
    def shape(function):
        return {name: (parameter.kind, parameter.default) for name, parameter in inspect.signature(function).parameters.items()}

    position, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    assert shape(collect) == {
        "name": (position, inspect.Parameter.empty),
        "n": (keyword, None),
        "seconds": (keyword, None),
        "decoder": (keyword, None),
        "allow_empty": (keyword, False),
        **dict.fromkeys(["replay", "timestamps"], (keyword, False)),  # more than the page has
        "board": (keyword, None),
    }
    assert shape(pipes.live_plot) == {
        "name": (position, inspect.Parameter.empty),
        "decoder": (keyword, None),
        "window": (keyword, 200),
        "ylim": (keyword, (-1.5, 1.5)),
        "title": (keyword, None),
        "interval": (keyword, 40),
        "duration": (keyword, None),
        # Not on the page: added, by keyword only.
        "labels": (keyword, None),
        "units": (keyword, ""),
        "x": (keyword, "samples"),
        "backend": (keyword, "auto"),
        "board": (keyword, None),
        "height": (keyword, 320),
        "chart": (keyword, ""),
        "follow": (keyword, False),
    }
    assert shape(subscribe) == {
        "name": (position, inspect.Parameter.empty),
        "timeout": (keyword, None),
        **dict.fromkeys(["replay", "timestamps", "strict"], (keyword, False)),
        "board": (keyword, None),
        "follow": (keyword, False),
    }
    assert shape(pipes.stop_live) == {"name": (position, None)}


# subscribe


def test_one_write_is_one_chunk_and_the_iteration_ends_with_the_producer(listener):
    with subscribe("adc") as pipe:
        feed = listener.feed()
        feed.opened()
        feed.frame(b"one", b"", b"x" * 65535)
        feed.batch(b"four", b"five")
        feed.end("closed")
        assert list(pipe) == [b"one", b"", b"x" * 65535, b"four", b"five"]
        assert (pipe.end_reason, pipe.lost, pipe.frames) == ("closed", 0, 5)


def test_a_subscription_asks_for_batches_of_its_pipe(listener):
    with subscribe("Ünit/1") as pipe:
        request = listener.feed().request
        assert (request["pipe"], request["board"], request["options"]) == ("Ünit/1", None, ["batches"])
        assert pipe.name == "Ünit/1"
    with subscribe("adc", replay=True, timestamps=True, board="b"):
        request = listener.feed().request
        assert (request["board"], request["options"]) == ("b", ["batches", "replay", "timestamps"])


def test_a_pipe_knows_its_state(listener):
    with subscribe("adc") as pipe:
        feed = listener.feed()
        assert pipe.end_reason is None
        assert repr(pipe) == "<Pipe 'adc': not open yet, 0 frames, 0 lost>"
        feed.opened()
        feed.floats(1, 2)
        next(pipe)
        assert pipe.end_reason is None
        assert pipe.opening["board"] == "fake"
        assert repr(pipe) == "<Pipe 'adc': open, 1 frames, 0 lost>"
    assert pipe.end_reason == "left"
    assert list(pipe) == []


def test_the_end_reason_waits_for_the_last_frame(listener):
    serve(listener, 1, 2)
    with subscribe("adc") as pipe:
        next(pipe)
        assert pipe.end_reason is None
        next(pipe)
        assert list(pipe) == []
        assert pipe.end_reason == "closed"


@pytest.mark.parametrize("name", ["", "x" * 65, "é" * 33, "a\nb", "\x7f"])
def test_a_bad_name_is_refused(name):
    for ask in (subscribe, lambda name: collect(name, n=1), pipes.live_plot):
        with pytest.raises(ValueError, match="pipe name"):
            ask(name)


def test_a_break_leaves_the_rest_for_nobody(listener):
    listener.script = lambda feed: [feed.floats(i) for i in range(100_000)]
    with subscribe("adc") as pipe:
        for i, _chunk in enumerate(pipe):
            if i >= 50:
                break
    assert pipe.frames == 51
    assert next(pipe, None) is None


def test_closing_from_another_thread_ends_a_waiting_iteration(listener):
    with subscribe("adc") as pipe:
        listener.feed()
        threading.Timer(0.1, pipe.close).start()
        assert list(pipe) == []
        assert pipe.end_reason == "left"


def test_a_timeout_ends_a_wait(listener):
    with subscribe("adc", timeout=0.05) as pipe:
        feed = listener.feed()
        with pytest.raises(TimeoutError, match="the board has not opened"):
            next(pipe)
        feed.opened()
        feed.floats(1)
        assert next(pipe)
        with pytest.raises(TimeoutError, match=r"'adc'.*0.05 s\."):
            next(pipe)


def test_read_returns_chunk_after_chunk(listener):
    with subscribe("adc") as pipe:
        feed = listener.feed()
        feed.frame(b"a", b"b")
        assert pipe.read() == b"a"
        assert pipe.read(timeout=1) == b"b"
        with pytest.raises(TimeoutError):
            pipe.read(timeout=0.05)
        with pytest.raises(TimeoutError):
            pipe.read(timeout=0)
        feed.end("closed")
        with pytest.raises(PipeEndedError, match="the producer closed it"):
            pipe.read()
    with pytest.raises(PipeEndedError):
        pipe.read()
    with subscribe("adc") as pipe:
        pass
    with pytest.raises(PipeClosedError):
        pipe.read()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_no_time_is_refused(listener, timeout):
    with subscribe("adc") as pipe:
        with pytest.raises(ValueError, match="timeout must be"):
            pipe.read(timeout=timeout)
        with pytest.raises(ValueError, match="timeout must be"):
            pipe.read_array(1, timeout=timeout)


def test_read_array_goes_on_where_it_stopped(listener):
    with subscribe("adc") as pipe:
        feed = listener.feed()
        feed.floats(*range(10))
        assert pipe.read_array(np.int64(3)).tolist() == [0, 1, 2]
        assert struct.unpack("<f", next(pipe)) == (3,)
        assert pipe.read_array(2, lambda b: 2 * struct.unpack("<f", b)[0]).tolist() == [8, 10]
        assert pipe.read_array(9, timeout=0.05).tolist() == [6, 7, 8, 9]
        with pytest.raises(TimeoutError):
            pipe.read_array(9, timeout=0.05)
        feed.floats(10)
        feed.end("closed")
        with pytest.warns(PipeEndedEarlyWarning, match="1 of 9"):
            assert pipe.read_array(9).tolist() == [10]
        with pytest.raises(PipeEndedError):
            pipe.read_array(9)
        for n in (0, True, 1.5, "3"):
            with pytest.raises(ValueError, match="n must be"):
                pipe.read_array(n)


def test_the_same_pipe_can_be_iterated_asynchronously(listener):
    serve(listener, 1, 2, 3)

    async def values():
        async with subscribe("adc") as pipe:
            values = [struct.unpack("<f", chunk)[0] async for chunk in pipe]
            assert not asyncio.get_running_loop().remove_reader(pipe._reader._socket)  # it leaves nothing in the loop
            return values

    assert asyncio.run(values()) == [1, 2, 3]


def test_asynchronous_iteration_leaves_the_loop_free_and_knows_timeouts(listener):
    async def first():
        async with subscribe("adc", timeout=0.2) as pipe:
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0.01)

            ticking = asyncio.ensure_future(tick())
            with pytest.raises(TimeoutError):
                await anext(pipe)
            ticking.cancel()
            return ticks

    assert asyncio.run(first()) > 1


def test_an_asynchronous_iteration_that_is_cancelled_loses_nothing(listener):
    async def read():
        async with subscribe("adc") as pipe:
            feed = listener.feed()
            got = []
            for number in range(200):
                threading.Thread(target=feed.floats, args=(number,)).start()
                try:
                    got.append(await asyncio.wait_for(anext(pipe), 0.0005 * (number % 4)))
                except asyncio.TimeoutError:
                    pass
            while len(got) < 200:
                got.append(await asyncio.wait_for(anext(pipe), 10))
            return sorted(struct.unpack("<f", chunk)[0] for chunk in got)

    assert asyncio.run(read()) == list(range(200))


def test_an_asynchronous_iteration_ends_when_another_task_closes_the_pipe(listener):
    async def read():
        pipe = subscribe("adc")
        waiting = asyncio.ensure_future(anext(pipe))
        await asyncio.sleep(0.05)
        pipe.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waiting, 10)
        assert pipe.end_reason == "left"

    asyncio.run(read())


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


# Replay and timestamps


def timed(number, first, last, error, *chunks):
    body = struct.pack("<HIddd", len(chunks[0]), number, first, last, error) + b"".join(chunks)
    return struct.pack("<I", 0x8300_0000 | len(body)) + body


def floats(*values):
    return [struct.pack("<f", value) for value in values]


def with_times(feed):
    feed.opened()
    feed.raw(timed(0, 100.0, 102.0, 0.25, *floats(0, 1, 2)))
    feed.raw(timed(3, 103.0, 103.0, 0.5, b""))
    feed.raw(timed(4, 104.0, 104.0, float("inf"), *floats(4)))
    feed.end()


def test_chunks_come_with_their_times(listener):
    listener.script = with_times
    with subscribe("adc", timestamps=True) as pipe:
        assert pipe.timestamps
        chunk, stamp = pipe.read()
        assert (chunk, stamp) == (floats(0)[0], (100.0, 0.25))
        assert (stamp.time, stamp.error) == (100.0, 0.25)
        rest = list(pipe)
    assert [chunk for chunk, _ in rest] == [*floats(1, 2), b"", *floats(4)]
    assert [stamp.time for _, stamp in rest] == [101.0, 102.0, 103.0, 104.0]
    assert [stamp.error for _, stamp in rest] == [0.25, 0.25, 0.5, float("inf")]


def test_chunks_come_with_their_times_asynchronously(listener):
    listener.script = with_times

    async def times():
        async with subscribe("adc", timestamps=True) as pipe:
            return [stamp.time async for _, stamp in pipe]

    assert asyncio.run(times()) == [100.0, 101.0, 102.0, 103.0, 104.0]


def test_samples_come_with_their_times(listener):
    listener.script = with_times
    with pytest.warns(PipeDecodeWarning):
        samples, times = timed_samples = collect("adc", n=4, timestamps=True)
    assert samples.tolist() == [0, 1, 2, 4]
    assert times.tolist() == [100.0, 101.0, 102.0, 104.0]
    assert times.dtype == np.float64
    assert timed_samples.errors.tolist() == [0.25, 0.25, 0.25, float("inf")]
    assert timed_samples.samples is samples and timed_samples.times is times


def test_the_times_are_those_of_the_frames_that_could_be_decoded(listener):
    listener.script = with_times
    replies = iter([0.0, None, "bad", [], 4.0])
    with pytest.warns(PipeDecodeWarning, match="3 of 5 frames"):
        samples, times = collect("adc", n=2, timestamps=True, decoder=lambda b: next(replies))
    assert (samples.tolist(), times.tolist()) == ([0, 4], [100.0, 104.0])

    def every_second(b):
        value = struct.unpack("<f", b)[0]
        assert value % 2 == 0
        return value

    with pytest.warns(PipeDecodeWarning, match="2 of 5 frames"):
        samples, times = collect("adc", n=3, timestamps=True, decoder=every_second)
    assert (samples.tolist(), times.tolist()) == ([0, 2, 4], [100.0, 102.0, 104.0])


def test_read_array_gives_times_and_goes_on_where_it_stopped(listener):
    listener.script = with_times
    with subscribe("adc", timestamps=True) as pipe:
        samples, times = pipe.read_array(2)
        assert (samples.tolist(), times.tolist()) == ([0, 1], [100.0, 101.0])
        assert pipe.read() == (floats(2)[0], (102.0, 0.25))


def test_times_are_lists_without_numpy(listener, no_numpy):
    listener.script = with_times
    samples, times = found = collect("adc", n=3, timestamps=True)
    assert (samples, times, found.errors) == ([0, 1, 2], [100.0, 101.0, 102.0], [0.25] * 3)


def test_no_samples_have_no_times(listener):
    samples, times = collect("adc", seconds=0.05, timestamps=True, allow_empty=True)
    assert samples.shape == times.shape == (0,)


def test_a_whole_replay_is_no_early_end(listener):
    serve(listener, 1, 2, 3)
    assert collect("adc", seconds=60, replay=True).tolist() == [1, 2, 3]
    with pytest.warns(PipeEndedEarlyWarning, match="3 of 5"):
        collect("adc", n=5, replay=True)
    serve(listener, 1, 2, 3, end="board gone")
    with pytest.warns(PipeEndedEarlyWarning, match="the board is gone"):
        collect("adc", seconds=60, replay=True)


def test_what_a_replay_does_not_have_is_told(listener):
    def script(feed):
        feed.opened()
        feed.notice(lost=1000, cause="replay")
        feed.floats(1)
        feed.end()

    listener.script = script
    with pytest.warns(PipeDataLostWarning, match="1,000: they were written before, and the board hub holds them no more"):
        assert collect("adc", n=1, replay=True).tolist() == [1]


# Truth


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
    serve(listener, 1, end=reason)
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
    serve(listener, 1)
    code = (
        "from ukernel.pipes import collect\ncell = compile('collect(\"adc\", n=2)', '<cell>', 'exec')\nexec(cell), exec(cell)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("PipeEndedEarlyWarning") == 2


# follow: from one opening to the next


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


def test_a_wait_for_the_next_opening_ends_in_time_and_can_be_left(listener):
    openings(listener, (1, 0, [b"a"], "closed"))
    pipe = subscribe("adc", follow=True)
    assert pipe.read() == b"a"
    with pytest.raises(TimeoutError, match="it has not been opened again: the producer closed it"):
        pipe.read(timeout=0.3)
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


def test_a_reader_whose_hub_was_killed_says_why_nothing_comes_until_there_is_another_one(listener):
    def break_off(feed):
        feed.opened()
        feed.frame(b"a")
        feed.hang_up()

    def refuse(board):
        raise HubUnreachableError("there is no hub")

    listener.script = break_off
    with pytest.warns(PipeEndedEarlyWarning), subscribe("adc", follow=True, timeout=0.3) as pipe:
        find, pipe._reader._again = pipe._reader._again, refuse
        assert next(pipe) == b"a" and pipe._reader.awaits is None
        with pytest.raises(TimeoutError, match="it has not been opened again: the connection to the board hub broke"):
            next(pipe)
        assert pipe._reader.awaits == "connection lost"
        openings(listener, (2, 0, [b"b"], None))
        pipe._reader._again = find
        assert pipe.read(timeout=30) == b"b" and pipe._reader.awaits is None


def test_what_keeps_a_reader_from_the_next_opening_is_said(listener):
    def refuse(board):
        raise PipeNameError("the pipe is open on kitchen and garden.")

    openings(listener, (1, 0, [b"a"], "board gone"))
    with pytest.warns(PipeEndedEarlyWarning), subscribe("adc", follow=True, timeout=1) as pipe:
        assert next(pipe) == b"a"
        pipe._reader._again = refuse
        with pytest.raises(TimeoutError, match="it cannot be read again: the pipe is open on kitchen and garden"):
            next(pipe)


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


def test_strict_and_follow_contradict_each_other():
    with pytest.raises(ValueError, match="choose one"):
        subscribe("adc", strict=True, follow=True)


# collect


def test_n_samples(listener):
    serve(listener, *range(300), end=None)
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
    serve(listener, *range(10), end=None)
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
    serve(listener, 1, 2, end=None)
    assert len(collect("adc", n=np.int32(2), seconds=np.float32(5))) == 2


def test_an_early_end_returns_what_came_with_a_warning(listener):
    serve(listener, 1, 2, 3)
    with pytest.warns(PipeEndedEarlyWarning, match="3 of 10 samples: the producer closed it") as told:
        assert collect("adc", n=10).tolist() == [1, 2, 3]
    assert told[0].filename == __file__
    with pytest.warns(PipeEndedEarlyWarning, match=r"3 samples and 0\.\d of 60 s"):
        assert len(collect("adc", seconds=60)) == 3


def test_an_end_after_the_last_sample_is_not_early(listener):
    serve(listener, 1, 2, 3)
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
    serve(listener, 1, 2, 3, end=None)
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
    serve(listener, 1, float("nan"), float("inf"), end=None)
    samples = collect("adc", n=3, decoder=lambda b: struct.unpack("<f", b)[0])
    assert np.isnan(samples[1])
    assert np.isinf(samples[2])


# No samples


STATE = {"board": "fake", "frames": 0, "readers": 0, "lost": {}, "open": True, "held": 0, "ended": ""}
STATE |= {"frames_per_s": 0.0, "bytes_per_s": 0.0}


def why_nothing(**arguments):
    with pytest.raises(TimeoutError) as raised:
        collect("adc", **arguments)
    return str(raised.value)


def test_no_samples_because_the_pipe_is_not_open(listener):
    assert "the board has not opened it (no pipe is open). Run the cell" in why_nothing(seconds=0.05)


def test_no_samples_and_other_pipes_are_open(listener):
    listener.pipes = [{**STATE, "name": "imu"}, {**STATE, "name": "old", "open": False}]
    assert "(open now: 'imu')" in why_nothing(seconds=0.05)
    listener.pipes.append({**STATE, "name": "adc0"})
    assert "'adc0' is open: did you mean that" in why_nothing(seconds=0.05)


def test_a_sentence_names_no_more_open_pipes_than_can_be_read(listener):
    listener.pipes = [{**STATE, "name": f"line{number:03}"} for number in range(30)]
    why = why_nothing(seconds=0.05)
    assert "'line009' and 20 more)" in why and "line010" not in why


def test_no_samples_because_the_producer_was_faster(listener):
    listener.pipes = [{**STATE, "name": "adc", "frames": 1234, "open": False, "ended": "closed"}]
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
    serve(listener)
    assert "ended before anything was written to it: the producer closed it" in why_nothing(n=5)


def test_no_samples_because_the_board_is_gone(listener):
    serve(listener, end="board gone")
    assert "the board is gone" in why_nothing(seconds=5)


def test_no_samples_because_none_could_be_decoded(listener):
    listener.script = lambda feed: feed.frame(b"abc")
    assert "1 of 1 frames could not be decoded" in why_nothing(seconds=1)


def test_a_wait_for_a_pipe_of_nearly_the_same_name_says_so(listener, monkeypatch, capsys):
    listener.pipes = [{**STATE, "name": "Temperature"}]
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


def test_the_port_and_the_token_can_come_from_the_environment(listener, monkeypatch, tmp_path):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "none.json"))
    monkeypatch.setenv("UCORE_PIPE_PORT", str(listener.port))
    monkeypatch.setenv("UCORE_PIPE_TOKEN", listener.token)
    serve(listener, 1, end=None)
    assert len(collect("adc", n=1)) == 1


def test_open_pipes_are_listed(listener):
    lost = {"board": 3, "no_listener": 0}
    rate = {"frames_per_s": 100.0, "bytes_per_s": 400.0}
    listener.pipes = [{**STATE, **rate, "name": "adc", "frames": 7, "readers": 2, "lost": lost, "held": 4, "new": 1}]
    assert pipes.pipes() == [("adc", "fake", True, 7, 2, 3, {"board": 3}, 100.0, 400.0, 4, "")]


# Through the real hub


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


def test_a_reader_that_follows_finds_the_pipe_of_a_board_that_restarted(board):
    board.open("adc")
    with subscribe("adc", follow=True, timeout=20) as pipe:
        board.write(b"ab", 2, 0)
        assert next(pipe) == b"ab"
        board.boot()
        with pytest.warns(PipeEndedEarlyWarning, match="the board restarted"), pytest.raises(TimeoutError):
            pipe.read(timeout=0.3)
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


def test_a_reader_that_follows_waits_for_a_board_that_is_gone_and_learns_what_it_missed(board):
    board.open("adc")
    with subscribe("adc", follow=True, timeout=20) as pipe:
        board.write(b"ab", 2, 0)
        assert next(pipe) == b"ab"
        board.gone(BoardGoneError("unplugged"))
        with pytest.warns(PipeEndedEarlyWarning, match="the board is gone"), pytest.raises(TimeoutError):
            pipe.read(timeout=0.3)
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
