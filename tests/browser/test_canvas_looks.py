"""What can be read from the canvas, and what its buttons do, in a real JupyterLab in a real Chromium."""

import csv
import itertools
import math
import struct
import time

import pytest
from canvaspage import WIDTH, seen_at, sine, values, wait_for_samples


def text_of(notebook, part):
    return notebook.get(f"ucore.view().root.querySelector('.ucore-{part}').innerText")


def hover(notebook, x, y=0.5):
    """Move the mouse to this part of the axes (0 to 1)."""
    box = notebook.page.locator(".u-over").bounding_box()
    notebook.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def timed(feed, first, last, *numbers):
    feed.timed(*(struct.pack("<f", number) for number in numbers), times=(first, last, 0.001))


# Numbers


def test_tiny_values_are_told_apart_at_the_axis_and_have_a_prefix(notebook, listener):
    listener.script = values(*(2e-4 * math.sin(i / 20) for i in range(WIDTH)))
    notebook.run(1, "chart = live_plot('tiny', ylim=None, units='A')")
    wait_for_samples(notebook, WIDTH)
    ticks = notebook.get("ucore.view().plot.axes[1]._values")
    assert ticks == ["−200", "−100", "0", "100", "200"] and notebook.get("ucore.view().scale.units") == "µA"
    newest = 200 * math.sin((WIDTH - 1) / 20)
    assert text_of(notebook, "newest") == f"{newest:.0f} µA".replace("-", "−")


def test_the_newest_value_of_a_wide_window_is_a_sample_and_has_the_digits_of_the_axis(notebook, listener):
    listener.script = values(*(101_325 + 3 * math.sin(i / 1000) for i in range(49_999)), 101_324.5)
    notebook.run(1, "chart = live_plot('air', window=50_000, ylim=None, units='counts', title='Pressure')")
    wait_for_samples(notebook, 50_000)
    assert notebook.state()["traces"][0]["step"] > 1
    assert text_of(notebook, "newest") == "101,324.50 counts"
    assert all(tick.startswith("101,32") for tick in notebook.get("ucore.view().plot.axes[1]._values"))


def test_there_is_a_dash_where_a_pipe_has_no_value(notebook, listener):
    def script(feed):
        feed.opened()
        first = 1000.0 if feed.request["pipe"] == "slow" else 1018.0
        timed(feed, first, 1020.0, *[21.5 if feed.request["pipe"] == "slow" else 23.0] * 101)

    listener.script = script
    notebook.run(1, "chart = live_plot(['slow', 'fast'], ylim=(20, 24), units='°C', x='seconds')")
    wait_for_samples(notebook, 101)
    hover(notebook, 0.5)
    notebook.wait("ucore.view().crosshair.where !== ''")
    assert [reading["text"] for reading in notebook.get("ucore.view().crosshair.readings")] == ["21.50 °C", "–"]
    cells = notebook.page.locator(".ucore-value").all_inner_texts()
    assert cells == ["21.50 °C", "–"]
    assert notebook.page.locator(".ucore-dot:visible").count() == 1
    hover(notebook, 0.99)
    notebook.wait("ucore.view().crosshair.readings.every(({ text }) => text !== '–')")


# What is missing


@pytest.mark.parametrize(
    "arguments", ["", ", x='seconds'", ", x='time'", ", window='30 s'"], ids=["samples", "seconds", "time", "window"]
)
def test_no_line_runs_through_what_was_lost(notebook, listener, arguments):
    def script(feed):
        feed.opened()
        timed(feed, 1000.0, 1009.9, *[-1.0] * 100)
        feed.notice(lost=12_345, cause="board")
        timed(feed, 1020.0, 1029.9, *[1.0] * 100)

    listener.script = script
    notebook.run(2, "import warnings\nwarnings.simplefilter('ignore')")
    notebook.run(1, f"chart = live_plot('adc'{arguments})")
    wait_for_samples(notebook, WIDTH)
    columns = seen_at(notebook)
    assert len(columns) > 300 and not [row for row in columns if -0.9 < row[1] < 0.9 or -0.9 < row[2] < 0.9]
    shown = notebook.get("ucore.view().plot.bbox.width")
    gap = max(after[0] - before[0] for before, after in itertools.pairwise(columns)) * shown
    assert gap > (0 if not arguments else shown / 5)
    # It is shaded, and the crosshair says what it is.
    where = notebook.get(
        "(() => { const { store, plot } = ucore.view(); const [trace] = store.traces; const [{ from, to }] = trace.breaks;"
        " return plot.valToPos((trace.position(from, store.newest) + trace.position(to, store.newest)) / 2, 'x'); })()"
    )
    pixel = notebook.get(
        f"[...ucore.view().plot.ctx.getImageData(ucore.view().plot.bbox.left + {where}, ucore.view().plot.bbox.top + 60, 1, 1).data]"
    )
    assert pixel[3] > 0 and pixel[0] > pixel[2] + 50
    hover(notebook, where / notebook.get("ucore.view().plot.over.clientWidth"))
    notebook.wait("document.querySelector('.ucore-readout').innerText.includes('12,345 frames missing: the board had no room')")
    notebook.run(2, "warnings.resetwarnings()")


# The limits


def test_values_off_the_scale_are_pointed_at_and_followed_at_a_click(notebook, listener):
    listener.script = values(*(1.7 + 1.5 * math.sin(i / 20) for i in range(WIDTH)))
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    notebook.wait("document.querySelector('.ucore-above').innerText === '▲ values up to 3.20: ylim=None follows them'")
    assert text_of(notebook, "below") == ""
    button = notebook.page.get_by_role("button", name="Autoscale")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    notebook.wait("ucore.view().limits('y')[1] > 3.2 && document.querySelector('.ucore-above').innerText === ''")
    low, high = notebook.get("ucore.view().limits('y')")
    assert low == pytest.approx(0.2 - 0.15, abs=0.01) and high == pytest.approx(3.2 + 0.15, abs=0.01)
    button.click()
    notebook.wait("ucore.view().limits('y')[1] === 1.5")


# Measuring


@pytest.mark.parametrize("x", ["samples", "seconds"])
def test_two_clicks_measure(notebook, listener, x):
    def script(feed):
        feed.opened()
        timed(feed, 1000.0, 1001.99, *(math.sin(i * math.pi / 100) for i in range(200)))

    listener.script = script
    notebook.run(1, f"chart = live_plot('adc', x={x!r}, units='V')")
    wait_for_samples(notebook, WIDTH)
    box = notebook.page.locator(".u-over").bounding_box()
    places = [
        notebook.get(
            f"[ucore.view().plot.valToPos(ucore.view().store.traces[0].x({i}, ucore.view().store.newest), 'x'),"
            f" ucore.view().plot.valToPos(ucore.view().store.traces[0].low({i}, 0), 'y')]"
        )
        for i in (50, 150)
    ]
    for left, top in places:
        notebook.page.mouse.click(box["x"] + left, box["y"] + top + 3)
    found = text_of(notebook, "measured")
    assert "Δy −2.00 V" in found and (
        "Δx 100 samples" in found if x == "samples" else "Δx 1.00" in found and "1/Δx 1.00" in found
    )
    # The same with keys, for those who have no mouse.
    notebook.page.keyboard.press("Escape")
    notebook.wait("document.querySelector('.ucore-measured').innerText === ''")
    notebook.page.locator(".ucore-chart").focus()
    for key in ("ArrowLeft", "m", "ArrowRight", "ArrowRight", "m"):
        notebook.page.keyboard.press(key)
    notebook.wait("/Δx .+1\\/Δx/.test(document.querySelector('.ucore-chart > [aria-live]').textContent)")


def test_marks_stay_on_their_samples_while_the_chart_moves(notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    box = notebook.page.locator(".u-over").bounding_box()
    notebook.page.mouse.click(box["x"] + box["width"] - 5, box["y"] + 20)
    mark = "ucore.view().measure.marks[0].at - ucore.view().store.origin"
    before = notebook.get(mark)
    notebook.wait(f"{mark} < {before} - 50")


# Buttons


def test_clear_forgets_and_goes_on(notebook, listener):
    def script(feed):
        feed.opened()
        feed.floats(*[1.0] * 150)
        time.sleep(2)
        for _ in itertools.count():
            feed.floats(0.5)
            time.sleep(0.02)

    listener.script = script
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, 150)
    notebook.page.get_by_role("button", name="Clear").click()
    notebook.wait("ucore.state().traces[0].count < 100")
    notebook.wait("ucore.state().traces[0].count > 5")
    assert {row[1] for row in notebook.get("ucore.values()")} == {0.5}
    assert notebook.get("ucore.values()[0][0]") == 0


def test_the_picture_and_the_table_can_be_saved(notebook, listener):
    listener.script = values(*(i / 4 for i in range(10)))
    notebook.run(1, "chart = live_plot('adc', ylim=None, units='V', title='Pin 4 / left')")
    wait_for_samples(notebook, 10)
    with notebook.page.expect_download() as found:
        notebook.page.get_by_role("button", name="CSV").click()
    assert found.value.suggested_filename == "Pin-4-left.csv"
    with open(found.value.path(), newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["sample", "adc (V)"] and rows[1:] == [[str(i), str(i / 4).removesuffix(".0")] for i in range(10)]
    with notebook.page.expect_download() as found:
        notebook.page.get_by_role("button", name="PNG").click()
    assert found.value.path().read_bytes().startswith(b"\x89PNG")


# The whole


def test_nothing_jumps_when_it_stops(notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc', units='V', title='Pin 4', height=300)")
    wait_for_samples(notebook, WIDTH)
    places = "['.ucore-newest', '.u-over', '.ucore-foot', '.ucore-chart'].map((part) => { const { top, left, height } = document.querySelector(part).getBoundingClientRect(); return [part, top, left, height]; })"
    before = notebook.get(places)
    notebook.run(2, "stop_live()")
    notebook.wait(
        "ucore.state()?.state === 'stopped' && ucore.outputs(1)[0].data['text/html'] !== undefined && ucore.view()?.drawn > 1"
    )
    after = notebook.get(places)
    assert [part for part, *_ in after] == [part for part, *_ in before]
    assert [place for _, *place in after] == [pytest.approx(place, abs=1) for _, *place in before]
    assert notebook.get("ucore.view().plot.height") == 300


def test_what_was_chosen_stays_when_it_stops(notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    notebook.page.get_by_role("button", name="Autoscale").click()
    notebook.get("ucore.view().setZoom({ x: [50, 150] })")
    notebook.run(2, "stop_live()")
    notebook.wait(
        "ucore.state()?.state === 'stopped' && ucore.outputs(1)[0].data['text/html'] !== undefined && ucore.view()?.drawn > 1"
    )
    assert notebook.state()["zoom"] == {"x": [50, 150]} and notebook.get("ucore.view().follows")


def test_rates_are_said_by_line_and_figures_stand_in_columns(notebook, listener):
    def script(feed):
        feed.opened()
        rate = {"slow": 5, "fast": 100}[feed.request["pipe"]]
        for i in itertools.count():
            now = time.time()
            timed(feed, now, now, i % 3)
            time.sleep(1 / rate)

    listener.script = script
    notebook.run(1, "chart = live_plot(['slow', 'fast'], ylim=None, window='20 s')")
    notebook.wait("ucore.state()?.rates.every((rate) => rate > 3) && ucore.state().rates[1] > 60")
    notebook.wait("document.querySelectorAll('.ucore-legend .ucore-stat')[3].innerText.length > 0")
    slow, fast = (float(notebook.page.locator(".ucore-legend .ucore-stat").nth(i).inner_text()) for i in (3, 7))
    assert 3 < slow < 7 and 60 < fast < 110
    lefts = notebook.get(
        "[...document.querySelectorAll('.ucore-legend .ucore-value')].map((cell) => cell.getBoundingClientRect().right)"
    )
    assert len(set(map(round, lefts))) == 1


def test_a_narrow_page_shows_all_of_it(notebook, listener):
    listener.script = sine
    notebook.page.set_viewport_size({"width": 600, "height": 800})
    try:
        notebook.run(1, "chart = live_plot('adc', units='V', title='A title that is not short')")
        wait_for_samples(notebook, WIDTH)
        inside = "(() => { const { right } = ucore.view().root.getBoundingClientRect(); return [...ucore.view().root.querySelectorAll('button, canvas, .ucore-newest, .ucore-stats')].filter((one) => one.checkVisibility()).every((one) => one.getBoundingClientRect().right <= right + 1); })()"
        assert notebook.get(inside)
        notebook.shoot("narrow")
    finally:
        notebook.page.set_viewport_size({"width": 1000, "height": 800})
