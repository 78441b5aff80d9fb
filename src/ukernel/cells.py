"""A cell's text: whose it is, its options, whether it is complete. Pure: text in, values out."""

import ast
import codeop
import keyword
import re
import shlex
import warnings
from dataclasses import dataclass, field

from .errors import UsageError

__all__ = [
    "MAGIC",
    "OPTIONS",
    "BoardCell",
    "completeness",
    "find_magic",
    "is_board_cell",
    "parse",
    "split_help",
    "usage",
]

MAGIC = "%%ucore"
_HELP = re.compile(r"\?{1,2}\s*([^\W\d][\w.]*)|([^\W\d][\w.]*)\s*\?{1,2}")


@dataclass(frozen=True)
class _Option:
    value: "str | None"  # what stands for its value in the usage, None for a switch
    help: str


OPTIONS = {
    "--board": _Option("NAME", "run on this board (a port, a URL, a board's name, or virtual) instead of the notebook's own"),
    "--timeout": _Option("SECONDS", "interrupt the cell if it takes longer"),
    "--out": _Option("NAME", "put the last expression's value, or else the printed text, into this host variable"),
    "--no-raise": _Option(None, "show an error, but let the cells after this one run"),
    "--save": _Option("FILE", "write the cell to this file on the board instead of running it"),
}


@dataclass(frozen=True)
class BoardCell:
    """A cell for the board."""

    body: str  # the cell with an empty line for each line up to the magic, so that line numbers hold
    body_start: int  # where the text after the magic line begins in the cell, in characters
    magic_start: int  # where the magic line begins
    options: dict = field(default_factory=dict)  # by option name: its value, True for a switch


def is_board_cell(code: str) -> bool:
    """Tell whether the first line that is neither blank nor a comment is the magic."""
    return find_magic(code) is not None


def parse(code: str) -> "BoardCell | None":
    """Return the board cell that this text is, None if it is a host cell.

    Raises UsageError for a magic line that is not understood.
    """
    found = find_magic(code)
    if found is None:
        return None
    start, end = found
    body_start = min(end + 1, len(code))
    body = "\n" * code.count("\n", 0, body_start) + code[body_start:]
    return BoardCell(body, body_start, start, _read_options(code[start + len(MAGIC) : end]))


def find_magic(code: str) -> "tuple[int, int] | None":
    """Return where the magic line starts and ends, None for a host cell."""
    start = 0
    while start < len(code):
        end = code.find("\n", start)
        end = len(code) if end < 0 else end
        line = code[start:end].rstrip()
        if line and not line.lstrip().startswith("#"):
            return (start, end) if line.split(None, 1)[0] == MAGIC and line[0] == "%" else None
        start = end + 1
    return None


def _read_options(text: str) -> dict:
    try:
        words = shlex.split(text, comments=True, posix=True)
    except ValueError as error:
        raise UsageError(f"{MAGIC}{text.rstrip()}: {error}. {usage()}") from None
    options: dict = {}
    words.reverse()
    while words:
        name, equals, value = words.pop().partition("=")
        option = OPTIONS.get(name)
        if option is None:
            raise UsageError(f"{MAGIC} does not know {name!r}. {usage()}")
        if option.value is None:
            if equals:
                raise UsageError(f"{name} takes no value. {usage()}")
            options[name] = True
            continue
        if not equals:
            value = words.pop() if words else ""
        if not value:
            raise UsageError(f"{name} needs a value: {name} {option.value}. {usage()}")
        options[name] = _check_value(name, value)
    return options


def _check_value(name: str, value: str) -> "str | float":
    if name == "--timeout":
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < 1e9:
            raise UsageError(f"--timeout {value}: the value must be a number of seconds above 0.")
        return seconds
    if name == "--out" and (not value.isidentifier() or keyword.iskeyword(value)):
        raise UsageError(f"--out {value}: {value!r} is not a name that a Python variable can have.")
    return value


def usage() -> str:
    """Return what may stand after the magic, for people."""
    lines = [f"  {name + ' ' + (option.value or ''):18}{option.help}" for name, option in OPTIONS.items()]
    return "\n".join([f"After {MAGIC} may stand:", *lines])


def split_help(body: str) -> "tuple[str, str] | None":
    """Return what comes before a last line that is ``name?``, and the name; None where it is no such question."""
    before, _, last = body.rstrip().rpartition("\n")
    found = _HELP.fullmatch(last.strip())
    if not found or _parses(body):  # it stands in a string
        return None
    return before, found[1] or found[2]


def _parses(body: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def completeness(body: str) -> dict:
    """Return the content of an is_complete_reply for a board cell's body."""
    if not body.strip():
        return {"status": "incomplete", "indent": ""}
    asked = split_help(body)
    if asked and (not asked[0].strip() or _parses(asked[0])):
        return {"status": "complete"}
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = compiler(body, "<cell>", "exec") is not None
    except (SyntaxError, ValueError, OverflowError):
        return {"status": "invalid"}
    last = body.rstrip(" \t").rsplit("\n", 1)[-1]
    indent = last[: len(last) - len(last.lstrip())]
    if last.rstrip().endswith(":"):
        return {"status": "incomplete", "indent": indent + "    "}
    if not done or indent:  # an indented block goes on until a blank line
        return {"status": "incomplete", "indent": indent}
    return {"status": "complete"}
