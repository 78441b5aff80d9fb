"""Live plots in a real ipykernel, seen from where the page would be: what is on the wire to it."""

import io
import itertools
import math
import os
import queue
import struct
import sys
import time

import numpy as np
import pytest
from fakelistener import FakeListener
from jupyter_client.manager import KernelManager
from PIL import Image

from ukernel import liveplot
from ukernel.errors import UsageError
from ukernel.liveplot import Window
from ukernel.pipes import live_plot, stop_live

WAIT_S = 30.0


class Page:
    """Runs cells in a kernel and keeps what the kernel sent to its page."""

    def __init__(self, **environment):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.messages: list = []

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def send(self, code):
        """Start a cell and return its id."""
        return self.client.execute(code)

    def run(self, code):
        """Run a cell to its end; its result, its output and its error stand in what is returned."""
        parent = self.send(code)
        reply = self.client.get_shell_msg(timeout=WAIT_S)
        while reply["parent_header"]["msg_id"] != parent:
            reply = self.client.get_shell_msg(timeout=WAIT_S)
        self.until(lambda m: m["msg_type"] == "status" and state(m) == "idle" and is_child(m, parent))
        return [m for m in self.messages if is_child(m, parent)]

    def value(self, expression):
        """The repr of an expression, as Python sees it."""
        (result,) = [m for m in self.run(expression) if m["msg_type"] == "execute_result"]
        return result["content"]["data"]["text/plain"]

    def until(self, seen):
        """Wait for a message that is like this and return it."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            self.messages.append(message)
            if seen(message):
                return message
        raise AssertionError(f"this never came; the last messages: {self.messages[-5:]}")

    def picture(self):
        """The next picture pushed to the page: (height, width, 4)."""
        return pixels(self.until(is_picture))

    def say(self, model, content):
        """Send what the page's model would send."""
        message = self.client.session.msg("comm_msg", {"comm_id": model, "data": {"method": "custom", "content": content}})
        self.client.shell_channel.send(message)

    def errors(self):
        return [m["content"] for m in self.messages if m["msg_type"] in ("error", "stream")]


def is_child(message, parent):
    return message["parent_header"].get("msg_id") == parent


def state(message):
    return message["content"].get("execution_state")


def is_picture(message):
    return (
        message["msg_type"] == "comm_msg" and bool(message["buffers"]) and message["content"]["data"].get("method") == "custom"
    )


def pixels(message):
    with Image.open(io.BytesIO(bytes(message["buffers"][0]))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGBA"))


def blue(picture):
    """Where the line is: the pixels of the first colour of matplotlib's cycle."""
    red, green, blue, _ = picture.astype(int).transpose(2, 0, 1)
    return (abs(red - 0x1F) < 40) & (abs(green - 0x77) < 40) & (abs(blue - 0xB4) < 40)


def sine(feed):
    """A producer that never ends: 1 kHz, a slow sine."""
    feed.opened()
    for i in itertools.count(step=10):
        feed.floats(*(math.sin(j / 30) for j in range(i, i + 10)))
        time.sleep(0.01)


@pytest.fixture(scope="module")
def state_path(tmp_path_factory):
    return tmp_path_factory.mktemp("hub") / "state.json"


@pytest.fixture(scope="module")
def kernel(state_path):
    page = Page(**{**os.environ, "UCORE_STATE_PATH": str(state_path)})
    page.run("%matplotlib widget\nfrom ukernel.pipes import collect, live_plot, stop_live\nimport time")
    yield page
    page.close()


@pytest.fixture
def listener(state_path):
    fake = FakeListener(state_path)
    yield fake
    fake.close()


@pytest.fixture
def page(kernel, listener):
    kernel.messages.clear()
    yield kernel
    kernel.run("stop_live()")
    assert kernel.errors() == []


def model_of(messages):
    """The id of the widget model that these messages display."""
    view = "application/vnd.jupyter.widget-view+json"
    (shown,) = [m for m in messages if m["msg_type"] == "display_data" and view in m["content"]["data"]]
    return shown["content"]["data"][view]["model_id"]


def test_a_chart_appears_and_moves(page, listener):
    listener.script = sine
    messages = page.run("live_plot('adc', title='ADC')")
    model_of(messages)
    (result,) = [m for m in messages if m["msg_type"] == "execute_result"]
    assert result["content"]["data"]["text/plain"].startswith("<LivePlot 'adc': running")
    while not blue(page.picture()).sum() > 500:
        pass
    first, second = page.picture(), page.picture()
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
    def script(feed):
        feed.opened()
        feed.floats(*[0.5] * 200)

    listener.script = script
    page.run("plot = live_plot('adc', ylim=(0, 1))")
    line = blue(page.picture())
    while line.sum() < 300:
        line = blue(page.picture())
    rows = np.flatnonzero(line.sum(axis=1) > 300)
    height = len(line)
    assert abs(rows.mean() / height - (1 - (0.14 + 0.76 / 2))) < 0.02
    assert page.value("plot.data.shape, plot.data.mean(), plot.lost") == "((200,), np.float64(0.5), 0)"


def test_running_the_cell_again_replaces_the_chart(page, listener):
    first = model_of(page.run("old = live_plot('adc')"))
    one = listener.feed()
    second = model_of(page.run("live_plot('adc')"))
    assert first != second
    assert any(m["msg_type"] == "comm_close" and m["content"]["comm_id"] == first for m in page.messages)
    assert one.connection.recv(1) == b""
    assert page.value("old") == "<LivePlot 'adc': stopped, 0 samples, 0 lost>"


def test_it_waits_for_the_pipe_and_says_so(page, listener):
    page.run("plot = live_plot('later')")
    waiting = page.picture()
    feed = listener.feed()
    feed.opened()
    while (page.picture() == waiting).all():
        pass
    feed.floats(*[0.0] * 200)
    while not blue(page.picture()).any():
        pass


def test_it_ends_with_the_producer(page, listener):
    def script(feed):
        feed.opened()
        feed.floats(1, 2, 3)
        feed.end("closed")

    listener.script = script
    page.run("plot = live_plot('adc')")
    assert page.value("plot.wait(20)") == "True"
    assert page.value("plot") == "<LivePlot 'adc': the producer closed the pipe, 3 samples, 0 lost>"
    assert page.value("plot.data.tolist()") == "[1.0, 2.0, 3.0]"


def test_it_ends_when_its_time_is_over(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc', duration=0.3)")
    assert page.value("plot.wait(20)") == "True"
    assert "its time is over" in page.value("plot")


def test_stop_live_stops_one_or_all(page, listener):
    listener.script = sine
    page.run("a, b, c = live_plot('a'), live_plot('b'), live_plot('c')")
    page.run("stop_live('a'); stop_live('unknown')")
    assert page.value("[p.wait(0) for p in (a, b, c)]") == "[True, False, False]"
    page.run("stop_live()")
    assert page.value("[p.wait(0) for p in (a, b, c)]") == "[True, True, True]"
    page.run("stop_live(); a.stop()")


def test_several_values_a_frame_are_several_lines(page, listener):
    def script(feed):
        feed.opened()
        feed.batch(*(struct.pack("<fff", 1, 0, -1) for _ in range(300)))

    listener.script = script
    page.run("plot = live_plot('imu', decoder='<fff', window=100)")
    while not blue(page.picture()).any():
        pass
    assert page.value("plot.data.shape") == "(100, 3)"


def test_a_decoder_that_fails_is_counted_and_does_not_stop_the_chart(page, listener):
    def script(feed):
        feed.opened()
        feed.floats(1)
        feed.frame(b"abc")
        feed.floats(2, float("nan"), float("inf"))

    listener.script = script
    page.run("plot = live_plot('adc', ylim=None)")
    page.run("deadline = time.time() + 20\nwhile len(plot.data) < 4 and time.time() < deadline: time.sleep(0.01)")
    assert page.value("plot.data.tolist()") == "[1.0, 2.0, nan, inf]"
    assert page.value("plot").startswith("<LivePlot 'adc': running")


def test_the_page_may_resize_and_zoom(page, listener):
    listener.script = sine
    model = model_of(page.run("plot = live_plot('adc')"))
    size = page.picture().shape
    page.say(model, {"type": "refresh"})
    page.say(model, {"type": "initialized"})
    page.say(model, {"type": "resize", "width": 500, "height": 300})
    while page.picture().shape == size:
        pass
    assert page.picture().shape == (300, 500, 4)
    page.say(model, {"type": "set_device_pixel_ratio", "device_pixel_ratio": 2})
    while page.picture().shape != (600, 1000, 4):
        pass
    page.say(model, {"type": "toolbar_button", "name": "home"})
    page.say(model, {"type": "draw"})
    while not blue(page.picture()).any():
        pass


def test_another_plot_does_not_draw_into_the_chart(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc')")
    assert page.value("__import__('matplotlib.pyplot').pyplot.get_fignums()") == "[]"


def test_collect_and_a_chart_share_a_pipe(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc')")
    assert page.value("len(collect('adc', n=100))") == "100"


def test_without_a_page_the_last_picture_is_kept_in_the_notebook(page, listener):
    def script(feed):
        feed.opened()
        feed.floats(*[0.5] * 200)
        feed.end("closed")

    listener.script = script
    page.run("live_plot('adc', ylim=(0, 1))")
    update = page.until(lambda m: m["msg_type"] == "update_display_data")
    assert update["content"]["data"]["image/png"]


# Without widgets


def test_where_there_is_no_widget_backend_the_error_says_what_to_do(kernel, listener):
    kernel.run("%matplotlib inline")
    messages = kernel.run("live_plot('adc')")
    kernel.run("%matplotlib widget")
    (error,) = [m["content"] for m in messages if m["msg_type"] == "error"]
    assert error["ename"] == "UsageError"
    assert "%matplotlib widget" in error["evalue"]


@pytest.mark.parametrize("missing", ["matplotlib", "ipympl"])
def test_where_something_is_missing_the_error_says_what_to_install(monkeypatch, missing):
    for module in [m for m in sys.modules if m.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match="pip install matplotlib ipympl"):
        live_plot("adc")


@pytest.mark.parametrize(
    "arguments",
    [{"window": w} for w in (1, 0, -5, 2.0, "200", True, None)]
    + [{"ylim": y} for y in ((1, 0), (1, 1), (0, math.inf), (math.nan, 1), (1,), (1, 2, 3), 5, "ab")]
    + [{"interval": i} for i in (0, -1, math.nan, "40", None)]
    + [{"duration": d} for d in (0, -1, math.inf, "1")]
    + [{"decoder": 5}, {"title": 5}],
    ids=str,
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r".{20}"):
        live_plot("adc", **arguments)


def test_stopping_what_never_ran_does_nothing():
    stop_live()
    stop_live("adc")


# The window


@pytest.mark.parametrize("sizes", [[1] * 50, [3, 0, 5, 1, 12, 2], [100], [9, 1, 10, 11]], ids=str)
def test_a_window_holds_the_latest_samples(sizes):
    window, everything = Window(10), np.arange(200.0)
    seen = 0
    for size in sizes:
        window.add(everything[seen : seen + size])
        seen += size
        assert window.copy()[:, 0].tolist() == everything[max(0, seen - 10) : seen].tolist()
    assert window.seen == seen


def test_a_spike_is_never_left_out():
    values = np.zeros(100_000)
    values[54_321] = 1
    values[77_777] = -1
    for seen in (100_000, 100_007, 123_456):
        x, y = liveplot._envelope(values, seen, 500)
        assert len(x) == len(y) <= 1002
        assert (y.min(), y.max()) == (-1, 1)
        assert abs(x[y.argmax()] - 54_321) <= 200


def test_limits_stay_while_the_samples_fit_them():
    assert liveplot._with_headroom(-0.5, 0.9, -1, 1) == (-1, 1)
    low, high = liveplot._with_headroom(-0.5, 2, -1, 1)
    assert low < -0.5 and high > 2
    low, high = liveplot._with_headroom(0.1, 0.2, -1, 1)
    assert -0.1 < low < 0.1 and 0.2 < high < 0.3
    low, high = liveplot._with_headroom(5, 5, -1, 1)
    assert low < 5 < high
