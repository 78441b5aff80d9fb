"""What ``%ucore`` asks for: the magic runs in the sub-kernel, the board is the switchboard's.

A question comes on the sub-kernel's stdin channel, in the middle of a host cell, and the answer goes back there. The front end
sees neither.
"""

import base64
from typing import TYPE_CHECKING

from ukernel.boards.tracebacks import format_stream
from ukernel.errors import UcoreError, UsageError
from ukernel.protocol import values

from .messages import Message
from .outputbuffer import waiting_text

if TYPE_CHECKING:
    from .switchboard import Switchboard

__all__ = ["REQUEST", "MagicRequests"]

REQUEST = "ucore_request"
INSPECT_S = 0.3  # that a host cell which has failed waits for a hint; a board between two cells answers in milliseconds
_INTERRUPTED = {"status": "error", "ename": "KeyboardInterrupt", "evalue": ""}
_ASKABLE = ("reset_request", "interrupt_request", "producers_request")


class MagicRequests:
    """The requests of one kernel's magics: those under way may be interrupted with the host cell that sent them."""

    def __init__(self, switchboard: "Switchboard"):
        self._switchboard = switchboard
        self._open: set[_MagicRequest] = set()

    def start(self, question: Message) -> None:
        """Begin with a request."""
        request = _MagicRequest(self._switchboard, question, self._open.discard)
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

    def __init__(self, switchboard: "Switchboard", question: Message, on_end):
        self._switchboard = switchboard
        self._question = question
        self._on_end = on_end
        self._connection = switchboard.board_connections.default
        self._asked = 0  # the hub's number for a cell that runs for it
        self._text = ""
        self._pieces = values.Pieces()
        self._interrupted = self._over = False

    def start(self) -> None:
        content, connections = self._question.content, self._switchboard.board_connections
        do = content.get("do")
        if do == "use":
            connections.use(content["board"], self._tell_own)
        elif do == "own" and not content.get("wait", True):
            self._tell_own(None)
        elif do == "own":
            self._connection.when_ready(lambda error: self._answer({"error": str(error)}) if error else self._tell_own(None))
        elif do == "run" or (do == "ask" and content.get("type") in _ASKABLE):
            self._connection.when_ready(self._send)
        elif do == "inspect":
            self._inspect(content["name"])
        else:
            self._fail(UsageError(f"The switchboard does not know {do!r}."))

    def _inspect(self, name: str) -> None:
        """Ask what the board has by this name. The answer is empty where there is no board yet, or one that does not answer at once."""
        if self._connection.is_ready:
            self._switchboard.loop.call_later(INSPECT_S, lambda: self._answer({}))
            try:
                question = {"code": name, "cursor_pos": len(name)}
                self._connection.send("inspect_request", question, lambda _, told: self._answer({"type": told.get("type")}))
                return
            except UcoreError:
                pass
        self._answer({})

    def _tell_own(self, error: "Exception | None") -> None:
        if error is not None:
            self._fail(error)
        else:
            self._tell_notice()
            self._answer({"name": "", "port": "", "facts": {}, **self._switchboard.board_connections.default.board})

    def _send(self, error: "Exception | None") -> None:
        if self._over:
            return  # interrupted before the board was there
        if error is not None:
            self._fail(error)
            return
        self._tell_notice()
        content = self._question.content
        try:
            if content["do"] == "run":
                self._asked = self._connection.send("execute_request", self._cell(content), self._receive)
            else:
                self._connection.send(content["type"], content["content"], self._receive_answer)
        except UcoreError as lost:
            self._fail(lost)

    @staticmethod
    def _cell(content: dict) -> dict:
        return {key: content[key] for key in ("code", "order") if key in content}

    def _receive(self, msg_type: str, content: dict) -> None:
        if msg_type == "execute_reply":
            self._end(content)
        elif msg_type == "execute_result":
            if not self._pieces.take(content):
                self._text = content["data"].get("text/plain", "")
        elif msg_type == "input_request":
            self._connection.send("interrupt_request", {"parent": self._asked})  # there is nobody to ask
        elif msg_type == "status":
            if content.get("execution_state") == "queued":
                self._tell("stderr", waiting_text(content))
        elif msg_type == "stream":
            self._tell(content["name"], format_stream(content, self._switchboard.history))
        else:
            self._switchboard.frontend.publish(msg_type, content, self._parent)

    def _receive_answer(self, msg_type: str, content: dict) -> None:
        if msg_type != "status":
            self._answer(content)
        elif not self._over:
            self._tell("stderr", waiting_text(content))

    def _end(self, reply: dict) -> None:
        if reply.get("status", "ok") == "ok":
            self._answer({"text": self._text, **self._value()})
        elif self._interrupted or reply["status"] == "aborted":
            self._answer(_INTERRUPTED)
        elif reply.get("traceback"):  # the board's own error, which is none of our classes
            evalue = f"{reply['ename']}: {reply['evalue']}" if reply.get("evalue") else reply["ename"]
            self._answer({"status": "error", "ename": "BoardError", "evalue": f"On the board: {evalue}"})
        else:
            self._answer(reply)

    def _value(self) -> dict:
        """What the answer says of the board's value, if it gave one."""
        if self._pieces.is_empty:
            return {}
        if self._pieces.is_too_large:
            return {"value": None}
        if self._pieces.stuck:
            return {"stuck": self._pieces.stuck}
        return {"value": base64.b64encode(self._pieces.data).decode()}

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
        self._answer({"status": "error", "ename": type(error).__name__, "evalue": str(error)})

    def _answer(self, content: dict) -> None:
        if not self._over:
            self._over = True
            self._on_end(self)
            self._switchboard.answer_subkernel(self._question, content)

    def _tell_notice(self) -> None:
        notice = self._switchboard.board_connections.default.take_notice()
        if notice:
            self._tell("stderr", notice + "\n")

    def _tell(self, name: str, text: str) -> None:
        """Print below the host cell."""
        self._switchboard.frontend.publish("stream", {"name": name, "text": text}, self._parent)

    @property
    def _parent(self) -> bytes:
        return self._question.signed[1]
