"""One shell's execute requests: one runs, the others wait, and an error in one aborts those behind it."""

from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .messages import Message

if TYPE_CHECKING:
    from .switchboard import Switchboard

__all__ = ["ExecuteQueue", "HostExecution", "aborts_queue", "reply_metadata"]

# ipykernel replies before it is idle, or, to a request that it cannot make sense of, not at all. A reply is never so late.
REPLY_TIMEOUT_S = 3.0


class ExecuteQueue:
    """The execute requests of the main shell, or of one subshell, to both targets."""

    def __init__(self, switchboard: "Switchboard", make_execution: Callable):
        self._switchboard = switchboard
        self._make_execution = make_execution  # (request, queue) -> what executes one request
        self._waiting: deque[Message] = deque()
        self._aborted: list[Message] = []
        self.running = None
        self.count = 0  # the last execution count given

    def add(self, request: Message) -> None:
        self._waiting.append(request)
        if self.running is None:
            self._next()

    def abort_waiting(self) -> None:
        """Decide that what waits now is to be aborted: the running request has failed.

        To be called before its reply leaves: what a client sends once it has seen that reply is to run.
        """
        self._switchboard.receive_requests()
        self._aborted.extend(self._waiting)
        self._waiting.clear()

    def finish(self) -> None:
        """Go on after the running request: its idle status is out."""
        self.running = None
        for request in self._aborted:
            content = {"status": "aborted"}
            self._switchboard.frontend.status("busy", request)
            self._switchboard.frontend.reply(request, content, metadata=reply_metadata("aborted"))
            self._switchboard.frontend.status("idle", request)
        self._aborted.clear()
        self._next()

    def _next(self) -> None:
        # A loop, not recursion: an execution may be over as soon as it is started.
        while self.running is None and self._waiting:
            request = self._waiting.popleft()
            self.running = self._make_execution(request, self)
            self.running.start()


class HostExecution:
    """A cell for the Python side: everything is passed on as it is; here is only watched when it is over."""

    def __init__(self, switchboard: "Switchboard", request: Message, queue: ExecuteQueue):
        self._switchboard = switchboard
        self._queue = queue
        self._replied = False
        self._busy_told = False
        self._idle = False  # it is so again; the reply may overtake even the word that it is busy
        self._counted = False
        self.request = request

    def start(self) -> None:
        self._switchboard.send_to_subkernel("shell", self.request)

    def take_status(self, message: Message) -> None:
        """The sub-kernel's status about this cell: busy or idle."""
        self._switchboard.frontend.iopub.send_multipart(message.frames)
        self._idle = message.content["execution_state"] == "idle"
        self._busy_told = True
        self._finish_when_over()
        if self._idle and not self._replied:
            self._switchboard.loop.call_later(REPLY_TIMEOUT_S, self._give_up)

    def _give_up(self) -> None:
        """No reply has come: what waits behind it must not wait for ever."""
        if not self._replied:
            text = "The Python process gave no answer to this request. What it printed in the terminal may say why."
            content = {"status": "error", "ename": "NoAnswerError", "evalue": text, "traceback": []}
            self._switchboard.frontend.reply(self.request, content, metadata=reply_metadata("error"))
            self._switchboard.ignore_subkernel(self.request, reply=True, idle=False)
            self._replied = True
            self._finish_when_over()

    def take_input(self, message: Message) -> None:
        self._queue.count = message.content["execution_count"]
        self._counted = True
        self._switchboard.frontend.iopub.send_multipart(message.frames)

    def take_reply(self, message: Message) -> None:
        if aborts_queue(self.request, message.content):
            self._queue.abort_waiting()
        self._switchboard.frontend.shell.send_multipart(message.frames)
        self._replied = True
        self._finish_when_over()

    def interrupt(self) -> None:
        if not self._replied:  # else the signal would meet what is no cell any more
            self._switchboard.interrupt_subkernel()

    def lose_subkernel(self, error: dict) -> None:
        """The sub-kernel died under the cell: report what ``error`` says, as the cell's own."""
        frontend, parent = self._switchboard.frontend, self.request.header_frame
        if not self._busy_told:
            frontend.status("busy", self.request)
        if not self._replied:
            frontend.publish("error", error, parent)
            content = {
                "status": "error",
                "execution_count": self._queue.count + (not self._counted),
                "user_expressions": {},
                "payload": [],
                **error,
            }
            if aborts_queue(self.request, content):
                self._queue.abort_waiting()
            frontend.reply(self.request, content, metadata=reply_metadata("error"))
        frontend.status("idle", self.request)
        self._queue.finish()

    def _finish_when_over(self) -> None:
        # Both, because what is sent to the sub-kernel between the two would meet its own queue being aborted.
        if self._replied and self._idle:
            self._queue.finish()


def aborts_queue(request: Message, reply: dict) -> bool:
    """Tell whether this reply aborts the requests behind it, by ipykernel's rule."""
    content = request.content
    return reply.get("status") == "error" and not content.get("silent", False) and content.get("stop_on_error", True)


def reply_metadata(status: str, started: "str | None" = None) -> dict:
    """Return what ipykernel adds to an execute reply, for a reply of our own."""
    return {"started": started or now(), "dependencies_met": True, "status": status}


def now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
