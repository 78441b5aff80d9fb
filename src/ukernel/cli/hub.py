"""`ucore stop`, `ucore pipes` and `ucore token`: the board hub that runs, and what it knows."""

import argparse

from ukernel import settings
from ukernel.errors import HubUnreachableError

__all__ = ["show_pipes", "show_token", "stop"]


def stop(options: argparse.Namespace) -> None:
    """Stop the hub, if one runs."""
    from ukernel.client import connection

    try:
        hub = connection.connect(start=False)
    except HubUnreachableError:
        print("No board hub runs.")
        return
    with hub:
        hub.request("stop_request", {})
    print("The board hub stops. It starts again when a notebook needs it.")


def show_pipes(options: argparse.Namespace) -> None:
    """Print the pipes of all boards as a table."""
    from ukernel.pipes.listing import pipes

    print(pipes().table())


def show_token(options: argparse.Namespace) -> None:
    """Print the token that a reader needs to be let in. Raises HubUnreachableError where no hub runs."""
    from ukernel.protocol import statefile

    here = statefile.find()
    if here is None:
        raise HubUnreachableError(f"No board hub runs (looked at {settings.state_path()}).")
    print(here.token)
