"""The board's clock against ours: every time that is given out lies within its stated error of the truth."""

import math
import random

import pytest

from ucore import wire
from ukernel.link.clock import MAX_DRIFT, Clock

PIPE = 1


def stamp(seconds):
    return round(seconds * 1e6) & wire.CLOCK_MASK


def answer(question, seconds):
    return bytes((wire.CLOCK, question[1])) + stamp(seconds).to_bytes(4, "little")


def asked(clock, board, left=100.0, taken=0.001, back=0.001):
    """Let the clock ask a board whose own clock is ``board`` seconds ahead of ours; returns when the answer came."""
    question = clock.data_to_send(left, received_at=left)
    assert question[0] == wire.CLOCK
    clock.received_answer(answer(question, left + taken + board), left + taken + back)
    return left + taken + back


@pytest.fixture
def clock():
    clock = Clock()
    clock.set_timestamps(True)
    return clock


def test_nothing_is_asked_while_nobody_wants_times():
    clock = Clock()
    assert clock.deadline(0.0) == math.inf
    assert clock.data_to_send(100.0, received_at=100.0) == b""


def test_a_question_says_that_stamps_are_wanted_and_the_last_one_that_they_are_not(clock):
    assert clock.data_to_send(1.0, received_at=1.0)[2] == 1
    clock.received_answer(bytes((wire.CLOCK, 1, 0, 0, 0, 0)), 1.0)
    clock.set_timestamps(False)
    assert clock.data_to_send(2.0, received_at=2.0)[2] == 0
    assert clock.deadline(3.0) == math.inf


@pytest.mark.parametrize("board", [12.0, 500.0, 900.0, -50.0])
def test_the_boards_clock_is_read_at_half_the_round_trip(clock, board):
    now = asked(clock, board, taken=0.001, back=0.003)
    times = clock.times(PIPE, stamp(now + board), True, 1, now)
    assert times.first == times.last == pytest.approx(now + 0.001, abs=1e-5)
    assert times.error == pytest.approx(0.002, abs=1e-5)


def test_the_time_of_day_is_added(clock):
    clock.epoch = 1e9
    now = asked(clock, board=0.0)
    assert clock.times(PIPE, stamp(now), True, 1, now).last == pytest.approx(1e9 + now, abs=0.01)


def test_a_stamp_that_comes_quickly_narrows_the_error(clock):
    now = asked(clock, board=12.0, taken=0.001, back=0.1)
    clock.received_stamp(stamp(now + 12.0), now + 0.0005)
    assert clock.times(PIPE, stamp(now + 12.0), True, 1, now).error < 0.001


def test_the_error_grows_by_what_two_crystals_may_drift_apart(clock):
    now = asked(clock, board=0.0)
    first = clock.times(PIPE, stamp(now), True, 1, now)
    later = clock.times(PIPE, stamp(now + 60), True, 1, now + 60)
    assert later.error == pytest.approx(first.error + 60 * MAX_DRIFT, abs=1e-5)


def test_there_are_no_times_before_the_first_answer(clock):
    assert clock.times(PIPE, 1000, True, 1, 1.0) is None
    clock.received_stamp(1000, 1.0)
    assert clock.times(PIPE, 1000, True, 1, 1.0) is None


def test_frames_lie_evenly_between_two_stamps(clock):
    now = asked(clock, board=0.0)
    clock.times(PIPE, stamp(now), True, 1, now)
    exact = clock.times(PIPE, stamp(now + 0.010), True, 10, now + 0.010)
    assert exact.last - exact.first == pytest.approx(0.009, abs=1e-5)
    assert exact.last == pytest.approx(now + 0.010, abs=0.002)
    assert exact.error == pytest.approx(0.009 + 0.001, abs=1e-4)
    held = clock.times(PIPE, stamp(now + 0.031), False, 10, now + 0.031)  # the last one was some time before the stamp
    assert held.first == pytest.approx(exact.last + 0.002, abs=1e-4)
    assert held.last == pytest.approx(exact.last + 0.020, abs=1e-4)
    assert held.error == pytest.approx(0.021 + 0.001, abs=1e-4)


@pytest.mark.parametrize("exact", [True, False])
def test_frames_keep_their_pace_where_others_are_missing_before_them(clock, exact):
    """A steady producer writes 10,000 frames a second; of the 1,000 in this tenth of a second the first 990 had no room."""
    now = asked(clock, board=0.0)
    clock.times(PIPE, stamp(now), True, 1, now, number=2**32 - 1)
    times = clock.times(PIPE, stamp(now + 0.1), exact, 10, now + 0.1, number=990)
    assert times.last - times.first == pytest.approx(0.0009, abs=2e-5)
    assert times.last == pytest.approx(now + 0.1, abs=2e-4)
    assert times.error >= 0.0989  # how steady it is nobody knows


def test_frames_after_the_opening_keep_their_pace_where_the_first_are_missing(clock):
    now = asked(clock, board=0.0)
    clock.opened(3, stamp(now), now, number=0)
    times = clock.times(3, stamp(now + 1.0), True, 10, now + 1.0, number=90)
    assert times.last - times.first == pytest.approx(0.09, abs=1e-3)


def test_the_error_is_not_known_where_the_stamp_before_is_not(clock):
    now = asked(clock, board=0.0)
    assert clock.times(PIPE, stamp(now), True, 7, now).error == math.inf
    assert clock.times(2, stamp(now), True, 1, now).error < 0.01
    clock.opened(3, stamp(now - 0.004), now)
    assert clock.times(3, stamp(now), True, 2, now).error < 0.01


def test_the_boards_clock_may_roll_over(clock):
    board = 2**30 / 1e6 - 100.0 - 0.5  # half a second before it begins again
    now = asked(clock, board)
    for seconds in (0.1, 0.4, 0.6, 0.9, 500.0, 1000.0, 5000.0):
        times = clock.times(PIPE, stamp(now + seconds + board), True, 1, now + seconds)
        assert times.last == pytest.approx(now + seconds, abs=times.error)
        assert times.error < 0.002 + seconds * MAX_DRIFT


def test_a_clock_that_has_slept_is_read_anew(clock):
    now = asked(clock, board=12.0)
    now = asked(clock, board=2.0, left=now + 5)
    times = clock.times(PIPE, stamp(now + 2.0), True, 1, now)
    assert times.last == pytest.approx(now, abs=0.002)
    assert times.error < 0.002


def test_a_clock_that_was_set_forward_gives_no_times_until_it_is_read_anew(clock):
    now = asked(clock, board=0.0)
    clock.received_stamp(stamp(now + 100), now)
    assert clock.times(PIPE, stamp(now + 100), True, 1, now) is None
    now = asked(clock, board=100.0, left=now)
    assert clock.times(PIPE, stamp(now + 100), True, 1, now).last == pytest.approx(now, abs=0.002)


def test_an_answer_to_an_earlier_question_is_no_answer(clock):
    first = clock.data_to_send(1.0, received_at=1.0)
    clock.data_to_send(2.0, received_at=1.5)
    clock.received_answer(answer(first, 1.001), 2.001)
    assert clock.times(PIPE, stamp(1.002), True, 1, 2.002) is None


def test_a_board_that_says_nothing_is_not_asked_again(clock):
    assert clock.data_to_send(1.0, received_at=0.9)
    assert clock.deadline(0.9) == math.inf
    assert clock.data_to_send(100.0, received_at=0.9) == b""
    assert clock.data_to_send(100.0, received_at=50.0)


def test_a_board_that_goes_on_stamping_is_told_once_more():
    clock = Clock()
    clock.received_stamp(1000, 5.0)
    assert clock.data_to_send(5.5, received_at=5.4) == b""
    assert clock.data_to_send(6.1, received_at=6.0) == bytes((wire.CLOCK, 1, 0))


def test_a_short_answer_is_no_answer(clock):
    clock.data_to_send(1.0, received_at=1.0)
    clock.received_answer(bytes((wire.CLOCK, 1, 0)), 1.001)
    assert clock.times(PIPE, 0, True, 1, 1.002) is None


@pytest.mark.parametrize("seed", range(20))
def test_every_time_is_within_its_error_of_the_truth_and_none_runs_backwards(seed):
    """A board with a drifting clock behind a line with changing delays, a producer of any rhythm."""
    rng = random.Random(seed)
    drift, ahead = rng.uniform(-MAX_DRIFT, MAX_DRIFT), rng.uniform(0, 5000)

    def board(time):
        return ahead + time * (1 + drift)

    clock = Clock()
    clock.set_timestamps(True)
    clock.opened(PIPE, stamp(board(0.0)), 0.0)
    now = written_to = 0.0
    given, number = -math.inf, 2**32 - 100
    for _ in range(300):
        now += rng.expovariate(1 / rng.choice([0.001, 0.01, 0.3]))
        delay = rng.choice([0.0005, 0.002, 0.1])
        question = clock.data_to_send(now, received_at=now)
        if question:
            at = now + rng.uniform(0, delay)
            now = at + rng.uniform(0, delay)
            clock.received_answer(answer(question, board(at)), now)
        frames = rng.choice([1, 1, 2, 30])
        exact = rng.random() < 0.5
        lost = rng.choice([0, 0, 3, 1000])
        number = (number + lost) % 2**32
        truth = sorted(rng.uniform(written_to, now) for _ in range(frames))
        written_to = truth[-1] if exact else now
        sent = board(written_to)
        now += rng.uniform(0, delay)
        clock.received_stamp(stamp(sent), now)
        times = clock.times(PIPE, stamp(sent), exact, frames, now, number)
        number += frames
        assert times.first >= given
        step = (times.last - times.first) / max(frames - 1, 1)
        for index, moment in enumerate(truth):
            assert abs(times.first + index * step - moment) <= times.error + 5e-6
        given = times.last
