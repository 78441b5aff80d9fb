"""Nothing that a test run has started or made outlives it: looked for at the run's very end.

The run has a folder for temporary files and one for Jupyter's connection files, which must be empty then. Its processes are known
by a mark in their environment, so that other runs on the same machine are none of its business; and this process must not
listen, or hold a pseudo-terminal, where it did not before. `tests/conftest.py` makes these functions hooks of pytest.
"""

import gc
import os
import re
import stat
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from ukernel.tempfolder import TempFolder

# A hub that nobody uses any more lingers; and what has been told to end may need its time on a busy machine.
PATIENCE_S = 20.0
MARK = "UCORE_TEST_RUN"
# What processes of ours make outside of the run's own folder, where a test gives them a folder of its own.
_OURS = re.compile(r"ucore-(virtual-board|python|files)-\w{8}|kernel-[\w-]+\.json")
_KEY = pytest.StashKey["Leftovers"]()


class Leftovers:
    """What a run must not leave."""

    def __init__(self):
        self._usual = tempfile.gettempdir()
        self._folder = TempFolder("files")  # removed by whoever comes next, should this run be killed
        for name in ("tmp", "run"):
            os.mkdir(os.path.join(self._folder.path, name))
        self._sockets, self._terminals = _listening(), _terminals()
        self.names: list[str] = []
        self.of_workers: list[str] = []  # what their own looks have found, where the run has workers

    def enter(self) -> None:
        """Have everything that is started from now on use the run's folder, and bear its mark."""
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", self._usual)  # pytest's own folders are kept for a look at them
        os.environ["TMPDIR"] = os.path.join(self._folder.path, "tmp")
        os.environ["JUPYTER_RUNTIME_DIR"] = os.path.join(self._folder.path, "run")
        os.environ[MARK] = ":".join(filter(None, [os.environ.get(MARK), self._folder.path]))
        tempfile.tempdir = None

    def find(self, more: "Path | None" = None) -> "list[str]":
        """Return the names of what is there, once no more of it goes away; ``more`` is a folder that only files of ours must not be in."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            gc.collect()
            self.names = [
                *(f"the process {process.pid}, {_command(process)}" for process in self._processes()),
                *(f"a socket that listens on {address}" for address in sorted(_listening() - self._sockets)),
                *(f"the pseudo-terminal {name}" for name in sorted((_terminals() - self._terminals).values())),
                *(f"the file {path}" for path in self._files(more)),
            ]
            if not self.names or time.monotonic() > deadline:
                return self.names
            time.sleep(0.1)

    def _processes(self) -> "list[psutil.Process]":
        found = []
        for process in psutil.process_iter():
            try:
                marked = self._folder.path in process.environ().get(MARK, "").split(":")
                if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                pass  # it has just ended, or is another user's
        return found

    def _files(self, more: "Path | None") -> "list[Path]":
        folder = Path(self._folder.path)
        found = [path for name in ("tmp", "run") for path in sorted((folder / name).iterdir())]
        for at, folders, files in os.walk(more or folder / "nothing"):
            found += [Path(at, name) for name in folders + files if _OURS.fullmatch(name) or _is_socket(Path(at, name))]
        return found

    def clear(self) -> None:
        """End and remove what there is: it has been named."""
        for process in self._processes():
            try:
                process.kill()
            except psutil.Error:
                pass
        self._folder.remove()


def _listening() -> "set[str]":
    return {
        "{}:{}".format(*connection.laddr)
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


class _Terminals(dict):
    """By descriptor: the same terminal's name may be another one's by now."""

    def __sub__(self, others: dict) -> dict:
        return {fd: name for fd, name in self.items() if others.get(fd) != name}


def _terminals() -> _Terminals:
    found = _Terminals()
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if name.startswith(("/dev/pts/", "/dev/ptmx")):
            found[fd] = name
    return found


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "which has just ended"


def pytest_configure(config):
    config.stash[_KEY] = Leftovers()
    config.stash[_KEY].enter()


@pytest.hookimpl(trylast=True)  # after the last fixtures' ends
def pytest_sessionfinish(session):
    leftovers = session.config.stash[_KEY]
    factory = getattr(session.config, "_tmp_path_factory", None)
    leftovers.names = leftovers.of_workers + leftovers.find(getattr(factory, "_basetemp", None))
    if hasattr(session.config, "workeroutput"):  # of pytest-xdist, told to the run's own process
        session.config.workeroutput["outlived"] = leftovers.names
    elif leftovers.names and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    leftovers.clear()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.stash[_KEY].of_workers += getattr(node, "workeroutput", {}).get("outlived", [])


def pytest_terminal_summary(terminalreporter, config):
    names = config.stash[_KEY].names
    if names:
        terminalreporter.section("outlived this run", red=True)
        for name in names:
            terminalreporter.line(name)
