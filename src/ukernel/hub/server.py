"""The board hub: one process per user and host that owns the boards, and serves clients and pipe readers.

``python -m ukernel.hub``, started by whoever needs it first; it leaves when nobody does. docs/protocol.md describes the
listener's protocol.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from ucore import wire
from ukernel import settings
from ukernel.errors import HubError, describe
from ukernel.protocol import statefile
from ukernel.protocol.reasons import EndReason

from . import logbook
from .boards import Boards
from .connection import ClientConnection
from .interfaces import Driver, DriverFactory
from .listener import Listener
from .requests import ClientRequests

__all__ = ["Hub", "main"]

FIRST_CLIENT_S = 5.0  # what a busy machine may need between starting a hub and connecting to it
STOP_TIMEOUT_S = 3.0  # to flush the last words and to let the boards go

_log = logging.getLogger("ukernel.hub")


class Hub:
    """The process: its listener, its boards, and the rules for staying and leaving. Made in the loop that it runs in."""

    def __init__(self, make_driver: DriverFactory | None = None, linger_s: float | None = None):
        self.linger_s = settings.hub_linger_s() if linger_s is None else linger_s
        self.boards = Boards(make_driver or _make_driver, self.linger_s, self._update_timer)
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._token = os.urandom(32).hex()
        self.listener = Listener(self._token, self._make_client, self.boards.subscriptions.add)
        self.listen = self.listener.listen
        self._leave_timer: asyncio.TimerHandle | None = None

    async def run(self, state_file: statefile.StateFile, detach_stderr: bool = False) -> None:
        """Serve until nobody needs the hub, or `stop`. ``state_file`` must be acquired. Raises OSError if it cannot be written."""
        port = await self.listen()
        _on_signals(self._loop, self.stop)
        try:
            state_file.write(statefile.HubInfo(os.getpid(), "127.0.0.1", port, self._token, wire.BUILD))
            if detach_stderr:
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

    def _make_client(self) -> ClientConnection:
        connection = ClientConnection()
        ClientRequests(self.boards, self, connection)
        return connection

    def _renew(self, state_file: statefile.StateFile, refused: int = 0) -> None:
        """See to it that the hub can be found, and that it is the only one, whoever tidies up in its folder."""
        if self._stop.is_set():
            return
        try:
            refused = 0 if state_file.renew() else refused + 1  # once may be somebody who asks whether the lock is free
        except OSError as error:
            _log.warning("the state file cannot be written again: %s", error)
        if refused > 1:
            _log.warning("another hub has taken the place of this one, whose lock was removed")
            self.stop()
        else:
            self._loop.call_later(statefile.RENEW_S, self._renew, state_file, refused)

    def stop(self) -> None:
        """Leave soon: pipes end with "hub stopped", cells with an error. Only in the hub's own loop."""
        self._stop.set()

    async def _finish(self) -> None:
        self.listener.close()
        boards = self.boards
        boards.watchers.end()
        boards.end(EndReason.HUB_STOPPED)
        boards.subscriptions.end_waiting()
        for client in list(boards.clients):
            client.close()
        if boards.closing:
            await asyncio.wait(boards.closing, timeout=STOP_TIMEOUT_S)
        # Last words to those who still read; who does not is not waited for.
        deadline = self._loop.time() + STOP_TIMEOUT_S
        while (boards.clients or boards.subscriptions.readers) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)

    def _update_timer(self) -> None:
        """Start or stop the clock after which a hub that nobody needs leaves."""
        if self.boards.is_used:
            if self._leave_timer is not None:
                self._leave_timer.cancel()
                self._leave_timer = None
        elif self._leave_timer is None:
            self._leave_timer = self._loop.call_later(self.linger_s, self.stop)


def _make_driver(port: str, deliver: Callable[[Any, object], None]) -> Driver:
    # Imported with the first board: a hub without one starts faster.
    from .driver import BoardDriver

    def install(port: str) -> None:
        from ukernel.install import installer  # mpremote, for a stock board only

        installer.ensure_agent(port)

    return BoardDriver(port, deliver, install=install)


def _detach_stderr() -> None:
    """Let go of the file in which the client that has started the hub looks for why it did not come up."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    os.close(null)


def _on_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except (NotImplementedError, RuntimeError, ValueError):
            try:  # Windows has no signal handlers in the loop
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
            except ValueError:
                return  # not in the main thread: a hub inside a test


def main(make_driver: DriverFactory | None = None, *, detach_stderr: bool = False) -> int:
    """Run a hub until nobody needs it; returns the exit status, `statefile.ANOTHER_HUB` if there is one already.

    ``detach_stderr``: write to the standard error only until it is up. Raises HubError.
    """
    try:
        return _main(make_driver, detach_stderr)
    except OSError as error:
        raise HubError(f"it cannot keep its files: {describe(error)}") from error


def _main(make_driver: DriverFactory | None, detach_stderr: bool) -> int:
    log = settings.hub_log()
    if log is not None:
        logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    logbook.keep()
    state_file = statefile.StateFile()
    if not state_file.acquire():
        _log.info("hub %d: another hub holds %s", os.getpid(), state_file.path)
        return statefile.ANOTHER_HUB

    async def serve() -> None:
        await Hub(make_driver).run(state_file, detach_stderr)

    try:
        asyncio.run(serve())
    except Exception:
        _log.exception("the hub failed")
        raise
    finally:
        state_file.release()
    return 0
