"""Questions about the names on a board, for people who are writing a cell: answered soon, or not at all."""

import asyncio
import json
import re
from collections.abc import Callable

from ucore import wire

from . import syntax

__all__ = ["Inquiries"]

ASK_TIMEOUT_S = 5.0  # a board between two cells answers in milliseconds
MAX_QUESTION = 1000  # bytes; no name is longer
_DOTTED = re.compile(rf"(?:{syntax.WORD}|\.)*\Z")  # the dotted name that ends at the cursor; perhaps empty
_WORD = re.compile(f"{syntax.WORD}*")


class Inquiries:
    """The questions put to one board.

    ``put(type, parent, content)`` sends a message to the board, and returns False where it has no ear for questions;
    ``new_parent()`` gives a number for it.
    """

    def __init__(self, put: Callable[[int, int, bytes], bool], new_parent: Callable[[], int]):
        self._put = put
        self._new_parent = new_parent
        self._open: dict = {}  # parent -> (what takes the answer, timer)

    def __contains__(self, parent: int) -> bool:
        return parent in self._open

    def complete(self, client, request: int, code: str, cursor: int, importable: bool) -> None:
        """Ask for names that go on where ``code`` stops at ``cursor``.

        ``importable``: the first of them is a module of the firmware, which the board may import to answer.
        """
        text = _DOTTED.search(code[:cursor])[0]  # type: ignore[index]
        start = cursor - len(text.rpartition(".")[2])

        def answer(names) -> None:
            matches = [name for name in names or () if isinstance(name, str)]
            content = {"matches": matches, "cursor_start": start, "cursor_end": cursor, "metadata": {}}
            client.send("complete_reply", request, {"status": "ok", **content})

        self._ask(wire.COMPLETE_REQUEST, "+" * importable + text, answer)

    def inspect(self, client, request: int, code: str, cursor: int) -> None:
        """Ask what the board knows of the name at ``cursor``."""
        text = _DOTTED.search(code[:cursor])[0] + _WORD.match(code[cursor:])[0]  # type: ignore[index]

        def answer(found) -> None:
            data = {"text/plain": _description(text, found)} if isinstance(found, dict) else {}
            content = {"status": "ok", "found": bool(data), "data": data, "metadata": {}}
            if data:  # what it is, and what its owner is, for who knows more about such objects
                content |= {"type": found.get("type"), "is": str(found.get("self") or ""), "of": str(found.get("super") or "")}
            client.send("inspect_reply", request, content)

        self._ask(wire.INSPECT_REQUEST, text, answer)

    def ask_sessions(self, tell: "Callable[[int | None], None]") -> None:
        """Ask how many sessions with hosts the board's agent has had, ours included; None where no answer comes."""
        self._ask(wire.INSPECT_REQUEST, "", lambda found: tell(found.get("sessions") if isinstance(found, dict) else None))

    def _ask(self, type_: int, text: str, answer) -> None:
        """Put a question; ``answer(None)`` at once where nobody hears it, and where no answer comes in time."""
        data = text.encode("utf-8", "replace")
        parent = self._new_parent()
        if len(data) > MAX_QUESTION or not self._put(type_, parent, data):
            return answer(None)
        timer = asyncio.get_running_loop().call_later(ASK_TIMEOUT_S, self._settle, parent, None)
        self._open[parent] = answer, timer
        return None

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


def _description(name: str, found: dict) -> str:
    """Return what the board said about an object, for people."""
    lines = [f"Name:  {name}", f"Type:  {found.get('type')}", f"Value: {found.get('repr')}"]
    names = [str(word) for word in found.get("names") or () if not str(word).startswith("_")]
    return "\n".join([*lines, *(["Has:   " + ", ".join(names)] if names else [])])
