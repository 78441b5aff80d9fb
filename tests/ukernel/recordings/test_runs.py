"""Batches become runs: nothing is lost or moved, and no time is said more exactly than it was."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukernel.protocol.pipestream import BatchRow, PipeStreamDecoder, encode_timed_batch
from ukernel.recordings.runs import ERROR_RATIO, MAX_RUN_BYTES, MAX_RUN_S, RunJoiner, join_row

steps = st.floats(0.0, 0.02)
errors = st.sampled_from([0.0, 0.0002, 0.00025, 0.001, 0.005, math.inf])
batches = st.lists(st.tuples(st.integers(1, 20), st.sampled_from([0, 1, 4]), steps, steps, errors), min_size=1, max_size=30)


def join(batches, began=1000.0):
    """The runs of these batches, and what was given: [(data, time, error)] by number."""
    joiner, runs, given_, number, time = RunJoiner(), [], [], 0, began
    for frames, size, before, span, error in batches:
        frames = frames if size else 1  # as the hub sends empty ones
        first = time + before
        time = first + (span if frames > 1 else 0.0)
        data = [struct.pack("<I", number + index)[:size] for index in range(frames)]
        step = (time - first) / max(frames - 1, 1)
        given_ += [(data[index], first + index * step, error) for index in range(frames)]
        runs.append(joiner.add(number, frames, size, (first, time, error), b"".join(data)))
        number += frames
    runs.append(joiner.take())
    assert joiner.take() is None
    return [run for run in runs if run is not None], given_


def frames_of(run):
    sizes = run.sizes if len(run.sizes) == run.frames else list(run.sizes) * run.frames
    step, at = (run.time_last - run.time_first) / max(run.frames - 1, 1), 0
    for index, size in enumerate(sizes):
        yield run.data[at : at + size], run.time_first + index * step
        at += size
    assert at == len(run.data)


@given(batches)
def test_what_goes_in_comes_out_and_all_times_hold(batches):
    runs, given_ = join(batches)
    number = 0
    for run in runs:
        assert run.first == number
        for data, time in frames_of(run):
            exact, at, error = given_[number]
            assert data == exact
            # Whatever lay within the batch's error lies within the run's.
            assert abs(time - at) + error <= run.time_error * (1 + 1e-9) + 1e-9 or error == math.inf == run.time_error
            assert run.time_error <= max(error * ERROR_RATIO * 1.2, error)
            number += 1
    assert number == len(given_)


@given(batches)
def test_what_is_joined_is_neither_long_nor_large(batches):
    given_batches = {sum(batch[0] if batch[1] else 1 for batch in batches[:index]) for index in range(len(batches))}
    for run in join(batches)[0]:
        assert run.first in given_batches
        assert len(run.data) <= MAX_RUN_BYTES
        assert run.time_last - run.time_first <= MAX_RUN_S


def test_a_steady_producer_makes_long_runs():
    runs, given_ = join([(1, 4, 0.001, 0.0, 0.0005)] * 200)
    assert len(given_) == 200 and len(runs) == 1


def test_a_batch_of_another_exactness_is_a_run_of_its_own():
    runs, _ = join([(1, 4, 0.001, 0.0, 0.0005)] * 3 + [(1, 4, 0.001, 0.0, math.inf)] * 3 + [(1, 4, 0.001, 0.0, 0.01)])
    assert [(run.frames, round(run.time_error, 9)) for run in runs] == [(3, 0.0005625), (3, math.inf), (1, 0.01)]


def test_a_single_batch_stays_as_it_was():
    (run,), _ = join([(7, 4, 0.0, 0.013, 0.002)])
    assert (run.frames, run.time_error, round(run.time_last - run.time_first, 9)) == (7, 0.002, 0.013)


def test_time_that_runs_back_begins_another_run():
    joiner = RunJoiner()
    assert joiner.add(0, 1, 1, (1000.0, 1000.0, math.inf), b"a") is None
    assert joiner.add(1, 1, 1, (990.0, 990.0, math.inf), b"b").data == b"a"


def row_of(*batches, size=4):
    """Batches of (times, frames' data) as a reader that takes rows gets them."""
    decoder = PipeStreamDecoder()
    decoder.gives_rows = True
    (row,) = decoder.receive_data(b"".join(encode_timed_batch(data, size, 0, times) for times, data in batches))
    assert isinstance(row, BatchRow)
    return row


@given(st.integers(1, 5), st.lists(st.tuples(steps, steps, errors), min_size=2, max_size=30), st.floats(0, 0.01))
def test_a_row_that_is_joined_holds_all_frames_and_all_times(frames, given_, pace):
    numpy = pytest.importorskip("numpy")
    time, batches = 1000.0, []
    for before, span, error in given_:
        first = time + pace + before * 0.01
        time = first + (span * 0.01 + pace * (frames - 1) if frames > 1 else 0.0)
        batches.append(((first, time, error), numpy.random.default_rng(len(batches)).bytes(4 * frames)))
    row = row_of(*batches)
    joined = join_row(row)
    if joined is None:
        return
    assert joined.total == frames * len(batches) and bytes(joined.take(joined.total)) == b"".join(data for _, data in batches)
    began, ended, error = joined.ends
    step = (ended - began) / (joined.total - 1)
    for index, ((first, last, exact), _) in enumerate(batches):
        for place, at in ((index * frames, first), (index * frames + frames - 1, last)):
            assert abs(began + place * step - at) + exact <= error * (1 + 1e-9) + 1e-9
    assert ended - began <= MAX_RUN_S and error <= min(batch[0][2] for batch in batches) * ERROR_RATIO * 1.2


def test_a_steady_row_is_joined_and_an_uneven_one_is_not():
    steady = [((1000 + n / 1000, 1000 + n / 1000, 0.0005), b"abcd") for n in range(100)]
    assert join_row(row_of(*steady)).total == 100
    assert join_row(row_of(*steady[:50], *steady[60:])) is None
    assert join_row(row_of(*steady, ((1000.1, 1000.1, 0.01), b"abcd"))) is None
