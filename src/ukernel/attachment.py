"""The kernel's ties to boards: a client of the hub for each, made in the background, never waited for before it is needed."""

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import settings
from .errors import HubUnreachableError, UcoreError

if TYPE_CHECKING:
    from .loop import Loop

__all__ = ["Attachment", "Attachments"]

# Cells whose threads may still print; the hub remembers fewer.
MAX_RECEIVERS = 300
_IDLE, _CONNECTING, _READY = "idle", "connecting", "ready"


class Attachment:
    """One board through one hub client. Everything but ``_connect`` happens on the switchboard's thread."""

    def __init__(self, attachments: "Attachments", board: "str | None", virtual: bool = False):
        self.board: dict = {}  # what attach_reply said: name, port, facts
        self.virtual_board = None  # the VirtualBoard that this notebook brought along
        self._attachments = attachments
        self._ref = board
        self._virtual = virtual
        self._client = None
        self._state = _IDLE
        self._waiting: list[Callable] = []
        self._receivers: OrderedDict[int, Callable] = OrderedDict()

    def open(self) -> None:
        """Start connecting in the background, unless that is done or under way."""
        if self._state == _IDLE:
            self._state = _CONNECTING
            threading.Thread(target=self._connect, name="ucore-attach", daemon=True).start()

    def when_ready(self, callback: Callable[["UcoreError | None"], None]) -> None:
        """Call back with None once the board is attached, or with the error that keeps it from it; perhaps at once."""
        if self._state == _READY:
            self.pump()  # a hub that has gone meanwhile is noticed now, not by the failure of what is sent next
        if self._state == _READY:
            callback(None)
            return
        self._waiting.append(callback)
        self.open()

    def forget(self, callback: Callable) -> None:
        """Take back a `when_ready`."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(callback)

    @property
    def is_ready(self) -> bool:
        return self._state == _READY

    def _connect(self) -> None:
        client = None
        try:
            if self._virtual and self.virtual_board is None:
                self.virtual_board = self._attachments.start_virtual_board()
            ref = self._ref or (self.virtual_board.port if self.virtual_board else settings.board())
            client = self._attachments.connect_hub()
            port = settings.pipe_port()
            if port is not None:
                client.request("listen_request", {"port": port})
            board = client.request("attach_request", {"board": ref, "client": _label()}, timeout_s=None)["board"]
        except Exception as error:  # whatever it is, it belongs into the cell that wants the board
            if client is not None:
                client.close()
            self._attachments.loop.post(lambda error=error: self._settle(None, {}, error))
        else:
            self._attachments.loop.post(lambda: self._settle(client, board, None))

    def _settle(self, client, board: dict, error: "Exception | None") -> None:
        self._client, self.board = client, board
        self._state = _READY if error is None else _IDLE
        if client is not None:
            self._attachments.loop.add(client.fileno(), self.pump)
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback(error)
        if client is not None:
            self.pump()  # what came while we were attaching

    def send(self, msg_type: str, content: dict, receive: "Callable[[str, dict], None] | None" = None) -> int:
        """Send a request on a ready attachment; ``receive(type, content)`` hears whatever answers it.

        Raises HubUnreachableError.
        """
        try:
            number = self._client.send(msg_type, content)
        except HubUnreachableError as error:
            self._lose(error)
            raise
        if receive is not None:
            self._receivers[number] = receive
            if len(self._receivers) > MAX_RECEIVERS:
                self._receivers.popitem(last=False)
        return number

    def pump(self) -> None:
        """Hand what the hub has sent to those who asked."""
        try:
            messages = self._client.drain()
        except HubUnreachableError as error:
            self._lose(error)
            return
        for message in messages:
            receive = self._receivers.get(message["parent"])
            if receive is not None:
                receive(message["type"], message["content"])

    def _lose(self, error: HubUnreachableError) -> None:
        """The hub is gone: fail what was asked; the next board cell connects again."""
        if self._state != _READY:
            return
        self._state = _IDLE
        self._attachments.loop.remove(self._client.fileno())
        self._client.close()
        receivers, self._receivers = self._receivers, OrderedDict()
        failure = {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}
        for receive in receivers.values():
            receive("execute_reply", failure)

    def close(self) -> None:
        if self._state == _READY:
            self._state = _IDLE
            self._client.close()
        if self.virtual_board is not None:
            self.virtual_board.stop()


class Attachments:
    """The attachments of one kernel, by board."""

    def __init__(self, virtual: bool = False, connect: "Callable | None" = None):
        """``virtual``: the notebook's own board is a virtual one, started here. ``connect`` makes a hub client."""
        self.is_virtual = virtual
        self._connect = connect
        self._by_board: dict = {}

    def start(self, loop: "Loop") -> None:
        """Begin to attach the notebook's board; messages from hubs are read in this loop."""
        self.loop = loop
        self.get(None).open()

    def get(self, board: "str | None") -> Attachment:
        """Return the attachment of a board; None is the notebook's own."""
        if board not in self._by_board:
            self._by_board[board] = Attachment(self, board, self.is_virtual and board is None)
        return self._by_board[board]

    @property
    def banner(self) -> str:
        """One line for the kernel's banner."""
        own = self.get(None)
        if not self.is_virtual:
            return "µcore: a cell that starts with %%ucore runs on the board."
        runs = f": {own.virtual_board.banner}" if own.virtual_board else ""
        return f"µcore: a cell that starts with %%ucore runs on this notebook's virtual board{runs}."

    @property
    def notice(self) -> str:
        """What people must know about the notebook's board: empty, unless it is only a stand-in for MicroPython."""
        own = self.get(None).virtual_board
        return own.banner if own is not None and own.python == "cpython" else ""

    def connect_hub(self):
        if self._connect is not None:
            return self._connect()
        from . import client

        return client.connect()

    def start_virtual_board(self):
        from .virtualboard import VirtualBoard

        board = VirtualBoard()
        board.start()
        return board

    def close(self) -> None:
        for attachment in self._by_board.values():
            attachment.close()


def _label() -> str:
    """Return what the hub calls this kernel when somebody else waits for the board."""
    notebook = os.path.basename(os.environ.get("JPY_SESSION_NAME", ""))
    return f"the notebook {notebook}" if notebook else f"a notebook (kernel process {os.getpid()})"
