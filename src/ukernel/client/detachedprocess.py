"""A process that outlives the one that has started it: no terminal, no pipe, no Ctrl-C of that. And why it ended, where it did at once."""

from __future__ import annotations

import atexit
import os
import re
import sys
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

__all__ = ["DetachedProcess"]

_started: list[subprocess.Popen[bytes]] = []  # by this process: kept so that they can be reaped


@atexit.register
def _forget_children() -> None:
    for process in _started:
        if process.poll() is None:
            process.returncode = 0  # it outlives us on purpose; subprocess would warn about that


class DetachedProcess:
    """``python -m MODULE`` with these arguments, started when it is made. ``given``: bytes for its standard input.

    It should let go of its standard error once it is up: that is a file here until `close`. Raises OSError where it cannot be started.
    """

    def __init__(self, module: str, *arguments: str, given: bytes = b""):
        import subprocess  # 4 ms that whoever finds a hub does not pay
        import tempfile

        _started[:] = [process for process in _started if process.poll() is None]
        self._stderr_file: IO[bytes] | None = None  # what it says on its standard error until it is up
        # Detached in every way: no folder either, whose files would shadow modules.
        how: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            how = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
        null = subprocess.DEVNULL
        try:
            if hasattr(os, "memfd_create"):  # a full disk is one of the things that it may have to tell
                self._stderr_file = open(os.memfd_create(module), "w+b")  # noqa: SIM115
            else:
                self._stderr_file = tempfile.TemporaryFile()  # noqa: SIM115
        except OSError:  # no room for it
            pass
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE if given else null,
                stdout=null,
                stderr=self._stderr_file or null,
                cwd=os.path.abspath(os.sep),
                **how,
            )
        except OSError:
            self.close()
            raise
        _started.append(self._process)
        if self._process.stdin is not None:
            try:
                with self._process.stdin as stdin:
                    stdin.write(given)
            except BrokenPipeError:
                pass  # it has ended already, and says why

    def poll(self) -> int | None:
        """Return its exit status, None as long as it runs."""
        return self._process.poll()

    def reason(self) -> str:
        """Return the last line that it said, without the class of our own errors; its status where it said nothing."""
        lines = []
        if self._stderr_file is not None:
            self._stderr_file.seek(0)
            lines = self._stderr_file.read().decode(errors="replace").strip().splitlines()
        return re.sub(r"^ukernel\.errors\.\w+: ", "", lines[-1]).rstrip(".") if lines else f"status {self._process.returncode}"

    def close(self) -> None:
        """Let go of the file; the process, if it runs, goes on."""
        if self._stderr_file is not None:
            self._stderr_file.close()
            self._stderr_file = None
