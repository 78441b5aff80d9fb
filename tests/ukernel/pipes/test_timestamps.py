"""Replays, and the times of chunks and samples."""

import asyncio
import struct

import numpy as np
import pytest
from fakelistener import floats

from ukernel.errors import (
    PipeDataLostWarning,
    PipeDecodeWarning,
    PipeEndedEarlyWarning,
)
from ukernel.pipes import collect, subscribe


def timed(number, first, last, error, *chunks):
    body = struct.pack("<HIddd", len(chunks[0]), number, first, last, error) + b"".join(chunks)
    return struct.pack("<I", 0x8300_0000 | len(body)) + body


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
    listener.serve(1, 2, 3)
    assert collect("adc", seconds=60, replay=True).tolist() == [1, 2, 3]
    with pytest.warns(PipeEndedEarlyWarning, match="3 of 5"):
        collect("adc", n=5, replay=True)
    listener.serve(1, 2, 3, end="board gone")
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
