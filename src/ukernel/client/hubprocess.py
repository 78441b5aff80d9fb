"""The hub's process: started by whoever needs it first, and why one ended at once."""

from __future__ import annotations

import sys

from ukernel import settings
from ukernel.errors import HubUnreachableError, describe
from ukernel.protocol import statefile

from .detachedprocess import DetachedProcess

__all__ = ["HubProcess"]


class HubProcess:
    """Starts a hub, and knows why one ended at once."""

    def __init__(self) -> None:
        self._hub: DetachedProcess | None = None

    def ensure_started(self) -> None:
        """Start a hub if none is starting. Raises HubUnreachableError if the last one could not."""
        if self._hub is None:
            path = settings.state_path()
            statefile.check_folder(path)
            statefile.check_kind(path.with_name(path.name + ".lock"))
            try:
                self._hub = DetachedProcess("ukernel.hub", "--detach-stderr")
            except OSError as error:
                raise HubUnreachableError(f"The board hub cannot be started: {describe(error)}.") from error
            return
        status = self._hub.poll()
        if status is not None:
            if status not in (0, statefile.ANOTHER_HUB):
                raise HubUnreachableError(
                    f"The board hub ended as soon as it was started: {self._hub.reason()}. Its state file is {settings.state_path()}. "
                    f"Run `{sys.executable} -m ukernel.hub` to see more."
                )
            self.close()

    def close(self) -> None:
        """Let go of the file; the hub, if there is one, goes on."""
        if self._hub is not None:
            self._hub.close()
            self._hub = None
