"""The look at the end of a test run finds what outlives it, and nothing of others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1] / "support"
CONFTEST = """
import leftovers
from leftovers import pytest_configure, pytest_sessionfinish, pytest_terminal_summary, pytest_testnodedown
leftovers.PATIENCE_S = 0.1
"""
FAULTS = {
    "the process": "import subprocess, sys\ndef test():\n"
    "    global child\n    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'], start_new_session=True)\n",
    "a socket that listens on 127.0.0.1:": "import socket\ndef test():\n"
    "    global kept\n    kept = socket.create_server(('127.0.0.1', 0))\n",
    "the pseudo-terminal /dev/pt": "import os\ndef test():\n    os.openpty()\n",
    "the file": "import tempfile\ndef test():\n    tempfile.mkdtemp(prefix='ucore-virtual-')\n",
    "connection.json": "import os\ndef test():\n    open(os.environ['JUPYTER_RUNTIME_DIR'] + '/connection.json', 'w').close()\n",
    "ucore-python-": "def test(tmp_path):\n    (tmp_path / 'ucore-python-abcdefgh').mkdir()\n",
}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def _run(folder: Path, test: str, *options: str) -> "tuple[int, str]":
    """Run a test file in a pytest of its own; returns its exit status and what it said."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(test)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            f"--basetemp={folder / 'base'}",
            "-p",
            "no:cacheprovider",
            *options,
            str(folder),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # most plugins start slowly
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("named", FAULTS)
def test_what_outlives_a_run_fails_it_and_is_named(tmp_path, named):
    status, said = _run(tmp_path, FAULTS[named])
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "1 passed" in said
    assert named in said.partition("outlived this run")[2]
    for path in tmp_path.rglob("ucore-python-*"):
        path.rmdir()


@pytest.mark.parametrize("named", ["the process", "a socket that listens on 127.0.0.1:", "the file"])
def test_what_outlives_a_worker_fails_the_run_too(tmp_path, named):
    pytest.importorskip("xdist")
    status, said = _run(tmp_path, FAULTS[named], "-pxdist", "-n1")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "1 passed" in said
    assert named in said.partition("outlived this run")[2]


def test_a_run_that_tidies_up_passes_whatever_others_have_open(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as others:
        status, said = _run(
            tmp_path,
            "import subprocess, sys, tempfile\ndef test():\n"
            "    subprocess.run([sys.executable, '-c', ''])\n    tempfile.TemporaryDirectory().cleanup()\n",
        )
        others.communicate(b"\n")
    assert "outlived" not in said
    assert status == 0
