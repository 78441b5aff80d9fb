"""What ``%ucore`` asks for: the magic runs in the sub-kernel, the board is the switchboard's.

A question (see `magicmessages`) comes on the sub-kernel's stdin channel, in the middle of a host cell, and the answer goes back there.
"""

import base64
from collections.abc import Callable
from typing import Any

from ukernel.boards.tracebacks import format_stream
from ukernel.errors import UcoreError, UsageError, as_reply
from ukernel.protocol import values

from . import magicmessages
from .kernelcontext import KernelContext
from .messages import Message
from .outputbuffer import waiting_text

__all__ = ["MagicRequests"]

INSPECT_S = 0.3  # that a host cell which has failed waits for a hint; a board between two cells answers in milliseconds
_INTERRUPTED = as_reply(KeyboardInterrupt())
# Of what the hub takes, this is the magic's to ask for: the rest is the switchboard's own business.
_HUB_REQUESTS = ("reset_request", "interrupt_request", "producers_request")


class MagicRequests:
    """The requests of one kernel's magics: those under way may be interrupted with the host cell that sent them."""

    def __init__(self, context: KernelContext):
        self._context = context
        self._open: set[_MagicRequest] = set()

    def start(self, question: Message) -> None:
        """Begin with a request."""
        request = _MagicRequest(self._context, question, self._open.discard)
        self._open.add(request)
        request.start()

    def interrupt(self) -> None:
        """Stop what runs on the board for a host cell."""
        for request in list(self._open):
            request.interrupt()

    def forget(self) -> None:
        """The sub-kernel is gone, and who waited for an answer with it."""
        self.interrupt()
        self._open.clear()


class _MagicRequest:
    """One question, and its one answer."""

    def __init__(self, context: KernelContext, question: Message, on_end: Callable[["_MagicRequest"], None]):
        self._context = context
        self._question = question
        self._on_end = on_end
        self._connection = context.board_connections.default
        self._asked = 0  # the hub's number for a cell that runs for it
        self._text = ""
        self._received = values.ReceivedValue()
        self._interrupted = self._over = False

    def start(self) -> None:
        kind, content = self._question.type, self._question.content
        if kind == magicmessages.USE_BOARD:
            self._context.board_connections.use(content["board"], self._tell_board)
        elif kind == magicmessages.BOARD_INFO and not content["wait"]:
            self._tell_board(None)
        elif kind == magicmessages.BOARD_INFO:
            self._connection.when_ready(lambda error: self._answer({"error": str(error)}) if error else self._tell_board(None))
        elif kind == magicmessages.EXECUTE or (kind == magicmessages.HUB and content["type"] in _HUB_REQUESTS):
            self._connection.when_ready(self._send)
        elif kind == magicmessages.INSPECT:
            self._inspect(content["name"])
        else:
            self._fail(UsageError(f"The switchboard does not take a {content.get('type', kind)} from a magic."))

    def _inspect(self, name: str) -> None:
        """Ask what the board has by this name. The answer is empty where there is no board yet, or one that does not answer at once."""
        if self._connection.is_ready:
            self._context.loop.call_later(INSPECT_S, lambda: self._answer({}))
            try:
                question = {"code": name, "cursor_pos": len(name)}
                self._connection.send("inspect_request", question, lambda _, told: self._answer({"type": told.get("type")}))
                return
            except UcoreError:
                pass
        self._answer({})

    def _tell_board(self, error: Exception | None) -> None:
        if error is not None:
            self._fail(error)
        else:
            self._tell_notice()
            self._answer({"name": "", "port": "", "facts": {}, **self._context.board_connections.default.board})

    def _send(self, error: Exception | None) -> None:
        if self._over:
            return  # interrupted before the board was there
        if error is not None:
            self._fail(error)
            return
        self._tell_notice()
        content = self._question.content
        try:
            if self._question.type == magicmessages.EXECUTE:
                self._asked = self._connection.send("execute_request", self._cell(content), self._receive)
            else:
                self._connection.send(content["type"], content["content"], self._receive_answer)
        except UcoreError as lost:
            self._fail(lost)

    @staticmethod
    def _cell(content: dict[str, Any]) -> dict[str, Any]:
        return {key: content[key] for key in ("code", "order") if key in content}

    def _receive(self, msg_type: str, content: dict[str, Any]) -> None:
        if msg_type == "execute_reply":
            self._end(content)
        elif msg_type == "execute_result":
            if not self._received.take(content):
                self._text = content["data"].get("text/plain", "")
        elif msg_type == "input_request":
            self._connection.send("interrupt_request", {"parent": self._asked})  # there is nobody to ask
        elif msg_type == "status":
            if content.get("execution_state") == "queued":
                self._tell("stderr", waiting_text(content))
        elif msg_type == "stream":
            self._tell(content["name"], format_stream(content, self._context.history))
        else:
            self._context.frontend.publish(msg_type, content, self._parent)

    def _receive_answer(self, msg_type: str, content: dict[str, Any]) -> None:
        if msg_type != "status":
            self._answer(content)
        elif not self._over:
            self._tell("stderr", waiting_text(content))

    def _end(self, reply: dict[str, Any]) -> None:
        if reply.get("status", "ok") == "ok":
            self._answer({"text": self._text, **self._value()})
        elif self._interrupted or reply["status"] == "aborted":
            self._answer(_INTERRUPTED)
        elif reply.get("traceback"):  # the board's own error, which is none of our classes
            evalue = f"{reply['ename']}: {reply['evalue']}" if reply.get("evalue") else reply["ename"]
            self._answer({"status": "error", "ename": "BoardError", "evalue": f"On the board: {evalue}"})
        else:
            self._answer(reply)

    def _value(self) -> dict[str, Any]:
        """What the answer says of the board's value, if it gave one."""
        if self._received.is_empty:
            return {}
        if self._received.is_too_large:
            return {"value": None}
        if self._received.stuck:
            return {"stuck": self._received.stuck}
        return {"value": base64.b64encode(self._received.data).decode()}

    def interrupt(self) -> None:
        """Stop what runs on the board for it, or the wait for a board."""
        self._interrupted = True
        if not self._asked:
            self._answer(_INTERRUPTED)
        elif not self._over:
            try:
                self._connection.send("interrupt_request", {"parent": self._asked})
            except UcoreError:
                pass  # losing the hub has answered it already

    def _fail(self, error: Exception) -> None:
        self._answer(as_reply(error))

    def _answer(self, content: dict[str, Any]) -> None:
        if not self._over:
            self._over = True
            self._on_end(self)
            self._context.subkernel.answer(self._question, content)

    def _tell_notice(self) -> None:
        notice = self._context.board_connections.default.take_notice()
        if notice:
            self._tell("stderr", notice + "\n")

    def _tell(self, name: str, text: str) -> None:
        """Print below the host cell."""
        self._context.frontend.publish("stream", {"name": name, "text": text}, self._parent)

    @property
    def _parent(self) -> bytes:
        return self._question.signed[1]
