"""What a program asks of a board through the hub: one thread receives, and each answer goes to the thread that waits for it."""

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ukernel.client import connection
from ukernel.errors import (
    BoardGoneError,
    BoardTimeoutError,
    HubUnreachableError,
    NoAnswerError,
    UcoreError,
    UsageError,
    as_reply,
    by_name,
)

__all__ = ["Cancellation", "Message", "Output", "Request", "Requests", "label"]

LOOK_S = 0.5  # Python on Windows sees a Ctrl-C between two waits only

_current = threading.local()  # the `Cancellation` in whose block a thread is
Output = Callable[[str], object]  # takes what a board prints
Message = dict[str, Any]  # {"type", "parent", "content"}


class Request:
    """One request. All that comes for it is handled in the thread that runs it."""

    def __init__(self, requests: "Requests", type: str, content: dict[str, Any]):
        self._requests = requests
        self.id = 0  # the hub's, once it is sent
        self.type = type
        self.content = content
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.is_over = False  # its reply has come, or nobody waits for it any more

    def interrupt(self) -> None:
        """Stop it on the board, or take it out of the line of those that wait. Its reply still comes. Safe from any thread."""
        with contextlib.suppress(UcoreError):
            self._requests.send("interrupt_request", {"parent": self.id})

    def run(self, take: Callable[[Message], None], timeout_s: float | None = None) -> dict[str, Any]:
        """Send it, and return the reply's content; ``take`` gets every other message that comes before it.

        After ``timeout_s`` seconds, and at a KeyboardInterrupt, the board is interrupted, and the reply to that awaited: then
        BoardTimeoutError, or the KeyboardInterrupt, is raised. A second KeyboardInterrupt ends the wait at once. What ``take`` raises
        interrupts the board, too.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        holder = ""  # whom it waits for
        try:
            self._requests.start(self, deadline)
            cancellation = getattr(_current, "cancellation", None)
            if cancellation is not None:
                cancellation.begun(self)
            while True:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    self.interrupt()
                    raise _silence(self._drain(take)) or BoardTimeoutError(_too_long(timeout_s, holder))
                message = self.next(LOOK_S if left is None else min(left, LOOK_S))
                if message is None:
                    continue
                if message["type"] == "status":
                    queued = message["content"].get("execution_state") == "queued"
                    holder = message["content"].get("holder") or "another cell" if queued else ""
                    if holder and self._requests.on_wait is not None:
                        self._requests.on_wait(holder)
                if self.is_reply(message):
                    content: dict[str, Any] = message["content"]
                    return content
                take(message)
        except BaseException as error:
            if self.id and not self.is_over:
                self.interrupt()
                self._drain(take if isinstance(error, KeyboardInterrupt) else _pass_over)
            raise
        finally:
            self.is_over = True

    def next(self, timeout_s: float) -> Message | None:
        """Return the next message that comes for it, None if none does in time."""
        try:
            return self.messages.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def is_reply(self, message: Message) -> bool:
        """Whether a message is the last one that this request's sender waits for; what its threads print comes later."""
        return bool(message["type"] == self.type.replace("_request", "_reply") or message["type"] == "lost")

    def _drain(self, take: Callable[[Message], None]) -> dict[str, Any]:
        """Wait until the hub says that it is over, and return that; it does, within seconds, whatever the board does."""
        while True:
            message = self.next(LOOK_S)
            if message is None:
                continue
            if self.is_reply(message):
                self.is_over = True
                content: dict[str, Any] = message["content"]
                return content
            take(message)


def _pass_over(message: Message) -> None:
    """What comes after a failure of who would take it."""


class Cancellation:
    """Lets another thread interrupt what a thread does with boards. The thread's work is a block of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._request: Request | None = None
        self._is_cancelled = False

    def __enter__(self) -> None:
        _current.cancellation = self

    def __exit__(self, *exc_info: object) -> None:
        del _current.cancellation

    def begun(self, request: Request) -> None:
        """The thread has sent this."""
        with self._lock:
            self._request = request
        if self._is_cancelled:
            request.interrupt()

    def cancel(self) -> None:
        """Interrupt what is under way, and all that is begun later. Safe from any thread."""
        with self._lock:
            self._is_cancelled = True
        if self._request is not None:
            self._request.interrupt()


def _silence(reply: dict[str, Any]) -> UcoreError | None:
    """Return why a board that was to be interrupted was not: it hangs, or is gone."""
    error = by_name(str(reply.get("ename", "")), str(reply.get("evalue", "")))
    return error if isinstance(error, (NoAnswerError, BoardGoneError)) else None


def label() -> str:
    """Return what others are told while they wait for this program."""
    notebook = os.path.basename(os.environ.get("JPY_SESSION_NAME", ""))
    script = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c", "-m") else ""
    name = f"a host cell of {notebook}" if notebook else f"the program {script}" if script else "a Python program"
    return f"{name} (process {os.getpid()})"


def _too_long(timeout_s: float | None, holder: str) -> str:
    if holder:
        return f"The board was not free within {timeout_s:g} s: {holder} is using it."
    return f"It took longer than {timeout_s:g} s on the board, and was interrupted."


class Requests:
    """The requests of one `Board`, over a hub client that is connected again when it was lost."""

    def __init__(self, attach: Callable[[connection.HubClient, float | None], None], take_late: Callable[[Message], None]):
        """``attach`` makes a new client one of the board's, within so many seconds. ``take_late`` gets, in the receiving thread, what
        comes for a request that is over: what its threads print."""
        self._attach = attach
        self._take_late = take_late
        self._lock = threading.Lock()  # of what follows
        self._client: connection.HubClient | None = None
        self._receiver: threading.Thread | None = None
        self._open: dict[int, Request] = {}  # those whose replies are to come
        self._closed = False
        # Called, in the receiving thread, when the board or the hub goes away and nothing waits for them.
        self.on_lost: Callable[[UcoreError], object] | None = None
        self.on_wait: Callable[[str], object] | None = None  # called, where a request is made, with whoever it has to wait for

    def connect(self) -> None:
        """Connect and attach, unless that is done. Raises what `ukernel.client.connection.connect` and the hub's answer raise."""
        with self._lock:
            self._connected(None)

    def _connected(self, deadline: float | None) -> connection.HubClient:
        if self._closed:
            raise HubUnreachableError("This board object is closed. `connect` gives a new one.")
        if self._client is None:
            client = connection.connect()
            try:
                self._attach(client, None if deadline is None else max(deadline - time.monotonic(), 0.0))
            except BaseException:
                client.close()
                raise
            self._client = client
            self._receiver = threading.Thread(target=self._receive, args=(client,), name="ucore-board", daemon=True)
            self._receiver.start()
        elif threading.current_thread() is self._receiver:
            raise UsageError(
                "What a thread of the board prints comes in the thread that takes in all of the board's answers: nothing can be asked "
                "of the board there. Put the text into a queue, and let another thread ask."
            )
        return self._client

    def start(self, request: Request, deadline: float | None = None) -> None:
        """Send a request; where the board is to be attached again, that is over by ``deadline``.

        Raises HubUnreachableError, and what connecting again raises.
        """
        with self._lock:
            client = self._connected(deadline)
            request.id = client.send(request.type, request.content)
            self._open[request.id] = request

    def send(self, type: str, content: dict[str, Any]) -> None:
        """Send what needs no answer."""
        client = self._client
        if client is not None:
            client.send(type, content)

    def ask(self, type: str, content: dict[str, Any] | None = None, timeout_s: float | None = None) -> dict[str, Any]:
        """Send a request that no cell is run for, and return the reply's content. Raises what it says."""
        reply = Request(self, type, content or {}).run(lambda message: None, timeout_s)
        if reply.get("status") == "error":
            raise by_name(reply.get("ename", ""), reply.get("evalue", ""))
        return reply

    def inquire(self, type: str, content: dict[str, Any], timeout_s: float) -> dict[str, Any] | None:
        """Send a question that does not matter, and return the reply's content; None if none comes in time."""
        request = Request(self, type, content)
        try:
            self.start(request)
            message = request.next(timeout_s)
            return None if message is None or not request.is_reply(message) else message["content"]
        except UcoreError:
            return None
        finally:
            request.is_over = True

    def close(self) -> None:
        """Leave the hub; what waits fails."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(UcoreError):
                client.send("leave_request", {})
            client.close()

    def _receive(self, client: connection.HubClient) -> None:
        """The receiving thread's work."""
        error: UcoreError
        try:
            while True:
                message = client.receive(None)
                if message is None:
                    continue
                if message["type"] == "detached":
                    error = by_name(message["content"]["ename"], message["content"]["evalue"])
                    break
                with self._lock:  # an answer may come before its request is in the table
                    request = self._open.get(message["parent"])
                    if request is not None and request.is_reply(message):
                        del self._open[message["parent"]]
                if request is None or request.is_over:
                    self._print_late(message)
                else:
                    request.is_over = request.is_reply(message)
                    request.messages.put(message)
        except UcoreError as lost:
            error = lost
        with self._lock:
            if self._client is client:
                self._client = None
            waiting, self._open = list(self._open.values()), {}
        client.close()
        if self.on_lost is not None and not self._closed and all(request.is_over for request in waiting):
            self.on_lost(error)
        for request in waiting:
            request.messages.put({"type": "lost", "parent": request.id, "content": as_reply(error)})

    def _print_late(self, message: Message) -> None:
        """Nobody waits for it, so nobody would be told of an error; and the next answer must be taken in, whatever this one meets."""
        try:
            self._take_late(message)
        except BaseException:
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
