"""Questions about a board cell that is being written: completion, inspection, whether it is complete."""

import re
from collections.abc import Callable
from typing import Any

from ukernel.boards import introspection, statements
from ukernel.errors import UcoreError, UsageError

from . import cellmagic
from .kernelcontext import KernelContext
from .messages import Message

__all__ = ["HANDLERS"]

# A board between two cells answers in milliseconds, also over a slow line; the user is typing.
REPLY_TIMEOUT_S = 1.5
_LAST_WORD = re.compile(r"\S*\Z")


def complete(context: KernelContext, request: Message) -> None:
    code = request.content["code"]
    cursor = _cursor(request)
    start, end = cellmagic.find_magic(code) or (0, 0)
    if cursor <= start + len(cellmagic.MAGIC) or (cursor <= end and code[start:cursor].isspace()):
        context.subkernel.send("shell", request)  # the magic's own name
        return
    if cursor <= end:
        context.frontend.reply_with_status(request, _complete_option(code[:cursor]))
        return
    completing = introspection.Completing(code, cursor, end, context.history.texts())
    if completing.question is None:
        context.frontend.reply_with_status(request, _reply(completing.complete()))
        return

    def reply(content: dict[str, Any] | None) -> None:
        context.frontend.reply(request, _reply(completing.complete((content or {}).get("matches", ()))))
        context.frontend.status("idle", request)

    _ask_board(context, request, "complete_request", completing.question, reply)


def inspect(context: KernelContext, request: Message) -> None:
    code = request.content["code"]
    cursor = _cursor(request)
    end = (cellmagic.find_magic(code) or (0, 0))[1]
    if cursor <= end:
        context.subkernel.send("shell", request)
        return
    name = introspection.find_name(code, cursor, end)

    def reply(content: dict[str, Any] | None) -> None:
        content = introspection.explain(name, content or {}, [code, *context.history.texts()])
        context.frontend.reply(request, content)
        context.frontend.status("idle", request)

    if not name or "(" in name:  # of what a call makes the board knows nothing without calling it
        context.frontend.reply_with_status(request, introspection.explain(name, {}, [code, *context.history.texts()]))
        return
    question = {"code": name, "cursor_pos": len(name), "detail_level": request.content.get("detail_level", 0)}
    _ask_board(context, request, "inspect_request", question, reply)


def _cursor(request: Message) -> int:
    """Return the place in the code; an odd one is its end."""
    size, cursor = len(request.content["code"]), request.content.get("cursor_pos")
    return min(max(cursor, 0), size) if isinstance(cursor, int) else size


def is_complete(context: KernelContext, request: Message) -> None:
    code = request.content["code"]
    magic = cellmagic.find_magic(code) or (0, 0)
    context.frontend.reply_with_status(request, statements.completeness(code[magic[1] + 1 :]))


HANDLERS = {"complete_request": complete, "inspect_request": inspect, "is_complete_request": is_complete}


def _ask_board(
    context: KernelContext,
    request: Message,
    msg_type: str,
    content: dict[str, Any],
    reply: Callable[[dict[str, Any] | None], None],
) -> None:
    """Ask the cell's board; ``reply`` is called once, with None if no answer comes."""
    context.frontend.status("busy", request)
    connection = context.board_connections.get(_board_of(request.content["code"]))
    open_questions = [reply]

    def settle(answer: dict[str, Any] | None) -> None:
        if open_questions:
            open_questions.pop()(answer)

    if not connection.is_ready:
        if connection is context.board_connections.default:  # another one is attached by running the cell
            connection.open()
        settle(None)
        return
    try:
        connection.send(msg_type, content, lambda _, answer: settle(answer if answer.get("status") == "ok" else None))
    except UcoreError:
        settle(None)
    context.loop.call_later(REPLY_TIMEOUT_S, lambda: settle(None))


def _board_of(code: str) -> str | None:
    try:
        cell = cellmagic.parse(code)
    except UsageError:
        return None
    return cell.options.get("--board") if cell else None


def _complete_option(before: str) -> dict[str, Any]:
    word = _LAST_WORD.search(before)
    return _reply(introspection.matches(cellmagic.OPTIONS, word[0] if word else "", len(before)))


def _reply(completion: introspection.Completion) -> dict[str, Any]:
    """Return the content of a complete_reply."""
    names, start, end = completion
    return {"status": "ok", "matches": names, "cursor_start": start, "cursor_end": end, "metadata": {}}
