"""One board in the hub: who uses it, and how it is attached, lost, found again and reset.

Everything here but `SharedBoard.close` runs in the hub's event loop; the `EventQueue` brings the events of the board's thread there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from ucore import wire
from ukernel.errors import BoardBusyError, BoardGoneError, BoardRestartedError, NoAnswerError, UcoreError, as_reply
from ukernel.link import session
from ukernel.protocol.boardstate import BoardState
from ukernel.protocol.reasons import EndReason

from . import fullmemory
from .eventqueue import EventQueue
from .execution import Execution
from .executions import Executions
from .interfaces import Client, DriverFactory
from .introspection import IntrospectionRequests
from .mounts import Mounts
from .opening import Opening
from .pipes import BoardPipes
from .replay import ReplayBuffers
from .revival import Revival
from .waiters import Waiters

__all__ = ["Registry", "SharedBoard"]

MAX_SAID = 1000  # characters of console text: what a chip says while it boots is less
ATTACH_TIMEOUT_S = 90.0  # the first attach may have to copy µcore on to the board
RESET_TIMEOUT_S = 30.0  # a chip boots in a second or two; then its agent may have to be started over the REPL
RESET_PATIENCE_S = 3.0  # a virtual board that is not back by then has its reset button pressed

_log = logging.getLogger("ukernel.hub")
_ANSWERS = (wire.COMPLETE_REPLY, wire.INSPECT_REPLY, wire.EVERY_REPLY)


class Registry(Protocol):
    """What a board needs of those who hold all boards."""

    silent: set[str]
    replay_buffers: ReplayBuffers[Opening]

    def on_opened(self, opening: Opening) -> None: ...
    def update_timers(self) -> None: ...
    def drop(self, board: SharedBoard) -> None: ...


class SharedBoard:
    """One board, who uses it, and what it runs."""

    def __init__(self, port: str, make_driver: DriverFactory, registry: Registry):
        self.clients: set[Client] = set()
        self.state = BoardState.CONNECTING
        self.unused_timer: asyncio.TimerHandle | None = None
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._greeted = False  # whether the board was asked for what it did before it was ours
        self._lost: Exception | None = None  # why it is gone
        self.revival = Revival(self._loop, self._give_up)
        self._said = ""  # text outside of messages, since the last message
        self._waiters = Waiters()
        self._events = EventQueue(self._loop, self._receive)
        self.driver = make_driver(port, lambda board, event: self._events.put(event))
        self.port = self.driver.port
        self.pipes = BoardPipes(
            lambda: (self.name, (self.port, self.driver.port)),
            registry.replay_buffers,
            registry.on_opened,
            registry.update_timers,
            self.driver.set_timestamps,
        )
        self.executions = Executions(
            lambda: self.name,
            self.driver.send,
            self.driver.interrupt,
            lambda parent: parent in self.introspection or parent == self.mounts.number,
            self._go_on,
        )
        self.mounts = Mounts(lambda: self.name, self.driver.send, self.executions.new_parent)
        self.introspection = IntrospectionRequests(
            self._send_introspection,
            self.executions.new_parent,
            lambda: self.executions.waiting_status() if self.running else None,
        )

    @property
    def running(self) -> Execution | None:
        """What the board works on."""
        return self.executions.running

    def _receive(self, event: object) -> None:
        if not isinstance(event, (session.Ready, session.PipeOpened, session.Console)):
            self.pipes.end_unannounced()
        try:
            self._handle(event)
        except Exception:
            _log.exception("%s: could not handle %r", self.name, event)

    def _handle(self, event: object) -> None:
        if self.pipes.receive(event):
            return
        if isinstance(event, session.Message):
            self._said = ""
            if event.type in _ANSWERS:
                self.introspection.answer(event.parent, event.content)
            elif event.type == wire.REMOTE_REQUEST:
                self.mounts.ask(event.parent, event.content)
            elif not self.executions.receive(event):
                _log.warning("%s: a message of an unknown type %r", self.name, event.type)
        elif isinstance(event, session.Console):
            self._said = (self._said + event.text)[-MAX_SAID:]
            self.executions.print_console(event.text)
        elif isinstance(event, session.Ready):
            self._ready(event)
        elif isinstance(event, session.Gone):
            self._gone(event.error)
        elif isinstance(event, session.Refused):
            self._refused(event.error)
        else:
            _log.warning("%s: an event of an unknown kind: %r", self.name, event)

    def _ready(self, event: session.Ready) -> None:
        facts = event.facts
        again = " again, with nothing lost" if event.resumed else ""
        about = (facts.get("machine"), facts.get("python"), facts.get("version"), facts.get("build"))
        _log.info("%s: ready%s: %s, %s %s, µcore %s", self.name, again, *about)
        is_restarting = self.state is BoardState.RESETTING or (self.state is BoardState.REVIVING and self.revival.is_pressed)
        if is_restarting and not event.restarted:
            return  # the line came back in the middle of it
        self.revival.stop()
        self._registry.silent.discard(self.port)
        if event.restarted:
            if self.state in (BoardState.RESETTING, BoardState.REVIVING):
                self.executions.running = None  # who lost a cell to it knows; what came since is for the fresh board
                if self.state is BoardState.REVIVING and self.revival.is_pressed:
                    self.revival.tell_later(self.clients)
            else:
                self._drop_work(self._restarted())
            self.pipes.end(EndReason.BOARD_RESTARTED)
            self.executions.forget()
        elif not event.resumed:
            self.pipes.expect_reannouncement()
            self.mounts.drop(
                as_reply(BoardGoneError(f"The board {self.name} has had another host: the folder is not mounted any more."))
            )
            if self.running is not None and self.running.parent != event.cell_parent:
                self._drop_work(
                    BoardGoneError(f"The connection to the board {self.name} broke, and the cell's answer was lost.")
                )
        self._said = ""
        self.state = BoardState.READY
        if event.cell_parent and (self.running is None or self.running.parent != event.cell_parent):
            self.executions.adopt(event.cell_parent)
        if not self._greeted:
            self._greeted = True
            self.introspection.ask_sessions(self._set_sessions)
        self._waiters.settle(None)
        self._go_on()

    def _set_sessions(self, sessions: int | None) -> None:
        """A board that no hub has had before us runs no cells but those that we know."""
        if sessions == 1:
            self.executions.names.is_complete = True

    def _restarted(self) -> BoardRestartedError:
        """Return why the board is a new one, and tell the cell before where none runs that would be told."""
        if "MemoryError" not in self._said:
            return BoardRestartedError(f"The board {self.name} restarted: what it ran and remembered is lost.")
        error = BoardRestartedError(fullmemory.restarted(self.name))
        self.executions.tell_last(f"{error}\n")
        return error

    def _gone(self, error: Exception) -> None:
        _log.info("%s: gone, %s", self.name, error)
        self.revival.stop()
        self.state = BoardState.GONE
        self._lost = error
        self._drop_work(error)
        self.pipes.disconnect_readers()
        self._waiters.settle(error)
        self._registry.update_timers()

    def _refused(self, error: Exception, given_back: bool = False) -> None:
        _log.info("%s: refused, %s", self.name, error)
        self.revival.stop()
        if isinstance(error, NoAnswerError):
            self._registry.silent.add(self.port)
        self.state = BoardState.REFUSED
        self._drop_work(error)
        for client in list(self.clients):  # right away: who hears that its cell has failed may run the next one at once
            client.detach(error, given_back)
        self.pipes.end(EndReason.BOARD_GONE)
        self._waiters.settle(error)
        self._registry.drop(self)

    def give_back(self) -> None:
        """Let the port go for other programs: clients hear that the board was detached, cells in line fail, pipes end."""
        why = f"The board {self.name} was detached, for another program to have its port. The next cell takes it again."
        self._refused(BoardGoneError(why), given_back=True)

    def _revive(self) -> bool:
        """Begin to get back a board that is there and silent; False where there is no hope. `_ready` or `_give_up` ends it.

        Whoever asks for the board after others were told that it hangs wants it back: a virtual one is restarted.
        """
        if self.state is not BoardState.GONE or not isinstance(self._lost, (NoAnswerError, BoardBusyError)):
            return False
        self.state = BoardState.REVIVING
        presses = self.driver.is_virtual and isinstance(self._lost, NoAnswerError)
        if presses:
            self.driver.press_reset()
        self.revival.begin(presses)
        return True

    def press_if_silent(self) -> None:
        """Restart a virtual board that has not answered up to now."""
        if self.state is BoardState.CONNECTING and self.driver.is_virtual:
            self.driver.press_reset()

    def _give_up(self) -> None:
        if self.revival.is_pressed:  # not even its line's process answers
            self._refused(
                NoAnswerError(
                    f"The virtual board {self.name} on {self.port} hangs, and cannot be restarted. A notebook's own is replaced "
                    "for the next board cell; one that `ucore virtual` runs is to be stopped there, and started again."
                )
            )
        elif self._lost is not None:
            self._gone(self._lost)

    def _drop_work(self, error: Exception) -> None:
        """Fail everything that waits for this board."""
        self.executions.fail(as_reply(error))
        self.introspection.drop()
        self.mounts.drop(as_reply(error))

    def _start_next(self) -> None:
        """Start what is next in line, if the board is there and free."""
        if self.state is BoardState.READY:
            self.executions.start_next(self.revival.take_warning)

    def _go_on(self) -> None:
        """The board is free, or back."""
        self._start_next()
        self._registry.update_timers()

    @property
    def name(self) -> str:
        """The board's stable name; its port as long as it has none."""
        return self.driver.name or self.port

    @property
    def boot_id(self) -> str:
        """The board and this life of it: another text once it has restarted, or another board has its name."""
        return f"{self.name} {(self.driver.facts or {}).get('boot')}"

    def has_opening(self, opening: Opening) -> bool:
        """Whether a pipe, which may have ended, is this board's."""
        return opening.board == self.name or self.port in opening.ports or self.driver.port in opening.ports

    @property
    def is_used(self) -> bool:
        """Whether anybody or anything needs the board: a client, a cell, an open pipe."""
        has_pipes = bool(self.pipes) and self.state is BoardState.READY
        return bool(self.clients or self._waiters or self.running or self.executions.waiting or has_pipes)

    def other_users(self, client: Client, readers: bool = False) -> list[str]:
        """Return labels of those who use the board beside this client, or kernel; with ``readers``, of its pipes too."""
        kernel = client.kernel
        others = {other for other in self.clients if other is not client and (readers or not other.follows)}
        labels = {other.label for other in others if not (kernel and other.kernel == kernel)}
        if readers:
            labels |= {f"a reader of the pipe {opening.name!r}" for opening in self.pipes if opening.subscribers}
        return sorted(labels)

    async def attached(self) -> None:
        """Return once the board is ready. Raises what keeps it from it."""
        if self.state is BoardState.READY:
            return
        if self.state is BoardState.GONE and not self._revive():
            raise BoardGoneError(f"The board {self.name} is gone from {self.port}. Plug it in again, or choose another one.")
        await self._back(ATTACH_TIMEOUT_S)

    async def _back(self, timeout_s: float) -> None:
        try:
            is_back = await self._waiters.wait(timeout_s)
        finally:
            self._registry.update_timers()
        if not is_back:
            advice = "Try again" if self.driver.is_virtual else "Press its reset button and try again"
            raise NoAnswerError(f"The board {self.name} on {self.port} did not answer within {timeout_s:.0f} s. {advice}.")

    async def reset(self, client: Client) -> None:
        """Start the board's Python afresh, and return once it is back. Cells in line fail, pipes end.

        Raises BoardError where it does not come back.
        """
        boot_id = self.boot_id
        if self._revive() or self.state is BoardState.REVIVING:
            await self._back(RESET_TIMEOUT_S)
            if self.boot_id != boot_id:
                self.revival.forget(client)
                return
        patience: asyncio.TimerHandle | None = None
        if self.state is not BoardState.RESETTING:
            self._check_ready()
            reply = as_reply(BoardRestartedError(f"The board {self.name} was reset by {client.label}."))
            self.state = BoardState.RESETTING
            self.introspection.drop()
            self.mounts.drop(reply)
            self.executions.begin_reset(reply)
            self.driver.send(wire.SHUTDOWN_REQUEST, 0, b"")
            if self.driver.is_virtual:
                patience = self._loop.call_later(RESET_PATIENCE_S, self.driver.press_reset)
        try:
            await self._back(RESET_TIMEOUT_S)
        except NoAnswerError:
            if self.state is BoardState.RESETTING:
                self.state = BoardState.READY
                self._go_on()
            raise
        finally:
            if patience is not None:
                patience.cancel()

    def execute(self, client: Client, request: int, code: bytes, key: object = None) -> None:
        """Put a cell in line, its source or an order to the agent; its client hears the rest in messages.

        ``key``: the client's word for it in tracebacks.
        """
        try:
            if not self._revive():
                self._check_ready()
            execution = self.executions.add(client, request, code, key)
        except UcoreError as error:
            client.send("execute_reply", request, as_reply(error))
            return
        status = self.executions.waiting_status()
        self._start_next()  # who has sent this looks at the timers, as after each request
        if not execution.parent and self.state is not BoardState.REVIVING:  # then it is told how that went
            execution.send("status", status)

    def _check_ready(self) -> None:
        if self.state not in (BoardState.READY, BoardState.RESETTING, BoardState.REVIVING):
            raise BoardGoneError(
                f"The board {self.name} is not there ({self.state}). It is looked for on {self.port}; try again once it is back."
            )

    def _send_introspection(self, type_: int, parent: int, content: bytes) -> bool:
        if self.state is not BoardState.READY or (self.running is not None and type_ != wire.EVERY_REQUEST):
            return False
        self.driver.send(type_, parent, content)
        return True

    def ask_producers(self, client: Client, request: int, stop: str) -> None:
        """Ask what `ucore.every` calls, and end the one named ``stop``; while a cell runs, too. Raises BoardGoneError."""
        self._check_ready()
        self.introspection.producers(client, request, stop)

    def mount(self, client: Client, request: int) -> None:
        """Ask a client what the board wants to know of the folder that it mounts. Raises BoardGoneError, BoardBusyError."""
        self._check_ready()
        self.mounts.begin(client, request)

    def leave(self, client: Client) -> None:
        """Forget a client: its waiting cells are dropped, the one that runs goes on without a listener."""
        self.clients.discard(client)
        self.revival.forget(client)
        self.mounts.leave(client)
        self.executions.leave(client)

    def as_dict(self) -> dict[str, Any]:
        """Return what `boards_reply` says about it."""
        facts = self.driver.facts or {}
        running = self.running
        return {
            "name": self.name,
            "port": self.port,
            "state": self.state,
            "description": str(facts.get("machine") or facts.get("platform") or ""),
            "facts": facts,
            "clients": sorted(client.label for client in self.clients),
            "running": {"client": running.label, "since": running.since} if running is not None else None,
            "waiting": [execution.label for execution in self.executions.waiting],
        }

    def end(self, reason: EndReason) -> None:
        """Let pipes and cells go, with the reason; `close` comes next."""
        self._drop_work(BoardGoneError(f"The board hub let go of the board {self.name}: {reason}."))
        self.pipes.end(reason)

    def close(self) -> None:
        """Close the board. Blocks until its thread has ended: call it outside the event loop."""
        self._events.close()
        self.driver.close()
