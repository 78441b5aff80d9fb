"""Requests about the names on a board, for people who are writing a cell: answered soon, or not at all."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from ucore import wire
from ukernel.errors import NoAnswerError, as_reply
from ukernel.protocol.identifiers import BEFORE_CURSOR, WORD

from .interfaces import Client

__all__ = ["IntrospectionRequests"]

REPLY_TIMEOUT_S = 5.0  # a board between two cells answers in milliseconds
LOOK_S = 1.0  # after so long without an answer whoever waits is told which cell is in the way
MAX_NAME_BYTES = 1000  # no dotted name is longer
_DOTTED = re.compile(BEFORE_CURSOR)
_WORDS = re.compile(f"{WORD}+")

Answer = Callable[[Any], None]  # takes what the board says, parsed; None where it says nothing


class IntrospectionRequests:
    """The requests to one board, and which of them are not answered yet.

    ``send(type, parent, content)`` sends a message to the board, and returns False where it cannot answer one now;
    ``new_parent()`` gives a number for it; ``holder()`` says what is told while a cell runs, None where none does.
    """

    def __init__(
        self,
        send: Callable[[int, int, bytes], bool],
        new_parent: Callable[[], int],
        holder: Callable[[], dict[str, Any] | None] = lambda: None,
    ):
        self._send = send
        self._new_parent = new_parent
        self._holder = holder
        self._open: dict[int, tuple[Answer, asyncio.TimerHandle]] = {}  # parent -> (what takes the answer, timer)

    def __contains__(self, parent: int) -> bool:
        return parent in self._open

    def complete(self, client: Client, request: int, code: str, cursor: int, importable: bool) -> None:
        """Ask for names that go on where ``code`` stops at ``cursor``.

        ``importable``: the first of them is a module of the firmware, which the board may import to answer.
        """
        text = _begun_name(code, cursor)
        start = cursor - len(text.rpartition(".")[2])

        def answer(names: Any) -> None:
            matches = [name for name in names or () if isinstance(name, str)]
            content = {"matches": matches, "cursor_start": start, "cursor_end": cursor, "metadata": {}}
            client.send("complete_reply", request, {"status": "ok", **content})

        self._ask(wire.COMPLETE_REQUEST, f"+{text}" if importable else text, answer)

    def inspect(self, client: Client, request: int, code: str, cursor: int) -> None:
        """Ask what the board knows of the name at ``cursor``."""
        rest = _WORDS.match(code[cursor:])
        text = _begun_name(code, cursor) + (rest[0] if rest else "")

        def answer(found: Any) -> None:
            data = {"text/plain": _description(text, found)} if isinstance(found, dict) else {}
            content = {"status": "ok", "found": bool(data), "data": data, "metadata": {}}
            if data:  # what it is, and what its owner is, for who knows more about such objects
                content |= {"type": found.get("type"), "is": str(found.get("self") or ""), "of": str(found.get("super") or "")}
            client.send("inspect_reply", request, content)

        self._ask(wire.INSPECT_REQUEST, text, answer)

    def ask_sessions(self, tell: Callable[[int | None], None]) -> None:
        """Ask how many sessions with hosts the board's agent has had, ours included; None where no answer comes."""
        self._ask(wire.INSPECT_REQUEST, "", lambda found: tell(found.get("sessions") if isinstance(found, dict) else None))

    def producers(self, client: Client, request: int, stop: str) -> None:
        """Ask what `ucore.every` calls, and end what is called ``stop``.

        Their thread answers while a cell runs, too. Where they have none the board does so after that cell, which the client is told of.
        """

        def answer(found: Any) -> None:
            content = {"status": "ok", "producers": found}
            if not isinstance(found, list):
                content = as_reply(NoAnswerError("The board did not answer. Try again; `%ucore status` says what it does."))
            client.send("producers_reply", request, content)

        parent = self._ask(wire.EVERY_REQUEST, stop, answer)
        if parent:
            self._open[parent][1].cancel()
            self._wait(parent, 0.0, lambda status: client.send("status", request, status))

    def _wait(self, parent: int, silent_s: float, tell: Callable[[dict[str, Any]], None] | None) -> None:
        """Give up an answer that has not come ``REPLY_TIMEOUT_S`` after the board was free for it; ``tell`` once of a cell before that."""

        def look() -> None:
            holder = self._holder()
            if holder is not None and tell is not None:
                tell(holder)
            if holder is None and silent_s >= REPLY_TIMEOUT_S:
                self._settle(parent, None)
            else:
                self._wait(parent, 0.0 if holder else silent_s + LOOK_S, None if holder else tell)

        self._open[parent] = self._open[parent][0], asyncio.get_running_loop().call_later(LOOK_S, look)

    def _ask(self, type_: int, text: str, answer: Answer) -> int:
        """Ask the board; ``answer(None)`` at once where it cannot answer now, and where no answer comes in time. Return its number, 0 for none."""
        data = text.encode("utf-8", "replace")
        parent = self._new_parent()
        if len(data) > MAX_NAME_BYTES or not self._send(type_, parent, data):
            answer(None)
            return 0
        timer = asyncio.get_running_loop().call_later(REPLY_TIMEOUT_S, self._settle, parent, None)
        self._open[parent] = answer, timer
        return parent

    def answer(self, parent: int, content: bytes) -> None:
        """Take the board's answer, which may come too late. Raises ValueError for one that is no JSON."""
        if parent in self._open:
            self._settle(parent, json.loads(content))

    def drop(self) -> None:
        """No answer will come to any of them."""
        for parent in list(self._open):
            self._settle(parent, None)

    def _settle(self, parent: int, content: object) -> None:
        answer, timer = self._open.pop(parent)
        timer.cancel()
        answer(content)


def _begun_name(code: str, cursor: int) -> str:
    """Return the dotted name that ends at the cursor; perhaps empty."""
    found = _DOTTED.search(code[:cursor])
    return found[0] if found else ""


def _description(name: str, found: dict[str, Any]) -> str:
    """Return what the board said about an object, for people."""
    lines = [f"Name:  {name}", f"Type:  {found.get('type')}", f"Value: {found.get('repr')}"]
    names = [str(word) for word in found.get("names") or () if not str(word).startswith("_")]
    return "\n".join([*lines, *(["Has:   " + ", ".join(names)] if names else [])])
