"""One shell's execute requests: one runs, the others wait, and an error in one aborts those behind it."""

from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Protocol

from .kernelcontext import KernelContext
from .messages import Message

__all__ = ["REPLY_TIMEOUT_S", "ExecuteQueue", "Execution", "aborts_queue", "now", "reply_metadata"]

# ipykernel replies before it is idle, or, to a request that it cannot make sense of, not at all. A reply is never so late.
REPLY_TIMEOUT_S = 3.0


class Execution(Protocol):
    """One execute request that runs, on either side. It tells its queue when it is over."""

    request: Message

    def start(self) -> None:
        """Begin; it may be over at once."""

    def take_status(self, message: Message) -> None:
        """The sub-kernel's status about this request: busy or idle."""

    def take_input(self, message: Message) -> None:
        """The sub-kernel's execute_input."""

    def take_reply(self, message: Message) -> None:
        """The sub-kernel's execute_reply."""

    def interrupt(self) -> None:
        """The user wants it stopped."""

    def lose_subkernel(self, error: dict[str, Any]) -> None:
        """The sub-kernel died, of which ``error`` says how."""


class ExecuteQueue:
    """The execute requests of the main shell, or of one subshell, to both targets."""

    def __init__(self, context: KernelContext, make_execution: Callable[[Message, "ExecuteQueue"], Execution]):
        self._context = context
        self._make_execution = make_execution
        self._waiting: deque[Message] = deque()
        self._aborted: list[Message] = []
        self.running: Execution | None = None
        self.count = 0  # the last execution count given

    def add(self, request: Message) -> None:
        self._waiting.append(request)
        if self.running is None:
            self._next()

    def abort_waiting(self) -> None:
        """Decide that what waits now is to be aborted: the running request has failed.

        To be called before its reply leaves: what a client sends once it has seen that reply is to run.
        """
        self._context.loop.drain(self._context.frontend.shell)
        self._aborted.extend(self._waiting)
        self._waiting.clear()

    def finish(self) -> None:
        """Go on after the running request: its idle status is out."""
        self.running = None
        for request in self._aborted:
            self._context.frontend.status("busy", request)
            self._context.frontend.reply(request, {"status": "aborted"}, metadata=reply_metadata("aborted"))
            self._context.frontend.status("idle", request)
        self._aborted.clear()
        self._next()

    def _next(self) -> None:
        # A loop, not recursion: an execution may be over as soon as it is started.
        while self.running is None and self._waiting:
            request = self._waiting.popleft()
            execution = self.running = self._make_execution(request, self)
            execution.start()


def aborts_queue(request: Message, reply: dict[str, Any]) -> bool:
    """Tell whether this reply aborts the requests behind it, by ipykernel's rule."""
    content = request.content
    return reply.get("status") == "error" and not content.get("silent", False) and content.get("stop_on_error", True)


def reply_metadata(status: str, started: str | None = None) -> dict[str, Any]:
    """Return what ipykernel adds to an execute reply, for a reply of our own."""
    return {"started": started or now(), "dependencies_met": True, "status": status}


def now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
