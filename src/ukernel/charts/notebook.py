"""The notebook that a chart is drawn in: its shell, the cell that runs, and whether somebody may sit before it."""

from typing import Any, Protocol

from ukernel import imports
from ukernel.errors import UsageError

__all__ = ["Shell", "current_cell", "find_shell", "is_watched"]


class Shell(Protocol):
    """What is used of IPython's shell in a notebook's kernel."""

    events: Any
    kernel: Any


def find_shell() -> Shell:
    """Return IPython's shell in a notebook's kernel."""
    ipython = imports.find_imported("IPython")
    shell: Shell | None = ipython.get_ipython() if ipython else None
    if shell is None or getattr(shell, "kernel", None) is None:
        raise UsageError(
            "live_plot draws in a notebook, and this is none. In a script use collect or subscribe, and plot what they return."
        )
    return shell


def current_cell() -> str | None:
    """Return what tells the cell that is running from all others, as far as that is known."""
    try:
        return str(find_shell().kernel.get_parent("shell")["header"]["msg_id"])
    except (UsageError, LookupError, TypeError):
        return None


def is_watched(shell: Shell) -> bool:
    """Whether somebody may sit before the notebook. nbclient, and so nbconvert and papermill, run cells without a way to
    ask for input: no widget will ever be seen there."""
    return bool(shell.kernel.get_parent("shell").get("content", {}).get("allow_stdin", True))
