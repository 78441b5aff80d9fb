"""Windows in time and what is missing in them, at the resolution of a screen."""

import random

import numpy as np
import pytest

from ukernel.charts.bins import Envelope, TimeEnvelope, make_envelope
from ukernel.charts.window import BINS, MAX_GAPS, Window

NO_ROOM = "no room"


def timed(values, at):
    """A window of 10 s with these samples."""
    window = Window(10**9, 10.0)
    window.add(np.asarray(values, float), np.asarray(at, float))
    return window


@pytest.mark.parametrize("seed", range(6))
def test_a_window_in_time_shows_the_lowest_and_the_highest_of_all_its_samples(seed):
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    span_s, columns = rng.choice([(10.0, 100), (0.5, 64), (7200.0, 1000)])
    window = Window(10**9, span_s)
    envelope = TimeEnvelope(window, columns)
    everything, times, now = np.empty((0, 2)), np.empty(0), 1.7e9
    page = {}  # what somebody has who was told of the changes only
    for _ in range(60):
        count = rng.choice([1, 3, 50, 2000])
        took = span_s * rng.choice([1e-5, 0.001, 0.03, 0.7 if seed % 3 == 0 else 0.02])
        at = np.sort(noise.uniform(now, now + took, count))
        values = noise.normal(size=(count, 2))
        everything, times, now = np.vstack((everything, values)), np.append(times, at), now + took
        window.add(values, at)
        if rng.random() < 0.3:
            continue  # a picture that was left out
        changed = envelope.update()
        for number, row in enumerate(envelope.table(changed), max(changed, envelope.first)):
            page[number] = row
        table = np.array([page[number] for number in range(envelope.first, envelope.stop)])
        assert np.array_equal(table, envelope.table())
        assert len(table) <= 2 * columns + 2
        inside = everything[times >= times[-1] - span_s]
        edge = everything[times >= times[-1] - span_s * (1 + 2 / columns)]  # the oldest bin may begin before the window
        core = everything[times >= times[-1] - span_s * (1 - 2 / columns)]
        low, high = envelope.ranges()
        assert (edge.min(axis=0) <= low).all() and (low <= core.min(axis=0)).all()
        assert (core.max(axis=0) <= high).all() and (high <= edge.max(axis=0)).all()
        assert len(window.copy()) == min(len(inside), window.size)
        assert envelope.newest == values[-1].tolist() and envelope.newest_at == at[-1]


def test_where_samples_are_few_each_has_its_own_time_and_value():
    window = timed(range(40), 5 + 0.2 * np.arange(40))
    envelope = make_envelope(window, 1000)
    envelope.update()
    assert envelope.table()[:, 0].tolist() == (5 + 0.2 * np.arange(40)).tolist()
    assert envelope.table()[:, 1].tolist() == envelope.table()[:, 2].tolist() == list(range(40))


def test_two_hours_of_a_quick_pipe_need_no_more_room_than_two_hours_of_a_slow_one():
    window, now = Window(10**9, 7200.0), 0.0
    for _ in range(2000):
        window.add(np.full(5000, now), now + np.linspace(0, 4, 5000))
        now += 4
    assert window.history.rows.stop - window.history.rows.first <= BINS + 2
    assert window.history.rows._table.nbytes < 3_000_000 and window._rows._table.nbytes < 4_000_000
    envelope = make_envelope(window, 1000)
    envelope.update()
    low, high = envelope.limits()
    assert high == now - 4 and low == pytest.approx(now - 4 - 7200, abs=10)
    assert window.means()[0] == pytest.approx((low + high) / 2, rel=0.01)


def test_the_mean_is_that_of_what_is_finite():
    assert timed([1, np.nan, np.inf, 3], [1, 2, 3, 4]).means().tolist() == [2]
    plain = Window(10)
    assert plain.means().tolist() == []
    plain.add(np.array([1.0, np.nan, 3.0]), 0.0)
    assert plain.means().tolist() == [2]


# What is missing


def test_a_gap_lies_between_the_samples_around_it():
    window = Window(10)
    envelope = Envelope(window, 100)
    window.add(np.arange(3.0), np.array([0.0, 1, 2]), [(0, 5, NO_ROOM)])  # nothing before it: it interrupts nothing
    window.add(np.arange(4.0), np.array([7.0, 8, 9, 10]), [(0, 70, NO_ROOM), (2, 1, "slow")])
    envelope.update()
    assert [(one.row, one.before, one.after, one.began_at, one.ended_at, one.lost, one.why) for one in envelope.breaks] == [
        (3, 2, 3, 2.0, 7.0, 70, NO_ROOM),
        (5, 4, 5, 8.0, 9.0, 1, "slow"),
    ]
    window.add(np.arange(8.0), np.arange(11.0, 19))
    envelope.update()
    assert [one.row for one in envelope.breaks] == []  # the sample before the second one has left the window


def test_gaps_at_the_edge_of_a_bin_are_one_with_all_that_is_missing():
    window = Window(1000)
    envelope = Envelope(window, 100)
    window.add(np.zeros(1000), 0.0)
    window.add(np.zeros(100), 1.0, [(41, 3, NO_ROOM), (44, 4, NO_ROOM), (44, 5, "slow"), (70, 1, "slow")])
    envelope.update()
    assert envelope.step == 10
    assert [(one.row, one.before, one.after, one.lost, one.why) for one in envelope.breaks] == [
        (104, 1040, 1044, 12, f"{NO_ROOM}; slow"),
        (107, 1069, 1070, 1, "slow"),
    ]


@pytest.mark.parametrize("together", [True, False], ids=["in one picture", "picture by picture"])
@pytest.mark.parametrize("span_s", [None, 10.0])
def test_no_bin_has_samples_from_both_sides_of_a_gap(span_s, together):
    """A level before it, another one after it: no bin spans the two."""
    rng = random.Random(3)
    window = Window(5000, span_s)
    envelope = make_envelope(window, 200)
    level, now = 0.0, 0.0
    for _ in range(150):
        count = rng.randint(1, 300)
        place = rng.randrange(count)
        levels = np.where(np.arange(count) < place, level, level + 1)
        level += 1
        times = now + np.cumsum(np.where(np.arange(count) == place, 0.002, 0.0007))
        window.add(levels, times, [(place, 9, NO_ROOM)])
        now = times[-1]
        if not together:
            envelope.update()
    envelope.update()
    table = envelope.table()
    assert len(table) > 50
    spans = table[1:, 2] - table[1:, 1]  # the oldest may begin before the window
    crowded = {one.row - envelope.first - 1 for one in envelope.breaks if one.lost > 9}  # two gaps in one bin are one
    assert [row for row in np.flatnonzero(spans).tolist() if row + 1 not in crowded and row not in crowded] == []


def test_a_gap_in_a_window_in_time_is_before_the_bin_after_it():
    window = timed(np.zeros(100), np.linspace(0, 1, 100))
    window.add(np.ones(100), np.linspace(5, 6, 100), [(0, 900, NO_ROOM)])
    envelope = make_envelope(window, 100)
    envelope.update()
    (one,) = envelope.breaks
    table = envelope.table()
    assert table[one.row - 1 - envelope.first, 0] <= 1 and table[one.row - envelope.first, 0] >= 5
    assert (one.began_at, one.ended_at, one.lost) == (1, 5, 900)
    window.add(np.ones(10), np.linspace(15.5, 16, 10))
    envelope.update()
    assert envelope.breaks == []


def test_a_gap_is_told_once_however_the_pictures_fall():
    window = Window(1000)
    envelope = Envelope(window, 1000)
    for number in range(50):
        window.add(np.zeros(5), float(number), [(2, 1, NO_ROOM)])
        if number % 3:
            envelope.update()
    envelope.update()
    assert [one.row for one in envelope.breaks] == [5 * number + 2 for number in range(50)]
    assert sum(one.lost for one in envelope.breaks) == 50


def test_gaps_without_end_are_bounded_and_none_is_forgotten():
    window = Window(10**6)
    count = 3 * MAX_GAPS
    window.add(np.zeros(2 * count), 0.0, [(2 * place + 1, 1, NO_ROOM) for place in range(count)])
    assert len(window.gaps()) <= MAX_GAPS + 1 and sum(gap.lost for gap in window.gaps()) == count


@pytest.mark.parametrize("span_s", [None, 10.0])
def test_what_is_cleared_is_gone_and_what_comes_is_shown(span_s):
    window = Window(100, span_s)
    envelope = make_envelope(window, 10)
    for number in range(30):
        window.add(np.zeros(5), number + np.linspace(0, 0.5, 5) / 10, [(1, 1, NO_ROOM)])
    envelope.update()
    window.clear()
    assert len(window.copy()) == 0 and window.gaps() == [] and len(envelope.table()) == 0
    assert envelope.update() == envelope.stop
    late = make_envelope(window, 10)  # one that has seen nothing of it
    assert late.update() == 0 and len(late.table()) == 0
    window.add(np.full(20, 7.0), 31 + np.arange(20) / 100)
    envelope.update()
    assert envelope.limits() == (7, 7) and window.copy().tolist() == [[7.0]] * 20
    assert envelope.breaks == []
