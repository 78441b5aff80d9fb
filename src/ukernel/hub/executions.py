"""The executions of one board: those in line, the one that runs, and those that have ended, whose threads may still print."""

import json
import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ucore import wire
from ukernel.errors import BoardBusyError, UsageError
from ukernel.link.session import Message
from ukernel.protocol.cellnames import CellNames

from . import fullmemory
from .execution import MAX_SOURCE, Execution
from .fairqueue import FairQueue
from .interfaces import Client
from .mimebundle import mime_bundle

__all__ = ["Executions"]

MAX_ENDED = 256  # ended ones remembered, because board threads print after their cell has ended

_log = logging.getLogger("ukernel.hub")
_RELAYED = {wire.EXECUTE_RESULT: "execute_result", wire.DISPLAY_DATA: "display_data"}


class Executions:
    """One board's. ``running`` is the one that the board works on; ``names`` what it has compiled its cells under.

    ``name()`` is the board's. ``send(type, parent, content)`` and ``interrupt()`` reach it; ``is_taken(parent)`` says that another kind
    of request has this number; ``on_end()`` is called when the board is free again.
    """

    def __init__(
        self,
        name: Callable[[], str],
        send: Callable[[int, int, bytes], None],
        interrupt: Callable[[], None],
        is_taken: Callable[[int], bool],
        on_end: Callable[[], None],
    ):
        self.running: Execution | None = None
        self.waiting = FairQueue()
        self.names = CellNames()
        self._name = name
        self._send = send
        self._interrupt = interrupt
        self._is_taken = is_taken
        self._on_end = on_end
        self._known: OrderedDict[int, Execution] = OrderedDict()  # by number on the line: the one that runs, and ended ones
        self._last: Execution | None = None
        # Random, so that threads left by another hub's cells are not taken for children of ours.
        self._parent = random.randrange(1, 65536)

    def add(self, client: Client, request: int, code: bytes, key: object = None) -> Execution:
        """Put one in line: a cell's source, or an order to the agent. Raises UsageError for what is too large, or one too many."""
        size = len(code)
        if size > wire.MAX_REQUEST:
            raise UsageError(f"The cell has {size:,} bytes; a board takes {wire.MAX_REQUEST:,} at most. Split it.")
        execution = Execution(client, request, code, key=key, names=self.names)
        self.waiting.add(execution)
        return execution

    def start_next(self, take_warning: Callable[[Client], str]) -> None:
        """Start the next one if none runs: clients take turns, each one's cells keep their order.

        ``take_warning`` gives what its client must be told before.
        """
        if self.running is not None or not self.waiting:
            return
        execution = self.waiting.next()
        name = self.names.assign(execution.instance, execution.label, execution.key, execution.text)
        execution.parent = self.new_parent(name)
        self._known[execution.parent] = self.running = execution
        warning = take_warning(execution.client) if execution.client is not None else ""
        if warning:
            execution.send("stream", {"name": "stderr", "text": warning + "\n"})
        while len(self._known) > MAX_ENDED:
            self._known.popitem(last=False)
        self._send(wire.EXECUTE_REQUEST, execution.parent, execution.code)
        execution.source = execution.text.strip("\n")[:MAX_SOURCE]
        execution.code = b""

    def new_parent(self, name: int | None = None) -> int:
        """Return a number for a request; that of a cell says by its remainder under which name it is compiled."""
        while True:
            self._parent = self._parent % 65535 + 1
            if name is not None and self._parent % wire.SLOTS != name:
                continue
            if self._parent not in self._known and not self._is_taken(self._parent):
                return self._parent

    def adopt(self, parent: int) -> None:
        """One outlived its session, or its hub: nobody waits for its answer, but the board is not free before it."""
        execution = self._known.get(parent) or Execution(None, 0, b"", parent)
        self.running = self._known[parent] = execution

    def waiting_status(self) -> dict[str, Any]:
        """Return what one in line is told: whose cell the board runs, if it runs one, and if its client has left."""
        holder = self.running
        if holder is None:
            return {"execution_state": "queued", "holder": ""}
        left = {"left": True} if holder.client is None else {}
        return {"execution_state": "queued", "holder": holder.label, **left}

    # --- from the board ---------------------------------------------------------------------------------

    def receive(self, message: Message) -> bool:
        """Take in what the board says of an execution; False for anything else."""
        type_, content = message.type, message.content
        execution = self._known.get(message.parent)
        is_running = execution is not None and execution is self.running
        if type_ == wire.STREAM:
            execution = execution or self.running or self._last
            if execution is not None:
                execution.print(content)
        elif type_ == wire.STATUS:
            if execution is not None and is_running and not execution.replied:
                if content:
                    execution.send("stream", {"name": "stderr", "text": fullmemory.variables_dropped(self._name())})
                execution.send("status", {"execution_state": "busy"})
        elif type_ in _RELAYED:
            if execution is not None:
                execution.send(_RELAYED[type_], mime_bundle(content))
        elif type_ == wire.INPUT_REQUEST:
            if execution is not None and is_running:
                self._ask_input(execution, self._parse(content))
        elif type_ == wire.EXECUTE_REPLY:
            if execution is not None and is_running:
                self._finish(execution, self._parse(content, "the board's answer to the cell could not be read"))
        else:
            return False
        return True

    def print_console(self, text: str) -> None:
        """Show text outside of messages with the cell that runs, or ran last."""
        execution = self.running or self._last
        if execution is not None:
            execution.tell(text)

    def _parse(self, content: bytes, evalue: str = "") -> dict[str, Any]:
        """Return the JSON object in ``content``. Where it is none, raise ValueError, or return an error with ``evalue``."""
        try:
            parsed = json.loads(content)
            if not isinstance(parsed, dict):
                raise ValueError("not a JSON object")
        except (ValueError, RecursionError):
            if not evalue:
                raise
            _log.warning("%s: %s: %r", self._name(), evalue, content[:200])
            return {"status": "error", "ename": "BoardError", "evalue": f"{evalue}.", "traceback": []}
        return parsed

    def _ask_input(self, execution: Execution, content: dict[str, Any]) -> None:
        execution.asking = True
        if execution.client is None:
            self._interrupt()  # nobody is there to answer, and nothing waits for ever
        else:
            execution.send("input_request", {"prompt": content.get("prompt", ""), "password": bool(content.get("password"))})

    def _finish(self, execution: Execution, content: dict[str, Any]) -> None:
        execution.asking = False
        self._last = execution
        self.running = None
        content.setdefault("status", "ok")
        if content["status"] == "error":
            text = "\n".join(line for line in content.get("traceback") or () if isinstance(line, str))
            cells = self.names.find(text, execution.instance, execution.parent % wire.SLOTS)
            content = fullmemory.explain(self._name(), {**content, "cells": cells})
        execution.reply(content)
        self._on_end()

    # --- from clients -----------------------------------------------------------------------------------

    def interrupt(self, client: Client, request: int | None, force: bool = False) -> str:
        """Stop a client's cell: the one with this request id, or, for None, whatever the client runs or has in line.

        A cell whose client has left may be stopped by anybody, one of another client with ``force``. Returns the label of the
        one that runs and is interrupted, empty for none. Raises BoardBusyError where, for None, another's runs.
        """
        for execution in self.waiting.take(client, request):
            execution.reply({"status": "aborted"})
        running = self.running
        if running is None or request not in (None, running.request):
            return ""
        if running.client not in (client, None):
            if request is not None:
                return ""
            if not force:
                raise BoardBusyError(f"The board {self._name()} runs a cell of {running.label}.")
        elif running.client is None and request is not None:
            return ""
        self._interrupt()  # the session holds it back until the board has started the cell
        return running.label

    def reply_input(self, client: Client, request: int, value: str) -> None:
        """Pass on what the user typed."""
        running = self.running
        if running is not None and running.asking and running.client is client and running.request == request:
            running.asking = False
            self._send(wire.INPUT_REPLY, running.parent, value.encode("utf-8", "replace"))

    def leave(self, client: Client) -> None:
        """Forget a client: what it has in line is dropped, what runs goes on without a listener."""
        self.waiting.take(client)
        running = self.running
        was_running = running is not None and running.client is client
        for execution in self._known.values():
            if execution.client is client:
                execution.client = None
        if running is not None and was_running:
            for execution in self.waiting:
                execution.send("status", self.waiting_status())
            if running.asking:
                self._interrupt()

    # --- when the board is lost, or starts afresh ------------------------------------------------------------

    def fail(self, reply: dict[str, Any]) -> None:
        """End all with this reply: the board will not."""
        if self.running is not None:
            self._last, self.running = self.running, None
            self._last.reply(reply)
        self.fail_waiting(reply)

    def fail_waiting(self, reply: dict[str, Any]) -> None:
        """End those in line."""
        for execution in self.waiting.clear():
            execution.reply(reply)

    def begin_reset(self, reply: dict[str, Any]) -> None:
        """The board is about to forget everything: all are answered, and what runs is interrupted."""
        self.fail_waiting(reply)
        self._last = None  # what it says while it boots is nobody's
        if self.running is not None:
            self.running.reply(reply)
            self._interrupt()

    def tell_last(self, text: str) -> None:
        """Tell who ran the last one, if none runs that would be told."""
        if self.running is None and self._last is not None:
            self._last.send("stream", {"name": "stderr", "text": text})

    def forget(self) -> None:
        """The board has restarted, and knows none of them any more."""
        self._known.clear()
        self.names.clear(True)
