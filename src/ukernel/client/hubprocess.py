"""The hub's process: started by whoever needs it first, and why one ended at once."""

from __future__ import annotations

import atexit
import os
import re
import sys
from typing import IO, TYPE_CHECKING, Any

from ukernel import settings
from ukernel.errors import HubUnreachableError, describe
from ukernel.protocol import statefile

if TYPE_CHECKING:
    import subprocess

__all__ = ["HubProcess"]

_started: list[subprocess.Popen[bytes]] = []  # by this process: kept so that they can be reaped


@atexit.register
def _forget_children() -> None:
    for hub in _started:
        if hub.poll() is None:
            hub.returncode = 0  # it outlives us on purpose; subprocess would warn about that


class HubProcess:
    """Starts a hub, and knows why one ended at once."""

    def __init__(self) -> None:
        self._hub: subprocess.Popen[bytes] | None = None
        self._stderr_file: IO[bytes] | None = None  # what it says on its standard error until it is up

    def ensure_started(self) -> None:
        """Start a hub if none is starting. Raises HubUnreachableError if the last one could not."""
        if self._hub is None:
            path = settings.state_path()
            statefile.check_folder(path)
            statefile.check_kind(path.with_name(path.name + ".lock"))
            try:
                self._start()
            except OSError as error:
                raise HubUnreachableError(f"The board hub cannot be started: {describe(error)}.") from error
        elif self._hub.poll() is not None:
            if self._hub.returncode not in (0, statefile.ANOTHER_HUB):
                raise HubUnreachableError(
                    f"The board hub ended as soon as it was started: {self._reason(self._hub.returncode)}. Its state file is {settings.state_path()}. "
                    f"Run `{sys.executable} -m ukernel.hub` to see more."
                )
            self.close()

    def close(self) -> None:
        """Let go of the file; the hub, if there is one, goes on."""
        self._hub = None
        if self._stderr_file is not None:
            self._stderr_file.close()
            self._stderr_file = None

    def _start(self) -> None:
        import subprocess  # 4 ms that whoever finds a hub does not pay
        import tempfile

        _started[:] = [hub for hub in _started if hub.poll() is None]
        # Detached in every way: no terminal, no pipe of ours, no Ctrl-C, and no folder whose files would shadow modules.
        how: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            how = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
        null = subprocess.DEVNULL
        try:
            if hasattr(os, "memfd_create"):  # a full disk is one of the things that it may have to tell
                self._stderr_file = open(os.memfd_create("hub"), "w+b")  # noqa: SIM115
            else:
                self._stderr_file = tempfile.TemporaryFile()  # noqa: SIM115
        except OSError:  # no room for it
            pass
        self._hub = subprocess.Popen(
            [sys.executable, "-m", "ukernel.hub", "--detach-stderr"],
            stdin=null,
            stdout=null,
            stderr=self._stderr_file or null,
            cwd=os.path.abspath(os.sep),
            **how,
        )
        _started.append(self._hub)

    def _reason(self, status: int) -> str:
        """Return the last line that a hub said which has ended, without the class of our own errors."""
        lines = []
        if self._stderr_file is not None:
            self._stderr_file.seek(0)
            lines = self._stderr_file.read().decode(errors="replace").strip().splitlines()
        return re.sub(r"^ukernel\.errors\.\w+: ", "", lines[-1]).rstrip(".") if lines else f"status {status}"
