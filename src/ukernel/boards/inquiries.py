"""Questions of a program about names, put to its board: not waited for long, for somebody is typing."""

from typing import Any

from .introspection import Completing, Completion, explain, find_name
from .requests import Requests

__all__ = ["complete", "inspect"]

ANSWER_S = 1.5  # a board between two cells answers in milliseconds


def complete(requests: Requests, code: str, cursor: int | None) -> Completion:
    """What `Board.complete` does."""
    completing = Completing(code, len(code) if cursor is None else cursor)
    answer = _ask(requests, "complete_request", completing.question)
    return completing.complete(answer.get("matches", ()))


def inspect(requests: Requests, code: str, cursor: int | None) -> str:
    """What `Board.inspect` does."""
    name = find_name(code, len(code) if cursor is None else cursor)
    asks = bool(name) and "(" not in name
    answer = _ask(requests, "inspect_request", {"code": name, "cursor_pos": len(name)} if asks else None)
    return str(explain(name, answer, [code])["data"].get("text/plain", ""))


def _ask(requests: Requests, type: str, content: dict[str, Any] | None) -> dict[str, Any]:
    """Return the board's answer, empty where none comes in time."""
    answer = None if content is None else requests.inquire(type, content, ANSWER_S)
    return answer if answer is not None and answer.get("status") == "ok" else {}
