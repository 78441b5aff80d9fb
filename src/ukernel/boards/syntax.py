"""A board cell's text by MicroPython's rules: its lines, its last expression, what is in it. Pure: text in, places out.

MicroPython reads text otherwise than any one Python: every byte above 127 is a letter, a tab goes to the next multiple of eight,
bytes may hold anything, an f-string's braces may hold its own quotes. So the text is read here as MicroPython's lexer reads it, and what
comes of it is given to parso, which knows the grammar: strings and numbers as plain atoms, all in the same places.
"""

import functools
import re
from dataclasses import dataclass

from ukernel.protocol.identifiers import NAME, WORD

__all__ = ["Line", "Syntax", "UnreadableError", "is_expression", "plain_name", "prepare", "read"]

_TOKEN = re.compile(
    rf"""(?P<space>[ \t\r\f\v]+)
    | (?P<newline>\n)
    | (?P<joined>\\\n)
    | (?P<comment>\#[^\n]*)
    | (?P<string>[A-Za-z]{{0,2}}(?:'''|\"\"\"|'|\"))
    | (?P<name>{NAME})
    | (?P<number>0[bBoOxX][0-9A-Za-z_.]*|\.?[0-9](?:[eE][+-]?|[0-9A-Za-z_.])*)
    | (?P<open>[(\[{{])
    | (?P<close>[)\]}}])
    | (?P<other>.)""",
    re.VERBOSE,
)
_PREFIXES = {"", *"rubft", "br", "rb", "fr", "rf", "tr", "rt"}
_STRING_ENDS = {quote: re.compile(rf"(?:\\.|[^\\\n{quote}])*{quote}", re.DOTALL) for quote in ("'", '"')}
_STRING_ENDS.update({quote * 3: re.compile(rf"(?:\\.|[^\\])*?{quote * 3}", re.DOTALL) for quote in ("'", '"')})
_CONVERSION = re.compile("![rs][:}]")
_NOT_ASCII = re.compile("[^\x00-\x7f]")
# Of MicroPython's REPL, of its paste mode, and of IPython.
_FIRST_PROMPT = re.compile(r"\s*(?:>>>|===|In \[\d+\]:)(?: |$)", re.MULTILINE)
_PROMPT = re.compile(r"^[ \t]*(?:>>>|\.\.\.+:?|===|In \[\d+\]:)(?: |$)", re.MULTILINE)
# What begins with one of these is no expression; behind a block's, none can follow in the same line either.
_STATEMENT = re.compile(
    rf"(?P<block>@|(?:async|class|def|elif|else|except|finally|for|if|try|while|with)(?!{WORD}))"
    rf"|(?:assert|break|continue|del|from|global|import|nonlocal|pass|raise|return|yield)(?!{WORD})"
)
_NO_EXPRESSIONS = ("import_name", "import_from", "yield_expr")  # nor is what parso calls a ..._stmt
_LOOPS = ("comp_for", "sync_comp_for")  # of a comprehension
_CONSTANTS = ("None", "True", "False")
_VERSION = "3.10"  # of parso's grammars: holds all of MicroPython's


class UnreadableError(Exception):
    """The text does not follow the grammar. ``at_end``: so far it does, but more must follow."""

    def __init__(self, at_end: bool = False):
        super().__init__("not in the grammar")
        self.at_end = at_end


@dataclass(frozen=True)
class Line:
    """A logical line: a statement, or some with semicolons, or the head of a block."""

    start: int  # where in the text its first word is
    row: int  # the line of the text in which that is, from 0
    margin: str  # what is before it in that line
    end: int  # behind its last word
    depth: int  # in how many blocks it is


class Syntax:
    """A cell's text, read. ``text`` has no carriage returns; what `read` makes of a cell has none."""

    def __init__(self, text: str):
        self.text = text
        self.lines: list[Line] = []
        self.open: list[int] = []  # where the brackets are that nothing closes
        self.escapes: list[int] = []  # where a `%` or a `!` stands as it does before a magic or a shell's command
        self.is_cut = False  # it ends within a string, a bracket or a joined line
        self._is_wrong = False  # a block that fits no other, a string without an end: MicroPython takes no such text
        self._plain: list[str] = []  # the same for parso
        self._origins = [0]  # by row: where in the text the column 0 of the plain text is
        self._row_start = 0
        self._indents = [0]
        self._line: tuple[int, int, str] | None = None  # of the logical line at work: start, row, margin
        self._end = 0  # behind the last word
        self._last = ""  # the last word, or "string"
        self._read(0, len(text))
        self._finish_line()
        self.is_cut = self.is_cut or bool(self.open)

    # --- the lexer ------------------------------------------------------------------------------------

    def _read(self, at: int, stop: int) -> None:
        """Read the words from ``at`` to ``stop``: all of them, or those of an f-string's field."""
        while at < stop:
            token = _TOKEN.match(self.text, at, stop)
            assert token is not None  # its last branch takes anything
            kind, word, at = token.lastgroup, token[0], token.end()
            if kind in ("space", "comment"):
                if self._line is not None:
                    self._plain.append(" " * len(word))
            elif kind == "newline":
                if not self.open:
                    self._finish_line()
                self._start_row(at)
            elif kind == "joined":
                if self._line is not None:
                    self._plain.append("\\")
                self._start_row(at)
                self.is_cut = at == len(self.text)
            else:
                at = self._read_word(kind, word, at, stop)

    def _read_word(self, kind: "str | None", word: str, end: int, stop: int) -> int:
        """Take a word that ends at ``end``, and return where reading goes on."""
        start = end - len(word)
        if kind == "string":
            prefix = word.rstrip("\"'")
            if prefix.lower() in _PREFIXES:
                self._begin_line(start)
                self._end = self._read_string(start, start + len(prefix), end, stop)
                self._last = "string"
                return self._end
            kind, word, end = "name", prefix, start + len(prefix)  # the string comes after it
        self._begin_line(start)
        if kind == "open":
            self.open.append(start)
        elif kind == "close":
            del self.open[-1:]
        elif kind == "other" and word in "%!" and (start == self._line_start or self._last == "="):
            self.escapes.append(start)
        elif word == "\\" and end == len(self.text):
            self.is_cut = True
        if kind == "number":
            word = "_" * len(word)
        elif not word.isascii():
            word = plain_name(word)
        self._plain.append(word if word.isprintable() else "?")
        self._last, self._end = word, end
        return end

    def _begin_line(self, start: int) -> None:
        """Where a logical line's first word is: see into which block it belongs."""
        if self._line is not None:
            return
        margin = self.text[self._row_start : start]
        column = len(margin.expandtabs(8))
        if column > self._indents[-1]:
            self._indents.append(column)
        while column < self._indents[-1]:
            self._indents.pop()
        self._is_wrong = self._is_wrong or column != self._indents[-1]
        depth = len(self._indents) - 1
        self._plain.append(" " * depth)
        self._origins[-1] = start - depth
        self._line = (start, len(self._origins) - 1, margin)
        self._last = ""

    @property
    def _line_start(self) -> int:
        return self._line[0] if self._line else -1

    def _finish_line(self) -> None:
        if self._line is not None:
            self.lines.append(Line(*self._line, self._end, len(self._indents) - 1))
            self._line = None

    def _start_row(self, at: int) -> None:
        self._plain.append("\n")
        self._origins.append(at)
        self._row_start = at

    def _blank(self, start: int, end: int) -> None:
        """Let the plain text have nothing but its line ends there."""
        for number, row in enumerate(self.text[start:end].split("\n")):
            if number:
                self._start_row(start)
            self._plain.append(" " * len(row))
            start += len(row) + 1

    def _read_string(self, start: int, quote_start: int, quote_end: int, stop: int) -> int:
        """Read a string, and return where it ends. In the plain text it is an atom, or a call of the string before it."""
        prefix, quote = self.text[start:quote_start], self.text[quote_start:quote_end]
        opening, closing = "()" if self._last == "string" else "{}"
        self._plain.append(opening)
        if set(prefix) & set("fFtT"):
            self._blank(start + 1, quote_end)
            end = self._read_fields(quote_end, stop, quote)
        else:
            found = _STRING_ENDS[quote].match(self.text, quote_end, stop)
            end = found.end() if found else self._miss_quote(quote, stop)
            self._blank(start + 1, end)
        self._plain[-1] = self._plain[-1][:-1] + closing
        return end

    def _miss_quote(self, quote: str, stop: int) -> int:
        if len(quote) == 3:
            self.is_cut = True
        else:
            self._is_wrong = True
        return stop

    def _read_fields(self, at: int, stop: int, quote: str) -> int:
        """Read an f-string from behind its first quote, and return where it ends; what is in its braces is code."""
        while at < stop:
            if self.text.startswith(quote, at):
                self._blank(at, at + len(quote))
                return at + len(quote)
            char = self.text[at]
            if char == "\n" and len(quote) == 1:
                break
            if char == "{" and not self.text.startswith("{{", at):
                end = self._find_field_end(at + 1, stop)
                code_end = end - (self.text[end - 1] == "=")  # {x=}
                self._plain.append("(")
                self._last = "("
                self.open.append(at)
                depth = len(self.open)
                self._read(at + 1, code_end)
                if end == stop:
                    at = code_end
                    break
                self._plain.append(" " * (end - code_end) + ")")
                del self.open[depth - 1 :]
                at = end + 1
            else:
                size = 2 if char in "{\\" else 1
                self._blank(at, at + size)
                at += size
        self._blank(at, stop)
        return self._miss_quote(quote, stop)

    def _find_field_end(self, at: int, stop: int) -> int:
        """Return where a field's code ends.

        MicroPython 1.25 looks for it in the strings of that code, too, and then refuses it: to pass over them is right for any version.
        """
        level = 0
        while at < stop:
            char = self.text[at]
            if not level and (char in ":}" or (char == "!" and _CONVERSION.match(self.text, at))):
                return at
            quote = char * 3 if char in "'\"" and self.text.startswith(char * 3, at) else char
            string = char in "'\"" and _STRING_ENDS[quote].match(self.text, at + len(quote), stop)
            level += (char in "[{") - (char in "]}")
            at = string.end() if string else at + 1
        return stop

    # --- the grammar ----------------------------------------------------------------------------------

    def tree(self, row: int = 0, recover: bool = False):
        """Return parso's tree of the text from a row on; ``recover``: even where it does not follow the grammar.

        Raises UnreadableError.
        """
        import parso

        if (self._is_wrong or self.is_cut) and not recover:
            raise UnreadableError(at_end=not self._is_wrong)
        code = "\n".join("".join(self._plain).split("\n")[row:]) + "\n"
        try:
            return _grammar().parse(code, error_recovery=recover)
        except parso.ParserSyntaxError as error:
            raise UnreadableError(at_end=error.error_leaf.start_pos[0] > code.count("\n")) from None
        except RecursionError:
            raise UnreadableError from None

    def span(self, node, row: int = 0) -> tuple[int, int]:
        """Return where in the text a node of `tree` starts and ends."""
        (first, start), (last, end) = node.start_pos, node.end_pos
        return self._origins[row + first - 1] + start, self._origins[row + last - 1] + end

    def find_result(self) -> "tuple[int, int] | None":
        """Return where the expression is that ends the text, None where none does or a semicolon comes after it.

        Raises UnreadableError.
        """
        last = self.lines[-1] if self.lines else None
        if last is None or last.depth:
            return None
        begins = _STATEMENT.match(self.text, last.start)
        if begins and (begins["block"] or ";" not in self.text[last.start : last.end]):
            return None
        # The line is enough: a syntax that is not known in those before it does no harm.
        statement = self.tree(last.row).children[0]
        if statement.type == "simple_stmt":
            statement = statement.children[-2]  # a line's end comes after it
        kind, word = statement.type, getattr(statement, "value", "")
        if kind.endswith("_stmt") or kind in _NO_EXPRESSIONS or word == ";" or (kind == "keyword" and word not in _CONSTANTS):
            return None
        return self.span(statement, last.row)

    def find_functions(self) -> list[tuple[str, int, int]]:
        """Return the name, the first and the last line, from 1, of all functions, classes and nameless ones in the text.

        The names are as `plain_name` makes them.
        """
        found, nodes = [], [self.tree(recover=True)]
        while nodes:
            node = nodes.pop()
            name = _function_name(node)
            if name:
                whole = node if node.type.endswith("def") else node.parent  # its brackets, too
                found.append((name, whole.start_pos[0], whole.end_pos[0] - (whole.end_pos[1] == 0)))
            nodes += getattr(node, "children", ())
        return sorted(found, key=lambda function: function[1:])

    def find_catching(self) -> list[tuple[int, int]]:
        """Return the first and the last line, from 1, of all that is between ``try`` and ``except``, and of all ``with`` statements.

        Raises UnreadableError.
        """
        found, nodes = [], [self.tree()]
        while nodes:
            node = nodes.pop()
            parts = getattr(node, "children", ())
            if node.type in ("try_stmt", "with_stmt"):
                whole = parts[2] if node.type == "try_stmt" else node
                first = whole.children[1] if whole.type == "suite" else whole  # its first child is the end of the line before
                found.append((first.start_pos[0], whole.end_pos[0] - (whole.end_pos[1] == 0)))
            nodes += parts
        return sorted(found)


def plain_name(name: str) -> str:
    """Return a name as parso is given it: what is not ASCII may be no letter to it."""
    return _NOT_ASCII.sub("_", name)


def _function_name(node) -> str:
    """Return what MicroPython calls the function that a node is, empty where it is none."""
    if node.type in ("funcdef", "classdef"):
        return node.name.value
    if node.type == "lambdef":
        return "<lambda>"
    parts = getattr(node, "children", ())
    if node.type in (*_LOOPS, "comp_if") or not parts or parts[-1].type not in _LOOPS:
        return ""
    if node.type == "argument":
        return "<genexpr>"
    if node.type == "dictorsetmaker":
        return "<dictcomp>" if ":" in parts else "<setcomp>"
    return "<listcomp>" if node.type == "testlist_comp" and node.parent.children[0] == "[" else "<genexpr>"


def read(text: str) -> Syntax:
    """Read a cell's text as people paste it: a REPL's prompts go, and so does what its first line is indented by.

    That is what IPython does with host cells. The lines from the first one on that is indented less stay as they are.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _FIRST_PROMPT.match(text):
        text = _PROMPT.sub("", text)
    syntax = Syntax(text)
    margin = syntax.lines[0].margin if syntax.lines else ""
    if not margin:
        return syntax
    parts, done = [], 0
    for line in syntax.lines:
        if not line.margin.startswith(margin):
            break
        at = line.start - len(line.margin)
        parts.append(text[done:at])
        done = at + len(margin)
    return Syntax("".join(parts) + text[done:])


def is_expression(text: str) -> bool:
    """Tell whether a text is an expression, and nothing else but a comment."""
    text = text.strip()
    try:
        found = Syntax(text).find_result()
    except UnreadableError:
        return False
    return found is not None and found[0] == 0 and text[found[1] :].lstrip(" \t")[:1] in ("", "#")


@functools.cache
def _grammar():
    import parso

    return parso.load_grammar(version=_VERSION)


def prepare() -> None:
    """Load the parser: a twentieth of a second, which the first cell need not wait for."""
    _grammar()
