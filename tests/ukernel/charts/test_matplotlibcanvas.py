"""Live plots under `%matplotlib widget`, in a real ipykernel, seen from where the page would be."""

import io
import itertools
import struct
import sys

import numpy as np
import pytest
from fakelistener import constant, sine
from page import is_child, is_custom, model_of, state
from PIL import Image

from ukernel.charts import matplotlibcanvas
from ukernel.errors import UsageError

SET_UP = "%matplotlib widget\nfrom ukernel.pipes import collect, live_plot, stop_live\nimport time"


def is_picture(message):
    return is_custom(message) and bool(message["buffers"])


def picture(page):
    """The next picture pushed to the page: (height, width, 4)."""
    return pixels(page.until(is_picture))


def pixels(message):
    with Image.open(io.BytesIO(bytes(message["buffers"][0]))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGBA"))


def blue(picture):
    """Where the line is: the pixels of the first colour of matplotlib's cycle."""
    red, green, blue, _ = picture.astype(int).transpose(2, 0, 1)
    return (abs(red - 0x1F) < 40) & (abs(green - 0x77) < 40) & (abs(blue - 0xB4) < 40)


def test_a_chart_appears_and_moves(page, listener):
    listener.script = sine
    messages = page.run("live_plot('adc', title='ADC')")
    model_of(messages)
    while not blue(picture(page)).sum() > 500:
        pass
    first, second = picture(page), picture(page)
    assert (first != second).any()
    assert (first[..., 3] == 255).all()


def test_it_moves_while_another_cell_blocks(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc')")
    blocked = page.send("time.sleep(2)")
    page.until(lambda m: m["msg_type"] == "execute_input" and is_child(m, blocked))
    pictures = []
    page.until(lambda m: pictures.append(m) or (state(m) == "idle" and is_child(m, blocked)))
    pictures = [pixels(m) for m in pictures if is_picture(m)]
    assert len(pictures) > 10
    assert all((a != b).any() for a, b in itertools.pairwise(pictures))


def test_the_picture_shows_the_samples(page, listener):
    listener.script = constant(*[0.5] * 200)
    page.run("plot = live_plot('adc', ylim=(0, 1))")
    line = blue(picture(page))
    while line.sum() < 300:
        line = blue(picture(page))
    rows = np.flatnonzero(line.sum(axis=1) > 300)
    assert abs(rows.mean() / len(line) - (1 - (0.15 + 0.75 / 2))) < 0.02
    assert page.value("plot.data.shape, plot.data.mean(), plot.lost") == "((200,), np.float64(0.5), 0)"


def test_the_axis_in_seconds_is_that_of_the_board(page, listener):
    def script(feed):  # low for 1.8 s, high for 0.2 s; both arrive together
        feed.opened()
        feed.timed(*[struct.pack("<f", -1)] * 100, times=(1000.0, 1001.8, 0.001))
        feed.timed(*[struct.pack("<f", 1)] * 100, times=(1001.81, 1002.0, 0.001))

    listener.script = script
    page.run("plot = live_plot('adc', x='seconds')")
    while not (line := blue(picture(page)))[: line.shape[0] // 2].any():
        pass  # until the second part is there
    columns = np.flatnonzero(line.any(axis=0))
    high = np.flatnonzero(line[: line.shape[0] // 2].any(axis=0))
    assert len(high) / len(columns) == pytest.approx(0.1, abs=0.03)


def test_running_the_cell_again_replaces_the_chart(page, listener):
    first = model_of(page.run("old = live_plot('adc')"))
    one = listener.feed()
    second = model_of(page.run("live_plot('adc')"))
    assert first != second
    assert any(m["msg_type"] == "comm_close" and m["content"]["comm_id"] == first for m in page.messages)
    assert one.connection.recv(1) == b""
    assert page.value("old") == "<LivePlot 'adc': stopped, 0 samples, 0 lost>"
    count = "from ipywidgets.widgets.widget import _instances\nlen(_instances)"
    before = page.value(count)
    page.run("live_plot('adc')")
    assert page.value(count) == before


def test_it_waits_for_the_pipe_and_says_so(page, listener):
    page.run("plot = live_plot('later')")
    waiting = picture(page)
    feed = listener.feed()
    feed.opened()
    while (picture(page) == waiting).all():
        pass
    feed.floats(*[0.0] * 200)
    while not blue(picture(page)).any():
        pass


def test_several_values_a_frame_are_several_lines(page, listener):
    def script(feed):
        feed.opened()
        feed.batch(*(struct.pack("<fff", 1, 0, -1) for _ in range(300)))

    listener.script = script
    page.run("plot = live_plot('imu', decoder='<fff', window=100, labels=['x', 'y', 'z'], units='g', x='seconds')")
    while not blue(picture(page)).any():
        pass
    assert page.value("plot.data.shape") == "(100, 3)"


def test_the_page_may_resize_and_zoom(page, listener):
    listener.script = sine
    model = model_of(page.run("plot = live_plot('adc')"))
    size = picture(page).shape
    page.say(model, {"type": "refresh"})
    page.say(model, {"type": "initialized"})
    page.say(model, {"type": "resize", "width": 500, "height": 300})
    while picture(page).shape == size:
        pass
    assert picture(page).shape == (300, 500, 4)
    page.say(model, {"type": "set_device_pixel_ratio", "device_pixel_ratio": 2})
    while picture(page).shape != (600, 1000, 4):
        pass
    page.say(model, {"type": "toolbar_button", "name": "home"})
    page.say(model, {"type": "draw"})
    while not blue(picture(page)).any():
        pass


def test_another_plot_does_not_draw_into_the_chart(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc')")
    assert page.value("__import__('matplotlib.pyplot').pyplot.get_fignums()") == "[]"


def test_the_last_picture_is_kept_in_the_notebook(page, listener):
    listener.script = constant(*[0.5] * 200, end="closed")
    page.run("live_plot('adc', ylim=(0, 1))")
    assert page.update()["image/png"]


# Which backend


def test_the_canvas_can_be_asked_for_all_the_same(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc', backend='canvas')")
    page.whole(lambda content: content["state"] == "running")


def test_where_there_is_no_widget_backend_the_error_says_what_to_do(kernel, listener):
    kernel.run("%matplotlib inline")
    messages = kernel.run("live_plot('adc', backend='matplotlib')")
    kernel.run("live_plot('adc').stop()")  # the canvas
    kernel.run("%matplotlib widget")
    (error,) = [m["content"] for m in messages if m["msg_type"] == "error"]
    assert error["ename"] == "UsageError"
    assert "%matplotlib widget" in error["evalue"] and "inline" in error["evalue"]


@pytest.mark.parametrize("missing", ["matplotlib", "ipympl"])
def test_where_something_is_missing_the_error_says_what_to_install(monkeypatch, missing):
    for module in [m for m in sys.modules if m.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match="pip install matplotlib ipympl"):
        matplotlibcanvas.check()


def test_whoever_has_not_imported_matplotlib_has_chosen_no_backend(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    assert not matplotlibcanvas.is_chosen()
    assert "matplotlib" not in sys.modules
