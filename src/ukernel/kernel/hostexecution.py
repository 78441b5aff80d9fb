"""One cell for the Python side: the sub-kernel runs it, and what it says is passed on."""

from typing import Any

from ukernel.errors import NoAnswerError, as_reply

from .executequeue import REPLY_TIMEOUT_S, ExecuteQueue, aborts_queue, reply_metadata
from .kernelcontext import KernelContext
from .messages import Message

__all__ = ["HostExecution"]


class HostExecution:
    """The execution of one host cell: everything is passed on as it is; here is only watched when it is over."""

    def __init__(self, context: KernelContext, request: Message, queue: ExecuteQueue):
        self._context = context
        self._queue = queue
        self._replied = False
        self._busy_told = False
        self._idle = False  # it is so again; the reply may overtake even the word that it is busy
        self._counted = False
        self.request = request

    def start(self) -> None:
        self._context.subkernel.send("shell", self.request)

    def take_status(self, message: Message) -> None:
        """The sub-kernel's status about this cell: busy or idle."""
        self._context.frontend.iopub.send_multipart(message.frames)
        self._idle = message.content["execution_state"] == "idle"
        self._busy_told = True
        self._finish_when_over()
        if self._idle and not self._replied:
            self._context.loop.call_later(REPLY_TIMEOUT_S, self._give_up)

    def _give_up(self) -> None:
        """No reply has come: what waits behind it must not wait for ever."""
        if not self._replied:
            text = "The Python process gave no answer to this request. What it printed in the terminal may say why."
            self._context.frontend.reply(self.request, as_reply(NoAnswerError(text)), metadata=reply_metadata("error"))
            self._context.subkernel.ignore(self.request, reply=True, idle=False)
            self._replied = True
            self._finish_when_over()

    def take_input(self, message: Message) -> None:
        self._queue.count = message.content["execution_count"]
        self._counted = True
        self._context.frontend.iopub.send_multipart(message.frames)

    def take_reply(self, message: Message) -> None:
        if aborts_queue(self.request, message.content):
            self._queue.abort_waiting()
        self._context.frontend.shell.send_multipart(message.frames)
        self._replied = True
        self._finish_when_over()

    def interrupt(self) -> None:
        if not self._replied:  # else the signal would meet what is no cell any more
            self._context.subkernel.interrupt()

    def lose_subkernel(self, error: dict[str, Any]) -> None:
        """The sub-kernel died under the cell: report what ``error`` says, as the cell's own."""
        frontend, parent = self._context.frontend, self.request.header_frame
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
            self._replied = True
        frontend.status("idle", self.request)
        self._queue.finish()

    def _finish_when_over(self) -> None:
        # Both, because what is sent to the sub-kernel between the two would meet its own queue being aborted.
        if self._replied and self._idle:
            self._queue.finish()
