"""Questions about a board cell that is being written: completion, inspection, whether it is complete."""

import keyword
import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from ukernel.boards import syntax
from ukernel.boards.firmwaremodules import MODULES, UCORE_PUBLIC
from ukernel.errors import UcoreError, UsageError
from ukernel.protocol.identifiers import BEFORE_CURSOR, DOTTED, WORD

from . import cellmagic, signatures
from .kernelcontext import KernelContext
from .messages import Message

__all__ = ["HANDLERS", "explain"]

# A board between two cells answers in milliseconds, also over a slow line; the user is typing.
REPLY_TIMEOUT_S = 1.5
HELP_WIDTH = 90  # characters: a front end's tooltip is no wider than a cell
_FUNCTIONS = ("function", "builtin_function_or_method")  # they do not tell whose they are; the cells do
_CALLED = (*_FUNCTIONS, "bound_method", "method", "builtin_method", "closure", "generator", "type")
_W = WORD
_NAME = re.compile(BEFORE_CURSOR)
_WORD = re.compile(f"{_W}*")
_LAST_WORD = re.compile(r"\S*\Z")
_NAMES = re.compile(DOTTED)
_LIST = rf"\s+(?:{_W}(?:{_W}|\.)*(?:\s+as\s+{_W}+)?\s*,\s*)*({_W}*)\Z"
_IMPORT = re.compile(r"\s*import" + _LIST)
_FROM = re.compile(rf"\s*from\s+({_W}*)\Z")
_FROM_IMPORT = re.compile(rf"\s*from\s+({_W}(?:{_W}|\.)*)\s+import\s*\(?" + _LIST.replace(r"\s+", r"\s*", 1))


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
    line_start = code.rfind("\n", 0, cursor) + 1
    line = code[line_start:cursor]
    module = _IMPORT.match(line) or _FROM.match(line)
    if module:
        context.frontend.reply_with_status(request, _matches(MODULES, module[1], cursor))
        return
    typed = _find(_NAME, line)
    of_module = _FROM_IMPORT.match(line)
    if of_module:
        typed = f"{of_module[1]}.{of_module[2]}"
    owner, dot, word = typed.rpartition(".")
    if dot and not owner:  # an attribute of what only running it would tell, or of what is known to be made
        maker = _made(code[end : cursor - len(typed)])
        made = signatures.Names([code, *context.history.texts()]).made_by(maker) if maker else ""
        context.frontend.reply_with_status(request, _matches(signatures.names(made) if made else (), word, cursor))
        return

    def reply(content: dict[str, Any] | None) -> None:
        names = set((content or {}).get("matches", ()))
        if not names:
            # The board is busy, or is not there, or has not run the cell yet: what MicroPython defines, and names that this
            # notebook's board cells have used.
            texts = [code, *context.history.texts()]
            names = _names_in_cells(texts, owner) - {word}
            names |= signatures.names(signatures.Names(texts).full(owner) if owner else "") - {""}
        if owner == "ucore":
            names = {name for name in names if name.startswith("_")} | UCORE_PUBLIC
        elif not owner:
            names.update(keyword.kwlist)
        context.frontend.reply(request, _matches(names, word, cursor))
        context.frontend.status("idle", request)

    # The name at the cursor is all that a board can use, and lines may be slow.
    importable = bool(of_module) and owner.split(".")[0] in MODULES
    question = {"code": typed, "cursor_pos": len(typed), "importable": importable}
    _ask_board(context, request, "complete_request", question, reply)


def inspect(context: KernelContext, request: Message) -> None:
    code = request.content["code"]
    cursor = _cursor(request)
    end = (cellmagic.find_magic(code) or (0, 0))[1]
    if cursor <= end:
        context.subkernel.send("shell", request)
        return
    word = _find(_WORD, code[cursor:])
    name = _name(code[end:cursor] + word) or _called(code[end:cursor])

    def reply(content: dict[str, Any] | None) -> None:
        content = explain(name, content or {}, [code, *context.history.texts()])
        context.frontend.reply(request, content)
        context.frontend.status("idle", request)

    if not name or "(" in name:  # of what a call makes the board knows nothing without calling it
        context.frontend.reply_with_status(request, explain(name, {}, [code, *context.history.texts()]))
        return
    question = {"code": name, "cursor_pos": len(name), "detail_level": request.content.get("detail_level", 0)}
    _ask_board(context, request, "inspect_request", question, reply)


def explain(name: str, answer: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """Return the content of an inspect_reply about a dotted name on a board: what the board says of it, below how it is called and a
    sentence of help where it is MicroPython's or µcore's.

    ``answer``: the board's, empty where none came. ``texts``: of the notebook's board cells, the latest first.
    """
    found, called = _lookup(name, answer, texts)
    data = dict(answer.get("data") or {})
    head = [f"Call:  {called}{found.signature}"] if found and found.signature else []
    if found and found.help:
        head.append(textwrap.fill(f"Help:  {found.help}", HELP_WIDTH, subsequent_indent=" " * 7))
    if head:
        data["text/plain"] = "\n".join([*head, *([data["text/plain"]] if "text/plain" in data else [])])
    return {"status": "ok", "found": bool(data), "data": data, "metadata": answer.get("metadata") or {}}


def _lookup(name: str, answer: dict[str, Any], texts: list[str]) -> tuple[signatures.Entry | None, str]:
    """Return what is known of a name, and how to say it."""
    owner, dot, last = name.rpartition(".")
    if answer.get("found"):
        kind = signatures.class_of(answer.get("of") or "") if dot else ""
        found = signatures.find(f"{kind}.{last}") if kind else None
        if found:  # the stubs have some properties and constants as functions
            return (found if answer.get("type") in _CALLED else found._replace(signature="")), name
        kind = signatures.class_of(answer.get("is") or "")
        found = signatures.find(kind) if kind else None
        if found:  # an object is not called as its class is
            is_class = answer.get("type") == "type"
            return (found if is_class else found._replace(signature="")), name
        if dot or answer.get("type") not in _FUNCTIONS:  # what the board says it is, it is
            return None, name
    full = signatures.Names(texts).full(name) if name else ""
    return signatures.find(full) if full else None, name


def _find(pattern: re.Pattern[str], text: str) -> str:
    """Return the first part of the text that the pattern matches; empty where there is none."""
    match = pattern.search(text)
    return match[0] if match else ""


def _cursor(request: Message) -> int:
    """Return the place in the code; an odd one is its end."""
    size, cursor = len(request.content["code"]), request.content.get("cursor_pos")
    return min(max(cursor, 0), size) if isinstance(cursor, int) else size


def _name(text: str) -> str:
    """Return the dotted name that ends the text, "Pin().irq" for `Pin(2).irq`; empty where there is none."""
    name = _find(_NAME, text)
    maker = _made(text[: -len(name)]) if name.startswith(".") else ""
    return (f"{maker}()" if maker else "") + name if _NAMES.fullmatch(name.lstrip(".") if maker else name) else ""


def _made(text: str) -> str:
    """Return the dotted name that is called where the text ends, `Pin` for `Pin(2)`; empty where nothing is."""
    text = text.rstrip(" \t")
    if not text.endswith(")"):
        return ""
    places = syntax.Syntax(text[:-1]).open
    name = _find(_NAME, text[: places[-1]].rstrip(" \t")) if places and text[places[-1]] == "(" else ""
    return name if _NAMES.fullmatch(name) else ""


def _called(text: str) -> str:
    """Return the name of the innermost call whose parentheses are open where the text ends, as `_name` does; empty where there is
    none."""
    for place in reversed(syntax.Syntax(text).open):
        name = _name(text[:place].rstrip(" \t")) if text[place] == "(" else ""
        if name and not keyword.iskeyword(name):
            return name
    return ""


def is_complete(context: KernelContext, request: Message) -> None:
    code = request.content["code"]
    magic = cellmagic.find_magic(code) or (0, 0)
    context.frontend.reply_with_status(request, cellmagic.completeness(code[magic[1] + 1 :]))


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
    return _matches(cellmagic.OPTIONS, _find(_LAST_WORD, before), len(before))


def _names_in_cells(texts: list[str], owner: str) -> set[str]:
    """Return what these texts have after ``owner.``, or the first parts of all names in them where it is empty."""
    prefix = f"{owner}." if owner else ""
    names = _NAMES.findall("\n".join(texts))
    return {name[len(prefix) :].split(".", 1)[0] for name in names if name.startswith(prefix)} - {""}


def _matches(names: Iterable[str], word: str, cursor: int) -> dict[str, Any]:
    """Return the content of a complete_reply: the names that begin as the word before the cursor does."""
    is_asked = word.startswith("_")  # only then for names that are nobody else's business
    matches = sorted(name for name in names if name.startswith(word) and (is_asked or not name.startswith("_")))
    start = cursor - len(word)
    return {"status": "ok", "matches": matches, "cursor_start": start, "cursor_end": cursor, "metadata": {}}
