"""Which boards there are, and what is known of each without asking it."""

from typing import Any, NamedTuple

__all__ = ["BoardInfo", "boards", "read_reply"]


class BoardInfo(NamedTuple):
    """What is known of a board without asking it.

    name: what `connect` takes. port. description: of the port or the chip. state: "ready", "free" (nobody uses it) or why it cannot be
    used. users: who uses it, in words. running: whose code it runs now, in words; empty for nobody's.
    """

    name: str
    port: str
    description: str
    state: str
    users: tuple[str, ...] = ()
    running: str = ""


def boards() -> list[BoardInfo]:
    """Return the boards that are plugged in, the virtual ones that run, and those that the hub knows. None of them is opened."""
    from ukernel.client import connection

    with connection.connect() as hub:
        return read_reply(hub.request("boards_request"))


def read_reply(reply: dict[str, Any]) -> list[BoardInfo]:
    """Return what the hub says of its boards."""
    return [
        BoardInfo(
            board["name"],
            board["port"],
            board["description"],
            board["state"],
            tuple(board.get("clients", ())),
            (board.get("running") or {}).get("client", ""),
        )
        for board in reply["boards"]
    ]
