"""One client's connection, as the hub sees it: JSON lines both ways, requests in, answers and output out."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import TYPE_CHECKING, ClassVar

from ucore import wire
from ukernel.errors import BoardBusyError, BoardError, HubError, UcoreError, UsageError, as_reply

from .sharedboard import SharedBoard

if TYPE_CHECKING:
    from .server import Hub

__all__ = ["ClientConnection"]

MAX_LINE_BYTES = 16 << 20  # of one message from a client
MAX_PENDING_BYTES = 8 << 20  # output held for a client that does not read; what is beyond it is dropped and counted
MAX_REPLIES_BYTES = 64 << 20  # a client that has not even read its replies by then is cut off

_log = logging.getLogger("ukernel.hub")


class ClientConnection(asyncio.Protocol):
    """One client: JSON lines both ways. Its types of request are the methods of `_HANDLERS`."""

    def __init__(self, hub: Hub):
        self.hub = hub
        self.board: SharedBoard | None = None
        self.label = "a client"
        # Where it is a kernel: an id that survives a restart, and one that does not. A kernel's host cells have the first alone.
        self.kernel = self.instance = ""
        self._leaving = False
        self._lost: Exception | None = None  # why there is no board any more
        self._buffer = bytearray()
        self._searched = 0
        self._dropped = 0  # characters of output
        self._tasks: set[asyncio.Task] = set()

    def connection_made(self, transport):
        self.transport = transport
        self.hub.clients.add(self)
        transport.set_write_buffer_limits(high=MAX_PENDING_BYTES, low=MAX_PENDING_BYTES // 2)
        self.hub.update_timers()

    def connection_lost(self, error):
        self.hub.clients.discard(self)
        for task in self._tasks:
            task.cancel()
        if self.board is not None:
            self.board.leave(self)
            if self.instance and not self._leaving:
                self.hub.restart_warnings.keep(
                    self.kernel,
                    self.instance,
                    self.board.boot_id,
                    f"This kernel was started again after an abrupt end. The board {self.board.name} was left as it was: "
                    "variables, threads and pipes. %ucore reset gives it a clean start.",
                )
        self.hub.update_timers()

    @property
    def is_detached(self) -> bool:
        """Whether its board has ended for good."""
        return self.board is None and self._lost is not None

    def detach(self, error: Exception) -> None:
        """Tell that the board has ended for good. An attach finds the next one."""
        self.board.clients.discard(self)
        self.board = None
        self._lost = error
        self.send("detached", 0, as_reply(error))

    def data_received(self, data):
        self._buffer += data
        end = self._buffer.find(b"\n", self._searched)
        start = 0
        while end >= 0:
            self._receive(bytes(self._buffer[start:end]))
            start = end + 1
            end = self._buffer.find(b"\n", start)
        del self._buffer[:start]
        self._searched = len(self._buffer)
        if self._searched > MAX_LINE_BYTES:
            _log.warning("%s sent a message of more than %d bytes", self.label, MAX_LINE_BYTES)
            self.transport.abort()

    def _receive(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            type_, request, content = message["type"], message["id"], message.get("content") or {}
            if not isinstance(type_, str) or not isinstance(request, int) or not isinstance(content, dict):
                raise TypeError("type, id or content")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            _log.warning("%s sent no message: %r", self.label, error)
            return None
        handler = self._HANDLERS.get(type_)
        try:
            if handler is None:
                raise UsageError(f"The board hub knows no {type_!r}.")
            answer = handler(self, request, content)
        except (UcoreError, KeyError, TypeError, ValueError) as error:
            return self._fail(type_, request, error)
        if asyncio.iscoroutine(answer):
            task = self.hub._loop.create_task(self._answer_later(type_, request, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return None

    async def _answer_later(self, type_: str, request: int, answer) -> None:
        try:
            await answer
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, UcoreError):
                _log.exception("%s failed", type_)
            self._fail(type_, request, error)

    def _fail(self, type_: str, request: int, error: Exception) -> None:
        if isinstance(error, KeyError):
            error = UsageError(f"The message {type_!r} has no {error}.")
        self.send(type_.replace("_request", "_reply"), request, as_reply(error))

    def send(self, type: str, parent: int, content: dict) -> None:
        """Send a message. Output is dropped, and the loss counted, while the client does not read."""
        if self.transport.is_closing():
            return None
        pending = self.transport.get_write_buffer_size()
        if type == "stream":
            if pending > MAX_PENDING_BYTES:
                self._dropped += len(content["text"])
                return None
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                content = {
                    "name": "stderr",
                    "text": f"\n[{dropped:,} characters of output dropped: not read in time]\n" + content["text"],
                }
        elif pending > MAX_REPLIES_BYTES:
            _log.warning("%s does not read: cut off", self.label)
            return self.transport.abort()
        message = {"type": type, "parent": parent, "content": content}
        self.transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        return None

    # --- requests -----------------------------------------------------------------------------------------

    def _require_board(self) -> SharedBoard:
        if self.board is None:
            raise self._lost or BoardError("No board is attached yet.")
        return self.board

    async def _attach(self, request, content):
        if isinstance(content.get("client"), str):
            self.label = content["client"][:100]
        self.kernel, self.instance = str(content.get("kernel") or "")[:100], str(content.get("instance") or "")[:100]
        ref = content.get("board")
        if ref is not None and not isinstance(ref, str):
            raise UsageError("board must be a name, a port or null")
        if not ref and self.kernel and not self.instance:
            ref = await self.hub.find_board_of(self.kernel)
        board = await self.hub.attach(ref or None)
        if self.board is not None and self.board is not board:
            self.board.leave(self)
        self.board = board
        board.clients.add(self)
        self.hub.update_timers()
        about = {"name": board.name, "port": board.driver.port, "facts": board.driver.facts or {}}
        notice = self.hub.restart_warnings.take(self.kernel, self.instance, board.boot_id) if self.instance else ""
        notice = board.take_notice(self) or notice
        self.send("attach_reply", request, {"status": "ok", "board": about, "notice": notice})

    def _execute(self, request, content):
        if "order" in content:
            code: bytes = base64.b64decode(content["order"])
        elif isinstance(content["code"], str):
            code = content["code"].encode("utf-8", "replace")
        else:
            raise UsageError("code must be a str")
        key = content.get("key")
        self._require_board().execute(self, request, code, key if isinstance(key, (int, str)) else None)
        self.hub.update_timers()

    def _reply_input(self, request, content):
        if self.board is not None:
            self.board.reply_input(self, content.get("parent", request), str(content["value"]))

    def _interrupt(self, request, content):
        stopped = self._require_board().interrupt(self, content.get("parent"), content.get("force") is True)
        self.hub.update_timers()
        self.send("interrupt_reply", request, {"status": "ok", "stopped": stopped})

    async def _reset(self, request, content):
        board = self._require_board()
        others = board.other_users(self)
        if others and content.get("force") is not True:
            raise BoardBusyError(f"The board {board.name} is used by {' and '.join(others)} too.")
        await board.reset(self)
        self.send("reset_reply", request, {"status": "ok", "board": board.name})

    def _restart(self, request, content):
        self._leaving = True
        if self.board is not None:
            self.hub.reset_for_restart(self.board, self)
        self.send("restart_reply", request, {"status": "ok"})

    def _leave(self, request, content):
        self._leaving = True

    def _complete(self, request, content):
        code = content["code"]
        importable = content.get("importable") is True
        self._require_board().introspection.complete(self, request, code, int(content.get("cursor_pos", len(code))), importable)

    def _inspect(self, request, content):
        code = content["code"]
        self._require_board().introspection.inspect(self, request, code, int(content.get("cursor_pos", len(code))))

    def _producers(self, request, content):
        stop = content.get("stop", "")
        if not isinstance(stop, str):
            raise UsageError("stop must be the name of a producer")
        self._require_board().ask_producers(self, request, stop)

    async def _boards(self, request, content):
        self.send("boards_reply", request, {"status": "ok", "boards": await self.hub.list_boards()})

    def _pipes(self, request, content):
        self.send("pipes_reply", request, {"status": "ok", "pipes": self.hub.list_pipes()})

    async def _listen(self, request, content):
        port = content["port"]
        if type(port) is not int or not 1 <= port <= 65535:
            raise UsageError(f"{port!r} is no port number")
        await self.hub.listener.listen(port)
        self.send("listen_reply", request, {"status": "ok"})

    def _stop(self, request, content):
        if content.get("only_if_idle"):
            others = sorted(client.label for client in self.hub.clients if client is not self)
            running = [board.name for board in self.hub.boards.values() if board.running is not None]
            if others or running:
                users = ", ".join(others) or f"a cell on {', '.join(running)}"
                raise HubError(f"The board hub (build {wire.BUILD}) is used by {users}.")
        self.send("stop_reply", request, {"status": "ok"})
        self.hub.stop()

    _HANDLERS: ClassVar = {
        "attach_request": _attach,
        "execute_request": _execute,
        "input_reply": _reply_input,
        "interrupt_request": _interrupt,
        "reset_request": _reset,
        "restart_request": _restart,
        "leave_request": _leave,
        "complete_request": _complete,
        "inspect_request": _inspect,
        "producers_request": _producers,
        "boards_request": _boards,
        "pipes_request": _pipes,
        "listen_request": _listen,
        "stop_request": _stop,
    }
