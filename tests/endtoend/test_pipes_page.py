"""The pipes page through real kernels: every code block as it is written, then every claim, one by one."""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import textwrap
import time

import numpy as np
import pipespage
import pytest
from frontend import Notebook
from workbench import TOOLS

from ukernel.client import connection as client
from ukernel.pipes import collect, live_plot, stop_live, subscribe

pytestmark = pytest.mark.board

BLOCKS = pipespage.find_blocks()
# Blocks that are no cells by themselves, and why.
FRAGMENTS = {
    "pipe.write(...)": "an ellipsis stands for the bytes, and the loop belongs into a thread",
    "# microcontroller\npipe.write": "a comment, not %%ucore, says whose line it is",
}
_run: list[str] = []  # the blocks that a test runs


def runs(piece: str):
    """Give a test, as ``block``, the one block of the page with this text in it."""
    (block,) = [block for block in BLOCKS if piece in block]
    _run.append(block)
    return pytest.mark.parametrize("block", [block], ids=[block.splitlines()[0]])


def test_every_block_of_the_page_is_run():
    assert sorted(_run) == sorted(BLOCKS)
    assert len(BLOCKS) == 16


def test_every_fragment_is_on_the_page():
    for piece in FRAGMENTS:
        assert any(piece in block for block in BLOCKS)


def test_the_board_runs_what_the_test_says(bench):
    assert bench.board_value("__import__('sys').implementation.name") == bench.python


# The blocks, from the top of the page to its end


@runs('pipe = ucore.open_pipe("adc")')
def test_block_open_a_pipe(bench, block):
    assert bench.host(block).messages
    assert bench.board_value("ucore.is_pipe_open('adc')") is True
    assert bench.board_value("pipe.name") == "adc"


@runs('ucore\nucore.close_pipe("adc")')
def test_block_close_a_pipe(bench, block):
    bench.board("ucore.open_pipe('adc')")
    bench.host(block)
    assert bench.board_value("ucore.is_pipe_open('adc')") is False


@runs("pipe.write(...)")
def test_block_a_producer_loop(bench, block):
    body = block.removeprefix("%%ucore\n").replace("...", "struct.pack('<f', 1)")
    bench.board("def loop():\n" + textwrap.indent(body, "    ") + "\n    ended.append('loop')")
    bench.board("pipe = ucore.open_pipe('adc')\n_thread.start_new_thread(loop, ())")
    assert collect("adc", n=3).tolist() == [1, 1, 1]
    bench.board("ucore.close_pipe('adc')\nwait_until(lambda: 'loop' in ended)")


@runs("sensor.read()")
def test_block_write_a_reading(bench, block):
    bench.board("class Sensor:\n    def read(self):\n        return 21.5\nsensor = Sensor()\npipe = ucore.open_pipe('adc')")
    with subscribe("adc", timeout=60) as pipe:
        bench.host(block)
        assert struct.unpack("<f", pipe.read()) == (21.5,)


@runs("with ucore.open_pipe")
def test_block_a_finite_producer(bench, block):
    bench.board("adc = ADC(Pin(4))")
    with subscribe("adc") as pipe:
        bench.host(block)
        volts = [struct.unpack("<f", chunk)[0] for chunk in pipe]
    assert len(volts) == 100
    assert all(0 < value < 3.3 for value in volts)


@runs("import subscribe, collect, live_plot, stop_live")
def test_block_import_the_host_side(bench, block):
    bench.host("del subscribe, collect, live_plot, stop_live")
    bench.host(block)
    assert bench.value("[f.__module__ for f in (subscribe, collect, live_plot, stop_live)]") == ["ukernel.pipes"] * 4


@runs('print(f"{value:.4f} V")')
def test_block_print_every_value(bench, block):
    bench.board("produce('adc')")
    request = bench.notebook.send(block)
    bench.notebook.wait_for_text(request, " V\n")
    bench.elsewhere("ucore.close_pipe('adc')")
    assert bench.notebook.finish(request)[0].reply["status"] == "ok"
    assert re.fullmatch(r"\d+\.0000", bench.value("f'{value:.4f}'"))


@runs("enumerate(pipe)")
def test_block_read_fifty_samples(bench, block):
    bench.board("produce('adc')")
    bench.host(block)
    assert bench.value("i") == 50


@runs("plt.plot(samples)")
def test_block_collect_and_plot(bench, block):
    bench.board("adc = ADC(Pin(4))\npipe = ucore.open_pipe('adc')")
    bench.board(
        "def produce_volts():\n"
        "    while ucore.is_pipe_open('adc'):\n"
        "        pipe.write(struct.pack('<f', adc.read_uv() / 1e6))\n"
        "        time.sleep_ms(2)\n"
        "_thread.start_new_thread(produce_volts, ())"
    )
    bench.host("%matplotlib inline")
    outcome = bench.host(block)
    (picture,) = outcome.contents("display_data")
    assert picture["data"]["image/png"]
    found = re.fullmatch(r"(\d+) samples, mean = (\d\.\d{3})\n", outcome.text())
    assert int(found[1]) > 200
    assert 1.4 < float(found[2]) < 1.9  # the simulated converter sees a sine around 1.65 V


@runs('title="ADC channel 4 (V)"')
def test_block_live_plot(bench, block):
    bench.board("produce('adc')")
    outcome = bench.host(block)
    assert any("widget-view" in kind for content in outcome.contents("display_data") for kind in content["data"])
    bench.host("chart = _")
    bench.wait_for(lambda: bench.value("len(chart.data)") == 300, "a full window")


@runs("stop_live()       # stop all")
def test_block_stop_live(bench, block):
    bench.host("%matplotlib widget\ncharts = [live_plot(name) for name in ('adc', 'one', 'two')]")
    bench.host(block)
    assert bench.value("[chart.wait(0) for chart in charts]") == [True, True, True]


@runs("# microcontroller\n")
def test_block_encode_a_value(bench, block):
    bench.board("value = -2.5\npipe = ucore.open_pipe('adc')")
    with subscribe("adc", timeout=60) as pipe:
        bench.board(block)
        assert pipe.read() == struct.pack("<f", -2.5)


@runs("# host — default decoder")
def test_block_decode_a_value(bench, block):
    bench.host("chunk = struct.pack('<f', -2.5)")
    bench.host(block)
    assert bench.value("value") == -2.5


_IMU_PRODUCER = runs("# x, y, z from an accelerometer")
_IMU_CONSUMER = runs('with subscribe("imu") as pipe')


@_IMU_PRODUCER
def test_block_write_three_channels(bench, block):
    bench.board("ax, ay, az = 0.5, -1.0, 9.75\npipe = ucore.open_pipe('imu')")
    with subscribe("imu", timeout=60) as pipe:
        bench.host(block)
        assert struct.unpack("<fff", pipe.read()) == (0.5, -1.0, 9.75)


@_IMU_CONSUMER
def test_block_read_three_channels(bench, block):
    bench.board("pipe = ucore.open_pipe('imu')")
    request = bench.notebook.send(block)
    bench.wait_for_reader("imu")
    bench.elsewhere("pipe.write(struct.pack('<fff', 0.5, -1.0, 9.75))\nucore.close_pipe('imu')")
    assert bench.notebook.finish(request)[0].reply["status"] == "ok"
    assert bench.value("ax, ay, az") == (0.5, -1.0, 9.75)


@runs("# plot only the x-axis")
def test_block_plot_one_of_three_channels(bench, block):
    bench.board("pipe = ucore.open_pipe('imu')")
    bench.host("%matplotlib widget")
    bench.host(block)
    bench.host("chart = _")
    bench.board("for x in range(5):\n    pipe.write(struct.pack('<fff', x, -1, -2))\nucore.close_pipe('imu')")
    assert bench.value("chart.wait(60)") is True
    assert bench.value("chart.data.ravel().tolist()") == [0, 1, 2, 3, 4]


# The producing side


def test_the_producing_cell_returns_at_once_and_data_keeps_flowing(bench):
    bench.board("produce('adc')")  # returned, and the thread never ends by itself
    first = bench.value("float(collect('adc', n=1)[0])")
    assert bench.value("6 * 7") == 42
    assert bench.board_value("6 * 7") == 42
    assert bench.value("float(collect('adc', n=1)[0])") > first


def test_ucore_needs_no_import_and_may_be_imported(bench):
    assert bench.board_value("ucore.is_pipe_open('adc')") is False
    bench.board("del ucore")
    bench.board("import ucore\nucore.open_pipe('adc')")
    assert bench.board_value("ucore.is_pipe_open('adc')") is True


def test_a_pipe_is_open_until_any_cell_closes_it_and_the_thread_exits(bench):
    bench.board("produce('adc', first=1000)")
    assert bench.board_value("ucore.is_pipe_open('adc')") is True
    bench.elsewhere("ucore.close_pipe('adc')")
    assert bench.board_value("ucore.is_pipe_open('adc')") is False
    bench.board("wait_until(lambda: 1000 in ended)")


def test_closing_ends_the_hosts_iteration_after_the_last_chunk(bench):
    with subscribe("adc") as pipe:
        bench.board("pipe = ucore.open_pipe('adc')\nfor n in range(500):\n    pipe.write(struct.pack('<I', n))\npipe.close()")
        assert [struct.unpack("<I", chunk)[0] for chunk in pipe] == list(range(500))
        assert pipe.end_reason == "closed"


def test_opening_twice_gives_another_handle_and_opens_nothing_anew(bench):
    with subscribe("adc") as pipe:
        bench.board("one = ucore.open_pipe('adc')\none.write(b'1')\ntwo = ucore.open_pipe('adc')")
        bench.board("two.write(b'2')\none.write(b'3')")
        assert bench.board_value("one is two") is False
        bench.board("two.close()")
        assert bench.board_value("ucore.is_pipe_open('adc')") is False
        assert list(pipe) == [b"1", b"2", b"3"]


def test_closing_is_idempotent(bench):
    bench.board("pipe = ucore.open_pipe('adc')\npipe.close()\npipe.close()\nucore.close_pipe('adc')\nucore.close_pipe('adc')")
    bench.board("ucore.close_pipe('never opened')")


def test_the_context_manager_closes_also_after_an_error(bench):
    bench.board(
        "try:\n"
        "    with ucore.open_pipe('adc') as pipe:\n"
        "        pipe.write(b'last')\n"
        "        raise RuntimeError\n"
        "except RuntimeError:\n"
        "    pass"
    )
    assert bench.board_value("ucore.is_pipe_open('adc')") is False


def test_every_write_is_one_chunk_whatever_its_size(bench):
    sizes = [1, 4, 4, 4, 0, 255, 256, 3, 4, 4096, 65_535, 1, 65_535, 65_534, 2]
    with subscribe("adc") as pipe:
        bench.board(
            "with ucore.open_pipe('adc') as pipe:\n"
            f"    for number, size in enumerate({sizes}):\n"
            "        pipe.write(bytes([number]) * size)"
        )
        chunks = list(pipe)
    assert [len(chunk) for chunk in chunks] == sizes
    assert all(type(chunk) is bytes and set(chunk) <= {number} for number, chunk in enumerate(chunks))


def test_nothing_written_after_subscribe_has_returned_is_missed(bench):
    bench.board("pipe = ucore.open_pipe('adc')\npipe.write(b'too early')")
    bench.wait_for(lambda: bench.pipe("adc").frames == 1, "the write before the subscription")
    for number in range(25):
        with subscribe("adc", timeout=60) as pipe:
            request = bench.notebook.send(f"%%ucore\npipe.write(bytes([{number}]))")
            assert pipe.read() == bytes([number])
        assert bench.notebook.finish(request)[0].reply["status"] == "ok"


def test_nothing_is_missed_when_the_pipe_is_opened_after_subscribe(bench):
    for number in range(10):
        with subscribe("adc") as pipe:
            bench.board(f"with ucore.open_pipe('adc') as pipe:\n    pipe.write(bytes([{number}]))")
            assert list(pipe) == [bytes([number])]


def test_a_reader_of_a_few_lines_gets_lengths_and_bytes(bench):
    bench.board("pipe = ucore.open_pipe('adc')")
    with client.open_reader("adc") as connection, connection.makefile("rb") as stream:
        bench.board("pipe.write(b'four')\npipe.write(b'fifteen bytes !')\npipe.close()")
        assert stream.read() == b"\4\0\0\0four" + b"\x0f\0\0\0fifteen bytes !"


def test_a_producer_started_again_within_its_period_leaves_one_alive(bench):
    cell = "ucore.close_pipe('adc')\nproduce('adc', period_ms=300, first={}, started=started)"
    bench.board("started = []")
    for first in (1_000_000, 2_000_000, 3_000_000, 4_000_000):
        bench.board(cell.format(first))
    bench.board("wait_until(lambda: {1000000, 2000000, 3000000} <= set(ended) and 4000000 in started)")
    assert (collect("adc", n=3) >= 4_000_000).all()
    assert bench.board_value("4000000 in ended") is False


# The consuming side


def test_the_context_manager_of_the_host_closes_the_socket(bench):
    bench.board("produce('adc')")
    bench.host("with subscribe('adc') as pipe:\n    next(pipe)")
    bench.wait_for(lambda: bench.pipe("adc").readers == 0, "the reader to leave")


def test_several_consumers_get_every_chunk_each(bench):
    with subscribe("adc") as one, subscribe("adc") as two:
        bench.board("with ucore.open_pipe('adc') as pipe:\n    for n in range(200):\n        pipe.write(bytes([n]))")
        assert list(one) == list(two) == [bytes([n]) for n in range(200)]


@pytest.mark.parametrize("limits", ["n=200", "n=200, seconds=50"])
def test_collect_stops_after_n_samples(bench, limits):
    bench.board("produce('adc')")
    bench.host(f"samples = collect('adc', {limits})")
    assert bench.value("len(samples)") == 200
    assert bench.value("set((samples[1:] - samples[:-1]).tolist())") == {1.0}


@pytest.mark.parametrize("limits", ["seconds=1", "n=10_000_000, seconds=1"])
def test_collect_takes_one_second_for_seconds_1(bench, limits):
    bench.board("produce('adc')")
    bench.host(f"before = time.monotonic()\nsamples = collect('adc', {limits})\ntook = time.monotonic() - before")
    assert 1.0 <= bench.value("took") < 10.0
    assert bench.value("len(samples)") > 0


def test_collect_returns_float64(bench):
    bench.board("produce('adc')")
    assert bench.value("str(collect('adc', n=3).dtype)") == "float64"
    samples = collect("adc", n=3)
    assert isinstance(samples, np.ndarray) and samples.shape == (3,)


def test_collect_returns_a_list_without_numpy(bench):
    bench.board("produce('adc', first=0)")
    script = """
        import sys
        sys.modules["numpy"] = None
        from ukernel.pipes import collect
        samples = collect("adc", n=5)
        assert type(samples) is list and all(type(value) is float for value in samples), samples
        print(len(samples))
    """
    assert _in_another_process(script, bench.environment()) == "5\n"


def test_collect_needs_a_limit(bench):
    with pytest.raises(ValueError, match=r"n=.*seconds="):
        collect("adc")


def test_collect_without_a_producer_says_why(bench):
    outcome = bench.notebook.run("collect('nobody', seconds=0.2)")
    assert outcome.error == "TimeoutError"
    assert "'nobody'" in outcome.reply["evalue"] and "has not opened it" in outcome.reply["evalue"]


def test_collect_from_a_closed_pipe_says_so(bench):
    bench.board("with ucore.open_pipe('over') as pipe:\n    pipe.write(b'abcd')")
    with pytest.raises(TimeoutError, match="ended before this call, after 1 frames"):
        collect("over", seconds=0.2)


def test_collect_from_a_pipe_that_nobody_fills_says_so(bench):
    bench.board("ucore.open_pipe('idle')")
    with pytest.raises(TimeoutError, match="open, but nothing was written"):
        collect("idle", seconds=0.2)


def test_allow_empty_returns_an_empty_array(bench):
    samples = collect("nobody", seconds=0.2, allow_empty=True)
    assert isinstance(samples, np.ndarray) and samples.shape == (0,)


def test_collect_takes_a_decoder(bench):
    with_pair = "def loop():\n    while ucore.is_pipe_open('pair'):\n        pipe.write(struct.pack('<hh', 3, -4))"
    bench.board(f"pipe = ucore.open_pipe('pair')\n{with_pair}\n        time.sleep_ms(2)\n_thread.start_new_thread(loop, ())")
    bench.host("samples = collect('pair', n=4, decoder=lambda b: struct.unpack('<hh', b)[1] / 2)")
    assert bench.value("samples.tolist()") == [-2.0] * 4


# The live plot


def test_the_signatures_and_defaults_are_those_of_the_page():
    page = {"name": ..., "n": None, "seconds": None, "decoder": None, "allow_empty": False}
    assert _parameters(collect) == {**page, "replay": False, "timestamps": False, "board": None}  # more than the page, and off
    page = {
        "name": ...,
        "decoder": None,
        "window": 200,
        "ylim": (-1.5, 1.5),
        "title": None,
        "interval": 40,
        "duration": None,
    }
    added = {"labels": None, "units": "", "x": "samples", "backend": "auto", "board": None}
    added |= {"height": 320, "chart": "", "follow": False}
    assert _parameters(live_plot) == {**page, **added}
    assert _parameters(stop_live) == {"name": None}
    assert next(iter(_parameters(subscribe))) == "name"


def test_a_live_plot_stops_when_the_producer_closes_the_pipe(bench):
    bench.board("produce('adc')")
    bench.host("%matplotlib widget\nchart = live_plot('adc')")
    bench.wait_for_reader("adc")
    bench.board("ucore.close_pipe('adc')")
    assert bench.value("chart.wait(60)") is True
    assert "the producer closed the pipe" in bench.value("repr(chart)")


def test_a_live_plot_needs_no_magic(bench):
    bench.board("produce('adc')")
    bench.host("%matplotlib inline")
    outcome = bench.notebook.run("chart = live_plot('adc')", allow_stdin=True)  # a front end that somebody sits before
    shown, _static_output = outcome.contents("display_data")
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
    bench.wait_for(lambda: bench.value("len(chart.data)") == 200, "a full window")


def test_a_live_plot_stops_when_told_to_and_the_others_move_on(bench):
    bench.board("produce('adc')\nproduce('other')")
    bench.host("%matplotlib widget\nchart, other = live_plot('adc'), live_plot('other')")
    bench.host("stop_live('adc')")
    assert bench.value("chart.wait(0), other.wait(0)") == (True, False)
    bench.host("stop_live()")
    assert bench.value("other.wait(0)") is True
    bench.wait_for(lambda: bench.pipe("adc").readers == bench.pipe("other").readers == 0, "the readers to leave")


def test_a_live_plot_stops_when_its_duration_is_over(bench):
    bench.board("produce('adc')")
    bench.host("%matplotlib widget\nchart = live_plot('adc', duration=0.3)")
    assert bench.value("chart.wait(60)") is True
    assert "its time is over" in bench.value("repr(chart)")
    assert bench.pipe("adc").open


def test_a_live_plot_moves_while_other_cells_run(bench):
    bench.board("produce('adc')")
    bench.host("%matplotlib widget\nchart = live_plot('adc', window=1000)")
    bench.wait_for(lambda: bench.value("len(chart.data)"), "the first samples")
    before = bench.value("float(chart.data[-1])")
    bench.board("time.sleep_ms(200)")
    bench.host("time.sleep(0.2)")
    assert bench.value("float(chart.data[-1])") > before


def test_running_a_live_plot_again_replaces_it(bench):
    bench.board("produce('adc')")
    bench.host("%matplotlib widget\ncharts = []")
    for _ in range(3):
        bench.host("charts.append(live_plot('adc'))")
    assert bench.value("[chart.wait(0) for chart in charts]") == [True, True, False]
    bench.wait_for(lambda: bench.pipe("adc").readers == 1, "one reader alone")


# Environment variables


def test_every_side_honours_the_state_path_and_the_port(private_environment):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    state = private_environment / "elsewhere" / "hub.json"
    variables = {"UCORE_STATE_PATH": str(state), "UCORE_PIPE_PORT": str(port)}
    script = "from ukernel.pipes import collect\nprint(len(collect('adc', n=3, seconds=60)))"
    with Notebook("ucore-virtual", env={**os.environ, **variables}) as notebook:
        for cell in (TOOLS, "%%ucore\nproduce('adc')"):
            assert notebook.run(cell).reply["status"] == "ok"
        # The kernel's side: the hub has written the file and listens on the port.
        advert = json.loads(state.read_text())
        assert state.stat().st_mode & 0o077 == 0
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            assert connection.makefile("rb").readline().startswith(b"ucore 1 ")
        # The readers' side: through the file alone, the file and the port, the port and the token alone; and in a cell.
        base = {name: value for name, value in os.environ.items() if not name.startswith("UCORE_")}
        nowhere = str(private_environment / "nowhere.json")
        for environment in (
            {"UCORE_STATE_PATH": str(state)},
            variables,
            {"UCORE_STATE_PATH": nowhere, "UCORE_PIPE_PORT": str(port), "UCORE_PIPE_TOKEN": advert["token"]},
        ):
            assert _in_another_process(script, {**base, **environment}) == "3\n"
        assert notebook.run(script).text() == "3\n"
        # Another file is another hub, which knows nothing of this pipe.
        why = "from ukernel.pipes import pipes\nprint(pipes())"
        assert _in_another_process(why, {**base, "UCORE_STATE_PATH": nowhere}) == "[]\n"
        notebook.run("%%ucore\nucore.close_pipe('adc')")
    deadline = time.monotonic() + 60
    while state.exists():
        assert time.monotonic() < deadline, "the hub left its state file behind"
        time.sleep(0.02)


def _parameters(function) -> dict:
    import inspect

    found = inspect.signature(function).parameters.values()
    return {p.name: ... if p.default is p.empty else p.default for p in found}


def _in_another_process(script: str, environment: dict) -> str:
    """Run a Python script and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout
