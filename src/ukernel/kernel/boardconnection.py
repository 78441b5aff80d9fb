"""The kernel's ties to boards: a client of the hub for each, made in the background, never waited for before it is needed."""

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from ukernel import settings
from ukernel.errors import BoardGoneError, HubUnreachableError, NoAnswerError, UcoreError, as_reply, by_name

from .loop import Loop, run_logged

__all__ = ["BoardConnection", "BoardConnections"]

# Cells whose threads may still print; the hub remembers fewer.
MAX_RECEIVERS = 300
VIRTUAL = "virtual"  # the name, in `%ucore use` and `--board`, of the virtual board that the notebook brings along
# A process whose terminal has just hung up may need a moment to be seen as ended; and what a restart asks of the hub takes none.
_ENDING_S = 0.2
_RESTART_S = 1.0
_RENEWED = "The virtual board had ended. This is a new one: what the old one remembered is lost."
_HANGS = (NoAnswerError, BoardGoneError)  # from the hub about a virtual board that has not ended: it hangs, or its line does
_REPLACED = "The virtual board did not answer any more. This is a new one: what the old one remembered is lost."
Receive: TypeAlias = Callable[[str, dict[str, Any]], None]  # hears (type, content) of the hub's messages about one request
Ready: TypeAlias = Callable[[Exception | None], None]  # hears when a board is attached, or why it cannot be


class Hub(Protocol):
    """What is needed here of `client.connection.HubClient`, which is loaded in the background only."""

    def fileno(self) -> int: ...
    def send(self, type: str, content: dict[str, Any]) -> int: ...
    def drain(self) -> list[dict[str, Any]]: ...
    def request(self, type: str, content: dict[str, Any] | None = None, timeout_s: float | None = 10.0) -> dict[str, Any]: ...
    def close(self) -> None: ...


class VirtualBoard(Protocol):
    """What is needed here of `virtual.launcher.VirtualBoard`, which is loaded in the background only."""

    port: str
    python: str
    banner: str

    def has_ended(self, wait_s: float) -> bool: ...
    def stop(self) -> None: ...


class BoardConnection:
    """One board through one hub client. Everything but ``_connect`` happens on the switchboard's thread."""

    def __init__(self, connections: "BoardConnections", board: str | None):
        self.board: dict[str, Any] = {}  # what attach_reply said: name, port, facts
        self.virtual_board: VirtualBoard | None = None  # the VirtualBoard that this notebook brought along
        self._connections = connections
        self._ref = board
        self._hangs = False  # whether a virtual board that has not ended is to be replaced all the same
        self._notices: list[str] = []
        self._hub: Hub | None = None  # the client, while the board is attached
        self._is_connecting = False
        self._waiting: list[Ready] = []
        self._receivers: OrderedDict[int, Receive] = OrderedDict()

    def open(self) -> None:
        """Start connecting in the background, unless that is done or under way."""
        if self._hub is None and not self._is_connecting:
            self._is_connecting = True
            threading.Thread(target=self._connect, name="ucore-attach", daemon=True).start()

    def when_ready(self, callback: Ready) -> None:
        """Call back with None once the board is attached, or with the error that keeps it from it; perhaps at once."""
        self.pump()  # a hub that has gone meanwhile is noticed now, not by the failure of what is sent next
        if self.is_ready:
            callback(None)
            return
        self._waiting.append(callback)
        self.open()

    def ask_again(self, callback: Ready) -> None:
        """As `when_ready`, but the hub is asked for the board although it is attached: one that hangs is seen to now."""
        self.pump()
        if not self.is_ready:
            self.when_ready(callback)
            return

        def take(msg_type: str, content: dict[str, Any]) -> None:
            self._receivers.pop(request, None)
            if msg_type != "attach_reply":  # hub or board were lost meanwhile
                self.when_ready(callback)
            elif content["status"] == "error":
                callback(by_name(content["ename"], content["evalue"]))
            else:
                self._take_answer(content)
                callback(None)

        try:
            request = self.send("attach_request", self._request(self.board["port"]), take)
        except HubUnreachableError:
            self.when_ready(callback)

    def forget(self, callback: Ready) -> None:
        """Take back a `when_ready`."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(callback)

    @property
    def is_ready(self) -> bool:
        return self._hub is not None

    def take_notice(self) -> str:
        """Return what people must be told with their next board cell, once; empty where there is nothing."""
        notices, self._notices = self._notices, []
        return "\n".join(notices)

    def _connect(self) -> None:
        hub: Hub | None = None
        answer: dict[str, Any] = {}
        failure: Exception | None = None
        notices: list[str] = []
        try:
            ref = self._bring_virtual_board(notices) if self._ref == VIRTUAL else self._ref or settings.board()
            hub = self._connections.connect_hub()
            port = settings.pipe_port()
            if port is not None:
                hub.request("listen_request", {"port": port})
            answer = self._attach(hub, ref, None)
        except Exception as error:  # whatever it is, it belongs into the cell that wants the board
            if hub is not None:
                hub.close()
            hub, failure = None, error
        self._connections.loop.call_soon_threadsafe(lambda: self._settle(hub, answer, failure, notices))

    def _attach(self, hub: Hub, ref: str | None, timeout_s: float | None) -> dict[str, Any]:
        return hub.request("attach_request", self._request(ref), timeout_s=timeout_s)

    def _request(self, ref: str | None) -> dict[str, Any]:
        return {"board": ref, "client": _label(), **self._connections.identity}

    def _take_answer(self, answer: dict[str, Any]) -> None:
        self.board = answer.get("board", {})
        if answer.get("notice"):
            self._notices.append(answer["notice"])

    def _bring_virtual_board(self, notices: list[str]) -> str:
        """Return the port of the notebook's virtual board, started here where there is none, or where it has ended.

        ``notices``: what people must be told of that is added to them.
        """
        board = self.virtual_board
        if board is not None:
            has_ended = board.has_ended(_ENDING_S)
            if has_ended or self._hangs:
                board.stop()
                board = self.virtual_board = None
                notices.append(_RENEWED if has_ended else _REPLACED)
        if board is None:
            board = self.virtual_board = self._connections.start_virtual_board()
            if board.python == "cpython":
                notices.append(board.banner)
        return board.port

    def _settle(self, hub: Hub | None, answer: dict[str, Any], error: Exception | None, notices: list[str]) -> None:
        self._hub, self._is_connecting = hub, False
        self._notices += notices
        self._take_answer(answer)
        self._hangs = isinstance(error, _HANGS)
        if hub is not None:
            self._connections.loop.add_reader(hub.fileno(), self.pump)
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback(error)
        self.pump()  # what came while we were attaching

    def send(self, msg_type: str, content: dict[str, Any], receive: Receive | None = None) -> int:
        """Send a request on a ready connection; ``receive(type, content)`` hears whatever answers it.

        Raises HubUnreachableError, also where the connection is not ready (any more).
        """
        if self._hub is None:
            raise HubUnreachableError("The board is not attached any more.")
        try:
            number = self._hub.send(msg_type, content)
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
        if self._hub is None:
            return
        try:
            messages = self._hub.drain()
        except HubUnreachableError as error:
            self._lose(error)
            return
        for message in messages:
            content = message["content"]
            if message["type"] == "detached":  # the board has ended for good: the next cell looks for one anew
                reason = by_name(content["ename"], content["evalue"])
                self._hangs = isinstance(reason, _HANGS)
                self._lose(reason)
                return
            receive = self._receivers.get(message["parent"])
            if receive is not None:
                run_logged(receive, message["type"], content)

    def _lose(self, error: UcoreError) -> None:
        """Hub or board is gone: fail what was asked; the next board cell connects again."""
        if self._hub is None:
            return
        hub, self._hub = self._hub, None
        self._connections.loop.remove_reader(hub.fileno())
        hub.close()
        receivers, self._receivers = self._receivers, OrderedDict()
        for receive in receivers.values():
            receive("execute_reply", as_reply(error))

    def release(self) -> None:
        """Let the board go, and keep a virtual one for later."""
        if self._hub is not None:
            with contextlib.suppress(HubUnreachableError):
                self._hub.send("leave_request", {})
            self._lose(BoardGoneError("This notebook uses another board now."))
        self.board = {}

    def close(self, restart: bool = False) -> None:
        """Let the board go, a virtual one for good. With ``restart`` the board is to be fresh for the next process of this kernel."""
        with contextlib.suppress(UcoreError):
            if restart and self.virtual_board is None:
                self._ask_for_a_fresh_board()
            elif self._hub is not None:
                self._hub.send("leave_request", {})
        if self._hub is not None:
            self._hub.close()
            self._hub = None
        if self.virtual_board is not None:
            self.virtual_board.stop()

    def _ask_for_a_fresh_board(self) -> None:
        if self._hub is not None:
            self._hub.request("restart_request", timeout_s=_RESTART_S)
        elif self.board and not self._is_connecting:  # the hub has died since: another one does it
            with contextlib.closing(self._connections.connect_hub()) as hub:
                self._attach(hub, self.board["port"], _RESTART_S)
                hub.request("restart_request", timeout_s=_RESTART_S)


class BoardConnections:
    """The connections of one kernel, by board. ``default`` is that of the notebook's own board."""

    def __init__(self, virtual: bool = False, kernel_id: str = "", connect: Callable[[], Hub] | None = None):
        """``virtual``: the notebook's own board is a virtual one, started here.

        ``kernel_id`` stays the same when the kernel is restarted. ``connect`` makes a hub client.
        """
        self.identity = {"kernel": kernel_id, "instance": os.urandom(8).hex()}
        self._connect = connect
        self._by_board: dict[str | None, BoardConnection] = {}
        self.default = self._by_board[None] = self.get(VIRTUAL) if virtual else BoardConnection(self, None)

    def start(self, loop: Loop) -> None:
        """Begin to attach the notebook's board; messages from hubs are read in this loop."""
        self.loop = loop
        self.default.open()

    def get(self, board: str | None) -> BoardConnection:
        """Return the connection of a board; None is the notebook's own."""
        if board is None:
            return self.default
        if board not in self._by_board:
            self._by_board[board] = BoardConnection(self, board)
        return self._by_board[board]

    def use(self, board: str, done: Ready) -> None:
        """Make another board the notebook's own; ``done(error)`` says how that went. On an error everything stays as it was."""
        chosen = self.get(board)

        def settle(error: Exception | None) -> None:
            if error is None and chosen is not self.default:
                before, self.default = self.default, chosen
                before.release()
            done(error)

        chosen.ask_again(settle)

    @property
    def banner(self) -> str:
        """One line for the kernel's banner."""
        own = self._by_board[None]
        if own is not self._by_board.get(VIRTUAL):
            return "µcore: a cell that starts with %%ucore runs on the board."
        runs = f": {own.virtual_board.banner}" if own.virtual_board else ""
        return f"µcore: a cell that starts with %%ucore runs on this notebook's virtual board{runs}."

    def connect_hub(self) -> Hub:
        """Return a client of the hub, which is started where there is none. Raises HubUnreachableError, HubDeniedError, HubError."""
        if self._connect is not None:
            return self._connect()
        from ukernel.client import connection

        return connection.connect()

    def start_virtual_board(self) -> VirtualBoard:
        """Return a virtual board of this kernel's own. Raises BoardGoneError if it cannot run."""
        from ukernel.virtual import launcher

        board = launcher.VirtualBoard()
        board.start()
        return board

    def close(self, restart: bool = False) -> None:
        """Let all boards go; with ``restart`` they are to be fresh for the next process of this kernel."""
        for connection in set(self._by_board.values()):
            connection.close(restart)
        from ukernel.client.discovery import remove_stale_file

        remove_stale_file()  # nobody else may need another one


def _label() -> str:
    """Return what the hub calls this kernel when somebody else waits for the board."""
    notebook = os.path.basename(os.environ.get("JPY_SESSION_NAME", ""))
    return f"the notebook {notebook}" if notebook else f"a notebook (kernel process {os.getpid()})"
