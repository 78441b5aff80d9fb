"""Questions about a board cell that is being written: completion, inspection, whether it is complete."""

import keyword
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import cells, syntax
from .envelope import Message
from .errors import UcoreError, UsageError
from .source import MODULES

if TYPE_CHECKING:
    from .switchboard import Switchboard

__all__ = ["ANSWERS"]

# A board between two cells answers in milliseconds, also over a slow line; the user is typing.
ANSWER_S = 1.5
API = (
    "Pipe",
    "close_pipe",
    "display",
    "every",
    "is_pipe_open",
    "open_pipe",
    "producers",
)  # of the board's `ucore`, some of it loaded when first asked for
_W = syntax.WORD
_NAME = re.compile(rf"(?:{_W}|\.)*\Z")
_WORD = re.compile(f"{_W}*")
_NAMES = re.compile(rf"{syntax.NAME}(?:\.{_W}+)*")
_LIST = rf"\s+(?:{_W}(?:{_W}|\.)*(?:\s+as\s+{_W}+)?\s*,\s*)*({_W}*)\Z"
_IMPORT = re.compile(r"\s*import" + _LIST)
_FROM = re.compile(rf"\s*from\s+({_W}*)\Z")
_FROM_IMPORT = re.compile(rf"\s*from\s+({_W}(?:{_W}|\.)*)\s+import\s*\(?" + _LIST.replace(r"\s+", r"\s*", 1))


def complete(switchboard: "Switchboard", request: Message) -> None:
    code = request.content["code"]
    cursor = _cursor(request)
    start, end = cells.find_magic(code) or (0, 0)
    if cursor <= start + len(cells.MAGIC) or (cursor <= end and code[start:cursor].isspace()):
        switchboard.send_to_subkernel("shell", request)  # the magic's own name
        return
    if cursor <= end:
        switchboard.frontend.answer(request, _complete_option(code[:cursor]))
        return
    line_start = code.rfind("\n", 0, cursor) + 1
    line = code[line_start:cursor]
    module = _IMPORT.match(line) or _FROM.match(line)
    if module:
        switchboard.frontend.answer(request, _matches(MODULES, module[1], cursor))
        return
    typed = _NAME.search(line)[0]  # type: ignore[index]
    of_module = _FROM_IMPORT.match(line)
    if of_module:
        typed = f"{of_module[1]}.{of_module[2]}"
    owner, dot, word = typed.rpartition(".")
    if dot and not owner:  # an attribute of what only running it would tell
        switchboard.frontend.answer(request, _matches((), word, cursor))
        return

    def reply(content: "dict | None") -> None:
        names = set((content or {}).get("matches", ()))
        if not names:
            # The board is busy, or is not there: names that this notebook's board cells have used.
            names = _names_in_cells([*switchboard.sources.texts(), code], owner) - {word}
        names.update(API if owner == "ucore" else () if owner else keyword.kwlist)
        switchboard.frontend.reply(request, _matches(names, word, cursor))
        switchboard.frontend.status("idle", request)

    # The name at the cursor is all that a board can use, and lines may be slow.
    importable = bool(of_module) and owner.split(".")[0] in MODULES
    question = {"code": typed, "cursor_pos": len(typed), "importable": importable}
    _ask_board(switchboard, request, "complete_request", question, reply)


def inspect(switchboard: "Switchboard", request: Message) -> None:
    code = request.content["code"]
    cursor = _cursor(request)
    if cursor <= (cells.find_magic(code) or (0, 0))[1]:
        switchboard.send_to_subkernel("shell", request)
        return
    name = _name_at(code, cursor) or _called(code[cells.find_magic(code)[1] : cursor])  # type: ignore[index]

    def reply(content: "dict | None") -> None:
        content = content or {"found": False, "data": {}, "metadata": {}}
        switchboard.frontend.reply(request, {"status": "ok", **content})
        switchboard.frontend.status("idle", request)

    question = {"code": name, "cursor_pos": len(name), "detail_level": request.content.get("detail_level", 0)}
    _ask_board(switchboard, request, "inspect_request", question, reply)


def _cursor(request: Message) -> int:
    """Return the place in the code; an odd one is its end."""
    size, cursor = len(request.content["code"]), request.content.get("cursor_pos")
    return min(max(cursor, 0), size) if isinstance(cursor, int) else size


def _name_at(code: str, cursor: int) -> str:
    """Return the dotted name that the cursor touches, up to the end of the word there; empty where there is none."""
    name = _NAME.search(code[:cursor])[0] + _WORD.match(code[cursor:])[0]  # type: ignore[index]
    return name if _NAMES.fullmatch(name) else ""


def _called(text: str) -> str:
    """Return the name of the innermost call whose parentheses are open where the text ends; empty where there is none."""
    for place in reversed(syntax.Syntax(text).open):
        name = _NAME.search(text[:place].rstrip(" \t"))[0] if text[place] == "(" else ""  # type: ignore[index]
        if _NAMES.fullmatch(name) and not keyword.iskeyword(name):
            return name
    return ""


def is_complete(switchboard: "Switchboard", request: Message) -> None:
    code = request.content["code"]
    magic = cells.find_magic(code) or (0, 0)
    switchboard.frontend.answer(request, cells.completeness(code[magic[1] + 1 :]))


ANSWERS = {"complete_request": complete, "inspect_request": inspect, "is_complete_request": is_complete}


def _ask_board(switchboard: "Switchboard", request: Message, msg_type: str, content: dict, reply) -> None:
    """Ask the cell's board; ``reply`` is called once, with None if no answer comes."""
    switchboard.frontend.status("busy", request)
    attachment = switchboard.attachments.get(_board_of(request.content["code"]))
    open_questions = [reply]

    def settle(answer: "dict | None") -> None:
        if open_questions:
            open_questions.pop()(answer)

    if not attachment.is_ready:
        if attachment is switchboard.attachments.own:  # another one is attached by running the cell
            attachment.open()
        settle(None)
        return
    try:
        attachment.send(msg_type, content, lambda _, answer: settle(answer if answer.get("status") == "ok" else None))
    except UcoreError:
        settle(None)
    switchboard.loop.call_later(ANSWER_S, lambda: settle(None))


def _board_of(code: str) -> "str | None":
    try:
        cell = cells.parse(code)
    except UsageError:
        return None
    return cell.options.get("--board") if cell else None


def _complete_option(before: str) -> dict:
    return _matches(cells.OPTIONS, re.search(r"\S*\Z", before)[0], len(before))  # type: ignore[index]


def _names_in_cells(texts: list[str], owner: str) -> set[str]:
    """Return what these texts have after ``owner.``, or the first parts of all names in them where it is empty."""
    prefix = f"{owner}." if owner else ""
    names = _NAMES.findall("\n".join(texts))
    return {name[len(prefix) :].split(".", 1)[0] for name in names if name.startswith(prefix)} - {""}


def _matches(names: Iterable[str], word: str, cursor: int) -> dict:
    """Return the content of a complete_reply: the names that begin as the word before the cursor does."""
    matches = sorted(name for name in names if name.startswith(word))
    start = cursor - len(word)
    return {"status": "ok", "matches": matches, "cursor_start": start, "cursor_end": cursor, "metadata": {}}
