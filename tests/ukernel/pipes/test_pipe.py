"""One chunk after the other, arrays of them, and waits for them."""

import asyncio
import struct
import threading

import numpy as np
import pytest

from ukernel import pipes
from ukernel.errors import (
    PipeClosedError,
    PipeEndedEarlyWarning,
    PipeEndedError,
)
from ukernel.pipes import collect, subscribe


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
    listener.serve(1, 2)
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
    listener.serve(1, 2, 3)

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


def test_strict_and_follow_contradict_each_other():
    with pytest.raises(ValueError, match="choose one"):
        subscribe("adc", strict=True, follow=True)


def test_the_port_and_the_token_can_come_from_the_environment(listener, monkeypatch, tmp_path):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "none.json"))
    monkeypatch.setenv("UCORE_PIPE_PORT", str(listener.port))
    monkeypatch.setenv("UCORE_PIPE_TOKEN", listener.token)
    listener.serve(1, end=None)
    assert len(collect("adc", n=1)) == 1
