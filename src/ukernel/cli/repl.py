"""`ucore repl`: a board's prompt. What is typed runs as a notebook's cell does, among the same variables.

Where stdin or stdout is no terminal, statements are read line by line, and the first error ends it.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ukernel import settings
from ukernel.boards import Board, statements
from ukernel.errors import BoardCodeError, UcoreError

from .output import format_error, has_colours, write_board_output

if TYPE_CHECKING:
    from pathlib import Path

    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.lexers import Lexer

__all__ = ["run"]

PROMPT, MORE = ">>> ", "... "
INDENT = "    "
LEAVING = ("exit", "exit()", "quit", "quit()")  # as people are used to
MAX_HISTORY = 1 << 20  # bytes; of a longer one the newer half is kept
NO_INPUT = "The board asked for input, and there was none."


def run(board: Board) -> int:
    """Have a board's prompt in this terminal until its user leaves; return the exit code, 1 for an error where stdin is no terminal.

    A prompt outlives the board: what is typed next tries again.
    """
    output = _Output()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _run_lines(board, output, sys.stdin)
    from prompt_toolkit.patch_stdout import patch_stdout

    session = _session(board, _history(settings.data_dir() / "repl_history"))
    board.on_lost = lambda error: print(f"{error} What you enter next tries again.")
    print(f"{board.description}, {board.name} on {board.port}. NAME? explains, Ctrl-C interrupts, Ctrl-D leaves.")
    count = 0
    while True:
        output.finish_line()
        try:
            with patch_stdout(raw=True):  # what threads of the board print comes above the prompt
                text = session.prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        if text.strip() in LEAVING:
            return 0
        if text.strip():
            count += 1
            _run_input(board, output, text, f"<input {count}>")


def _run_input(board: Board, output: "_Output", text: str, name: str) -> bool:
    """Run what was entered; say what is wrong with it, and return False."""
    try:
        _run_statement(board, output, text, name)
        return True
    except KeyboardInterrupt:
        output.finish_line()
        print("KeyboardInterrupt")
    except BoardCodeError as error:
        output.finish_line()
        print(format_error(error, has_colours(sys.stdout)))
    except EOFError:
        output.finish_line()
        print(NO_INPUT)
    except (UcoreError, OSError) as error:
        output.finish_line()
        print(error)
    return False


def _run_statement(board: Board, output: "_Output", text: str, name: str) -> None:
    asked = statements.split_help(text)
    if asked is None:
        board.run_cell(text, name=name, output=output)
        return
    before, word = asked
    if before.strip():
        board.run_cell(before, name=name, output=output)
    output((board.inspect(word) or f"Nothing is known of {word}.") + "\n")


def _run_lines(board: Board, output: "_Output", stdin: Iterable[str]) -> int:
    for line, text in statements.split(_lines(stdin)):
        if text.strip() in LEAVING:
            return 0
        try:
            _run_statement(board, output, "\n" * (line - 1) + text, "<stdin>")
        except BoardCodeError as error:
            output.finish_line()
            print(format_error(error, False), file=sys.stderr)
            return 1
        except EOFError:
            output.finish_line()
            print(NO_INPUT, file=sys.stderr)
            return 1
    return 0


def _lines(stdin: Iterable[str]) -> Iterator[str]:
    """Yield its lines as they come; one by one, for the board's own input() reads from it, too."""
    readline: Callable[[], str] | None = getattr(stdin, "readline", None)
    return iter(readline, "") if readline is not None else iter(stdin)


class _Output:
    """Writes what a board prints, and knows whether a line is begun."""

    def __init__(self) -> None:
        self._is_begun = False

    def __call__(self, text: str) -> None:
        if text:
            write_board_output(text)
            self._is_begun = not text.endswith("\n")

    def finish_line(self) -> None:
        """Let what comes next begin a line."""
        if self._is_begun:
            self("\n")


# --- what is typed ---------------------------------------------------------------------------------------------


def _session(board: Board, history: "History", **streams: Any) -> "PromptSession[str]":
    """Return what reads from the terminal. ``streams``: other ones than the process's, for tests."""
    from prompt_toolkit import PromptSession

    return PromptSession(
        PROMPT,
        multiline=True,
        prompt_continuation=lambda width, number, is_wrapped: " " * width if is_wrapped else MORE,
        history=history,
        lexer=_lexer(),
        completer=_completer(board),
        complete_in_thread=True,
        complete_while_typing=False,  # each question goes over the board's line
        key_bindings=_keys(),
        enable_history_search=False,
        **streams,
    )


def _lexer() -> "Lexer | None":
    try:
        from pygments.lexers.python import PythonLexer
    except ImportError:
        return None
    from prompt_toolkit.lexers import PygmentsLexer

    return PygmentsLexer(PythonLexer)


def _completer(board: Board) -> Any:
    from prompt_toolkit.completion import Completer, Completion

    class BoardCompleter(Completer):
        """Asks the board."""

        def get_completions(self, document: "Document", event: "CompleteEvent") -> "Iterable[Completion]":
            found = board.complete(document.text, document.cursor_position)
            for name in found.names:
                yield Completion(name, start_position=found.start - document.cursor_position)

    return BoardCompleter()


def _keys() -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def end_line(event: "KeyPressEvent") -> None:
        """Run what is whole; else go on in the next line, indented as that must be."""
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None  # it is taken by that, and not yet run
            return
        state = statements.completeness(buffer.text)
        if not buffer.text.strip():
            buffer.reset()
            buffer.validate_and_handle()
        elif not buffer.document.is_cursor_at_the_end and "\n" in buffer.document.text_after_cursor:
            buffer.newline()
        elif state["status"] == "incomplete":
            buffer.insert_text("\n" + state["indent"])
        else:
            buffer.cursor_position = len(buffer.text)
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def break_line(event: "KeyPressEvent") -> None:
        event.current_buffer.newline()

    @keys.add("tab")
    def complete_or_indent(event: "KeyPressEvent") -> None:
        buffer = event.current_buffer
        if not buffer.document.current_line_before_cursor.strip():
            buffer.insert_text(INDENT)
        elif buffer.complete_state is not None:
            buffer.complete_next()
        else:
            buffer.start_completion(insert_common_part=True)

    @keys.add("backspace")
    def go_back(event: "KeyPressEvent") -> None:
        """Take a whole indentation back where there is nothing but that before the cursor."""
        before = event.current_buffer.document.current_line_before_cursor
        is_indent = before and not before.strip(" ")
        event.current_buffer.delete_before_cursor((len(before) - 1) % len(INDENT) + 1 if is_indent else 1)

    return keys


def _history(path: "Path") -> "History":
    """Return what was typed before, of which only this user may read; of this session alone where it cannot be kept."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        path.chmod(0o600)
        if path.stat().st_size > MAX_HISTORY:
            _halve(path)
        with open(path, "ab"):
            return FileHistory(path)
    except OSError:
        return InMemoryHistory()


def _halve(path: "Path") -> None:
    """Leave out the older entries; other prompts may be using the file."""
    data = path.read_bytes()
    start = data.find(b"\n# ", len(data) // 2)  # each entry begins with its time
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        beside.touch(0o600)
        beside.write_bytes(data[start:] if start >= 0 else b"")
        os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
