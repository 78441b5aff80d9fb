"""The boards of a hub, and its clients: which board is whose, and when one that nobody uses is let go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ukernel.errors import BoardError
from ukernel.ports import discovery
from ukernel.protocol.boardstate import BoardState
from ukernel.protocol.reasons import EndReason

from .interfaces import Client, DriverFactory
from .opening import Opening
from .restartwarnings import RestartWarnings
from .sharedboard import SharedBoard
from .subscriptions import Subscriptions
from .watchers import Watchers

__all__ = ["Boards"]

SECOND_TRY_S = 2.0  # a board that did not answer the last time has so long before, if it is a virtual one, it is restarted
KERNEL_S = 3.0  # to start a virtual board and attach it takes half a second
LAST_READERS_S = 0.3  # a kernel's own readers end with it, and are noticed within this

_log = logging.getLogger("ukernel.hub")


class Boards:
    """The registry of one hub; all in its event loop.

    ``linger_s``: seconds that a board stays which nobody uses. ``on_change()`` is called when somebody comes or goes.
    """

    def __init__(self, make_driver: DriverFactory, linger_s: float, on_change: Callable[[], None]):
        self.make_driver = make_driver
        self.clients: set[Client] = set()
        self.by_port: dict[str, SharedBoard] = {}
        self.silent: set[str] = set()  # ports whose board did not answer when it was last asked for
        self.closing: set[asyncio.Future[None]] = set()  # boards that are being let go
        self.restart_warnings = RestartWarnings()
        self.subscriptions = Subscriptions(self.by_port.values, self._boards_of, self.update_timers)
        self.replay_buffers = self.subscriptions.replay_buffers
        self.watchers = Watchers(self.by_port.values, self._boards_of)
        self._linger_s = linger_s
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_used(self) -> bool:
        """Whether anybody or anything needs the hub."""
        someone = self.clients or self.subscriptions.readers or self.closing
        return bool(someone or any(board.is_used for board in self.by_port.values()))

    def update_timers(self) -> None:
        """Start or stop the clocks after which an unused board is let go; and tell boards whether times are wanted."""
        for board in self.by_port.values():
            follows = any(client.follows for client in board.clients)
            board.pipes.set_timestamps(follows or self.subscriptions.wants_timestamps(board))
            if board.is_used:
                if board.unused_timer is not None:
                    board.unused_timer.cancel()
                    board.unused_timer = None
            elif board.unused_timer is None:
                board.unused_timer = self._loop.call_later(self._linger_s, self.drop, board)
        # An unused board must be given back first, so that the hub never leaves with one open.
        self._on_change()

    async def attach(self, wanted: str | None) -> SharedBoard:
        """Return the board of this name, port or URL, or the only one, once it is ready. Raises BoardError."""
        board = self._find(lambda board: bool(wanted) and wanted in (board.port, board.driver.port, board.driver.name))
        if board is None:
            # Looking for boards reads the USB tree: not in the loop.
            port = await self._loop.run_in_executor(None, discovery.resolve, wanted)
            while self.closing:  # perhaps that very board is just being let go
                await asyncio.wait(self.closing)
            board = self._find(lambda board: port in (board.port, board.driver.port))
            if board is None:
                board = self.by_port[port] = SharedBoard(port, self.make_driver, self)
                board.driver.start()
                if port in self.silent:
                    self._loop.call_later(SECOND_TRY_S, board.press_if_silent)
        await board.attached()
        return board

    def _find(self, is_it: Callable[[SharedBoard], bool]) -> SharedBoard | None:
        return next(filter(is_it, self.by_port.values()), None)

    def find_held(self, wanted: str | None) -> SharedBoard | None:
        """Return the board of this name or port that the hub has open, or for None the only one. Raises BoardError where several are."""
        if wanted is not None:
            return self._find(lambda board: wanted in (board.port, board.driver.port, board.driver.name))
        if len(self.by_port) > 1:
            names = ", ".join(sorted(board.name for board in self.by_port.values()))
            raise BoardError(f"The hub has several boards open: {names}. Say which one.")
        return next(iter(self.by_port.values()), None)

    async def give_back(self, board: SharedBoard) -> None:
        """Close a board's port for other programs; returns when that is done. Whoever asks for the board later takes it again."""
        board.give_back()
        while self.closing:
            await asyncio.wait(self.closing)

    async def find_board_of(self, kernel: str) -> str | None:
        """Return the port of the board that a kernel's notebook uses; None where it has none.

        A kernel attaches its board when it starts, which its first cell may be ahead of.
        """
        deadline = self._loop.time() + KERNEL_S
        while True:
            kernels = {client for client in self.clients if client.kernel == kernel and client.instance}
            for board in self.by_port.values():
                if not kernels.isdisjoint(board.clients):
                    return board.driver.port
            if self._loop.time() > deadline:
                return None
            await asyncio.sleep(0.02)

    def on_opened(self, opening: Opening) -> None:
        """A board opened a pipe: bind who waits for it, and tell who wants to know."""
        for board in self.by_port.values():
            if board.running is not None and any(one is opening for one in board.pipes):
                opening.cell = board.running.label, board.running.source
        self.watchers.opened(opening)
        self.subscriptions.on_opened(opening)

    def drop(self, board: SharedBoard) -> None:
        """Close a board that nobody uses, or that cannot be used."""
        if self.by_port.get(board.port) is not board:
            return
        del self.by_port[board.port]
        board.pipes.end(EndReason.BOARD_GONE)
        if board.unused_timer is not None:
            board.unused_timer.cancel()
        _log.info("%s: closing", board.name)
        closing = self._loop.run_in_executor(None, board.close)
        self.closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Future[None]) -> None:
        self.closing.discard(closing)
        if not closing.cancelled() and closing.exception() is not None:
            _log.error("a board did not close: %r", closing.exception())
        self.update_timers()

    def reset_for_restart(self, board: SharedBoard, client: Client) -> None:
        """Give a board a clean start for a kernel that restarts; where others use it, leave it alone and say so later."""
        task = self._loop.create_task(self._reset_for_restart(board, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reset_for_restart(self, board: SharedBoard, client: Client) -> None:
        why = ""
        deadline = self._loop.time() + LAST_READERS_S
        others = board.other_users(client, readers=True)
        while others and others != board.other_users(client) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
            others = board.other_users(client, readers=True)
        if others:
            why = f"because it is used by {' and '.join(others)} too"
            try:
                board.executions.interrupt(client, None)
            except BoardError:
                pass  # the cell that runs is one of theirs
        else:
            try:
                await board.reset(client)
            except BoardError as error:
                why = f"because that failed: {error}"
        if why:
            sentence = f"The kernel was restarted. The board {board.name} was not reset, {why}. Its variables, threads and pipes are as they were."
            self.restart_warnings.keep(
                client.kernel, client.instance, board.boot_id, sentence + " `%ucore reset --force` gives it a clean start."
            )

    def _boards_of(self, kernel: str) -> list[SharedBoard] | None:
        """Return the boards that a kernel uses, None where it is no client here.

        One that is still being attached has no board yet, and does not count where its board has ended.
        """
        mine = [client for client in self.clients if client.kernel and client.kernel == kernel and not client.is_detached]
        if not mine:
            return None
        return [board for board in self.by_port.values() if not board.clients.isdisjoint(mine)]

    async def list_boards(self) -> list[dict[str, Any]]:
        """Return the boards in use, the ones that are plugged in, and the virtual ones that run."""
        found = await self._loop.run_in_executor(None, lambda: discovery.find_boards() + discovery.find_virtual_boards())
        boards = [board.as_dict() for board in self.by_port.values()]
        held = {board.driver.port for board in self.by_port.values()} | set(self.by_port)
        for info in found:
            if info.port not in held:
                boards.append({"name": info.name, "port": info.port, "state": "free", "description": info.description})
        return boards

    def list_pipes(self) -> list[dict[str, Any]]:
        """Return the open pipes, then the ones that have ended lately."""
        openings = [
            opening.as_dict(board.state is BoardState.READY) for board in self.by_port.values() for opening in board.pipes
        ]
        return openings + [opening.as_dict(is_open=False) for opening in self.replay_buffers.ended]

    def end(self, reason: EndReason) -> None:
        """Let all boards go, with the reason."""
        for board in list(self.by_port.values()):
            board.end(reason)
            self.drop(board)
