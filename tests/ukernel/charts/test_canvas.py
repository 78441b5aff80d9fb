"""The kernel's half of a canvas: what it sends, told by what the page makes of it."""

import base64
import json
import math
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from stilltrace import StillTrace

from ukernel.charts.canvas import encode
from ukernel.charts.scene import ChartOptions, Scene

CANVAS = Path(__file__).parents[3] / "canvas"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(not NODE, reason="there is no Node.js (node) here")


def replay(messages):
    """What the page's store has after each message."""
    lines = [json.dumps({"content": content, "buffer": base64.b64encode(buffer).decode()}) for content, buffer in messages]
    done = subprocess.run(
        [NODE, CANVAS / "tests" / "replay.js"], input="\n".join(lines), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def numbers(values):
    return np.array([[math.nan if value == "nan" else value for value in row] for row in values], float)


@needs_node
@pytest.mark.parametrize("x", ["samples", "seconds", "window"])
@pytest.mark.parametrize("size, columns", [(50, 100), (1000, 64), (997, 30)], ids=str)
def test_the_page_has_what_the_kernel_has(size, columns, x):
    rng, noise = random.Random(size), np.random.default_rng(size)
    span_s = 20.0 if x == "window" else None
    x = "seconds" if span_s else x
    traces = [StillTrace("a", size, span_s), StillTrace("b", size, span_s)]
    scene = Scene(traces, ChartOptions("two", size, x=x, span_s=span_s), columns)
    messages, scenes, clock, whole_at = [], [], 0.0, 0
    for number in range(200):
        for trace, channels in zip(traces, (1, 3), strict=True):
            clock += rng.random()
            values = noise.normal(size=(rng.choice([0, 1, 5, size // 3, size, 3 * size]), channels))
            values[noise.random(values.shape) < 0.05] = math.nan
            gaps = [(place, 1, "no room") for place in range(0, len(values), 40) if rng.random() < 0.3]
            trace.window.add(values if rng.random() < 0.9 else values.astype(np.float32), clock, gaps)
        if rng.random() < 0.2:
            continue  # a picture that was left out
        changed = scene.update()
        whole = number - whole_at > 20 or not messages
        whole_at = number if whole else whole_at
        content, buffer = encode(scene, None if whole else changed)
        messages.append(({**content, "number": len(messages)}, buffer))
        kept = [(envelope.seen, envelope.table().copy(), [one.row for one in envelope.breaks]) for envelope in scene.envelopes]
        scenes.append((scene.newest_at, kept))
    for page, (newest_at, kept) in zip(replay(messages), scenes, strict=True):
        for trace, (seen, table, breaks) in zip(page["traces"], kept, strict=True):
            assert trace["seen"] == seen and trace["breaks"] == breaks
            if not seen:
                continue
            width = (table.shape[1] - 1) // (1 if scene.envelopes[0].step == 1 else 2)
            np.testing.assert_array_equal(numbers(trace["low"]), table[:, 1 : 1 + width])
            np.testing.assert_array_equal(numbers(trace["high"]), table[:, -width:])
            if x == "seconds":
                np.testing.assert_allclose(trace["x"], table[:, 0] - newest_at)
            elif scene.envelopes[0].step == 1:
                assert trace["x"] == list(range(len(table)))


@needs_node
def test_messages_that_are_lost_are_mended_by_the_next_whole_one():
    trace = StillTrace("a", 100)
    scene = Scene([trace], ChartOptions("a", 100), 100)
    messages = []
    for number in range(30):
        trace.window.add(np.arange(number * 7, number * 7 + 7), float(number))
        changed = scene.update()
        content, buffer = encode(scene, None if number % 10 == 0 else changed)
        if number not in (4, 13, 14):
            messages.append(({**content, "number": number}, buffer))
    pages = replay(messages)
    assert pages[-1]["missed"] == 3
    for page in pages:
        (trace,) = page["traces"]
        # Whatever is shown is whole, be it older.
        assert [row[0] for row in trace["low"]] == list(range(max(0, trace["seen"] - 100), trace["seen"]))
    assert pages[-1]["traces"][0]["seen"] == 210


@pytest.mark.parametrize(
    "values, wide",
    [
        ([0.5, -1.25, 2.0**100], False),
        ([0.1], True),
        (np.float32([0.1, 0.2]), False),
        ([2**24 + 1], True),
        ([math.nan, 1], False),
        ([1e39], True),
    ],
    ids=str,
)
def test_numbers_are_narrow_where_that_changes_none(values, wide):
    trace = StillTrace("a", 10)
    trace.window.add(np.asarray(values, float), 0.0)
    scene = Scene([trace], ChartOptions("a", 10), 100)
    scene.update()
    content, buffer = encode(scene)
    assert content["wide"] is wide
    assert np.array_equal(np.frombuffer(buffer, "<f8" if wide else "<f4"), values, equal_nan=True)


def test_a_message_is_small_whatever_the_window_and_the_rate():
    trace = StillTrace("a", 1_000_000)
    scene = Scene([trace], ChartOptions("a", 1_000_000), 1000)
    for _ in range(80):
        trace.window.add(np.zeros(16_667, np.float32), 0.0)
        content, buffer = encode(scene, scene.update())
        assert len(buffer) < 200 and len(json.dumps(content)) < 400
    assert len(encode(scene)[1]) < 10_000


def test_a_message_before_the_first_sample_has_no_numbers():
    scene = Scene([StillTrace("a", 10)], ChartOptions("a", 10, x="seconds"), 100)
    scene.update()
    content, buffer = encode(scene)
    assert buffer == b"" and content["traces"][0]["count"] == 0
    json.dumps(content, allow_nan=False)


@needs_node
def test_the_pages_own_tests_pass():
    tests = sorted((CANVAS / "tests").glob("*.test.js"))
    done = subprocess.run([NODE, "--test", *tests], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    assert "# pass 0" not in done.stdout


def test_the_code_of_the_page_can_stand_in_a_notebook():
    code = (Path(__file__).parents[3] / "src" / "ukernel" / "charts" / "canvas.js").read_text(encoding="utf-8")
    assert "</script" not in code.lower() and "<!--" not in code
    assert code.isascii()  # a page holds other text in twice the room, and does so for each chart it ever showed
    assert code.isascii()  # a page holds other text in twice the room, for each chart that it ever showed
    assert "Leon Sorokin" in code and "MIT License" in code  # uPlot's licence travels with it
    assert "http" not in code.replace("http://www.w3.org", "")  # nothing is fetched at run time


@pytest.mark.skipif(
    not (CANVAS / "node_modules").is_dir(),
    reason="canvas/node_modules is missing (scripts/setup installs it where there is npm)",
)
def test_the_code_of_the_page_is_built_from_its_sources(tmp_path):
    subprocess.run([NODE, "build.mjs", tmp_path / "canvas.js"], cwd=CANVAS, check=True, timeout=100)
    built = (tmp_path / "canvas.js").read_bytes()
    assert built == (CANVAS.parent / "src" / "ukernel" / "charts" / "canvas.js").read_bytes(), "run: npm run build (in canvas/)"
