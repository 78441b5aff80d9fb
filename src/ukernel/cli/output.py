"""What commands show: results on stdout, everything else on stderr; tables for people, JSON for programs."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ukernel.errors import BoardCodeError
from ukernel.tables import format_table

__all__ = [
    "OutputClosed",
    "format_error",
    "has_colours",
    "is_quiet",
    "print_json",
    "print_table",
    "progress",
    "say",
    "set_quiet",
    "write_board_output",
]

Progress = Callable[[str, int, int], None]  # what is under way, and how much of how much of it is done

RED, PLAIN = "\x1b[31m", "\x1b[0m"
BAR_AFTER_S = 0.5  # what is over sooner needs no bar

_quiet = False


class OutputClosed(KeyboardInterrupt):
    """Who read our output has left: `ucore run x.py | head`. A KeyboardInterrupt, so that the board is interrupted."""


def set_quiet(quiet: bool) -> None:
    """Say whether `say` and `progress` show anything."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether results and errors are all that is to be printed."""
    return _quiet


def say(sentence: str) -> None:
    """Print a sentence for people on stderr, unless it is to be quiet."""
    if not _quiet:
        print(sentence, file=sys.stderr, flush=True)


def write_board_output(text: str) -> None:
    """Print what the board has printed. Raises OutputClosed where nobody reads it any more."""
    if write_board_output in _closed:
        return  # the board has been interrupted for it, and says its last words
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _closed.add(write_board_output)
        raise OutputClosed from None


_closed: set[object] = set()


def format_error(error: BoardCodeError, colours: bool) -> str:
    """Return an error of a board's program as Python writes one."""
    if not error.ename:
        return str(error)
    red, plain = (RED, PLAIN) if colours else ("", "")
    head = f"Traceback (most recent call last):\n{error.traceback}\n" if error.traceback else ""
    return f"{head}{red}{error.ename}{plain}" + (f": {error.evalue}" if error.evalue else "")


def print_json(value: Any) -> None:
    """Print a value for programs; what JSON does not know becomes its text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def has_colours(stream: Any) -> bool:
    """Whether text there may be coloured: a terminal, and NO_COLOR is not set (no-color.org)."""
    return bool(stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns, under their names."""
    if sys.stdout.isatty():
        _print_rich(columns, rows)
    else:
        print(format_table(columns, rows))


def _print_rich(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(no_color=not has_colours(sys.stdout), highlight=False).print(table)


@contextmanager
def progress() -> Iterator[Progress]:
    """Give a function that shows how far something is, as a bar: on a terminal alone, and of what takes longer than half a second."""
    if _quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    bars = _Bars()
    try:
        yield bars.show
    finally:
        bars.close()


class _Bars:
    """A bar for what is under way."""

    def __init__(self) -> None:
        import time

        self._now = time.monotonic
        self._began = self._now()
        self._bars: Any = None
        self._task: Any = None

    def show(self, what: str, done: int, total: int) -> None:
        if self._bars is None:
            if self._now() - self._began < BAR_AFTER_S:
                return
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            console = Console(stderr=True, no_color=not has_colours(sys.stderr))
            text = TextColumn("{task.description}", markup=False)
            self._bars = Progress(text, BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console, transient=True)
            self._bars.start()
            self._task = self._bars.add_task(what, total=total or None)
        self._bars.update(self._task, description=what, completed=done, total=total or None)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
