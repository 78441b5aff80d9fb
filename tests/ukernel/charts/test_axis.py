"""The axis of values: its limits, and the numbers beside it."""

import json
import math
from pathlib import Path

import pytest

from ukernel.charts.axis import AIR, SHRINK_AFTER_S, Limits, Scale, format_seconds

CASES = json.loads((Path(__file__).parents[3] / "canvas" / "tests" / "numbers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['axis']} {case['units']}")
def test_numbers_have_the_digits_that_the_axis_resolves(case):
    scale = Scale(*case["axis"], case["units"])
    assert scale.units == case["label"]
    assert {value: scale.number(float(value)) for value in case["number"]} == case["number"]
    assert {value: scale.tick(float(value), case["step"]) for value in case["ticks"]} == case["ticks"]


def test_a_value_has_its_units_and_one_that_is_none_a_dash():
    scale = Scale(0, 0.002, "A")
    assert scale.text(0.0015) == "1.500 mA"
    assert scale.text(math.nan) == scale.number(math.nan) == "–"
    assert Scale(0, 2, "").text(1.0) == "1.000"


@pytest.mark.parametrize("limits", [(0, 0), (1e-320, 2e-320), (-1e300, 1e300), (5e-324, 1)], ids=str)
def test_whatever_the_limits_there_are_numbers(limits):
    scale = Scale(*limits, "V")
    assert all(scale.text(value) for value in (*limits, 0.0, 1e308, -1e308))


def test_durations_are_for_people():
    found = [format_seconds(seconds) for seconds in (0.04, 3.44, 59.96, 125, 3725, 90_000)]
    assert found == ["0.0 s", "3.4 s", "1 min 00 s", "2 min 05 s", "1 h 02 min", "25 h 00 min"]


def test_there_is_a_little_air_above_and_below_the_values():
    low, high = Limits().fit(-1.0, 1.0, now=0)
    assert (low, high) == pytest.approx((-1 - 2 * AIR, 1 + 2 * AIR))


def test_limits_stay_while_the_samples_fit_them():
    limits = Limits()
    first = limits.fit(-0.5, 0.9, now=0)
    assert first[0] < -0.5 and first[1] > 0.9
    assert limits.fit(-0.53, 0.92, now=1) == first
    assert limits.fit(-0.56, 0.92, now=1)[0] < first[0]  # not all of the air is used up
    low, high = limits.fit(-0.5, 2, now=2)
    assert low <= -0.5 and high > 2


def test_limits_shrink_late_and_do_not_pump():
    limits = Limits()
    wide = limits.fit(-10, 10, now=0)
    for tenth in range(100):  # something large every second
        now = tenth / 10
        assert limits.fit(*((-10, 10) if tenth % 10 == 0 else (-1, 1)), now=now) == wide
    assert limits.fit(-1, 1, now=now + SHRINK_AFTER_S + 1) != wide
    assert limits.high < 2


@pytest.mark.parametrize(
    "low, high",
    [(0, 0), (5, 5), (-3, -3), (1e-320, 1e-320), (1e9, 1e9 + 1e-7), (-1e299, 1e299), (1e299, 1e299), (0, 1e-310), (0, 3e-323)],
    ids=str,
)
def test_limits_have_room_around_whatever_values(low, high):
    found = Limits().fit(low, high, now=0)
    assert all(map(math.isfinite, found))
    assert found[0] <= low and high <= found[1] and found[0] < found[1]


def test_limits_that_have_shrunk_wait_again_before_they_shrink_once_more():
    limits = Limits()
    limits.fit(-100, 100, 0.0)
    limits.fit(-1, 1, 1.0)
    shrunk = limits.fit(-1, 1, 3.0)
    assert shrunk[1] < 10
    assert limits.fit(-0.01, 0.01, 3.1) == shrunk
    assert limits.fit(-0.01, 0.01, 5.2)[1] < 1
