"""The samples of a chart: how they are kept, and what of them is drawn."""

import math
import random

import numpy as np
import pytest

from ukernel.charts.bins import Envelope
from ukernel.charts.window import Window, sample_times

STREAMS = [[1] * 50, [3, 0, 5, 1, 12, 2], [100], [9, 1, 10, 11], [10, 10, 10], [0, 0, 7]]


def filled(size, *blocks, at=0.0):
    window = Window(size)
    for block in blocks:
        window.add(np.asarray(block, float), at)
    return window


@pytest.mark.parametrize("sizes", STREAMS, ids=str)
def test_a_window_holds_the_latest_samples(sizes):
    window, everything, seen = Window(10), np.arange(200.0), 0
    for size in sizes:
        window.add(everything[seen : seen + size], 0.0)
        seen += size
        assert window.copy()[:, 0].tolist() == everything[max(0, seen - 10) : seen].tolist()
        assert window.seen == seen


def test_a_window_keeps_every_channel():
    window = filled(3, [[1, 10], [2, 20]], [[3, 30], [4, 40]])
    assert window.channels == 2
    assert window.copy().tolist() == [[2, 20], [3, 30], [4, 40]]


def test_what_comes_after_a_number_is_given_with_that_number():
    window = filled(5, range(8))
    first, rows = window.since(6)
    assert (first, rows[:, 1].tolist()) == (6, [6, 7])
    first, rows = window.since(0)
    assert (first, rows[:, 1].tolist()) == (3, [3, 4, 5, 6, 7])
    assert len(window.since(8)[1]) == 0


def test_samples_of_a_block_are_spread_since_the_block_before():
    assert sample_times(4, 10.0, 9.8).tolist() == pytest.approx([9.85, 9.9, 9.95, 10.0])
    assert sample_times(1, 10.0, 2.0).tolist() == [10.0]
    assert sample_times(2, 10.0, -math.inf)[0] > 9.8


@pytest.mark.parametrize("sizes", STREAMS, ids=str)
def test_an_envelope_of_few_samples_is_the_samples(sizes):
    window, seen = Window(10), 0
    envelope = Envelope(window, columns=100)
    for size in sizes:
        window.add(np.arange(seen, seen + size), 0.0)
        seen += size
        changed = envelope.update()
        if not seen:
            continue
        assert envelope.table()[:, 1].tolist() == list(range(max(0, seen - 10), seen))
        assert envelope.table(changed)[:, 1].tolist() == list(range(max(changed, seen - 10), seen))


@pytest.mark.parametrize("seed", range(20))
def test_an_envelope_holds_the_lowest_and_the_highest_of_each_bin(seed):
    rng = random.Random(seed)
    size, columns = rng.choice([(1000, 100), (997, 64), (100, 7)])
    everything = np.random.default_rng(seed).normal(size=20_000)
    window, seen = Window(size), 0
    envelope = Envelope(window, columns)
    page = {}  # what somebody has who was told of the changes only
    while seen < 15_000:
        count = rng.choice([0, 1, 3, 17, size // 2, size, 3 * size])
        window.add(everything[seen : seen + count], 0.0)
        seen += count
        if rng.random() < 0.3:
            continue  # a picture that was left out
        changed = envelope.update()
        for number, row in enumerate(envelope.table(changed), max(changed, envelope.first)):
            page[number] = row
        kept = range(envelope.first, envelope.stop)
        for number in kept:
            start, stop = number * envelope.step, min((number + 1) * envelope.step, seen)
            low, high = page[number][1:]
            samples, inside = everything[start:stop], everything[max(start, seen - size) : stop]
            if number == envelope.first:  # begins before the window: what has left it may still count
                assert samples.min() <= low <= inside.min() and inside.max() <= high <= samples.max()
            else:
                assert (low, high) == (samples.min(), samples.max())
        assert len(envelope.table()) == len(kept) <= columns + 2


def test_a_spike_is_never_left_out():
    window = Window(1_000_000)
    envelope = Envelope(window, 500)
    values = np.zeros(1_000_000)
    values[543_210], values[777_777] = 1, -1
    for start in range(0, len(values), 7919):
        window.add(values[start : start + 7919], 0.0)
        envelope.update()
    assert envelope.limits() == (-1, 1)
    assert len(envelope.table()) <= 502
    assert envelope.table()[543_210 // envelope.step, 2] == 1


def test_bins_keep_their_samples_as_they_move():
    window = Window(1000)
    envelope = Envelope(window, 50)
    rng = np.random.default_rng(1)
    before = {}
    for _ in range(300):
        window.add(rng.normal(size=7), 0.0)
        envelope.update()
        complete = range(envelope.first, envelope.seen // envelope.step)
        now = {number: tuple(envelope.table()[number - envelope.first, 1:]) for number in complete}
        assert all(now[number] == before[number] for number in now.keys() & before.keys())
        before = now


@pytest.mark.parametrize("gap", [math.nan, math.inf, -math.inf, 1e301])
def test_what_is_not_finite_is_a_gap(gap):
    envelope = Envelope(filled(10, [1, gap, 3]), 100)
    envelope.update()
    assert np.isnan(envelope.table()[:, 1]).tolist() == [False, True, False]
    assert envelope.limits() == (1, 3)


def test_a_bin_with_one_finite_value_has_that_value():
    envelope = Envelope(filled(100, [math.nan, 5, math.inf] + [math.nan] * 97), 10)
    envelope.update()
    assert envelope.table()[0, 1:].tolist() == [5, 5]
    assert np.isnan(envelope.table()[1:, 1:]).all()


def test_times_that_run_backwards_are_held():
    window = Window(10)
    window.add(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    window.add(np.zeros(3), np.array([2.5, 2.0, 4.0]))
    assert window.since(0)[1][:, 0].tolist() == [1, 2, 3, 3, 3, 4]
