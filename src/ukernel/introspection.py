"""Questions about a board cell that is being written: completion, inspection, whether it is complete."""

import re
from typing import TYPE_CHECKING

from . import cells
from .envelope import Message
from .errors import UcoreError

if TYPE_CHECKING:
    from .switchboard import Switchboard

__all__ = ["ANSWERS"]

# A board between two cells answers in milliseconds, also over a slow line; the user is typing.
ANSWER_S = 1.5
_NAME = re.compile(r"[\w.]*\Z")
_NAMES = re.compile(r"[^\W\d]\w*(?:\.\w+)*")


def complete(switchboard: "Switchboard", request: Message) -> None:
    code = request.content["code"]
    cursor = min(request.content.get("cursor_pos", len(code)), len(code))
    start, end = cells.find_magic(code) or (0, 0)
    if cursor <= start + len(cells.MAGIC) or (cursor <= end and code[start:cursor].isspace()):
        switchboard.send_to_subkernel("shell", request)  # the magic's own name
        return
    if cursor <= end:
        switchboard.frontend.answer(request, _complete_option(code[:cursor]))
        return
    line_start = code.rfind("\n", 0, cursor) + 1
    text = code[line_start:cursor]

    def reply(content: "dict | None") -> None:
        if content is None or not content.get("matches"):
            # The board is busy, or is not there: names that this notebook's board cells have used.
            content = _complete_from_cells([*switchboard.sources.texts(), code], text)
        content = {"status": "ok", "metadata": {}, **content}
        content["cursor_start"] = content.get("cursor_start", len(text)) + line_start
        content["cursor_end"] = content.get("cursor_end", len(text)) + line_start
        switchboard.frontend.reply(request, content)
        switchboard.frontend.status("idle", request)

    # The line up to the cursor is all that a board can use, and lines may be slow.
    _ask_board(switchboard, request, "complete_request", {"code": text, "cursor_pos": len(text)}, reply)


def inspect(switchboard: "Switchboard", request: Message) -> None:
    code = request.content["code"]
    cursor = min(request.content.get("cursor_pos", len(code)), len(code))
    if cursor <= (cells.find_magic(code) or (0, 0))[1]:
        switchboard.send_to_subkernel("shell", request)
        return
    line_start = code.rfind("\n", 0, cursor) + 1
    line = code[line_start:].split("\n", 1)[0]

    def reply(content: "dict | None") -> None:
        content = content or {"found": False, "data": {}, "metadata": {}}
        switchboard.frontend.reply(request, {"status": "ok", **content})
        switchboard.frontend.status("idle", request)

    question = {
        "code": line,
        "cursor_pos": cursor - line_start,
        "detail_level": request.content.get("detail_level", 0),
    }
    _ask_board(switchboard, request, "inspect_request", question, reply)


def is_complete(switchboard: "Switchboard", request: Message) -> None:
    code = request.content["code"]
    magic = cells.find_magic(code) or (0, 0)
    switchboard.frontend.answer(request, cells.completeness(code[magic[1] + 1 :]))


ANSWERS = {"complete_request": complete, "inspect_request": inspect, "is_complete_request": is_complete}


def _ask_board(switchboard: "Switchboard", request: Message, msg_type: str, content: dict, reply) -> None:
    """Ask the notebook's board; ``reply`` is called once, with None if no answer comes."""
    switchboard.frontend.status("busy", request)
    attachment = switchboard.attachments.get(None)
    open_questions = [reply]

    def settle(answer: "dict | None") -> None:
        if open_questions:
            open_questions.pop()(answer)

    if not attachment.is_ready:
        attachment.open()
        settle(None)
        return
    try:
        attachment.send(msg_type, content, lambda _, answer: settle(answer if answer.get("status") == "ok" else None))
    except UcoreError:
        settle(None)
    switchboard.loop.call_later(ANSWER_S, lambda: settle(None))


def _complete_option(before: str) -> dict:
    word = re.search(r"\S*\Z", before)[0]  # type: ignore[index]
    matches = [name for name in cells.OPTIONS if name.startswith(word)]
    return _matches(matches, len(before) - len(word), len(before))


def _complete_from_cells(texts: list[str], line: str) -> dict:
    """Return the names in earlier board cells that go on as the line does: whole dotted names, up to the next dot."""
    typed = _NAME.search(line)[0]  # type: ignore[index]
    owner, dot, _ = typed.rpartition(".")
    found = set()
    for name in _NAMES.findall("\n".join(texts)):
        if name.startswith(typed) and name != typed:
            found.add(owner + dot + name[len(owner + dot) :].split(".", 1)[0])
    found.discard(typed)
    return _matches(sorted(found), len(line) - len(typed), len(line))


def _matches(matches: list[str], start: int, end: int) -> dict:
    return {"status": "ok", "matches": matches, "cursor_start": start, "cursor_end": end, "metadata": {}}
