"""A virtual board as an object for programs: started in a process of its own, and ended with the object.

That process is `ukernel.virtual.process`, a program that `ucore virtual` runs as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ukernel.errors import BoardGoneError, describe
from ukernel.tempfolder import TempFolder

__all__ = ["VirtualBoard", "environment"]

HEAP = "4m"  # as a board with SPIRAM has
STOP_S = 3.0  # its process tidies up in a moment; one that hangs is killed, which takes the board along


class VirtualBoard:
    """A virtual board in a process of its own, which ends with this object or with this process, whatever comes first.

    ``python`` is "micropython" (BoardGoneError if it is not built, see `ukernel.virtual.firmware`), "cpython", or "auto": MicroPython
    if it is built. It starts at once and never builds. ``slice_ms`` is how long a thread that waits lets another one compute, in
    milliseconds: a chip's operating system is coarser than the quarter that is the default. ``env`` is added to the board's
    environment variables. Use it in a ``with`` statement, or call `start` and `stop`.

    Attributes, once started: ``port`` (what to give to UCORE_BOARD), ``python`` ("micropython" or "cpython"), ``version`` and
    ``banner`` (a line for people that says which one runs).
    """

    def __init__(
        self,
        python: str = "auto",
        *,
        heap: str = HEAP,
        socket: bool = False,
        slice_ms: float | None = None,
        package: Path | None = None,
        env: dict[str, str] | None = None,
    ):
        self.python = python
        self.port = self.version = self.banner = ""
        self._options = ["--python", python, "--heap", heap, *(["--socket"] if socket else [])]
        self._options += [f"--slice={slice_ms}"] if slice_ms is not None else []
        self._options += ["--package", str(package)] if package else []
        self._options += [f"--env={name}={value}" for name, value in (env or {}).items()]
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: TempFolder | None = None

    def start(self) -> VirtualBoard:
        """Start it and return it. Raises BoardGoneError with the reason if it cannot run."""
        try:
            return self._start()
        except OSError as error:
            self.stop()
            raise BoardGoneError(f"The virtual board did not start: {describe(error)}.") from error

    def _start(self) -> VirtualBoard:
        # Made here and removed by both: whichever of the two is killed, the other one tidies up.
        self._folder = TempFolder("virtual-board")
        command = [
            sys.executable,
            "-m",
            "ukernel.virtual.process",
            "--end-with-stdin",
            "--folder",
            self._folder.path,
            *self._options,
        ]
        with tempfile.TemporaryFile() as errors:
            # It ends with its standard input, so when this process does, however that happens.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            assert self._process.stdout is not None  # a pipe was asked for
            line = self._process.stdout.readline()
            self._process.stdout.close()
            if not line:
                self.stop()
                errors.seek(0)
                text = errors.read().decode(errors="replace").strip()
                raise BoardGoneError(f"The virtual board did not start: {text or 'it gave no reason'}")
        about = json.loads(line)
        self.port, self.python = about["port"], about["python"]
        self.version, self.banner = about["version"], about["banner"]
        return self

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether its process has ended, or does so ``within_s`` seconds."""
        if self._process is None:
            return True
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Stop it and wait for its end; nothing happens if it does not run."""
        if self._process:
            assert self._process.stdin is not None  # a pipe was asked for
            self._process.stdin.close()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._folder:
            self._folder.remove()

    __enter__ = start

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def environment() -> dict[str, str]:
    """Return our environment, in which child processes find these packages from any working folder."""
    ours = str(Path(__file__).parents[2])
    paths = [ours, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in paths if path)}
