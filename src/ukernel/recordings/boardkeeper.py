"""Keeps a board attached to the hub while its pipes are followed: also when no notebook is there any more, or the hub is another one."""

from __future__ import annotations

from typing import Any

from ukernel.client import connection
from ukernel.client.connection import HubClient
from ukernel.errors import UcoreError

__all__ = ["BoardKeeper"]

HUB_S = 2.0  # to reach a hub that is there
# Between two attempts: a board that was plugged in again needs a second to boot, and looking for ports costs the hub something.
AGAIN_S, MAX_AGAIN_S = 1.0, 8.0


class BoardKeeper:
    """One board. ``names``: what it may be found by, tried in turn; (None,) for the only one there is. ``label``: what others are told of us.

    The hub counts this client as one that only follows (see `hub.interfaces.Client`). obstacle: why it is not attached, a sentence.
    board: what the hub has said of it: its name and its port; empty as long as it is not attached.
    """

    def __init__(self, names: tuple[str | None, ...], label: str):
        self.names = names
        self.obstacle = ""
        self.board: dict[str, Any] = {}
        self._label = label
        self._client: HubClient | None = None
        self._due = 0.0
        self._turn = 0
        self._given_back = False

    def fileno(self) -> int:
        return self._client.fileno() if self._client is not None else -1

    def is_due(self, now: float) -> bool:
        """Whether `begin` should be called."""
        return self._client is None and now >= self._due and not self._given_back

    def begin(self, now: float) -> bool:
        """Ask the hub for the board; whether that could be asked. Its answer is for `heed`."""
        self._due = now + min(AGAIN_S * 2 ** min(self._turn, 9), MAX_AGAIN_S)
        name = self.names[self._turn % len(self.names)]
        self._turn += 1
        try:
            self._client = connection.connect(start=False, timeout_s=HUB_S)
            self._client.send("attach_request", {"board": name, "client": self._label, "follows": True})
        except (UcoreError, OSError) as error:
            self.obstacle = str(error)
            self.close()
        return self._client is not None

    def heed(self, now: float) -> bool:
        """Take in what the hub says; whether it is still to be heeded."""
        try:
            messages = self._client.drain() if self._client is not None else []
        except UcoreError:
            messages = []
            self.close()
        for message in messages:
            content = message["content"]
            if message["type"] == "attach_reply" and content.get("status") == "ok":
                self.board, self.obstacle, self._turn = content["board"], "", (self._turn - 1) % len(self.names)
            elif message["type"] in ("attach_reply", "detached"):
                self.obstacle = str(content.get("evalue", ""))
                self._given_back = content.get("given_back") is True  # to another program, until somebody asks for it again
                self.close()
        return self._client is not None

    def resume(self) -> None:
        """The board has been taken again, or there is another hub: it may be asked for."""
        self._given_back = False
        self._turn %= len(self.names)
        if self._client is None:
            self._due = 0.0

    def close(self) -> None:
        """Let go of the board."""
        self.board = {}
        if self._client is not None:
            self._client.close()
            self._client = None
