"""What a chart shows: names, axes, words."""

import math

import numpy as np
import pytest
from stilltrace import StillTrace

from ukernel.charts.scene import ChartOptions, Scene


def trace_of(values, name="adc", size=200, at=0.0):
    trace = StillTrace(name, size)
    trace.window.add(np.asarray(values, float), at)
    return trace


def test_lines_have_their_labels_and_else_names_made_from_their_pipe():
    imu, adc = trace_of([[1, 2, 3]], "imu"), trace_of([1])
    assert ChartOptions("", 10).name_lines([imu, adc]) == [["imu[0]", "imu[1]", "imu[2]"], ["adc"]]
    assert ChartOptions("", 10, labels=("x", "y")).name_lines([imu, adc]) == [["x", "y", "imu[2]"], ["adc"]]
    assert ChartOptions("", 10, labels=("x", "y", "z", "volts")).name_lines([imu, adc]) == [["x", "y", "z"], ["volts"]]


def test_the_x_axis_counts_the_places_in_the_window():
    scene = Scene([trace_of(range(350))], ChartOptions("adc", 200), 1000)
    scene.update()
    (curve,) = scene.curves()
    assert scene.x == (0, 199)
    assert curve.x.tolist() == list(range(200)) and curve.low.tolist() == list(range(150, 350))


def test_bins_lie_where_their_samples_do():
    scene = Scene([trace_of(range(1000), size=1000)], ChartOptions("adc", 1000), 100)
    scene.update()
    (curve,) = scene.curves()
    assert curve.x[:2].tolist() == [4.5, 14.5]
    assert (curve.low[1], curve.high[1]) == (10, 19)
    x, y = curve.points
    assert x[:4].tolist() == [4.5, 4.5, 14.5, 14.5] and y[:4].tolist() == [0, 9, 10, 19]


def test_the_time_axis_is_steady_although_blocks_come_unevenly():
    rng = np.random.default_rng(1)
    trace = StillTrace("adc", 100)
    scene = Scene([trace], ChartOptions("adc", 100, x="seconds"), 1000)
    shown = []
    for number in range(200):
        trace.window.add(np.zeros(10), number / 10 + rng.uniform(0, 0.01))  # 100 samples a second
        scene.update()
        shown.append(scene.x)
    assert all(low < 0 and high == 0 for low, high in shown)
    assert len(set(shown[20:])) <= 2 and shown[-1][0] == pytest.approx(-1, abs=0.1)
    (curve,) = scene.curves()
    assert curve.x[-1] == 0 and (np.diff(curve.x) > 0).all()


def test_a_pipe_that_ended_before_the_others_leaves_the_time_axis():
    ended, going_on = StillTrace("a", 10), StillTrace("b", 10)
    ended.window.add(np.zeros(10), np.arange(0, 1, 0.1))
    scene = Scene([ended, going_on], ChartOptions("", 10, x="seconds"), 1000)
    going_on.window.add(np.zeros(10), np.arange(99, 100, 0.1))
    scene.update()
    assert scene.x[0] < -99
    ended.ended_at = 1.0
    for moment in (scene, Scene([ended, going_on], ChartOptions("", 10, x="seconds"), 1000)):
        moment.update()
        assert -1.2 < moment.x[0] < -0.8
    going_on.ended_at = 100.0
    scene.update()
    assert -1.2 < scene.x[0] < -0.8
    ended.ended_at = 99.5  # together, as when the chart is stopped
    scene.update()
    assert scene.x[0] < -99


def test_the_axis_of_values_has_the_limits_given_or_those_of_the_samples():
    traces = [trace_of([1, 5]), trace_of([-20, 3], "b")]
    fixed, free = Scene(traces, ChartOptions("", 200, (0.0, 1.0)), 100), Scene(traces, ChartOptions("", 200, None), 100)
    fixed.update(), free.update()
    assert fixed.y == (0, 1)
    assert free.y[0] < -20 and free.y[1] > 5


def test_a_scene_says_what_it_shows():
    scene = Scene([trace_of([[1, math.nan], [3, math.nan]], "imu")], ChartOptions("IMU", 200, units="g"), 100)
    scene.update()
    assert (
        scene.describe()
        == "Line chart of IMU, 200 samples wide. imu[0]: from 1.000 to 3.000 g, last 3.000 g. imu[1]: no samples."
    )


def test_a_line_is_interrupted_where_something_is_missing_on_every_kind_of_axis():
    for x, start, stop in (("samples", 2, 3), ("seconds", -8, -2), ("time", -8, -2)):
        trace = StillTrace("adc", 200)
        trace.window.add(np.arange(3.0), np.array([0.0, 1, 2]))
        trace.window.add(np.arange(3.0), np.array([8.0, 9, 10]), [(0, 5, "no room")])
        scene = Scene([trace], ChartOptions("adc", 200, x=x), 1000)
        scene.update()
        (band,) = scene.bands()
        assert (band.start, band.stop, band.lost, band.why) == (start, stop, 5, "no room")
        places, values = scene.curves()[0].points
        assert len(places) == 7 and np.flatnonzero(np.isnan(values)).tolist() == [3]
        assert scene.describe().endswith("1 gap in it, 5 frames are missing there.")


def test_a_window_in_time_shows_pipes_of_different_rates_over_the_same_time():
    slow, fast = StillTrace("slow", 10**9, 20.0), StillTrace("fast", 10**9, 20.0)
    slow.window.add(np.zeros(200), np.arange(0, 40, 0.2))
    fast.window.add(np.zeros(400_000), np.arange(0, 40, 0.0001))
    scene = Scene([slow, fast], ChartOptions("", 10**9, span_s=20.0, x="seconds"), 1000)
    scene.update()
    assert scene.x == (-20, 0)
    for curve in scene.curves():
        assert curve.x[0] == pytest.approx(-20, abs=0.25) and curve.x[-1] == pytest.approx(0, abs=0.25)


def test_a_window_in_time_fills_as_others_do():
    trace = StillTrace("adc", 10**9, 3600.0)
    scene = Scene([trace], ChartOptions("adc", 10**9, span_s=3600.0, x="seconds"), 1000)
    for second in range(0, 5000, 10):
        trace.window.add(np.zeros(10), second + np.arange(10.0))
        scene.update()
        assert -3600 <= scene.x[0] <= -min(second + 9, 3600) + 4  # the oldest bin is where its middle is
    assert scene.x[0] == -3600


def test_values_off_the_scale_are_known():
    scene = Scene([trace_of([0.5, 3.2]), trace_of([-7], "b")], ChartOptions("", 200, (-1.5, 1.5)), 100)
    scene.update()
    assert scene.off_scale() == (-7, 3.2)
    inside = Scene([trace_of([0.5])], ChartOptions("", 200, (-1.5, 1.5)), 100)
    inside.update()
    assert inside.off_scale() == (None, None)


def test_the_figures_of_a_line_are_those_of_its_samples():
    scene = Scene([trace_of([[1, math.nan], [3, math.nan], [8, math.nan]]), trace_of([], "b")], ChartOptions("", 200), 100)
    scene.update()
    assert scene.stats() == [[[1, 8, 4], None], []]
