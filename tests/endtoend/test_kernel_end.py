"""Whatever is killed, the notebook goes on where it can, and its end leaves no process and no file behind."""

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import psutil
import pytest
from frontend import Notebook, wait_for_end

# By a word of its command line, the first of these that is in it. The board's own process is the one that none of them is in.
PARTS = {
    "sub-kernel": "ukernel.kernel.subkernel_main",
    "kernel": "ukernel.kernel",
    "hub": "ukernel.hub",
    "virtual board": "ukernel.virtual.process",
    "board": "",
}


class Nest:
    """A notebook on a virtual board whose files are nobody else's, and its processes. A context manager."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="uc"))  # a short path: Unix sockets live in it
        for name in ("tmp", "run"):
            (self.folder / name).mkdir()
        paths = {"TMPDIR": "tmp", "JUPYTER_RUNTIME_DIR": "run", "UCORE_STATE_PATH": "run/hub.json"}
        self.notebook = Notebook(
            "ucore-virtual", env={**os.environ, **{name: str(self.folder / path) for name, path in paths.items()}}
        )

    def __enter__(self) -> "Nest":
        self.notebook.__enter__()
        assert self.notebook.run("%%ucore\nkept = 1\nkept").result == "1"
        self.processes = self._find()
        assert set(self.processes) == set(PARTS)
        return self

    def _find(self) -> dict[str, psutil.Process]:
        kernel = psutil.Process(self.notebook.manager.provisioner.pid)
        found = {}
        for process in [kernel, *kernel.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                line = " ".join(process.cmdline())
                found[next(part for part, word in PARTS.items() if word in line)] = process
        return found

    def kill(self, part: str) -> None:
        os.kill(self.processes[part].pid, signal.SIGKILL)

    def __exit__(self, *exc_info) -> None:
        # What came in the place of what was killed must end as well.
        if self.notebook.manager.is_alive():
            self.processes.update({f"later {part}": process for part, process in self._find().items()})
        self.notebook.__exit__()
        wait_for_end(self.processes.values())
        left = sorted(str(path.relative_to(self.folder)) for path in self.folder.glob("*/*"))
        shutil.rmtree(self.folder)
        assert left == []


@pytest.fixture
def nest(private_environment):
    with Nest() as nest:
        yield nest


def test_a_shutdown_leaves_nothing(nest):
    assert nest.notebook.run("1").result == "1"


@pytest.mark.parametrize("part", PARTS)
def test_a_shutdown_after_one_was_killed_leaves_nothing(nest, part):
    nest.kill(part)
    wait_for_end([nest.processes[part]])


@pytest.mark.parametrize("part", [part for part in PARTS if part != "kernel"])
def test_a_notebook_goes_on_after_one_was_killed(nest, part):
    nest.kill(part)
    wait_for_end([nest.processes[part]])
    if part == "sub-kernel":
        outcome = nest.notebook.run("1")
        assert outcome.result == "1" or outcome.error == "PythonExited"
    else:
        assert nest.notebook.run("1").result == "1"
    outcome = _run_again(nest.notebook, "%%ucore\ntry:\n    print(kept)\nexcept NameError:\n    print('nothing')")
    if part == "virtual board":
        assert "a new one" in outcome.text("stderr")
    assert outcome.text().splitlines()[-1] == ("nothing" if part in ("virtual board", "board") else "1")


@pytest.mark.parametrize("part", ["hub", "virtual board", "board"])
def test_a_cell_that_runs_when_one_is_killed_fails_and_the_next_one_runs(nest, part):
    request = nest.notebook.send("%%ucore\nimport time\nwhile True:\n    print('going on')\n    time.sleep(0.05)")
    nest.notebook.wait_for_text(request, "going on")
    nest.kill(part)
    errors = {"hub": "HubUnreachableError", "virtual board": "BoardGoneError", "board": "BoardRestartedError"}
    assert nest.notebook.finish(request)[0].error == errors[part]
    if part == "hub":  # the board is still at it, and says so
        request = nest.notebook.send("%%ucore\n1")
        nest.notebook.wait_for_text(request, "an earlier session")
        nest.notebook.interrupt()
        nest.notebook.finish(request)
        assert "earlier session" in nest.notebook.run("%ucore interrupt").text()
    assert _run_again(nest.notebook, "%%ucore\n2").result == "2"


def _run_again(notebook: Notebook, code: str):
    """Run a board cell; where it is sent before the hub knows that the board has gone, that one is told so."""
    outcome = notebook.run(code)
    if outcome.error in ("BoardGoneError", "BoardRestartedError"):
        outcome = notebook.run(code)
    assert outcome.reply["status"] == "ok", outcome.traceback
    return outcome
