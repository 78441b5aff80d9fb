"""A board's traceback, made to look like IPython's: the cell's number, the source line, colours."""

import functools
import itertools
import re
from collections import OrderedDict

from ukernel.kernel import cellmagic
from ukernel.protocol.cellnames import FRAME

from . import syntax

__all__ = ["Source", "Sources", "format_error", "format_stream"]

MAX_CELLS = 5000  # earlier cells whose text is kept, to look up lines of functions that they defined
MAX_CHARACTERS = 20_000_000  # the same, in all
CONTEXT = 2  # lines shown above and below the one that failed
MAX_NAMED = 3  # cells that a frame may be of, all of them named
MAX_READ = 50  # cells that are read to find one: a twentieth of a second
# Our own part in running an await, and the event loop's: nobody's business where the cell's frames are there.
_MACHINERY = re.compile(r'^\s*File "(?:ucore/|(?:(?:.*[/\\])?[Ll]ib[/\\](?:python3\.\d+[/\\])?)?asyncio[/\\]\w+\.py")')
_MODULE = ("", "<module>")
_LINE = re.compile(r'\s*(?:File "|\.\.\. \d+ (?:equal frames|frames left out) )')
_RED, _GREEN, _BOLD, _PLAIN = "\x1b[0;31m", "\x1b[0;32m", "\x1b[1m", "\x1b[0m"


class Source:
    """One board cell's text. ``count``: its execution count, None until that is known."""

    def __init__(self, code: str):
        self.count: int | None = None
        self.failed_at: int | None = None  # the line whose error has ended it
        self.code = code
        # As the board counts them: str.splitlines knows more ends of lines. Up to the magic's, only \\n is one.
        end = (cellmagic.find_magic(code) or (0, 0))[1]
        self.lines = code[:end].split("\n")[:-1] + re.split(r"\r\n?|\n", code[code.rfind("\n", 0, end) + 1 :])

    @functools.cached_property
    def functions(self) -> list[tuple[str, int, int]]:
        """Name, first and last line of what the cell defined: looked up only when an error asks for it."""
        return syntax.Syntax(cellmagic.blank_magics(self.code)).find_functions()

    @functools.cached_property
    def catching(self) -> list[tuple[int, int]]:
        """First and last line of what the cell does with errors caught."""
        try:
            return syntax.Syntax(cellmagic.blank_magics(self.code)).find_catching()
        except syntax.UnreadableError:
            return [(1, len(self.lines))]

    def fail(self, traceback: list[str]) -> None:
        """Take in the error that has ended the cell."""
        first = next(filter(None, map(FRAME.match, traceback)), None)
        self.failed_at = int(first[2]) if first and (first[3] or "") in _MODULE else None

    def may_have(self, line: int, function: str) -> bool:
        """Whether a frame with this line and function may be this cell's."""
        if function == "<module>":  # of an error that it has caught, or of the one that has ended it, which a program has kept
            return line == self.failed_at or any(first <= line <= last for first, last in self.catching)
        if function in _MODULE:
            return line <= len(self.lines)
        plain = syntax.plain_name(function)
        return any(name == plain and first <= line <= last for name, first, last in self.functions)


class Sources:
    """The texts of the board cells of a notebook, by a key each."""

    def __init__(self) -> None:
        self._sources: OrderedDict[int, Source] = OrderedDict()
        self._characters = 0
        self._key = 0

    def add(self, code: str) -> tuple[int, Source]:
        """Remember a cell's whole text, magic line and all; return the key by which the hub will speak of it, and what has its count."""
        self._key += 1
        source = self._sources[self._key] = Source(code)
        self._characters += len(code)
        while len(self._sources) > MAX_CELLS or (self._characters > MAX_CHARACTERS and len(self._sources) > 1):
            self._characters -= len(self._sources.popitem(last=False)[1].code)
        return self._key, source

    def texts(self, count: int = 200) -> list[str]:
        """Return the latest."""
        return [source.code for source in itertools.islice(reversed(self._sources.values()), count)]

    def find(self, line: int, function: str, owners: list) -> "tuple[list[Source], list[str]]":
        """Return the cells that a frame may be of, for what the hub says of it: those of this notebook, and words for others."""
        sources: list[Source] = []
        others: list[str] = []
        for owner in owners:
            source = self._sources.get(owner.get("key"))
            if source is None:
                label = owner.get("label")
                others.append(f"a cell of {label}" if label else "an earlier cell")
            elif len(owners) == 1 or source.may_have(line, function):
                sources.append(source)
        if len({source.code for source in sources}) == 1:
            del sources[:-1]  # the same cell, run again
        if owners == [{}]:
            others = ["an earlier cell" + self._guess(line, function)]
        return sources, list(dict.fromkeys(others))

    def _guess(self, line: int, function: str) -> str:
        """Which cells of this notebook look like one of which the hub knows nothing, in words: it was started anew since."""
        if function.startswith("<"):  # any cell may have some of these
            return ""
        defines = re.compile(rf"(?:def|class)[ \t]+{re.escape(function)}[ \t]*[(:]")
        defining = (source for source in reversed(self._sources.values()) if defines.search(source.code))
        found: dict[str, Source] = {}  # by text: the same cell, run again, is one
        for source in itertools.islice(defining, MAX_READ):
            if source.may_have(line, function):
                found.setdefault(source.code, source)
        if len(found) > MAX_NAMED:
            return ""
        return f" (perhaps {' or '.join(f'In[{source.count}]' for source in reversed(found.values()))})" * bool(found)


def format_error(ename: str, evalue: str, traceback: list[str], sources: Sources, owners: "list | None" = None) -> list[str]:
    """Return the lines of an error message's traceback: the board's own lines, those of cells with their source.

    ``owners``: the hub's word on whose cell each frame of a cell is, in order.
    """
    last = f"{_RED}{ename}{_PLAIN}: {evalue}" if evalue else f"{_RED}{ename}{_PLAIN}"
    rest = traceback[1:] if traceback and not traceback[0].startswith(" ") else traceback
    # The error's own text comes after them, whatever is in it.
    frames = [line for line in itertools.takewhile(lambda line: line.startswith(" "), rest) if _LINE.match(line)]
    if not frames:
        return [last]
    head = "Traceback (most recent call last)"
    result = [_RED + "-" * 75 + _PLAIN, f"{_RED}{ename}{_PLAIN}{head:>{75 - len(ename)}}"]
    words = iter(owners or ())
    shown = []
    for frame in frames:
        match = FRAME.match(frame)
        if match:
            shown.append(_format_frame(match, next(words, [{}]), sources, True))
        elif not _MACHINERY.match(frame):
            shown.append(frame.strip())
    return [*result, *(shown or [frame.strip() for frame in frames]), last]


def format_stream(content: dict, sources: Sources) -> str:
    """Return the text that the hub says was printed, with the frames of cells in it as errors show them, in plain letters."""
    text = content["text"]
    words = iter(content.get("cells") or ())

    def replace(match: re.Match) -> str:
        whose = next(words, [{}])
        before, after = text[: match.start()], text[match.end() :]
        if before[-1:] in ("", "\n") and after[:1] in ("", "\r", "\n"):  # a line of its own
            return _format_frame(match, whose, sources, False).rstrip("\n")
        return match[0]

    return FRAME.sub(replace, text) if content.get("cells") else text


def _format_frame(match: re.Match, owners: list, sources: Sources, colours: bool) -> str:
    line, function = int(match[2]), match[3] or ""
    green, bold, plain = (_GREEN, _BOLD, _PLAIN) if colours else ("", "", "")
    found, others = sources.find(line, function, owners)
    # "Cell In[3], line 4": the words that front ends turn into a link to the line.
    names = [f"Cell {green}In[{source.count or '*'}]" for source in found]
    if others or len(names) != 1:
        names = [name + plain for name in names] + others
        where = (
            " or ".join(names) if 0 < len(names) <= MAX_NAMED else f"one of {len(names)} cells" if names else "an earlier cell"
        )
        where = f"{where[0].upper()}{where[1:]}, {green}line {line}{plain}"
        if function not in _MODULE:
            where += f", in {function}"
        texts = {"".join(source.lines[line - 1 : line]) for source in found}
        if others or len(texts) != 1:
            return where
        return f"{where}\n{green}----> {line}{plain} {bold}{texts.pop()}{plain}\n"  # in all of them it is the same
    where = f"{names[0]}, line {line}{plain}"
    if function not in _MODULE:
        where += f", in {function}"
    shown = [where]
    lines = found[0].lines
    for number in range(max(1, line - CONTEXT), min(len(lines), line + CONTEXT) + 1):
        text = lines[number - 1]
        if number == line:
            shown.append(f"{green}----> {number}{plain} {bold}{text}{plain}")
        else:
            shown.append(f"{number:>7} {text}")
    return "\n".join(shown) + "\n"
