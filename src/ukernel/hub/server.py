"""The board hub: one process per user and host that owns the boards, and serves clients and pipe readers.

``python -m ukernel.hub``, started by whoever needs it first; it leaves when nobody does. docs/protocol.md describes the
listener's protocol.
"""

import asyncio
import logging
import os
import signal

from ucore import wire
from ukernel import settings
from ukernel.errors import BoardError, HubError, PipeNameError, describe
from ukernel.ports import discovery
from ukernel.protocol import statefile
from ukernel.protocol.reasons import EndReason

from .connection import ClientConnection
from .listener import Listener
from .opening import Opening
from .replay import ReplayBuffers
from .restartwarnings import RestartWarnings
from .sharedboard import SharedBoard
from .subscriber import Subscriber

__all__ = ["Hub", "main"]

ANOTHER_HUB = 3  # exit status: another hub holds the state file
FIRST_CLIENT_S = 5.0  # what a busy machine may need between starting a hub and connecting to it
SECOND_TRY_S = 2.0  # a board that did not answer the last time has so long before, if it is a virtual one, it is restarted
KERNEL_S = 3.0  # to start a virtual board and attach it takes half a second
LAST_READERS_S = 0.3  # a kernel's own readers end with it, and are noticed within this
STOP_TIMEOUT_S = 3.0  # to flush the last words and to let the boards go

_log = logging.getLogger("ukernel.hub")


class Hub:
    """Boards, clients, pipes, and the rules for staying and leaving."""

    def __init__(self, board_factory=None, linger_s: "float | None" = None):
        self.board_factory = board_factory or _board
        self.linger_s = settings.hub_linger_s() if linger_s is None else linger_s
        self.clients: set[ClientConnection] = set()
        self.readers: set[Subscriber] = set()
        self.boards: dict[str, SharedBoard] = {}
        self.silent: set[str] = set()  # ports whose board did not answer when it was last asked for
        self.replay_buffers = ReplayBuffers()
        self.info: statefile.HubInfo | None = None
        self.listener: Listener | None = None
        self.restart_warnings = RestartWarnings()
        self._tasks: set[asyncio.Task] = set()
        self._waiting: list[Subscriber] = []  # readers of a pipe that no board has opened yet
        self._closing: set[asyncio.Future] = set()
        self._leave_timer: asyncio.TimerHandle | None = None
        self._stop: asyncio.Event | None = None

    async def run(self, state_file: statefile.StateFile) -> None:
        """Serve until nobody needs the hub, or `stop`. ``state_file`` must be taken. Raises OSError if it cannot publish."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        token = os.urandom(32).hex()
        self.listener = Listener(token, lambda: ClientConnection(self), self._subscribe)
        port = await self.listener.listen()
        self.info = statefile.HubInfo(os.getpid(), "127.0.0.1", port, token, wire.BUILD)
        _on_signals(self._loop, self.stop)
        try:
            state_file.write(self.info)
            _detach_stderr()
            _log.info("hub %d listens on port %d", os.getpid(), port)
            # Whoever started it is on the way, and must not find it gone again.
            self._leave_timer = self._loop.call_later(max(self.linger_s, FIRST_CLIENT_S), self.stop)
            self._loop.call_later(statefile.RENEW_S, self._renew, state_file)
            await self._stop.wait()
        finally:
            state_file.remove()
            await self._finish()
            _log.info("hub %d leaves", os.getpid())

    def _renew(self, state_file: statefile.StateFile, refused: int = 0) -> None:
        """See to it that the hub can be found, and that it is the only one, whoever tidies up in its folder."""
        if self._stop.is_set():
            return None
        try:
            refused = 0 if state_file.renew() else refused + 1  # once may be somebody who asks whether the lock is free
        except OSError as error:
            _log.warning("the state file cannot be written again: %s", error)
        if refused > 1:
            _log.warning("another hub has taken the place of this one, whose lock was removed")
            return self.stop()
        self._loop.call_later(statefile.RENEW_S, self._renew, state_file, refused)
        return None

    def stop(self) -> None:
        """Leave soon: pipes end with "hub stopped", cells with an error. Only in the hub's own loop."""
        self._stop.set()

    async def _finish(self) -> None:
        self.listener.close()
        for board in list(self.boards.values()):
            board.end(EndReason.HUB_STOPPED)
            self.drop(board)
        for reader in self._waiting:
            reader.end(EndReason.HUB_STOPPED, 0)
        for client in list(self.clients):
            client.transport.close()
        if self._closing:
            await asyncio.wait(self._closing, timeout=STOP_TIMEOUT_S)
        # Last words to those who still read; who does not is not waited for.
        deadline = self._loop.time() + STOP_TIMEOUT_S
        while (self.clients or self.readers) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)

    # --- staying and leaving ------------------------------------------------------------------------

    def update_timers(self) -> None:
        """Start or stop the clocks after which an unused board is closed and an unused hub leaves; and boards' stamps."""
        for board in self.boards.values():
            board.pipes.set_timestamps(any(reader.timestamps for reader in self.readers if _reads_from(reader, board)))
            if board.is_used:
                if board.unused_timer is not None:
                    board.unused_timer.cancel()
                    board.unused_timer = None
            elif board.unused_timer is None:
                board.unused_timer = self._loop.call_later(self.linger_s, self.drop, board)
        # An unused board must be given back first, so that the hub never leaves with one open.
        used = self.clients or self.readers or self._closing or any(board.is_used for board in self.boards.values())
        if used:
            if self._leave_timer is not None:
                self._leave_timer.cancel()
                self._leave_timer = None
        elif self._leave_timer is None:
            self._leave_timer = self._loop.call_later(self.linger_s, self.stop)

    def drop(self, board: SharedBoard) -> None:
        """Close a board that nobody uses, or that cannot be used."""
        if self.boards.get(board.port) is not board:
            return
        del self.boards[board.port]
        board.pipes.end(EndReason.BOARD_GONE)
        if board.unused_timer is not None:
            board.unused_timer.cancel()
        _log.info("%s: closing", board.name)
        closing = self._loop.run_in_executor(None, board.close)
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Future) -> None:
        self._closing.discard(closing)
        if not closing.cancelled() and closing.exception() is not None:
            _log.error("a board did not close: %r", closing.exception())
        self.update_timers()

    # --- boards ---------------------------------------------------------------------------------------

    async def attach(self, ref: "str | None") -> SharedBoard:
        """Return the board of the board that ``ref`` means, once the board is ready. Raises BoardError."""
        board = next(
            (board for board in self.boards.values() if ref and ref in (board.port, board.driver.port, board.driver.name)), None
        )
        if board is None:
            # Looking for boards reads the USB tree: not in the loop.
            port = await self._loop.run_in_executor(None, discovery.resolve, ref)
            while self._closing:  # perhaps that very board is just being let go
                await asyncio.wait(self._closing)
            board = next((board for board in self.boards.values() if port in (board.port, board.driver.port)), None)
            if board is None:
                board = self.boards[port] = SharedBoard(port, self.board_factory, self)
                board.driver.start()
                if port in self.silent:
                    self._loop.call_later(SECOND_TRY_S, board.press_if_silent)
        await board.attached()
        return board

    async def find_board_of(self, kernel: str) -> "str | None":
        """Return the port of the board that a kernel's notebook uses; None where it has none.

        A kernel attaches its board when it starts, which its first cell may be ahead of.
        """
        deadline = self._loop.time() + KERNEL_S
        while True:
            for client in self.clients:
                if client.kernel == kernel and client.instance and client.board:
                    return client.board.driver.port
            if self._loop.time() > deadline:
                return None
            await asyncio.sleep(0.02)

    def reset_for_restart(self, board: SharedBoard, client: ClientConnection) -> None:
        """Give a board a clean start for a kernel that restarts; where others use it, leave it alone and say so later."""
        task = self._loop.create_task(self._reset_for_restart(board, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reset_for_restart(self, board: SharedBoard, client: ClientConnection) -> None:
        why = ""
        deadline = self._loop.time() + LAST_READERS_S
        others = board.other_users(client, readers=True)
        while others and others != board.other_users(client) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
            others = board.other_users(client, readers=True)
        if others:
            why = f"because it is used by {' and '.join(others)} too"
            try:
                board.interrupt(client, None)
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

    # --- pipes ----------------------------------------------------------------------------------------

    def _subscribe(self, reader: Subscriber) -> None:
        """Bind a reader to the opening it means, or let it wait for one. Raises PipeNameError if it means several."""
        openings = [opening for board in self.boards.values() for opening in board.pipes if self._is_for(reader, opening)]
        if len(openings) > 1:
            boards = " and ".join(sorted(opening.board for opening in openings))
            raise PipeNameError(f"The pipe {reader.pipe!r} is open on {boards}: say which one you mean, with board=")
        if not openings and reader.replay:
            ended = [opening for opening in self.replay_buffers.ended if _matches(reader, opening)]
            # A notebook's own first; but its board may have gone since, and perhaps there is another in its place.
            openings = ([opening for opening in ended if self._is_for(reader, opening)] or ended)[-1:]
        reader.on_lost = self._on_lost
        self.readers.add(reader)
        if openings:
            openings[0].join(reader)
        else:
            self._waiting.append(reader)
        self.update_timers()

    def _on_lost(self, reader: Subscriber) -> None:
        self.readers.discard(reader)
        if reader in self._waiting:
            self._waiting.remove(reader)
        if reader.opening is not None:
            reader.opening.leave(reader)
        self.update_timers()

    def opened(self, opening: Opening) -> None:
        """A board opened a pipe: bind who waits for it."""
        for reader in [reader for reader in self._waiting if self._is_for(reader, opening)]:
            self._waiting.remove(reader)
            opening.join(reader)
        self.update_timers()

    def _is_for(self, reader: Subscriber, opening: Opening) -> bool:
        """Whether a reader that names no board, and is a notebook's that has boards, means this one: its own boards only.

        Thirty notebooks may run the same cells, each with a board of its own.
        """
        if not _matches(reader, opening) or reader.board is not None:
            return _matches(reader, opening)
        # A kernel that is still being attached has no board yet, and one whose board has ended has none any more.
        mine = [
            client for client in self.clients if client.kernel and client.kernel == reader.kernel and not client.is_detached
        ]
        return not mine or any(client.board is not None and client.board.has_opening(opening) for client in mine)

    # --- what clients see -------------------------------------------------------------------------------

    async def list_boards(self) -> "list[dict]":
        """Return the boards in use, the ones that are plugged in, and the virtual ones that run."""
        found = await self._loop.run_in_executor(None, lambda: discovery.find_boards() + discovery.find_virtual_boards())
        boards = [board.as_dict() for board in self.boards.values()]
        held = {board.driver.port for board in self.boards.values()} | set(self.boards)
        for info in found:
            if info.port not in held:
                boards.append({"name": info.name, "port": info.port, "state": "free", "description": info.description})
        return boards

    def list_pipes(self) -> "list[dict]":
        """Return the open pipes, then the ones that have ended lately."""
        openings = [opening.as_dict(board.state == "ready") for board in self.boards.values() for opening in board.pipes]
        return openings + [opening.as_dict(is_open=False) for opening in self.replay_buffers.ended]


def _matches(reader: Subscriber, opening: Opening) -> bool:
    return reader.pipe == opening.name and reader.board in (None, opening.board, *opening.ports)


def _reads_from(reader: Subscriber, board: SharedBoard) -> bool:
    """Whether a reader reads from that board, or waits for a pipe that it may open."""
    if reader.opening is not None:
        return reader.opening in board.pipes
    return reader.board in (None, board.name, board.port, board.driver.port)


def _board(port: str, deliver):
    # Imported with the first board: a hub without one starts faster.
    from .driver import BoardDriver

    def install(port: str) -> None:
        from ukernel.install import installer  # mpremote, for a stock board only

        installer.ensure_agent(port)

    return BoardDriver(port, deliver, install=install)


def _detach_stderr() -> None:
    """Let go of the nameless file in which the client that has started the hub looks for why it did not come up."""
    try:
        nameless = os.fstat(2).st_nlink == 0
    except OSError:
        return
    if nameless:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)
        os.close(null)


def _on_signals(loop: asyncio.AbstractEventLoop, stop) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except (NotImplementedError, RuntimeError, ValueError):
            try:  # Windows has no signal handlers in the loop
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
            except ValueError:
                return  # not in the main thread: a hub inside a test


def main(board_factory=None) -> int:
    """Run a hub until nobody needs it; returns the exit status, `ANOTHER_HUB` if there is one already."""
    try:
        return _main(board_factory)
    except OSError as error:
        raise HubError(f"it cannot keep its files: {describe(error)}") from error


def _main(board_factory) -> int:
    log = settings.hub_log()
    if log is not None:
        logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    else:
        _log.addHandler(logging.NullHandler())
    state_file = statefile.StateFile()
    if not state_file.acquire():
        _log.info("hub %d: another hub holds %s", os.getpid(), state_file.path)
        return ANOTHER_HUB
    try:
        asyncio.run(Hub(board_factory).run(state_file))
    except Exception:
        _log.exception("the hub failed")
        raise
    finally:
        state_file.release()
    return 0
