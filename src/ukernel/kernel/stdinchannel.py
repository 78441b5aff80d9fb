"""The sub-kernel's stdin channel, which carries requests to the switchboard as well as ``input()``."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ukernel.errors import UcoreError, by_name

from . import magicmessages

__all__ = ["StdinChannel"]


class StdinChannel:
    """The stdin channel of a sub-kernel, for the switchboard's answers beside what the user types.

    Threads and subshells may ask too, while the main thread waits for input. A ZeroMQ socket is for one thread at a time, so each
    holds it for a moment only and keeps what it has read for the others.
    """

    def __init__(self, kernel: Any):
        self._kernel = kernel
        self._lock = threading.Lock()
        self._replies: dict[str, dict[str, Any] | None] = {}  # by question; None: not there yet
        self._typed: list[dict[str, Any]] = []
        kernel._input_request = self.ask_user

    def ask(self, msg_type: str, **content: Any) -> dict[str, Any]:
        """Return the content of the switchboard's answer to a request (see `magicmessages`). Raises what it says went wrong (see errors.py), and KeyboardInterrupt."""
        kernel, answers = self._kernel, self._replies
        parent, ident = kernel.get_parent("shell"), kernel._parent_ident["shell"]
        number = ""
        try:
            with self._lock:
                question = kernel.session.send(kernel.stdin_socket, msg_type, content, parent, ident=ident)
                number = question["header"]["msg_id"]
                answers[number] = None
            self._wait_for(lambda: answers[number] is not None)
            reply: dict[str, Any] = (answers[number] or {})["content"]
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # without the lines of what it struck
        finally:
            answers.pop(number, None)  # what comes later, nobody waits for
        if reply.get("ename") == "KeyboardInterrupt":
            raise KeyboardInterrupt
        if reply.get("status") == "error":
            raise by_name(reply.get("ename", "UcoreError"), reply.get("evalue", ""))
        return reply

    def type_of(self, name: str) -> str:
        """Return the type of what the board has by this name; empty where it has none, or cannot say so at once."""
        try:
            return str(self.ask(magicmessages.INSPECT, name=name).get("type") or "")
        except (UcoreError, KeyboardInterrupt):
            return ""

    def ask_user(self, prompt: str, ident: Any, parent: dict[str, Any], password: bool = False) -> str:
        """Return what the user types: in the place of ipykernel's own, which would take our answers, and we its."""
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        kernel = self._kernel
        with self._lock:
            while self._read(0):
                pass
            self._typed.clear()  # what was typed for a request that was interrupted
            content = {"prompt": prompt, "password": password}
            kernel.session.send(kernel.stdin_socket, "input_request", content, parent, ident=ident)
        try:
            self._wait_for(lambda: self._typed)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Interrupted by user") from None  # as ipykernel says it, without our lines
        value: str = self._typed.pop()["content"].get("value", "")
        if value == "\x04":
            raise EOFError
        return value

    def _wait_for(self, is_there: Callable[[], object]) -> None:
        while not is_there():
            with self._lock:
                found = is_there() or self._read(0.02)
            if not found:
                time.sleep(0.001)  # a lock is not fair: let the others have it

    def _read(self, timeout_s: float) -> bool:
        """Read what the switchboard has answered, or the user; tell whether there was anything. The lock is held."""
        sock = self._kernel.stdin_socket
        if not sock.poll(timeout_s * 1000):  # in short waits: on Windows, an interrupt does not end one
            return False
        _, answer = self._kernel.session.recv(sock)
        if answer is not None and answer["msg_type"] == "input_reply":
            self._typed.append(answer)
        elif answer is not None and (number := answer["parent_header"].get("msg_id")) in self._replies:
            self._replies[number] = answer
        return True
