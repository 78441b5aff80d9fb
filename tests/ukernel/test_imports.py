"""Modules that another thread is just importing: nothing takes their half for the whole, or waits in a cell."""

import subprocess
import sys

import pytest

from ukernel import imports

GATE = "import threading\nentered, leave = threading.Event(), threading.Event()"
SLOW_MATPLOTLIB = (
    "import gate\ngate.entered.set()\nassert gate.leave.wait(30)\ndef get_backend(auto_select=True): return 'widget'"
)


@pytest.fixture
def run(tmp_path):
    """Runs a program that finds a matplotlib whose import takes until `gate.leave` is set, and begins with that import in a thread."""
    package = tmp_path / "matplotlib"
    (package / "backends").mkdir(parents=True)
    (package / "__init__.py").write_text(SLOW_MATPLOTLIB)
    for name in ("figure", "backends/__init__", "backends/backend_agg"):
        (package / f"{name}.py").write_text("")
    (tmp_path / "gate.py").write_text(GATE)
    start = "import gate, sys, threading\nfrom ukernel import imports, pipes\nfrom ukernel.charts import matplotlibcanvas\n"
    start += "threading.Thread(target=__import__, args=['matplotlib']).start()\ngate.entered.wait(30)\n"

    def run(code):
        path = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        done = subprocess.run([sys.executable, "-c", path + start + code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def test_what_another_thread_is_just_importing_is_not_there_yet(run):
    assert run(
        "print('matplotlib' in sys.modules, imports.find_imported('matplotlib'), imports.is_matplotlib_loaded())\n"
        "print(matplotlibcanvas.is_chosen())\n"
        "gate.leave.set()\n"
    ) == ["True", "None", "False", "False"]


def test_the_main_thread_waits_for_it_and_gets_the_whole(run):
    assert run(
        "threading.Timer(0.3, gate.leave.set).start()\n"
        "print(imports.is_matplotlib_to_come(), imports.load_matplotlib(), imports.is_matplotlib_to_come())\n"
        "print(matplotlibcanvas.is_chosen())\n"
    ) == ["True", "True", "False", "True"]


def test_no_other_thread_imports_it(run):
    assert run(
        "gate.leave.set()\n"
        "def ask(): print(imports.load_matplotlib(), 'matplotlib.figure' in sys.modules)\n"
        "def wait(call): thread = threading.Thread(target=call); thread.start(); thread.join(30)\n"
        "wait(ask)\n"
        "imports.load_matplotlib()\n"
        "wait(ask)\n"
    ) == ["False", "False", "True", "True"]


def test_a_chart_that_is_imported_in_another_thread_does_not_disturb_who_stops_one(run):
    assert run(
        "half = type(sys)('ukernel.charts.chart')\n"
        "half.__spec__ = type('Spec', (), {'_initializing': True})\n"
        "sys.modules['ukernel.charts.chart'] = half\n"
        "pipes.stop_live()\n"
        "gate.leave.set()\n"
        "print('done')"
    ) == ["done"]


def test_one_that_is_broken_is_tried_once(monkeypatch):
    def fail(name):
        tried.append(name)
        raise RuntimeError("a bad matplotlibrc")

    tried = []
    monkeypatch.setattr(imports, "is_matplotlib_loaded", lambda: False)
    monkeypatch.setattr(imports, "find_spec", lambda name: "there is one")
    monkeypatch.setattr(imports, "_is_broken", False)
    monkeypatch.setattr(imports.importlib, "import_module", fail)
    assert not imports.load_matplotlib() and not imports.load_matplotlib()
    assert tried == ["matplotlib"] and not imports.is_matplotlib_to_come()
