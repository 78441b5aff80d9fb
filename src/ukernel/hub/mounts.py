"""The folder that a client has mounted on a board: the board's questions go to that client, and its answers back."""

import base64
import json
from collections.abc import Callable
from typing import Any

from ucore import wire
from ukernel.errors import BoardBusyError

from .interfaces import Client

__all__ = ["Mounts"]

ENODEV = 19  # as a board numbers it


class Mounts:
    """One board's: there is one mount at a time.

    ``name()`` is the board's; ``send(type, parent, content)`` reaches it; ``new_parent()`` gives a number for its messages.
    """

    def __init__(self, name: Callable[[], str], send: Callable[[int, int, bytes], None], new_parent: Callable[[], int]):
        self.number = 0  # of the mount, 0 for none
        self._client: Client | None = None
        self._request = 0
        self._asked: int | None = None  # the board's number for the question that the client has not answered yet
        self._name = name
        self._send = send
        self._new_parent = new_parent

    def begin(self, client: Client, request: int) -> None:
        """Make a client the one that is asked; it is told the number. Raises BoardBusyError where another one is."""
        if self._client is not None:
            raise BoardBusyError(f"A folder of {self._client.label} is mounted on the board {self._name()} already.")
        self.number = self._new_parent()
        self._client, self._request, self._asked = client, request, None
        client.send("mounted", request, {"number": self.number})

    def ask(self, number: int, question: bytes) -> None:
        """The board asks. Where there is nobody to be asked, the answer is that."""
        try:
            count, *_ = json.loads(question.partition(b"\n")[0])
        except (ValueError, TypeError):
            return
        if number == self.number and self._client is not None:
            self._asked = count
            self._client.send("remote_request", self._request, {"data": base64.b64encode(question).decode()})
        else:
            self._refuse(number, count)

    def _refuse(self, number: int, count: int) -> None:
        self._send(wire.REMOTE_REPLY, number, json.dumps([count, ENODEV, None]).encode() + b"\n")

    def answer(self, client: Client, request: int, answer: bytes) -> None:
        """The client has answered."""
        if client is self._client and request == self._request:
            self._asked = None
            self._send(wire.REMOTE_REPLY, self.number, answer)

    def end(self, client: Client, request: int) -> None:
        """The client ends its mount."""
        if client is self._client and request == self._request:
            self._refuse_open()
            self.drop({"status": "ok"})

    def leave(self, client: Client) -> None:
        """A client is gone."""
        if client is self._client:
            self._refuse_open()
            self._client, self.number = None, 0

    def _refuse_open(self) -> None:
        """The board is not to wait for an answer that does not come."""
        if self._asked is not None:
            self._refuse(self.number, self._asked)
            self._asked = None

    def drop(self, reply: dict[str, Any]) -> None:
        """End the mount, with this reply to who has made it."""
        if self._client is not None:
            self._client.send("mount_reply", self._request, reply)
        self._client, self.number = None, 0
