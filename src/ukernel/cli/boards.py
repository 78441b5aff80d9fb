"""`ucore boards`: what is connected."""

import argparse
from typing import Any

from ukernel import settings
from ukernel.errors import HubUnreachableError

__all__ = ["show"]


def show(options: argparse.Namespace) -> None:
    """Print the boards that are connected, a line each."""
    boards = _known_boards()
    for board in boards:
        used = ", ".join(board.get("clients", ()))
        state = board["state"] + (f", used by {used}" if used else "")
        print(f"{board['name']:20} {board['port']:20} {board['description']:30} {state}")
    if not boards:
        print("No board is connected. `ucore virtual` starts one that needs no hardware.")


def _known_boards() -> list[dict[str, Any]]:
    """Return the boards that are plugged in, virtual ones that run, the one in UCORE_BOARD; and what the hub, where one runs, knows of them."""
    from ukernel.client import connection
    from ukernel.ports import discovery

    try:
        with connection.connect(start=False) as hub:
            found: list[dict[str, Any]] = hub.request("boards_request")["boards"]
    except HubUnreachableError:
        found = [
            {"name": info.name, "port": info.port, "description": info.description, "state": "free"}
            for info in discovery.find_boards() + discovery.find_virtual_boards()
        ]
    chosen = settings.board()
    if chosen and not any(chosen in (board["name"], board["port"]) for board in found):
        info = discovery.describe(chosen)
        found.append(
            {"name": info.name, "port": chosen, "description": f"{info.description}, in UCORE_BOARD", "state": "not in use"}
        )
    return found
