"""Finding this user's hub, wherever its state file says it is; seeing to it that there is one, and that it is of this build."""

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from ucore.wire import BUILD
from ukernel import settings
from ukernel.errors import HubUnreachableError, UcoreError
from ukernel.protocol import statefile

from .hubprocess import HubProcess

__all__ = ["remove_stale_file", "with_hub"]

T = TypeVar("T")

_POLL_S = 0.01  # between two looks for a hub that is about to come up, which takes a quarter of a second


def with_hub(
    open_: Callable[[statefile.HubInfo, float], T],
    stop_old_hub: Callable[[statefile.HubInfo], None],
    *,
    start: bool,
    any_build: bool,
    timeout_s: float,
) -> T:
    """Return what ``open_(hub, seconds left)`` does with the living hub; with ``start``, one is started where there is none.

    A hub may leave, or lose a race, meanwhile: then ``open_`` raises OSError, and is called again. Unless ``any_build``, one of another
    build is given to ``stop_old_hub``, which raises HubError where it cannot be stopped. Raises HubUnreachableError where there is none
    within ``timeout_s`` seconds, and what ``open_`` raises.
    """
    deadline = time.monotonic() + timeout_s
    process = HubProcess()
    try:
        while True:
            here = statefile.read() if start else statefile.find()
            if here is not None:
                try:
                    if any_build or here.build == BUILD:
                        return open_(here, deadline - time.monotonic())
                    why = f"the one that runs is of build {here.build}, not {BUILD}"
                    stop_old_hub(here)
                except OSError as error:
                    why = f"it is not answering ({error})"
            elif statefile.is_held():
                why = "one holds the lock beside its state file, but does not write that"
            elif not start:
                raise HubUnreachableError(f"No board hub runs (looked at {settings.state_path()}).")
            else:
                why = "there is none"
            if time.monotonic() > deadline:
                raise HubUnreachableError(
                    f"No board hub could be reached within {timeout_s:g} s: {why}. Its state file is {settings.state_path()}. "
                    "Set UCORE_HUB_LOG to a file name to see what it does."
                )
            if here is None and start:
                process.ensure_started()
            time.sleep(_POLL_S)
    finally:
        process.close()


def remove_stale_file() -> None:
    """Remove the state file that a killed hub has left, where it has: for who ends, and may be the last to look. Raises nothing."""
    with contextlib.suppress(UcoreError, OSError):
        statefile.remove_stale()
