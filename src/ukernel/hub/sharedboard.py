"""The hub's board for one board: its cells in line, its messages sorted to who asked, its pipes to who reads.

Everything here but `SharedBoard.close` runs in the hub's event loop; the `EventQueue` brings the events of the board's thread there.
"""

import asyncio
import json
import logging
import random
from collections import OrderedDict

from ucore import wire
from ukernel.errors import BoardBusyError, BoardGoneError, BoardRestartedError, NoAnswerError, UcoreError, UsageError, as_reply
from ukernel.link import session
from ukernel.protocol.cellnames import CellNames
from ukernel.protocol.reasons import EndReason

from .eventqueue import EventQueue
from .execution import Execution
from .fairqueue import FairQueue
from .introspection import IntrospectionRequests
from .mimebundle import mime_bundle
from .opening import Opening
from .pipes import BoardPipes

__all__ = ["SharedBoard"]

MAX_SAID = 1000  # characters of console text: what a chip says while it boots is less
MAX_CELLS = 256  # ended cells remembered, because board threads print after their cell has ended
ATTACH_TIMEOUT_S = 90.0  # the first attach may have to copy µcore on to the board
RESET_TIMEOUT_S = 30.0  # a chip boots in a second or two; then its agent may have to be started over the REPL
RESET_PATIENCE_S = 3.0  # a virtual board that is not back by then has its reset button pressed
# What a board that hung may need until it answers: a virtual one, whose button is pressed; another, if its user has pressed it.
REVIVAL_S = 15.0
BUTTON_S = 4.0
REVIVED = "The virtual board did not answer any more and has been restarted: what it remembered is lost."

_ADVICE = "Free some with `del`, or start the board afresh with `%ucore reset`."

_log = logging.getLogger("ukernel.hub")
_RELAYED = {wire.EXECUTE_RESULT: "execute_result", wire.DISPLAY_DATA: "display_data"}
_ANSWERS = (wire.COMPLETE_REPLY, wire.INSPECT_REPLY, wire.EVERY_REPLY)


class SharedBoard:
    """One board, who uses it, and what it runs."""

    def __init__(self, port: str, board_factory, hub):
        self.hub = hub
        self.clients: set = set()
        self.pipes = BoardPipes(self)
        self.running: Execution | None = None
        self.waiting = FairQueue()
        self.state = "connecting"
        self.unused_timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._cells: OrderedDict[int, Execution] = OrderedDict()
        self._last: Execution | None = None
        self._names = CellNames()
        self._greeted = False  # whether the board was asked for what it did before it was ours
        self._lost: Exception | None = None  # why it is gone
        self._pressed = False  # whether its reset button was pressed to get it back
        self._revival: asyncio.TimerHandle | None = None
        self._untold: set = set()  # clients that do not know yet that the board was restarted for a cell
        self._said = ""  # text outside of messages, since the last message
        self.introspection = IntrospectionRequests(
            self._put_question, self._new_parent, lambda: self._waiting_status() if self.running else None
        )
        self._attaching: set[asyncio.Future] = set()
        # Random, so that threads left by another hub's cells are not taken for children of ours.
        self._parent = random.randrange(1, 65536)
        self._events = EventQueue(self._loop, self._receive)
        self.driver = board_factory(port, lambda board, event: self._events.put(event))
        self.port = self.driver.port

    # --- events ---------------------------------------------------------------------------------

    def _receive(self, event) -> None:
        if not isinstance(event, (session.Ready, session.PipeOpened, session.Console)):
            self.pipes.end_unannounced()
        try:
            self._handle(event)
        except Exception:
            _log.exception("%s: could not handle %r", self.name, event)

    def _handle(self, event) -> None:
        kind = type(event)
        if self.pipes.receive(event):
            return
        if kind is session.Message:
            self._said = ""
            self._message(event)
        elif kind is session.Console:
            self._said = (self._said + event.text)[-MAX_SAID:]
            cell = self.running or self._last
            if cell is not None:
                cell.tell(event.text)
        elif kind is session.Ready:
            self._ready(event)
        elif kind is session.Gone:
            self._gone(event)
        elif kind is session.Refused:
            self._refused(event.error)
        else:
            _log.warning("%s: an event of an unknown kind: %r", self.name, event)

    def _ready(self, event) -> None:
        _log.info("%s: ready, %s", self.name, event)
        is_restarting = self.state == "resetting" or (self.state == "reviving" and self._pressed)
        if is_restarting and not event.restarted:
            return  # the line came back in the middle of it
        self._stop_revival()
        self.hub.silent.discard(self.port)
        if event.restarted:
            if self.state in ("resetting", "reviving"):  # who lost a cell to it knows; what came since is for the fresh board
                self.running = None
                if self.state == "reviving" and self._pressed:
                    self._untold = set(self.clients)
            else:
                self._drop_work(self._restarted())
            self.pipes.end(EndReason.BOARD_RESTARTED)
            self._cells.clear()
            self._names.clear(True)
        elif not event.resumed:
            self.pipes.expect_reannouncement()
            if self.running is not None and self.running.parent != event.cell_parent:
                self._drop_work(
                    BoardGoneError(f"The connection to the board {self.name} broke, and the cell's answer was lost.")
                )
        self._said = ""
        self.state = "ready"
        if event.cell_parent and (self.running is None or self.running.parent != event.cell_parent):
            # It outlived its session, or its hub: nobody waits for its answer, but the board is not free before it.
            cell = self._cells.get(event.cell_parent) or Execution(None, 0, b"", event.cell_parent)
            self.running = self._cells[event.cell_parent] = cell
        if not self._greeted:
            self._greeted = True
            self.introspection.ask_sessions(self._set_sessions)
        self._settle_attaching(None)
        self._next()
        self.hub.update_timers()

    def _set_sessions(self, sessions: "int | None") -> None:
        """A board that no hub has had before us runs no cells but those that we know."""
        if sessions == 1:
            self._names.is_complete = True

    def _restarted(self) -> BoardRestartedError:
        """Return why the board is a new one, and tell the cell before where none runs that would be told."""
        if "MemoryError" not in self._said:
            return BoardRestartedError(f"The board {self.name} restarted: what it ran and remembered is lost.")
        error = BoardRestartedError(
            f"The board {self.name} restarted itself: its memory was full, and what filled it were not the variables of cells, which "
            "it can drop, but a thread, a task or a module. What it ran and remembered is lost."
        )
        if self.running is None and self._last is not None:
            self._last.send("stream", {"name": "stderr", "text": f"{error}\n"})
        return error

    def _gone(self, event) -> None:
        _log.info("%s: gone, %s", self.name, event)
        self._stop_revival()
        self.state = "gone"
        self._lost = event.error
        self._drop_work(event.error)
        self.pipes.disconnect_readers()
        self._settle_attaching(event.error)
        self.hub.update_timers()

    def _refused(self, error: Exception) -> None:
        _log.info("%s: refused, %s", self.name, error)
        self._stop_revival()
        if isinstance(error, NoAnswerError):
            self.hub.silent.add(self.port)
        self.state = "refused"
        self._drop_work(error)
        for client in list(self.clients):  # right away: who hears that its cell has failed may run the next one at once
            client.detach(error)
        self.pipes.end(EndReason.BOARD_GONE)
        self._settle_attaching(error)
        self.hub.drop(self)

    def _revive(self) -> bool:
        """Begin to get back a board that is there and silent; False where there is no hope. `_ready` or `_give_up` ends it.

        Whoever asks for the board after others were told that it hangs wants it back: a virtual one is restarted.
        """
        if self.state != "gone" or not isinstance(self._lost, (NoAnswerError, BoardBusyError)):
            return False
        self.state = "reviving"
        self._pressed = self.driver.is_virtual and isinstance(self._lost, NoAnswerError)
        if self._pressed:
            self.driver.press_reset()
        self._revival = self._loop.call_later(REVIVAL_S if self._pressed else BUTTON_S, self._give_up)
        return True

    def press_if_silent(self) -> None:
        """Restart a virtual board that has not answered up to now."""
        if self.state == "connecting" and self.driver.is_virtual:
            self.driver.press_reset()

    def _stop_revival(self) -> None:
        if self._revival is not None:
            self._revival.cancel()
            self._revival = None

    def _give_up(self) -> None:
        error = self._lost
        if self._pressed:  # not even its line's process answers
            self._refused(
                NoAnswerError(
                    f"The virtual board {self.name} on {self.port} hangs, and cannot be restarted. A notebook's own is replaced "
                    "for the next board cell; one that `ucore virtual` runs is to be stopped there, and started again."
                )
            )
        else:
            self._gone(session.Gone(error))

    # --- messages from the board ------------------------------------------------------------------

    def _message(self, event) -> None:
        type_, parent, content = event.type, event.parent, event.content
        cell = self._cells.get(parent)
        if type_ == wire.STREAM:
            cell = cell or self.running or self._last
            if cell is not None:
                cell.print(content)
        elif type_ == wire.STATUS:
            if cell is not None and cell is self.running and not cell.replied:
                if content:
                    cell.send("stream", {"name": "stderr", "text": self._dropped()})
                cell.send("status", {"execution_state": "busy"})
        elif type_ in _RELAYED:
            if cell is not None:
                cell.send(_RELAYED[type_], mime_bundle(content))
        elif type_ == wire.INPUT_REQUEST:
            self._ask_input(cell, self._parse(content))
        elif type_ == wire.EXECUTE_REPLY:
            if cell is not None and cell is self.running:
                self._finish(cell, self._parse(content, "the board's answer to the cell could not be read"))
        elif type_ in _ANSWERS:
            self.introspection.answer(parent, content)
        else:
            _log.warning("%s: a message of an unknown type %r", self.name, type_)

    def _parse(self, content: bytes, evalue: str = "") -> dict:
        """Return the JSON object in ``content``. Where it is none, raise ValueError, or return an error with ``evalue``."""
        try:
            parsed = json.loads(content)
            if not isinstance(parsed, dict):
                raise ValueError("not a JSON object")
        except (ValueError, RecursionError):
            if not evalue:
                raise
            _log.warning("%s: %s: %r", self.name, evalue, content[:200])
            return {"status": "error", "ename": "BoardError", "evalue": f"{evalue}.", "traceback": []}
        return parsed

    def _ask_input(self, cell: "Execution | None", content: dict) -> None:
        if cell is None or cell is not self.running:
            return
        cell.asking = True
        if cell.client is None:
            self.driver.interrupt()  # nobody is there to answer, and nothing waits for ever
        else:
            cell.send("input_request", {"prompt": content.get("prompt", ""), "password": bool(content.get("password"))})

    def _finish(self, cell: Execution, content: dict) -> None:
        cell.asking = False
        self._last = cell
        self.running = None
        content.setdefault("status", "ok")
        if content["status"] == "error":
            text = "\n".join(line for line in content.get("traceback") or () if isinstance(line, str))
            content = self._explain({**content, "cells": self._names.find(text, cell.instance, cell.parent % wire.SLOTS)})
        cell.reply(content)
        self._next()
        self.hub.update_timers()

    def _dropped(self) -> str:
        return (
            f"The memory of the board {self.name} was full, so that it could not even be talked to: it has dropped the variables of its "
            "cells. Run the cells again that make what you need; `%ucore reset` starts the board afresh.\n"
        )

    def _explain(self, content: dict) -> dict:
        """Return the error of a cell, with what can be done where the memory did not suffice to run it, or to say where it failed."""
        ename, evalue = content.get("ename", "MemoryError"), content.get("evalue", "")
        lines = content.get("traceback") or []
        if ename != "MemoryError" or 'File "' in "".join(lines):
            return content
        if "ename" not in content:
            evalue = f"The board {self.name}'s memory is full, so it cannot say where this was. {_ADVICE}"
        else:
            evalue += f". No cell fits into the free memory of the board {self.name}, or not this one. {_ADVICE}"
        return {**content, "ename": ename, "evalue": evalue, "traceback": [*lines[:-1], f"{ename}: {evalue}"] if lines else []}

    def _drop_work(self, error: Exception) -> None:
        """Fail everything that waits for this board."""
        reply = as_reply(error)
        if self.running is not None:
            self._last, self.running = self.running, None
            self._last.reply(reply)
        for cell in self.waiting.clear():
            cell.reply(reply)
        self.introspection.drop()

    # --- what clients ask for -----------------------------------------------------------------------

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
        has_pipes = bool(self.pipes) and self.state == "ready"
        return bool(self.clients or self._attaching or self.running or self.waiting or has_pipes)

    def other_users(self, client, readers: bool = False) -> list[str]:
        """Return labels of those who use the board beside this client, or kernel; with ``readers``, of its pipes too."""
        kernel = client.kernel
        labels = {other.label for other in self.clients if other is not client and not (kernel and other.kernel == kernel)}
        if readers:
            labels |= {f"a reader of the pipe {opening.name!r}" for opening in self.pipes if opening.subscribers}
        return sorted(labels)

    async def attached(self) -> None:
        """Return once the board is ready. Raises what keeps it from it."""
        if self.state == "ready":
            return
        if self.state == "gone" and not self._revive():
            raise BoardGoneError(f"The board {self.name} is gone from {self.port}. Plug it in again, or choose another one.")
        await self._back(ATTACH_TIMEOUT_S)

    async def _back(self, timeout_s: float) -> None:
        future = self._loop.create_future()
        self._attaching.add(future)
        try:
            # Not wait_for: a NoAnswerError of the board's is a TimeoutError too.
            done, _ = await asyncio.wait([future], timeout=timeout_s)
        finally:
            self._attaching.discard(future)
            self.hub.update_timers()
        if not done:
            advice = "Try again" if self.driver.is_virtual else "Press its reset button and try again"
            raise NoAnswerError(f"The board {self.name} on {self.port} did not answer within {timeout_s:.0f} s. {advice}.")
        future.result()

    async def reset(self, client) -> None:
        """Start the board's Python afresh, and return once it is back. Cells in line fail, pipes end.

        Raises BoardError where it does not come back.
        """
        boot_id = self.boot_id
        if self._revive() or self.state == "reviving":
            await self._back(RESET_TIMEOUT_S)
            if self.boot_id != boot_id:
                self._untold.discard(client)
                return
        patience: asyncio.TimerHandle | None = None
        if self.state != "resetting":
            self._check_ready()
            reply = as_reply(BoardRestartedError(f"The board {self.name} was reset by {client.label}."))
            self.state = "resetting"
            for cell in self.waiting.clear():
                cell.reply(reply)
            self.introspection.drop()
            self._last = None  # what it says while it boots is nobody's
            if self.running is not None:
                self.running.reply(reply)
                self.driver.interrupt()
            self.driver.send(wire.SHUTDOWN_REQUEST, 0, b"")
            if self.driver.is_virtual:
                patience = self._loop.call_later(RESET_PATIENCE_S, self.driver.press_reset)
        try:
            await self._back(RESET_TIMEOUT_S)
        except NoAnswerError:
            if self.state == "resetting":
                self.state = "ready"
                self._next()
            raise
        finally:
            if patience is not None:
                patience.cancel()

    def _settle_attaching(self, error: "Exception | None") -> None:
        for future in self._attaching:
            if not future.done():
                future.set_result(None) if error is None else future.set_exception(error)

    def execute(self, client, request: int, code: bytes, key: object = None) -> None:
        """Put a cell in line, its source or an order to the agent; its client hears the rest in messages.

        ``key``: the client's word for it in tracebacks.
        """
        cell = Execution(client, request, code, key=key, names=self._names)
        try:
            if not self._revive():
                self._check_ready()
            size = len(code)
            if size > wire.MAX_MESSAGE - 16:
                raise UsageError(f"The cell has {size:,} bytes; a board takes {wire.MAX_MESSAGE - 16:,} at most. Split it.")
            self.waiting.add(cell)
        except UcoreError as error:
            return cell.reply(as_reply(error))
        status = self._waiting_status()
        self._next()
        if not cell.parent and self.state != "reviving":  # then it is told how that went
            cell.send("status", status)
        return None

    def _check_ready(self) -> None:
        if self.state not in ("ready", "resetting", "reviving"):
            raise BoardGoneError(
                f"The board {self.name} is not there ({self.state}). It is looked for on {self.port}; try again once it is back."
            )

    def _waiting_status(self) -> dict:
        """Return what a cell in line is told: whose cell the board runs, if it runs one, and if its client has left."""
        holder = self.running
        if holder is None:
            return {"execution_state": "queued", "holder": ""}
        left = {"left": True} if holder.client is None else {}
        return {"execution_state": "queued", "holder": holder.label, **left}

    def _next(self) -> None:
        """Start the next cell if the board is free: clients take turns, each one's cells keep their order."""
        if self.running is not None or self.state != "ready" or not self.waiting:
            return
        cell = self.waiting.next()
        cell.parent = self._new_parent(self._names.assign(cell.instance, cell.label, cell.key, cell.text))
        self._cells[cell.parent] = self.running = cell
        notice = self.take_notice(cell.client)
        if notice:
            cell.send("stream", {"name": "stderr", "text": notice + "\n"})
        while len(self._cells) > MAX_CELLS:
            self._cells.popitem(last=False)
        self.driver.send(wire.EXECUTE_REQUEST, cell.parent, cell.code)
        cell.code = b""

    def take_notice(self, client) -> str:
        """Return what a client must be told, once."""
        if client not in self._untold:
            return ""
        self._untold.discard(client)
        return REVIVED

    def _new_parent(self, name: "int | None" = None) -> int:
        """Return a number for a request; that of a cell says by its remainder under which name it is compiled."""
        while True:
            self._parent = self._parent % 65535 + 1
            if name is not None and self._parent % wire.SLOTS != name:
                continue
            if self._parent not in self._cells and self._parent not in self.introspection:
                return self._parent

    def interrupt(self, client, request: "int | None", force: bool = False) -> str:
        """Stop a client's cell: the one with this request id, or, for None, whatever the client runs or has in line.

        A cell whose client has left may be stopped by anybody, one of another client with ``force``. Returns the label of the
        one that runs and is interrupted, empty for none. Raises BoardBusyError where, for None, another's runs.
        """
        for cell in self.waiting.take(client, request):
            cell.reply({"status": "aborted"})
        cell = self.running
        if cell is None or request not in (None, cell.request):
            return ""
        if cell.client not in (client, None):
            if request is not None:
                return ""
            if not force:
                raise BoardBusyError(f"The board {self.name} runs a cell of {cell.label}.")
        elif cell.client is None and request is not None:
            return ""
        self.driver.interrupt()  # the session holds it back until the board has started the cell
        return cell.label

    def reply_input(self, client, request: int, value: str) -> None:
        """Pass on what the user typed."""
        cell = self.running
        if cell is not None and cell.asking and cell.client is client and cell.request == request:
            cell.asking = False
            self.driver.send(wire.INPUT_REPLY, cell.parent, value.encode("utf-8", "replace"))

    def _put_question(self, type_: int, parent: int, content: bytes) -> bool:
        if self.state != "ready" or (self.running is not None and type_ != wire.EVERY_REQUEST):
            return False
        self.driver.send(type_, parent, content)
        return True

    def ask_producers(self, client, request: int, stop: str) -> None:
        """Ask what `ucore.every` calls, and end the one named ``stop``; while a cell runs, too. Raises BoardGoneError."""
        self._check_ready()
        self.introspection.producers(client, request, stop)

    def leave(self, client) -> None:
        """Forget a client: its waiting cells are dropped, the one that runs goes on without a listener."""
        self.clients.discard(client)
        self._untold.discard(client)
        self.waiting.take(client)
        was_running = self.running is not None and self.running.client is client
        for cell in self._cells.values():
            if cell.client is client:
                cell.client = None
        if was_running:
            for cell in self.waiting:
                cell.send("status", self._waiting_status())
            if self.running.asking:
                self.driver.interrupt()

    def as_dict(self) -> dict:
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
            "waiting": [cell.label for cell in self.waiting],
        }

    def end(self, reason: EndReason) -> None:
        """Let pipes and cells go, with the reason; `close` comes next."""
        self._drop_work(BoardGoneError(f"The board hub let go of the board {self.name}: {reason}."))
        self.pipes.end(reason)

    def close(self) -> None:
        """Close the board. Blocks until its thread has ended: call it outside the event loop."""
        self._events.close()
        self.driver.close()
