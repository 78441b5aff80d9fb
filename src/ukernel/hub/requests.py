"""What clients ask of the hub: a method for each type of request."""

from __future__ import annotations

import asyncio
import base64
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol

from ucore import wire
from ukernel.errors import BoardBusyError, BoardError, HubError, UcoreError, UsageError, as_reply

from . import logbook
from .boards import Boards
from .connection import ClientConnection
from .sharedboard import SharedBoard

__all__ = ["ClientRequests", "Server"]

Content = dict[str, Any]

_log = logging.getLogger("ukernel.hub")


class Server(Protocol):
    """What a client may ask of the hub itself."""

    async def listen(self, port: int) -> int: ...
    def stop(self) -> None: ...


class ClientRequests:
    """One client, and its requests: the `Client` that boards know. Its types of request are the methods of `_HANDLERS`."""

    def __init__(self, boards: Boards, server: Server, connection: ClientConnection):
        self.label = connection.label
        # Where it is a kernel: an id that survives a restart, and one that does not. A kernel's host cells have the first alone.
        self.kernel = self.instance = ""
        self._board: SharedBoard | None = None
        self._boards = boards
        self._server = server
        self._connection = connection
        self._leaving = False
        self._lost: Exception | None = None  # why there is no board any more
        self._tasks: set[asyncio.Task[None]] = set()
        connection.on_message = self._dispatch
        connection.on_lost = self._on_lost
        boards.clients.add(self)
        boards.update_timers()

    @property
    def is_detached(self) -> bool:
        """Whether its board has ended for good."""
        return self._board is None and self._lost is not None

    def send(self, type: str, parent: int, content: Content) -> None:
        """Send a message."""
        self._connection.send(type, parent, content)

    def close(self) -> None:
        """Close the connection, once all is sent."""
        self._connection.close()

    def detach(self, error: Exception) -> None:
        """Tell that the board has ended for good. An attach finds the next one."""
        if self._board is not None:
            self._board.clients.discard(self)
        self._board = None
        self._lost = error
        self.send("detached", 0, as_reply(error))

    def _on_lost(self) -> None:
        self._boards.clients.discard(self)
        for task in self._tasks:
            task.cancel()
        board = self._board
        if board is not None:
            board.leave(self)
            if self.instance and not self._leaving:
                self._boards.restart_warnings.keep(
                    self.kernel,
                    self.instance,
                    board.boot_id,
                    f"This kernel was started again after an abrupt end. The board {board.name} was left as it was: "
                    "variables, threads and pipes. %ucore reset gives it a clean start.",
                )
        self._boards.update_timers()

    def _dispatch(self, type_: str, request: int, content: Content) -> None:
        """Answer a request, at once or by a task. The idle timers are looked at after each."""
        handler = self._HANDLERS.get(type_)
        try:
            if handler is None:
                raise UsageError(f"The board hub knows no {type_!r}.")
            answer = handler(self, request, content)
        except (UcoreError, KeyError, TypeError, ValueError) as error:
            self._fail(type_, request, error)
        else:
            if inspect.isawaitable(answer):
                task = asyncio.get_running_loop().create_task(self._answer_later(type_, request, answer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._boards.update_timers()

    async def _answer_later(self, type_: str, request: int, answer: Awaitable[None]) -> None:
        try:
            await answer
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, UcoreError):
                _log.exception("%s failed", type_)
            self._fail(type_, request, error)
        self._boards.update_timers()

    def _fail(self, type_: str, request: int, error: Exception) -> None:
        if isinstance(error, KeyError):
            error = UsageError(f"The message {type_!r} has no {error}.")
        self.send(type_.replace("_request", "_reply"), request, as_reply(error))

    def _require_board(self) -> SharedBoard:
        if self._board is None:
            raise self._lost or BoardError("No board is attached yet.")
        return self._board

    # --- one method a type ----------------------------------------------------------------------------------

    async def _attach(self, request: int, content: Content) -> None:
        if isinstance(content.get("client"), str):
            self.label = self._connection.label = content["client"][:100]
        self.kernel, self.instance = str(content.get("kernel") or "")[:100], str(content.get("instance") or "")[:100]
        wanted = content.get("board")
        if wanted is not None and not isinstance(wanted, str):
            raise UsageError("board must be a name, a port or null")
        if not wanted and self.kernel and not self.instance:
            wanted = await self._boards.find_board_of(self.kernel)
        board = await self._boards.attach(wanted or None)
        if self._board is not None and self._board is not board:
            self._board.leave(self)
        self._board = board
        board.clients.add(self)
        about = {"name": board.name, "port": board.driver.port, "facts": board.driver.facts or {}}
        warnings = self._boards.restart_warnings
        notice = warnings.take(self.kernel, self.instance, board.boot_id) if self.instance else ""
        notice = board.revival.take_warning(self) or notice
        self.send("attach_reply", request, {"status": "ok", "board": about, "notice": notice})

    def _execute(self, request: int, content: Content) -> None:
        if "order" in content:
            code = base64.b64decode(content["order"])
        elif isinstance(content["code"], str):
            code = content["code"].encode("utf-8", "replace")
        else:
            raise UsageError("code must be a str")
        key = content.get("key")
        self._require_board().execute(self, request, code, key if isinstance(key, (int, str)) else None)

    def _reply_input(self, request: int, content: Content) -> None:
        if self._board is not None:
            self._board.executions.reply_input(self, content.get("parent", request), str(content["value"]))

    def _mount(self, request: int, content: Content) -> None:
        self._require_board().mount(self, request)

    def _unmount(self, request: int, content: Content) -> None:
        if self._board is not None:
            self._board.mounts.end(self, content.get("parent", request))

    def _answer_remote(self, request: int, content: Content) -> None:
        if self._board is not None:
            self._board.mounts.answer(self, content.get("parent", request), base64.b64decode(content["data"]))

    def _interrupt(self, request: int, content: Content) -> None:
        executions = self._require_board().executions
        stopped = executions.interrupt(self, content.get("parent"), content.get("force") is True)
        self.send("interrupt_reply", request, {"status": "ok", "stopped": stopped})

    async def _reset(self, request: int, content: Content) -> None:
        board = self._require_board()
        others = board.other_users(self)
        if others and content.get("force") is not True:
            raise BoardBusyError(f"The board {board.name} is used by {' and '.join(others)} too.")
        await board.reset(self)
        self.send("reset_reply", request, {"status": "ok", "board": board.name})

    def _restart(self, request: int, content: Content) -> None:
        self._leaving = True
        if self._board is not None:
            self._boards.reset_for_restart(self._board, self)
        self.send("restart_reply", request, {"status": "ok"})

    def _leave(self, request: int, content: Content) -> None:
        self._leaving = True

    def _complete(self, request: int, content: Content) -> None:
        code = content["code"]
        importable = content.get("importable") is True
        introspection = self._require_board().introspection
        introspection.complete(self, request, code, int(content.get("cursor_pos", len(code))), importable)

    def _inspect(self, request: int, content: Content) -> None:
        code = content["code"]
        self._require_board().introspection.inspect(self, request, code, int(content.get("cursor_pos", len(code))))

    def _producers(self, request: int, content: Content) -> None:
        stop = content.get("stop", "")
        if not isinstance(stop, str):
            raise UsageError("stop must be the name of a producer")
        self._require_board().ask_producers(self, request, stop)

    async def _list_boards(self, request: int, content: Content) -> None:
        self.send("boards_reply", request, {"status": "ok", "boards": await self._boards.list_boards()})

    def _list_pipes(self, request: int, content: Content) -> None:
        self.send("pipes_reply", request, {"status": "ok", "pipes": self._boards.list_pipes()})

    async def _listen(self, request: int, content: Content) -> None:
        port = content["port"]
        if type(port) is not int or not 1 <= port <= 65535:
            raise UsageError(f"{port!r} is no port number")
        await self._server.listen(port)
        self.send("listen_reply", request, {"status": "ok"})

    async def _detach(self, request: int, content: Content) -> None:
        board = self._boards.find_held(content.get("board") or None)
        if board is not None:
            if board.running is not None and content.get("force") is not True:
                raise BoardBusyError(
                    f"The board {board.name} runs a cell of {board.running.label}. Wait for its end, or detach with --force: it is lost then."
                )
            await self._boards.give_back(board)
        about = {"name": board.name, "port": board.driver.port} if board is not None else {}
        self.send("detach_reply", request, {"status": "ok", "detached": board is not None, **about})

    def _rename(self, request: int, content: Content) -> None:
        board = self._boards.find_held(content["board"])
        if board is not None:
            board.driver.name = str(content["name"])[:100]
        self.send("rename_reply", request, {"status": "ok", "renamed": board is not None})

    def _list_logs(self, request: int, content: Content) -> None:
        since = int(content.get("since", 0))
        self.send("logs_reply", request, {"status": "ok", "lines": logbook.lines(since)})

    def _stop(self, request: int, content: Content) -> None:
        if content.get("only_if_idle"):
            others = sorted(client.label for client in self._boards.clients if client is not self)
            running = [board.name for board in self._boards.by_port.values() if board.running is not None]
            if others or running:
                users = ", ".join(others) or f"a cell on {', '.join(running)}"
                raise HubError(f"The board hub (build {wire.BUILD}) is used by {users}.")
        self.send("stop_reply", request, {"status": "ok"})
        self._server.stop()

    _HANDLERS: ClassVar[dict[str, Callable[[ClientRequests, int, Content], Awaitable[None] | None]]] = {
        "attach_request": _attach,
        "execute_request": _execute,
        "input_reply": _reply_input,
        "mount_request": _mount,
        "unmount_request": _unmount,
        "remote_reply": _answer_remote,
        "interrupt_request": _interrupt,
        "reset_request": _reset,
        "restart_request": _restart,
        "leave_request": _leave,
        "complete_request": _complete,
        "inspect_request": _inspect,
        "producers_request": _producers,
        "boards_request": _list_boards,
        "pipes_request": _list_pipes,
        "listen_request": _listen,
        "detach_request": _detach,
        "rename_request": _rename,
        "logs_request": _list_logs,
        "stop_request": _stop,
    }
