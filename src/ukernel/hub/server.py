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

from .connection import Visitor
from .listener import Listener
from .opening import Opening, Reader
from .replay import Backlogs
from .restartwarnings import Notices
from .sharedboard import Desk

__all__ = ["Hub", "main"]

ANOTHER_HUB = 3  # exit status: another hub holds the state file
FIRST_CLIENT_S = 5.0  # what a busy machine may need between starting a hub and connecting to it
SECOND_TRY_S = 2.0  # a board that did not answer the last time has so long before, if it is a virtual one, it is restarted
LAST_READERS_S = 0.3  # a kernel's own readers end with it, and are noticed within this
STOP_TIMEOUT_S = 3.0  # to flush the last words and to let the boards go

_log = logging.getLogger("ukernel.hub")


class Hub:
    """Boards, clients, pipes, and the rules for staying and leaving."""

    def __init__(self, board_factory=None, linger_s: "float | None" = None):
        self.board_factory = board_factory or _board
        self.linger_s = settings.hub_linger_s() if linger_s is None else linger_s
        self.clients: set[Visitor] = set()
        self.readers: set[Reader] = set()
        self.desks: dict[str, Desk] = {}
        self.silent: set[str] = set()  # ports whose board did not answer when it was last asked for
        self.backlogs = Backlogs()
        self.advert: statefile.Advert | None = None
        self.listener: Listener | None = None
        self.notices = Notices()
        self._tasks: set[asyncio.Task] = set()
        self._waiting: list[Reader] = []  # readers of a pipe that no board has opened yet
        self._closing: set[asyncio.Future] = set()
        self._leave_timer: asyncio.TimerHandle | None = None
        self._stop: asyncio.Event | None = None

    async def run(self, claim: statefile.Claim) -> None:
        """Serve until nobody needs the hub, or `stop`. ``claim`` must be taken. Raises OSError if it cannot publish."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        token = os.urandom(32).hex()
        self.listener = Listener(token, lambda: Visitor(self), self._subscribe)
        port = await self.listener.listen()
        self.advert = statefile.Advert(os.getpid(), "127.0.0.1", port, token, wire.BUILD)
        _on_signals(self._loop, self.stop)
        try:
            claim.publish(self.advert)
            _forget_starter()
            _log.info("hub %d listens on port %d", os.getpid(), port)
            # Whoever started it is on the way, and must not find it gone again.
            self._leave_timer = self._loop.call_later(max(self.linger_s, FIRST_CLIENT_S), self.stop)
            self._loop.call_later(statefile.RENEW_S, self._renew, claim)
            await self._stop.wait()
        finally:
            claim.withdraw()
            await self._finish()
            _log.info("hub %d leaves", os.getpid())

    def _renew(self, claim: statefile.Claim, refused: int = 0) -> None:
        """See to it that the hub can be found, and that it is the only one, whoever tidies up in its folder."""
        if self._stop.is_set():
            return None
        try:
            refused = 0 if claim.renew() else refused + 1  # once may be somebody who asks whether the lock is free
        except OSError as error:
            _log.warning("the state file cannot be written again: %s", error)
        if refused > 1:
            _log.warning("another hub has taken the place of this one, whose lock was removed")
            return self.stop()
        self._loop.call_later(statefile.RENEW_S, self._renew, claim, refused)
        return None

    def stop(self) -> None:
        """Leave soon: pipes end with "hub stopped", cells with an error. Only in the hub's own loop."""
        self._stop.set()

    async def _finish(self) -> None:
        self.listener.close()
        for desk in list(self.desks.values()):
            desk.end("hub stopped")
            self.drop(desk)
        for reader in self._waiting:
            reader.end("hub stopped", 0)
        for client in list(self.clients):
            client.transport.close()
        if self._closing:
            await asyncio.wait(self._closing, timeout=STOP_TIMEOUT_S)
        # Last words to those who still read; who does not is not waited for.
        deadline = self._loop.time() + STOP_TIMEOUT_S
        while (self.clients or self.readers) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)

    # --- staying and leaving ------------------------------------------------------------------------

    def review(self) -> None:
        """Start or stop the clocks after which an unused board is closed and an unused hub leaves; and boards' stamps."""
        for desk in self.desks.values():
            desk.pipes.stamp(any(reader.timestamps for reader in self.readers if _reads(reader, desk)))
            if desk.is_used:
                if desk.unused_timer is not None:
                    desk.unused_timer.cancel()
                    desk.unused_timer = None
            elif desk.unused_timer is None:
                desk.unused_timer = self._loop.call_later(self.linger_s, self.drop, desk)
        # An unused board must be given back first, so that the hub never leaves with one open.
        used = self.clients or self.readers or self._closing or any(desk.is_used for desk in self.desks.values())
        if used:
            if self._leave_timer is not None:
                self._leave_timer.cancel()
                self._leave_timer = None
        elif self._leave_timer is None:
            self._leave_timer = self._loop.call_later(self.linger_s, self.stop)

    def drop(self, desk: Desk) -> None:
        """Close a board that nobody uses, or that cannot be used."""
        if self.desks.get(desk.port) is not desk:
            return
        del self.desks[desk.port]
        desk.pipes.end("board gone")
        if desk.unused_timer is not None:
            desk.unused_timer.cancel()
        _log.info("%s: closing", desk.name)
        closing = self._loop.run_in_executor(None, desk.close)
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Future) -> None:
        self._closing.discard(closing)
        if not closing.cancelled() and closing.exception() is not None:
            _log.error("a board did not close: %r", closing.exception())
        self.review()

    # --- boards ---------------------------------------------------------------------------------------

    async def attach(self, ref: "str | None") -> Desk:
        """Return the desk of the board that ``ref`` means, once the board is ready. Raises BoardError."""
        desk = next(
            (desk for desk in self.desks.values() if ref and ref in (desk.port, desk.board.port, desk.board.name)), None
        )
        if desk is None:
            # Looking for boards reads the USB tree: not in the loop.
            port = await self._loop.run_in_executor(None, discovery.resolve, ref)
            while self._closing:  # perhaps that very board is just being let go
                await asyncio.wait(self._closing)
            desk = next((desk for desk in self.desks.values() if port in (desk.port, desk.board.port)), None)
            if desk is None:
                desk = self.desks[port] = Desk(port, self.board_factory, self)
                desk.board.start()
                if port in self.silent:
                    self._loop.call_later(SECOND_TRY_S, desk.press_if_silent)
        await desk.attached()
        return desk

    def clean(self, desk: Desk, visitor: Visitor) -> None:
        """Give a board a clean start for a kernel that restarts; where others use it, leave it alone and say so later."""
        task = self._loop.create_task(self._clean(desk, visitor))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _clean(self, desk: Desk, visitor: Visitor) -> None:
        why = ""
        deadline = self._loop.time() + LAST_READERS_S
        others = desk.others(visitor, readers=True)
        while others and others != desk.others(visitor) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
            others = desk.others(visitor, readers=True)
        if others:
            why = f"because it is used by {' and '.join(others)} too"
            try:
                desk.interrupt(visitor, None)
            except BoardError:
                pass  # the cell that runs is one of theirs
        else:
            try:
                await desk.reset(visitor)
            except BoardError as error:
                why = f"because that failed: {error}"
        if why:
            sentence = f"The kernel was restarted. The board {desk.name} was not reset, {why}. Its variables, threads and pipes are as they were."
            self.notices.keep(
                visitor.kernel, visitor.instance, desk.life, sentence + " `%ucore reset --force` gives it a clean start."
            )

    # --- pipes ----------------------------------------------------------------------------------------

    def _subscribe(self, reader: Reader) -> None:
        """Bind a reader to the opening it means, or let it wait for one. Raises PipeNameError if it means several."""
        openings = [opening for desk in self.desks.values() for opening in desk.pipes if self._means(reader, opening)]
        if len(openings) > 1:
            boards = " and ".join(sorted(opening.board for opening in openings))
            raise PipeNameError(f"The pipe {reader.pipe!r} is open on {boards}: say which one you mean, with board=")
        if not openings and reader.replay:
            ended = [opening for opening in self.backlogs.ended if _fits(reader, opening)]
            # A notebook's own first; but its board may have gone since, and perhaps there is another in its place.
            openings = ([opening for opening in ended if self._means(reader, opening)] or ended)[-1:]
        reader.on_lost = self._reader_left
        self.readers.add(reader)
        if openings:
            openings[0].join(reader)
        else:
            self._waiting.append(reader)
        self.review()

    def _reader_left(self, reader: Reader) -> None:
        self.readers.discard(reader)
        if reader in self._waiting:
            self._waiting.remove(reader)
        if reader.opening is not None:
            reader.opening.leave(reader)
        self.review()

    def opened(self, opening: Opening) -> None:
        """A board opened a pipe: bind who waits for it."""
        for reader in [reader for reader in self._waiting if self._means(reader, opening)]:
            self._waiting.remove(reader)
            opening.join(reader)
        self.review()

    def _means(self, reader: Reader, opening: Opening) -> bool:
        """Whether a reader that names no board, and is a notebook's that has boards, means this one: its own boards only.

        Thirty notebooks may run the same cells, each with a board of its own.
        """
        if not _fits(reader, opening) or reader.board is not None:
            return _fits(reader, opening)
        # A kernel that is still being attached has no desk yet, and one whose board has ended has none any more.
        mine = [
            client for client in self.clients if client.kernel and client.kernel == reader.kernel and not client.is_detached
        ]
        return not mine or any(client.desk is not None and client.desk.owns(opening) for client in mine)

    # --- what clients see -------------------------------------------------------------------------------

    async def boards(self) -> "list[dict]":
        """Return the boards in use, the ones that are plugged in, and the virtual ones that run."""
        found = await self._loop.run_in_executor(None, lambda: discovery.find_boards() + discovery.find_virtual_boards())
        boards = [desk.as_dict() for desk in self.desks.values()]
        held = {desk.board.port for desk in self.desks.values()} | set(self.desks)
        for info in found:
            if info.port not in held:
                boards.append({"name": info.name, "port": info.port, "state": "free", "description": info.description})
        return boards

    def pipes(self) -> "list[dict]":
        """Return the open pipes, then the ones that have ended lately."""
        openings = [opening.as_dict(desk.state == "ready") for desk in self.desks.values() for opening in desk.pipes]
        return openings + [opening.as_dict(is_open=False) for opening in self.backlogs.ended]


def _fits(reader: Reader, opening: Opening) -> bool:
    return reader.pipe == opening.name and reader.board in (None, opening.board, *opening.ports)


def _reads(reader: Reader, desk: Desk) -> bool:
    """Whether a reader reads from that board, or waits for a pipe that it may open."""
    if reader.opening is not None:
        return reader.opening in desk.pipes
    return reader.board in (None, desk.name, desk.port, desk.board.port)


def _board(port: str, deliver):
    # Imported with the first board: a hub without one starts faster.
    from .driver import Board

    def install(port: str) -> None:
        from ukernel.install import installer  # mpremote, for a stock board only

        installer.ensure_agent(port)

    return Board(port, deliver, install=install)


def _forget_starter() -> None:
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
    claim = statefile.Claim()
    if not claim.take():
        _log.info("hub %d: another hub holds %s", os.getpid(), claim.path)
        return ANOTHER_HUB
    try:
        asyncio.run(Hub(board_factory).run(claim))
    except Exception:
        _log.exception("the hub failed")
        raise
    finally:
        claim.release()
    return 0
