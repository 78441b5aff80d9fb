"""Clients that want to know of every pipe that a board opens: recorders, which miss none, however short it lives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .interfaces import Client
from .opening import Opening
from .sharedboard import SharedBoard

__all__ = ["Watchers"]


class Watchers:
    """Who watches, and what is known of each opening.

    ``boards()`` are the hub's; ``boards_of(kernel)`` those that a kernel uses, None where it is no client of the hub.
    """

    def __init__(self, boards: Callable[[], Iterable[SharedBoard]], boards_of: Callable[[str], list[SharedBoard] | None]):
        self._boards = boards
        self._boards_of = boards_of
        self._watchers: dict[Client, tuple[int, str]] = {}  # the request that each one has made, and its kernel

    def __bool__(self) -> bool:
        return bool(self._watchers)

    def add(self, client: Client, request: int, kernel: str) -> list[dict[str, Any]]:
        """Tell a client of all openings from now on, and return those that are there. What is not ``kernel``'s is marked."""
        self._watchers[client] = request, kernel
        return [self._describe(opening, board, kernel) for board in self._boards() for opening in board.pipes]

    def discard(self, client: Client) -> None:
        """Forget a client."""
        self._watchers.pop(client, None)

    def opened(self, opening: Opening) -> None:
        """Tell of a new one."""
        board = next((board for board in self._boards() if any(one is opening for one in board.pipes)), None)
        if board is not None:
            for client, (request, kernel) in self._watchers.items():
                client.send("pipe_opened", request, self._describe(opening, board, kernel))

    def end(self) -> None:
        """The hub leaves, and was not killed."""
        for client, (request, _) in self._watchers.items():
            client.send("hub_stopping", request, {})

    def _describe(self, opening: Opening, board: SharedBoard, kernel: str) -> dict[str, Any]:
        own = self._boards_of(kernel) if kernel else None
        return {
            "id": opening.id,
            "pipe": opening.name,
            "board": opening.board,
            "port": board.port,
            "generation": opening.generation,
            "number": opening.frames,
            "boot": str((board.driver.facts or {}).get("boot", "")),
            "facts": board.driver.facts or {},
            "cell": opening.cell,
            "own": None if own is None else any(one is board for one in own),
        }
