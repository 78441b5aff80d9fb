"""Live plots in a real ipykernel, on the canvas that needs no magic, seen from where the page would be."""

import base64
import re
import struct
import sys
import threading
import time

import numpy as np
import pytest
from fakelistener import constant, sine
from page import VIEW, is_child, is_custom, model_of, state

SHORT_SILENCE = "import ukernel.charts.frontendprobe\nukernel.charts.frontendprobe.SILENCE_S = 1.0"
SET_UP = "from ukernel.pipes import collect, live_plot, stop_live\nimport asyncio, struct, time"
PNG = b"\x89PNG\r\n\x1a\n"


def notes(content):
    return [note["text"] for note in content["notes"]]


def closable():
    """A producer that closes its pipe when this event is set, and the event."""
    close = threading.Event()

    def script(feed):
        feed.opened()
        while not close.wait(0.01):
            feed.floats(0.5)
        feed.end("closed")

    return script, close


# The chart and its handle


def test_a_chart_appears_without_any_magic_and_moves(page, listener):
    listener.script = sine
    messages = page.run("live_plot('adc', title='ADC')")
    model_of(messages)
    content = page.whole(lambda content: content["state"] == "running")
    options = {"title": "ADC", "units": "", "x": "samples", "window": 200, "span": None, "height": 320, "fixed": True}
    assert content["options"] == {**options, "names": [["adc"]]}
    assert content["y"] == [-1.5, 1.5]
    first, second = page.shown(), page.shown()
    assert second["traces"][0]["seen"] > first["traces"][0]["seen"]
    assert second["number"] == first["number"] + 1


def test_a_cell_that_ends_in_a_chart_says_nothing_beside_it_and_a_later_one_says_how_it_is(page, listener):
    listener.script = sine
    messages = page.run("chart = live_plot('adc')\nchart")
    assert not [m for m in messages if m["msg_type"] == "execute_result"]
    assert page.value("chart").startswith("<LivePlot 'adc': running")
    assert "\n" not in page.value("chart") and page.value("str(chart) == repr(chart)") == "True"


def test_it_moves_while_another_cell_blocks(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc')")
    blocked = page.send("end = time.monotonic() + 2\nwhile time.monotonic() < end: pass")
    page.until(lambda m: m["msg_type"] == "execute_input" and is_child(m, blocked))
    seen = []
    page.until(lambda m: seen.append(m) or (state(m) == "idle" and is_child(m, blocked)))
    assert len([m for m in seen if is_custom(m)]) > 10


def test_threads_take_turns_faster_as_long_as_a_chart_moves(page, listener):
    listener.script = sine
    usual = page.value("import sys\nsys.getswitchinterval()")
    page.run("plots = [live_plot('a'), live_plot('b'), live_plot('a')]")
    assert float(page.value("sys.getswitchinterval()")) < float(usual)
    page.run("stop_live('b')")
    assert float(page.value("sys.getswitchinterval()")) < float(usual)
    page.run("stop_live()")
    assert page.value("sys.getswitchinterval()") == usual


def test_how_fast_threads_take_turns_stays_as_somebody_has_set_it(page, listener):
    listener.script = sine
    page.run("import sys\nsys.setswitchinterval(0.0005)\nplot = live_plot('a')")
    assert page.value("sys.getswitchinterval()") == "0.0005"
    page.run("stop_live()\nplot = live_plot('a')\nsys.setswitchinterval(0.01)\nstop_live()")
    assert page.value("sys.getswitchinterval()") == "0.01"


def test_the_page_gets_the_samples(page, listener):
    listener.script = constant(*[0.5, -0.25] * 100)
    page.run("plot = live_plot('adc')")
    content = page.whole(lambda content: content["traces"][0]["seen"] == 200)
    assert content["values"].tolist() == [0.5, -0.25] * 100
    assert page.value("plot.data.shape, plot.data[:2].tolist(), plot.lost") == "((200,), [0.5, -0.25], 0)"


def test_messages_are_few_whatever_the_interval(page, listener):
    listener.script = sine
    page.run("charts = [live_plot(f'p{i}', interval=1) for i in range(8)]")
    page.whole(lambda content: content["state"] == "running")
    sent = []
    start = time.monotonic()
    page.until(lambda m: sent.append(m) or time.monotonic() - start > 2)
    assert len([m for m in sent if is_custom(m)]) < 2 * 330


def test_a_snapshot_is_a_picture_of_now(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc')")
    (shown,) = [m for m in page.run("plot.snapshot()") if m["msg_type"] == "execute_result"]
    assert base64.b64decode(shown["content"]["data"]["image/png"]).startswith(PNG)
    assert shown["content"]["data"]["text/plain"].startswith("<PNG picture")
    assert page.value("isinstance(plot.snapshot(), bytes) and plot.snapshot()[:4]") == repr(PNG[:4])


def test_waiting_blocks_in_a_plain_cell_and_lets_the_notebook_answer_in_one_that_awaits(page, listener):
    listener.script, close = closable()
    model = model_of(page.run("plot = live_plot('adc')"))
    assert page.value("plot.wait(0.1)") == "False"
    assert page.value("await plot.wait(0.1)") == "False"
    waiting = page.send("await plot.wait(30)")
    page.until(lambda m: m["msg_type"] == "execute_input" and is_child(m, waiting))
    page.say(model, {"columns": 123})
    page.whole()
    close.set()
    page.until(lambda m: m["msg_type"] == "execute_result" and is_child(m, waiting))
    assert page.value("plot.wait(20)") == page.value("await plot.wait(20)") == "True"


@pytest.mark.skipif(sys.platform == "win32", reason="the kernel is interrupted by a signal")
def test_an_interrupt_while_one_waits_leaves_the_chart_as_it_is(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc')")
    waiting = page.send("plot.wait(30)")
    page.until(lambda m: m["msg_type"] == "execute_input" and is_child(m, waiting))
    page.whole()
    page.manager.interrupt_kernel()
    page.until(lambda m: m["msg_type"] == "error" and is_child(m, waiting))
    page.client.get_shell_msg(timeout=20)
    page.messages.clear()  # the error was wanted
    assert page.value("plot.wait(0.1), plot._thread.is_alive()") == "(False, True)"


def test_collect_and_a_chart_share_a_pipe(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc')")
    assert page.value("len(collect('adc', n=100))") == "100"


# Running a cell again, and the three ways to stop


def test_running_the_cell_again_replaces_the_chart(page, listener):
    first = model_of(page.run("old = live_plot('adc')"))
    one = listener.feed()
    second = model_of(page.run("live_plot('adc')"))
    assert first != second
    assert any(m["msg_type"] == "comm_close" and m["content"]["comm_id"] == first for m in page.messages)
    assert one.connection.recv(1) == b""
    assert page.value("old") == "<LivePlot 'adc': stopped, 0 samples, 0 lost>"
    (gone,) = [m["content"]["data"] for m in page.messages if m["msg_type"] == "update_display_data"]
    assert gone == {}


def test_a_chart_that_has_stopped_keeps_its_picture_when_there_is_another_one(page, listener):
    listener.script = constant(1, end="closed")
    page.run("old = live_plot('adc')\nold.wait(20)")
    listener.script = sine
    page.messages.clear()
    page.run("live_plot('adc')")
    assert not [m for m in page.messages if m["msg_type"] == "update_display_data" and not m["content"]["data"]]


def test_it_ends_with_the_producer(page, listener):
    listener.script = constant(1, 2, 3, end="closed")
    page.run("plot = live_plot('adc')")
    assert page.value("plot.wait(20)") == "True"
    assert page.value("plot") == "<LivePlot 'adc': the producer closed the pipe, 3 samples, 0 lost>"
    assert page.value("plot.data.tolist()") == "[1.0, 2.0, 3.0]"


def test_it_ends_when_its_time_is_over(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc', duration=0.3)")
    assert page.value("plot.wait(20)") == "True"
    assert "its time is over" in page.value("plot")


def test_it_waits_for_a_board_that_is_gone_goes_on_with_it_and_ends_with_the_producer(page, listener):
    ends = iter(["board gone", "connection lost", "closed"])
    waited = threading.Event()

    def script(feed):
        end = next(ends)
        if end != "board gone":
            waited.wait(30)
        constant(1, 2, end=end)(feed)

    listener.script = script
    page.run("plot = live_plot('adc')")
    content = page.whole(lambda content: content["notes"])
    assert notes(content) == ["the board is gone: unplugged, or without power; waiting for the board to open pipe 'adc' again"]
    assert (content["state"], content["notes"][0]["kind"]) == ("waiting", "warning")
    assert page.value("plot").endswith("again, 2 samples, 0 lost>")
    waited.set()
    assert page.value("plot.wait(30), plot.data.tolist()") == "(True, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0])"
    assert page.value("plot") == "<LivePlot 'adc': the producer closed the pipe, 6 samples, 0 lost>"


def test_it_may_go_on_after_a_producer_has_closed_the_pipe_too(page, listener):
    listener.script = constant(1, end="closed")
    page.run("plot = live_plot('adc', follow=True)")
    page.whole(lambda content: content["traces"][0]["seen"] >= 3)
    page.run("plot.stop()")
    assert page.value("plot").startswith("<LivePlot 'adc': stopped, ")


def test_another_chart_of_a_pipe_stands_beside_the_first_and_both_stop_with_its_name(page, listener):
    listener.script = sine
    page.run("a, b = live_plot('adc'), live_plot('adc', chart='detail', window=20)")
    assert page.value("[p.wait(0) for p in (a, b)]") == "[False, False]"
    content = page.whole(lambda content: content["options"]["window"] == 20)
    assert content["options"]["title"] == "adc (detail)"
    page.run("c = live_plot('adc', chart='detail', window=30)")
    assert page.value("[p.wait(0) for p in (a, b, c)]") == "[False, True, False]"
    assert page.value("c").startswith("<LivePlot 'adc', chart 'detail': running")
    page.run("stop_live('adc')")
    assert page.value("[p.wait(0) for p in (a, b, c)]") == "[True, True, True]"


def test_stop_live_stops_one_or_all(page, listener):
    listener.script = sine
    page.run("a, b, c = live_plot('a'), live_plot('b'), live_plot('c')")
    page.run("stop_live('a'); stop_live('unknown')")
    assert page.value("[p.wait(0) for p in (a, b, c)]") == "[True, False, False]"
    page.run("stop_live()")
    assert page.value("[p.wait(0) for p in (a, b, c)]") == "[True, True, True]"
    page.run("stop_live(); a.stop()")


# More than a line


def test_several_values_a_frame_are_several_lines(page, listener):
    def script(feed):
        feed.opened()
        feed.batch(*(struct.pack("<fff", 1, 0, -1) for _ in range(300)))

    listener.script = script
    page.run("plot = live_plot('imu', decoder='<fff', window=100, labels=['x', 'y'])")
    content = page.whole(lambda content: content["traces"][0]["seen"] == 300)
    assert content["options"]["names"] == [["x", "y", "imu[2]"]]
    assert content["values"][:6].tolist() == [1, 0, -1, 1, 0, -1]
    assert page.value("plot.data.shape") == "(100, 3)"


def test_several_pipes_are_one_chart(page, listener):
    def script(feed):
        feed.opened()
        feed.floats(*[{"a": 1.0, "b": 2.0}[feed.request["pipe"]]] * 50)

    listener.script = script
    page.run("plot = live_plot(['a', 'b'], decoder=['<f', lambda b: struct.unpack('<f', b)[0]], units='V')")
    content = page.whole(lambda content: [trace["seen"] for trace in content["traces"]] == [50, 50])
    assert content["options"]["names"] == [["a"], ["b"]] and content["options"]["title"] == "a, b"
    assert content["values"].tolist() == [1] * 50 + [2] * 50
    assert page.value("{name: float(values.mean()) for name, values in plot.data.items()}") == "{'a': 1.0, 'b': 2.0}"
    assert page.value("repr(plot)[:20]") == repr("<LivePlot 'a', 'b': ")
    page.run("stop_live('b')")
    assert page.value("plot.wait(0)") == "True"


def test_one_of_several_pipes_may_end_before_the_others(page, listener):
    def script(feed):
        if feed.request["pipe"] == "short":
            constant(1, end="closed")(feed)
        else:
            sine(feed)

    listener.script = script
    page.run("plot = live_plot(['short', 'long'])")
    content = page.whole(lambda content: content["notes"])
    assert re.fullmatch(r"short: Producer closed the pipe, 1 sample, \d\.\d s, \d\d:\d\d:\d\d", *notes(content))
    assert content["state"] == "running"


def test_the_axis_may_be_in_seconds(page, listener):
    listener.script = sine
    page.run("plot = live_plot('adc', x='seconds', window=1000)")
    deadline = time.monotonic() + 20
    low = 0
    while not -1.2 < low < -1.001:  # a second of samples, and a little room
        message = page.until(lambda m: is_custom(m) and m["content"]["data"]["content"].get("whole"))
        low, high = message["content"]["data"]["content"]["x"]
        assert high == 0 and time.monotonic() < deadline


def test_the_axis_in_seconds_is_that_of_the_board(page, listener):
    def script(feed):  # a second of a slow signal and a tenth of a quick one, which arrive together
        feed.opened()
        feed.timed(*[struct.pack("<f", 0)] * 100, times=(1000.0, 1000.99, 0.001))
        feed.timed(*[struct.pack("<f", 1)] * 100, times=(1001.0, 1001.099, 0.001))

    listener.script = script
    page.run("plot = live_plot('adc', x='seconds')")
    message = page.until(lambda m: is_custom(m) and m["content"]["data"]["content"]["traces"][0]["seen"] == 200)
    times = np.frombuffer(message["buffers"][0][: 200 * 8], "<f8")
    assert times - 1000 == pytest.approx(np.r_[np.arange(100) / 100, 1 + np.arange(100) / 1000], abs=1e-6)
    low, high = message["content"]["data"]["content"]["x"]
    assert -1.4 < low < -1.099 and high == 0


def test_a_window_may_be_a_time(page, listener):
    def script(feed):  # ten seconds of a slow signal
        feed.opened()
        feed.timed(*[struct.pack("<f", i) for i in range(100)], times=(1000.0, 1009.9, 0.001))

    listener.script = script
    page.run("plot = live_plot('adc', window='5 s', ylim=None)")
    content = page.whole(lambda content: content["traces"][0]["seen"] == 100)
    assert content["x"] == [-5, 0] and content["options"]["x"] == "seconds" and content["options"]["span"] == 5
    trace = content["traces"][0]
    assert trace["step"] == 0 and trace["count"] == 51 and trace["values"] == [99]
    assert content["values"][-4:].tolist() == [98, 98, 99, 99]  # lowest and highest of each bin
    assert page.value("plot.data[:2].tolist(), len(plot.data)") == "([49.0, 50.0], 51)"


def test_what_was_lost_is_a_gap_in_what_is_shown(page, listener):
    def script(feed):
        feed.opened()
        feed.timed(struct.pack("<f", 1), struct.pack("<f", 2), times=(1000.0, 1000.1, 0.001))
        feed.notice(lost=7, cause="board")
        feed.timed(struct.pack("<f", 3), struct.pack("<f", 4), times=(1001.0, 1001.1, 0.001))

    listener.script = script
    page.run("plots = live_plot('adc', chart='1'), live_plot('adc', chart='2', x='time'), live_plot('adc', window='9 s')")
    why = "the board had no room for them"
    for kind, found in (("1", [2, 1, 2, 7, why]), ("2", [2, 1000.1, 1001.0, 7, why]), ("", [2, 1000.1, 1001.0, 7, why])):
        title = f"adc ({kind})" if kind else "adc"
        content = page.whole(
            lambda content, title=title: content["options"]["title"] == title and content["traces"][0]["seen"] == 4
        )
        assert content["traces"][0]["breaks"] == [found]
    page.run("stop_live()")
    page.messages.clear()  # the warnings were wanted


def test_what_is_forgotten_at_the_pages_wish_is_gone_from_the_data_too(page, listener):
    listener.script = constant(1, 2, 3)
    model = model_of(page.run("plot = live_plot('adc')"))
    page.whole(lambda content: content["traces"][0]["seen"] == 3)
    page.say(model, {"clear": True})
    content = page.whole(lambda content: content["traces"][0]["count"] == 0)
    assert content["traces"][0]["oldest"] == 3 and content["stats"] == [[None]]
    assert page.value("plot.data.tolist()") == "[]"


def test_the_newest_value_is_that_of_a_sample_where_the_picture_has_bins(page, listener):
    listener.script = constant(*range(5000))
    page.run("plot = live_plot('adc', window=5000)")
    content = page.whole(lambda content: content["traces"][0]["seen"] == 5000)
    assert content["traces"][0]["step"] == 5 and content["traces"][0]["values"] == [4999]
    assert content["stats"] == [[[0, 4999, 2499.5]]]


def test_stamps_are_asked_for_only_where_seconds_are_shown(page, listener):
    page.run("plots = live_plot('one'), live_plot('two', x='seconds')")
    wanted = {feed.request["pipe"]: feed.request["options"] for feed in (listener.feed(), listener.feed())}
    assert "timestamps" not in wanted["one"] and "timestamps" in wanted["two"]


def test_limits_follow_the_samples_where_none_are_given(page, listener):
    listener.script = constant(*range(100))
    page.run("plot = live_plot('adc', ylim=None)")
    low, high = page.whole(lambda content: content["traces"][0]["seen"] == 100)["y"]
    assert -30 < low < 0 and 99 < high < 130


# What is said on the chart


def test_it_waits_for_the_pipe_and_says_so(page, listener):
    page.run("plot = live_plot('later')")
    content = page.whole()
    assert content["state"] == "waiting"
    assert notes(content) == ["waiting for the board to open pipe 'later'"]
    feed = listener.feed()
    feed.opened()
    feed.floats(1)
    content = page.whole(lambda content: content["state"] == "running")
    assert notes(content) == []


def test_lost_frames_and_frames_that_cannot_be_decoded_are_said_and_do_not_stop_it(page, listener):
    def script(feed):
        feed.opened()
        feed.floats(1)
        feed.frame(b"abc")
        feed.notice(lost=12, cause="board")
        feed.floats(2, float("nan"), float("inf"))

    listener.script = script
    page.run("plot = live_plot('adc', ylim=None)")
    content = page.whole(lambda content: content["traces"][0]["seen"] == 4 and len(content["notes"]) == 2)
    assert "12 frames are missing" in notes(content)[0] and "board" in notes(content)[0]
    assert "not decoded: 1 frame" in notes(content)[1] and "3 bytes" in notes(content)[1]
    assert {note["kind"] for note in content["notes"]} == {"warning"}
    assert [value if value == value else None for value in content["values"]] == [1, 2, None, None]
    assert page.value("plot.data.tolist()") == "[1.0, 2.0, nan, inf]"
    assert page.value("plot").startswith("<LivePlot 'adc': running")
    assert page.value("plot.lost") == "12"
    page.run("plot.stop()")
    assert page.errors() == []  # a line on the chart, not one more warning for every loss below it


def test_a_decoder_that_raises_is_counted_and_shown(page, listener):
    listener.script = constant(1, 2, 0, 4)
    page.run("plot = live_plot('adc', decoder=lambda b: 1 / struct.unpack('<f', b)[0])")
    content = page.whole(lambda content: content["traces"][0]["seen"] == 3)
    assert notes(content) == ["not decoded: 1 frame: ZeroDivisionError: float division by zero (frame of 4 bytes)"]


def test_an_empty_row_is_a_frame_that_could_not_be_decoded(page, listener):
    listener.script = constant(1, 2, 3)
    page.run("plot = live_plot('adc', decoder=lambda b: [1.0, 2.0] if b == struct.pack('<f', 2) else [])")
    content = page.whole(lambda content: content["traces"][0]["seen"] == 1)
    assert notes(content) == ["not decoded: 2 frames, the first: the decoder did not return a number: it returned an empty row"]


def test_a_decoder_may_stop_its_chart(page, listener):
    listener.script = sine
    page.run("def decode(chunk):\n    stop_live('adc')\n    return 1.0\nplot = live_plot('adc', decoder=decode)")
    assert "Stopped, " in page.update()["text/html"]
    assert page.value("plot.wait(20), plot").startswith("(True, <LivePlot 'adc': stopped,")


def test_a_chart_whose_decoder_never_returns_stops_and_says_so(page, listener):
    listener.script = sine
    page.run(
        "import threading, ukernel.charts.trace\nukernel.charts.trace.STOP_S = 0.5\ncalled, never = threading.Event(), threading.Event()"
    )
    page.run("plot = live_plot('adc', decoder=lambda b: called.set() or never.wait())\ncalled.wait(20)\nplot.stop()")
    assert page.value("plot") == "<LivePlot 'adc': stopped; its decoder has not returned, 0 samples, 0 lost>"
    assert any("Stopped; its decoder has not" in m["content"].get("data", {}).get("text/html", "") for m in page.messages)
    page.run("never.set()")


def test_a_decoder_that_exits_ends_its_chart(page, listener):
    listener.script = sine
    page.run("import sys\nplot = live_plot('adc', decoder=lambda b: sys.exit(3))")
    assert page.value("plot.wait(20), plot") == "(True, <LivePlot 'adc': stopped by SystemExit: 3, 0 samples, 0 lost>)"


@pytest.mark.parametrize("failing", [0, 1], ids=["of the pipe", "of the chart"])
def test_where_a_thread_cannot_be_had_no_chart_stays_behind(page, listener, failing):
    listener.script = sine
    usual = page.value("import itertools, sys, threading\nsys.getswitchinterval()")
    page.run(
        f"start, number = threading.Thread.start, itertools.count()\n"
        f"def refuse(thread):\n"
        f"    if thread.name.startswith('live_plot') and next(number) == {failing}: raise RuntimeError('no thread')\n"
        f"    start(thread)\n"
        f"threading.Thread.start = refuse"
    )
    messages = page.run("plot = live_plot('adc')")
    page.run("threading.Thread.start = start")
    assert [m["content"]["evalue"] for m in messages if m["msg_type"] == "error"] == ["no thread"]
    assert [m["content"]["data"] for m in messages if m["msg_type"] == "update_display_data"][-1] == {}
    assert page.value("sys.getswitchinterval()") == usual
    page.run("plot = live_plot('adc')")
    page.whole(lambda content: content["state"] == "running")
    page.messages.clear()  # the error was wanted


def test_a_long_interval_holds_up_nothing_but_pictures(page, listener):
    listener.script, close = closable()
    model = model_of(page.run("plot = live_plot('adc', interval=60_000)"))
    page.say(model, {"ready": True})
    page.whole(lambda content: content["state"] == "running")
    close.set()
    page.whole(lambda content: content["state"] == "stopped")


def test_before_the_first_sample_the_data_have_their_channels(page, listener):
    listener.script = constant()
    page.run("plot = live_plot(['a', 'b'], decoder=['<fff', None])")
    assert page.value("{name: values.shape for name, values in plot.data.items()}") == "{'a': (0, 3), 'b': (0,)}"


# What the page says


def test_a_page_that_was_loaded_anew_keeps_the_chart_that_stops(page, listener):
    listener.script = constant(1, 2, 3)
    model = model_of(page.run("plot = live_plot('adc')"))
    for _ in range(2):  # the page that was there before has never said that it goes
        page.say(model, {"ready": True})
    page.whole(lambda content: content["traces"][0]["seen"] == 3)
    page.run("plot.stop()\nimport gc, weakref\nwindow = weakref.ref(plot._traces[0].window)\ndel plot\ngc.collect()")
    assert page.value("window() is None") == "True"
    page.say(model, {"ready": True})
    content = page.whole(lambda content: content["state"] == "stopped")
    assert content["values"].tolist() == [1, 2, 3]
    for _ in range(3):
        assert not [m for m in page.messages if m["msg_type"] == "comm_close"]
        page.say(model, {"gone": True})
    page.until(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == model)


def test_a_page_that_is_ready_gets_everything_at_once(page, listener):
    listener.script = constant(1, 2, 3)
    model = model_of(page.run("plot = live_plot('adc')"))
    page.whole(lambda content: content["traces"][0]["seen"] == 3)
    time.sleep(0.1)
    page.say(model, {"ready": True})
    assert page.whole()["values"].tolist() == [1, 2, 3]


def test_the_page_says_how_many_columns_it_wants(page, listener):
    listener.script = constant(*range(5000))
    model = model_of(page.run("plot = live_plot('adc', window=5000)"))
    assert page.whole(lambda content: content["traces"][0]["seen"] == 5000)["traces"][0]["step"] == 5
    page.say(model, {"columns": 256})
    assert page.whole(lambda content: content["traces"][0]["step"] == 20)["values"][:2].tolist() == [0, 19]


def test_a_paused_page_gets_its_picture_in_detail_and_then_nothing(page, listener):
    listener.script = constant(*range(5000))
    model = model_of(page.run("plot = live_plot('adc', window=5000)"))
    page.whole(lambda content: content["traces"][0]["seen"] == 5000)
    page.say(model, {"paused": True})
    content = page.whole(lambda content: content.get("frozen"))
    assert content["traces"][0]["step"] == 1 and content["values"].tolist() == list(range(5000))
    page.messages.clear()
    page.run("time.sleep(1.5)")
    assert not [m for m in page.messages if is_custom(m)]
    page.say(model, {"paused": False})
    page.whole(lambda content: content["traces"][0]["step"] == 5)


def test_a_page_that_gets_its_messages_late_gets_fewer(page, listener):
    listener.script = sine
    model = model_of(page.run("plot = live_plot('adc', interval=16)"))

    def gap():
        first, last = page.shown(), [page.shown() for _ in range(15)][-1]
        return (last["sent_at"] - first["sent_at"]) / 15

    quick = gap()
    for _ in range(3):
        page.say(model, {"late": True})
    page.run("pass")
    assert gap() > 3 * quick


# What is saved with the notebook


def test_the_last_picture_is_a_png_and_html_that_can_be_read_and_zoomed(page, listener):
    listener.script = constant(*[0.5] * 200, end="closed")
    page.run("live_plot('adc', ylim=(0, 1), title='a <title> & more')")
    data = page.update()
    assert set(data) == {"image/png", "text/html", "text/plain"}  # no view: where there is no kernel, it would be an error
    assert base64.b64decode(data["image/png"]).startswith(PNG)
    assert data["text/plain"].startswith("Line chart of a <title> & more")
    html = data["text/html"]
    assert data["image/png"] in html and "&lt;title&gt; &amp; more" in html
    assert html.count("</script>") == 1 and "ucoreChart.mount(" in html
    assert re.search(r"Producer closed the pipe, 200 samples, \d\.\d s, \d\d:\d\d:\d\d", html)


def test_waiting_keeps_the_picture_in_the_cell_that_waits(page, listener):
    listener.script = constant(1, end="closed")
    page.run("plot = live_plot('adc')")
    page.update()
    messages = page.run("plot.wait(20)")
    assert any(m["msg_type"] == "update_display_data" for m in messages)


def test_where_nobody_shows_widgets_the_chart_is_a_picture_that_changes(page, listener):
    listener.script = sine
    page.run(SHORT_SILENCE)
    model = model_of(page.run("plot = live_plot('adc')"))
    first, second = page.update(), page.update()
    assert set(first) == {"image/png", "text/html", "text/plain"} and "<script" not in first["text/html"]
    assert first["image/png"] != second["image/png"]
    page.say(model, {"ready": True})  # somebody is there after all
    assert set(page.update(lambda data: VIEW in data)) == {VIEW, "text/plain"}
    page.whole()


@pytest.mark.parametrize("call", ["plot = live_plot('adc')", "threading.Thread(target=live_plot, args=['adc']).start()"])
def test_a_cell_that_runs_long_is_not_taken_for_silence(page, listener, call):
    listener.script = sine
    page.run(f"{SHORT_SILENCE}\nimport threading")
    page.run(f"{call}\ntime.sleep(2)")
    page.run("time.sleep(0.5)")
    assert not [m for m in page.messages if m["msg_type"] == "update_display_data"]


def test_without_anywidget_the_chart_is_a_picture_from_the_start(page, listener):
    listener.script = sine
    page.run("import ukernel.charts.canvas as canvas\nfind_spec, canvas.find_spec = canvas.find_spec, lambda name: None")
    messages = page.run("plot = live_plot('adc')")
    page.run("canvas.find_spec = find_spec")
    assert not any(VIEW in m["content"].get("data", {}) for m in messages)
    first, second = page.update(), page.update()
    assert first["image/png"] != second["image/png"]
    messages = page.run("plot.stop()")
    (last,) = [
        m["content"]["data"] for m in messages if "ucoreChart.mount(" in m["content"].get("data", {}).get("text/html", "")
    ]
    assert "Stopped, " in last["text/html"]
