"""Kernels for the tests: the project's own kernelspecs, and state, history and temporary files that are nobody else's."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from frontend import Notebook
from workbench import Workbench

from ukernel.protocol import statefile

SOURCE = Path(__file__).parents[2] / "src"
# Each variable that could lead a kernel to another one's files, hub or board.
_FOREIGN = ("UCORE_BOARD", "UCORE_PIPE_PORT", "UCORE_PIPE_TOKEN", "UCORE_HUB_LOG", "JPY_SESSION_NAME")


@pytest.fixture(scope="session")
def private_environment(tmp_path_factory):
    """The environment in which every kernel of a test run starts."""
    folder = tmp_path_factory.mktemp("jupyter")
    kernels = folder / "kernels"
    shutil.copytree(SOURCE / "ukernel" / "kernel" / "kernelspecs", kernels)
    temporary = folder / "tmp"
    temporary.mkdir()
    values = {
        "JUPYTER_PATH": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "UCORE_STATE_PATH": str(folder / "hub.json"),
        "UCORE_HUB_LINGER_S": "0.5",
        "PYTHONPATH": os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONWARNINGS": "",
        "TMPDIR": str(temporary),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        patch.setattr("tempfile.tempdir", None)  # for our own process, too
        for name in _FOREIGN:
            patch.delenv(name, raising=False)
        if str(SOURCE) not in sys.path:
            patch.syspath_prepend(str(SOURCE))
        yield folder


@pytest.fixture(scope="session")
def shared_notebook(private_environment, board_port):
    """One notebook on a virtual board, for the tests that leave it as they found it."""
    with _notebook(board_port) as notebook:
        if board_port:  # nothing of earlier runs: their names, and cells of the same number
            assert notebook.run("%ucore reset").reply["status"] == "ok"
        yield notebook


@pytest.fixture
def notebook(shared_notebook):
    """A working notebook on a virtual board, with nothing left over from the test before."""
    while shared_notebook.received():
        pass
    hub = statefile.read()
    yield shared_notebook
    assert hub in (None, statefile.read()), "the test has ended the hub of other tests' notebook: give it one of its own"


@pytest.fixture
def own_notebook(private_environment, board_port):
    """A notebook of the test's own, to be restarted and broken."""
    with _notebook(board_port) as notebook:
        yield notebook


def _notebook(port):
    return Notebook("ucore", env={**os.environ, "UCORE_BOARD": port}) if port else Notebook("ucore-virtual")


@pytest.fixture(scope="session", params=["micropython", "cpython"])
def workbench(request, private_environment, board_port):
    """Two notebooks that share a virtual board, and have a hub of their own: once on each Python a board can have."""
    if board_port and request.param == "cpython":
        pytest.skip("with --board there is one board, which runs MicroPython")
    if request.param == "micropython" and not board_port:
        request.getfixturevalue("micropython")
    with Workbench(request.param, private_environment, board_port) as workbench:
        yield workbench


@pytest.fixture
def bench(workbench, monkeypatch):
    """A workbench whose pipes are closed and whose charts stand still; this process uses its hub, too."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(workbench.state_path))
    yield workbench
    workbench.clear()
