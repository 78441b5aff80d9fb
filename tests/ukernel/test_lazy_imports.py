"""What import-linter cannot say: libraries that take long are loaded when they are needed, and not before."""

import subprocess
import sys

import pytest

SLOW = ["IPython", "asyncio", "matplotlib", "mpremote", "numpy", "parso", "serial", "traitlets", "zmq"]


@pytest.mark.parametrize("module", ["ukernel", "ukernel.pipes", "ukernel.client.connection"])
def test_who_only_reads_pipes_loads_no_slow_library(module):
    assert _loaded_by(module, SLOW) == []


def test_who_lists_recordings_loads_nothing_that_writes_them():
    slow = [*SLOW, "mcap", "zstandard", "ukernel.boards", "ukernel.hub", "ukernel.recordings.writer"]
    assert _loaded_by("ukernel.recordings", slow) == []


def test_charts_are_loaded_when_one_is_drawn():
    assert _loaded_by("ukernel.pipes", ["ukernel.charts", "ukernel.boards", "ukernel.hub"]) == []


def test_a_chart_on_the_canvas_loads_no_matplotlib():
    assert _loaded_by("ukernel.charts.chart", ["matplotlib", "ipympl", "anywidget", "IPython"]) == []


def _loaded_by(module, names):
    """Return which of these modules a new Python has once it has imported this one."""
    code = f"import sys, {module}\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()
