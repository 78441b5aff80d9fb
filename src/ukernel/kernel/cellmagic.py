"""A cell's text: whose it is, its options, whether it is complete. Pure: text in, values out."""

import keyword
import re
import shlex
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ukernel.errors import UsageError

__all__ = [
    "MAGIC",
    "OPTIONS",
    "Above",
    "BoardCell",
    "blank_magics",
    "find_magic",
    "is_board_cell",
    "parse",
    "usage",
]

MAGIC = "%%ucore"
# A line with a magic: maybe as a comment, for editors that know no magics; maybe behind the mark that Windows editors put first.
_MAGIC_LINE = re.compile(r"\ufeff?[ \t]*(?P<comment>\#[ \t]*)?(?P<word>%%[ \t]*[^\s%?]+)(?P<rest>(?:\s.*)?)")
_ABOVE = ("%%time", "%%capture")  # the magics that may stand above ours
_CAPTURE = {"--no-stdout": "stdout", "--no-stderr": "stderr", "--no-display": "display"}
_INSTEAD = {
    "%%writefile": f"`{MAGIC} --save FILE` writes a cell to a file on the board",
    "%%file": f"`{MAGIC} --save FILE` writes a cell to a file on the board",
    "%%timeit": "on the board, time.ticks_us() times what is short",
}


@dataclass(frozen=True)
class _Option:
    value: str | None  # what stands for its value in the usage, None for a switch
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
    magic_start: int  # where the magic begins
    options: dict[str, Any] = field(default_factory=dict)  # by option name: its value, True for a switch
    above: "tuple[Above, ...]" = ()  # the magics above it, the outermost first


@dataclass(frozen=True)
class Above:
    """A magic that stands above `%%ucore`."""

    magic: str  # "%%time" or "%%capture"
    kinds: frozenset[str] = frozenset()  # of what is captured: stdout, stderr, display
    name: str = ""  # the host variable that it goes to


class _Magic(NamedTuple):
    start: int  # where the `%%` is
    end: int  # of its line
    word: str  # as it is written
    above: tuple[tuple[str, str], ...]  # the magics above it, and what stands behind them


def is_board_cell(code: str) -> bool:
    """Tell whether the first line that is neither blank nor a comment is the magic, maybe below other ones."""
    return _find(code) is not None


def parse(code: str) -> BoardCell | None:
    """Return the board cell that this text is, None if it is a host cell.

    Raises UsageError for a magic line that is not understood.
    """
    found = _find(code)
    if found is None:
        return None
    if found.word != MAGIC:
        raise UsageError(f"{found.word!r}: the magic is {MAGIC}, in small letters and without a space.")
    above = tuple(_read_above(word, rest) for word, rest in found.above)
    body_start = min(found.end + 1, len(code))
    options = _read_options(code[found.start + len(MAGIC) : found.end])
    return BoardCell(blank_magics(code), body_start, found.start, options, above)


def find_magic(code: str) -> tuple[int, int] | None:
    """Return where the magic starts and where its line ends, None for a host cell."""
    found = _find(code)
    return found and (found.start, found.end)


def blank_magics(code: str) -> str:
    """Return a board cell's body below an empty line for each line up to the magic, so that line numbers hold."""
    found = _find(code)
    start = min(found.end + 1, len(code)) if found else 0
    return "\n" * code.count("\n", 0, start) + code[start:]


def _find(code: str) -> _Magic | None:
    start = 0
    above: list[re.Match[str]] = []
    is_first = True  # no comment has come yet, since the last magic
    while start < len(code):
        end = code.find("\n", start)
        end = len(code) if end < 0 else end
        line = code[start:end].strip("\ufeff \t\r\f\v")
        if line:
            found = _MAGIC_LINE.fullmatch(code[start:end])
            commented = bool(found and found["comment"])
            if found and not (commented and not is_first):
                if _is_ours(found):
                    # Those that are comments belong to one that is.
                    kept = [(one["word"], one["rest"].strip()) for one in above if commented or not one["comment"]]
                    return _Magic(start + found.start("word"), end, found["word"], tuple(kept))
                if not commented or found["word"] in _ABOVE:
                    above.append(found)
                    is_first = found["word"] in _ABOVE
                    start = end + 1
                    continue
            if not line.startswith("#") or (above and above[-1]["word"] not in _ABOVE):
                return None  # of another magic, the next line is its own, whatever it looks like
            is_first = False
        start = end + 1
    return None


def _is_ours(line: re.Match[str]) -> bool:
    if line["comment"]:  # and no sentence about it
        return line["word"] == MAGIC and (not line["rest"].strip() or line["rest"].lstrip()[0] in "-#")
    word: str = line["word"]
    return word[2:].strip().lower() == MAGIC[2:]


def _read_above(word: str, rest: str) -> Above:
    """Read a magic that stands above ours. Raises UsageError for one that cannot, or that is not understood."""
    if word not in _ABOVE:
        hint = f" ({_INSTEAD[word]})" if word in _INSTEAD else ""
        raise UsageError(
            f"{word} cannot stand above {MAGIC}: only {' and '.join(_ABOVE)} can. Give it a cell of its own, without {MAGIC}{hint}."
        )
    words, kinds, name = rest.split(), set(_CAPTURE.values()), ""
    if word == "%%time" and words:
        raise UsageError(f"{word} {rest}: nothing can stand behind {word} above a board cell. The code comes below {MAGIC}.")
    for one in words:
        if one in _CAPTURE:
            kinds.discard(_CAPTURE[one])
        elif name or not one.isidentifier() or keyword.iskeyword(one):
            raise UsageError(
                f"{word} {rest}: behind {word} may stand {', '.join(_CAPTURE)}, and the name of a Python variable."
            )
        else:
            name = one
    return Above(word, frozenset(kinds), name)


def _read_options(text: str) -> dict[str, Any]:
    try:
        words = shlex.split(text, comments=True, posix=True)
    except ValueError as error:
        raise UsageError(f"{MAGIC}{text.rstrip()}: {error}. {usage()}") from None
    options: dict[str, Any] = {}
    words.reverse()
    while words:
        name, equals, value = words.pop().partition("=")
        option = OPTIONS.get(name)
        if option is None:
            code = "" if name.startswith("-") else " Code begins on the line below it."
            raise UsageError(f"{MAGIC} does not know {name!r}.{code} {usage()}")
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


def _check_value(name: str, value: str) -> str | float:
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
