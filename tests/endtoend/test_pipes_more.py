"""What pipes can do beyond the page, through real kernels and boards: one test for each promise of docs/pipes.md."""

import asyncio
import os
import re
import signal
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from workbench import TOOLS, Workbench

from ukernel.errors import PipeDataLostWarning, PipeEndedEarlyWarning, PipeEndedError
from ukernel.pipes import collect, pipes, subscribe
from ukernel.protocol import statefile

pytestmark = pytest.mark.board

FINITE = "with ucore.open_pipe('adc') as pipe:\n    for n in range({0}):\n        pipe.write(struct.pack('<f', n))"
# A loop that samples and writes, on a thread, for tests that need a steady stream.
STEADY = """
def steady(name, count, write_all):
    def loop():
        write_all(ucore.open_pipe(name, drop=True), count)
        ucore.close_pipe(name)
        ended.append(name)
    _thread.start_new_thread(loop, ())
"""


@pytest.fixture
def own_bench(micropython, private_environment, tmp_path, monkeypatch):
    """A workbench of the test's own, whose hub and board may be ended."""
    with Workbench("micropython", tmp_path) as bench:
        monkeypatch.setenv("UCORE_STATE_PATH", str(bench.state_path))
        yield bench


def test_the_code_on_the_page_runs(own_bench):
    page = (Path(__file__).parents[2] / "docs" / "pipes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 7
    for block in blocks:
        own_bench.host(block)
    assert own_bench.value("len(samples), len(sweep), len(times)") == (100, 1000, 100)


def test_the_variables_and_commands_on_the_page_exist():
    from ukernel import cli, settings

    page = (Path(__file__).parents[2] / "docs" / "pipes.md").read_text(encoding="utf-8")
    source = Path(settings.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"UCORE_\w+", page)) == set(re.findall(r"UCORE_PIPE\w+", source))
    assert {"pipes", "token"} <= {row[0] for row in cli.COMMANDS}


# Replay


def test_what_a_cell_has_written_is_collected_in_the_next_one(bench):
    bench.board(FINITE.format(500))
    bench.host("samples = collect('adc', n=500, replay=True)")
    assert bench.value("samples.tolist() == list(range(500))") is True
    bench.host("again = collect('adc', seconds=30, replay=True)")  # all of it, and no wait: the pipe has been closed
    assert bench.value("len(again)") == 500


def test_without_replay_a_finished_pipe_says_how_to_get_it(bench):
    bench.board(FINITE.format(20))
    outcome = bench.notebook.run("collect('adc', seconds=0.2)")
    assert "ended before this call, after 20 frames: the producer closed it" in outcome.reply["evalue"]
    assert "replay=True gives the 20" in outcome.reply["evalue"]


def test_a_replay_of_an_open_pipe_goes_on_with_what_is_written_now(bench):
    bench.board("produce('adc', first=0)")
    bench.wait_for(lambda: bench.pipe("adc").frames > 50, "fifty samples that nobody reads")
    assert collect("adc", n=200, replay=True).tolist() == list(range(200))


# Times


def test_chunks_have_the_time_when_they_were_written(bench):
    with subscribe("when", timestamps=True) as pipe:
        bench.board(
            "def loop():\n    with ucore.open_pipe('when') as pipe:\n        for n in range(100):\n"
            "            pipe.write(struct.pack('<Q', time.time_ns()))\n            time.sleep_ms(5)\n_thread.start_new_thread(loop, ())"
        )
        found = list(pipe)
    assert len(found) == 100
    written = [struct.unpack("<Q", chunk)[0] / 1e9 for chunk, _ in found]
    for before, after, (_, stamp) in zip(written, [*written[1:], time.time()], found):
        assert before - stamp.error <= stamp.time <= after + stamp.error
    assert sorted(stamp.error for _, stamp in found)[90] < 0.1  # stated, and finite


def test_samples_are_collected_with_their_times(bench):
    bench.board("produce('adc', period_ms=10)")
    before = time.time()
    bench.host("samples, times = timed = collect('adc', n=50, timestamps=True)")
    assert bench.value("samples.shape, times.shape, timed.errors.shape") == ((50,), (50,), (50,))
    assert bench.value("bool((times[1:] >= times[:-1]).all())") is True
    first, last = bench.value("float(times[0]), float(times[-1])")
    assert before - 60 < first < last < time.time() + 60


# Truth about loss


def test_a_producer_that_must_not_wait_has_its_losses_counted_and_told(bench):
    bench.board(STEADY)
    bench.board(
        "def write_all(pipe, count):\n    data = bytes(4000)\n    for n in range(count):\n        pipe.write(data)\n"
        "steady('fast', 3000, write_all)"
    )
    with subscribe("fast", replay=True) as pipe, pytest.warns(PipeDataLostWarning, match="the board had no room"):
        got = sum(1 for _ in pipe)
        assert pipe.end_reason == "closed"
    assert pipe.losses == {"board": 3000 - got}


def test_drop_is_a_keyword_and_the_context_manager_works_with_it(bench):
    with subscribe("fast", strict=True) as pipe:
        bench.board("with ucore.open_pipe('fast', drop=True) as pipe:\n    pipe.write(b'one')")
        assert list(pipe) == [b"one"]
        assert pipe.lost == 0


def test_a_loss_is_told_in_the_cell_that_collects(bench):
    bench.board(STEADY)
    bench.board(
        "def write_all(pipe, count):\n    data = struct.pack('<f', 1) * 1000\n    for n in range(count):\n        pipe.write(data)\n"
        "ended.clear()\nsteady('fast', 3000, write_all)\nwait_until(lambda: 'fast' in ended)"
    )
    outcome = bench.host("values = collect('fast', seconds=60, replay=True, decoder='<1000f')")
    assert "PipeDataLostWarning" in outcome.text("stderr") and "the board had no room for them" in outcome.text("stderr")
    assert bench.value("values.shape[1]") == 1000


def test_a_loss_is_told_by_a_live_plot(bench):
    bench.host("%matplotlib widget\nchart = live_plot('fast', decoder=lambda b: b[0])")
    bench.board(STEADY)
    bench.board(
        "def write_all(pipe, count):\n    data = bytes(4000)\n    for n in range(count):\n        pipe.write(data)\n"
        "steady('fast', 3000, write_all)"
    )
    assert bench.value("chart.wait(60)") is True
    assert bench.value("chart.lost") > 0
    assert "the board had no room for them" in bench.value("chart._traces[0].notes()[1].text")


def test_the_time_axis_of_a_live_plot_is_that_of_the_timestamps(bench):
    with subscribe("adc", timestamps=True) as pipe:
        bench.host("chart = live_plot('adc', x='seconds')")
        bench.board("with ucore.open_pipe('adc') as pipe:\n    for n in range(50):\n        pipe.write(struct.pack('<f', n))")
        written = [(struct.unpack("<f", chunk)[0], stamp) for chunk, stamp in pipe]
    assert bench.value("chart.wait(60)") is True
    shown = bench.value("[tuple(row) for row in chart._traces[0].window.since(0)[1].tolist()]")
    assert [value for _, value in shown] == [value for value, _ in written] == list(range(50))
    known = [(at, stamp.time) for (at, _), (_, stamp) in zip(shown, written, strict=True) if stamp.error < 60]
    assert len(known) > 25
    assert [at for at, _ in known] == pytest.approx([time_s for _, time_s in known], abs=1e-6)


def test_a_pipe_ends_with_its_producer_and_strict_says_when_it_did_not(own_bench):
    own_bench.board("produce('adc')")
    with subscribe("adc", strict=True) as pipe, subscribe("adc") as lenient:
        next(pipe)
        assert own_bench.notebook.run("%%ucore\nimport machine\nmachine.reset()").reply["status"] == "error"
        with pytest.raises(PipeEndedError, match="the board restarted"):
            for _ in pipe:
                pass
        with pytest.warns(PipeEndedEarlyWarning, match="the board restarted"):
            for _ in lenient:
                pass
    assert pipe.end_reason == lenient.end_reason == "board restarted"


def test_a_rig_goes_on_after_a_reset_of_the_board_and_a_restart_of_the_hub(own_bench):
    bench = own_bench
    seen, ends = "chart._traces[0].window.seen", "chart._traces[0].reader.ends"

    def go_on(first):
        bench.notebook.run("%%ucore\n1")  # after a restart of the hub the first cell may say so
        assert bench.notebook.run(TOOLS).reply["status"] == "ok"
        before = bench.value(seen)
        bench.board(f"produce('adc', first={first})")
        bench.host(f"while {seen} <= {before} + 10: time.sleep(0.02)")

    bench.host("chart = live_plot('adc', window=1_000_000)")
    go_on(0)
    assert bench.notebook.run("%%ucore\nimport machine\nmachine.reset()").reply["status"] == "error"
    bench.host(f"while len({ends}) < 1: time.sleep(0.02)")
    assert "the board restarted; waiting for the board to open pipe 'adc' again" in bench.value("repr(chart)")
    go_on(5000)
    os.kill(statefile.read(bench.state_path).pid, signal.SIGTERM)
    bench.host(f"while len({ends}) < 2: time.sleep(0.02)")
    go_on(9000)
    assert bench.value(f"[end.reason for end in {ends}]")[:2] == ["board restarted", "hub stopped"]
    assert bench.value("chart._traces[0].window.gaps()[0].why") == "the board restarted"
    assert bench.value("[float(chart.data[0]) < 1000, 5000.0 in chart.data]") == [True, True]


def test_a_hub_that_is_killed_in_mid_stream_is_no_clean_end(own_bench):
    own_bench.board("produce('adc')")
    with subscribe("adc", strict=True) as pipe:
        next(pipe)
        os.kill(statefile.read(own_bench.state_path).pid, signal.SIGKILL)
        with pytest.raises(PipeEndedError, match="the connection to the board hub broke"):
            for _ in pipe:
                pass


# Ways of reading


def test_an_array_is_read_and_the_reading_goes_on(bench):
    bench.board("produce('adc', first=0)")
    bench.host(
        "with subscribe('adc', replay=True) as pipe:\n    a = pipe.read_array(10)\n    b, = struct.unpack('<f', pipe.read())"
    )
    assert bench.value("a.tolist(), b") == (list(map(float, range(10))), 10.0)


def test_three_channels_come_as_three_columns(bench):
    bench.board(
        "with ucore.open_pipe('imu') as pipe:\n    for n in range(50):\n        pipe.write(struct.pack('<fff', n, 2 * n, -n))"
    )
    found = collect("imu", n=50, decoder="<fff", replay=True)
    assert found.dtype == np.float64
    assert found.tolist() == [[n, 2 * n, -n] for n in range(50)]


def test_an_iteration_in_a_cell_is_interrupted_and_another_cell_goes_on(bench):
    bench.board("produce('adc', first=0)")
    request = bench.notebook.send(
        "pipe = subscribe('adc', replay=True)\nseen = []\nprint('reading')\nfor chunk in pipe:\n    seen.append(chunk)"
    )
    bench.notebook.wait_for_text(request, "reading")
    bench.notebook.interrupt()
    (outcome,) = bench.notebook.finish(request)
    assert outcome.error == "KeyboardInterrupt"
    bench.host("while len(seen) < 500:\n    seen.append(next(pipe))\npipe.close()")
    bench.host("values = [struct.unpack('<f', chunk)[0] for chunk in seen]")
    # The chunk that the interrupt found between pipe and list is the only one that may be missing.
    assert bench.value("values[-1] - values[0] - len(values) + 1") in (0.0, 1.0)


def test_a_cell_may_read_asynchronously(bench):
    bench.board("produce('adc', first=0)")
    bench.host(
        "import asyncio\nticks = 0\n"
        "async def tick():\n    global ticks\n    while True:\n        ticks += 1\n        await asyncio.sleep(0)\n"
        "ticking = asyncio.ensure_future(tick())\nseen = []\n"
        "async with subscribe('adc', replay=True) as pipe:\n"
        "    async for chunk in pipe:\n        seen.append(chunk)\n        if len(seen) == 100:\n            break\n"
        "ticking.cancel()"
    )
    assert bench.value("[struct.unpack('<f', chunk)[0] for chunk in seen] == list(range(100)) and ticks > 0") is True


def test_reading_asynchronously_ends_with_the_producer(bench):
    async def read():
        async with subscribe("adc") as pipe:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, bench.board, FINITE.format(10))
            return [struct.unpack("<f", chunk)[0] async for chunk in pipe]

    assert asyncio.run(read()) == list(range(10))


# What is there


def test_the_pipes_that_are_open_are_listed_with_rate_and_loss(bench):
    bench.board("produce('adc', period_ms=2)")
    bench.wait_for(lambda: bench.pipe("adc").frames_per_s > 50, "a rate")
    (state,) = bench.value("[tuple(pipe) for pipe in ukernel.pipes.pipes() if pipe.open]")
    assert state[:3] == ("adc", pipes()[0].board, True)
    now = bench.pipe("adc")
    assert now.bytes_per_s == pytest.approx(4 * now.frames_per_s)
    assert (now.lost, now.losses) == (0, {})
    bench.board("ucore.close_pipe('adc')")
    bench.wait_for(lambda: not bench.pipe("adc").open, "the close")
    assert bench.pipe("adc").frames_per_s == 0


def test_a_name_that_resembles_an_open_one_gets_a_hint(bench):
    bench.board("ucore.open_pipe('temperature')")
    with pytest.raises(TimeoutError, match="'temperature' is open: did you mean"):
        collect("temprature", seconds=0.2)
    outcome = bench.notebook.run("with subscribe('temprature', timeout=0.2) as pipe:\n    next(pipe)")
    assert "'temperature' is open: did you mean" in outcome.reply["evalue"]
