"""`ucore run`, `exec`, `eval` and `repl`: programs on a board."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ukernel.errors import BoardCodeError, BoardValueError, UsageError

from . import output
from .options import command, open_board

__all__ = ["eval_", "exec_", "repl", "run"]

ARGUMENTS = "import sys\nsys.argv[:] = {!r}"


@command("run", board=True, timeout=True, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("file", type=click.Path(readable=False, allow_dash=True))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(board: str | None, timeout: float | None, file: str, arguments: tuple[str, ...]) -> None:
    """Run a program's FILE on a board, with ARGUMENTS in its sys.argv; - is stdin.

    What it prints appears here, and Ctrl-C ends it. It runs among the variables of the board's cells, which stay.
    """
    text = _read(file)
    with open_board(board, timeout) as target, _program_may_exit():
        name = "<stdin>" if file == "-" else file
        target.run(ARGUMENTS.format([file, *arguments]))
        target.run(text, name=name)


@contextlib.contextmanager
def _program_may_exit() -> Iterator[None]:
    """A program may end itself by `sys.exit()`, which is no error; with anything but 0 it says that it has failed."""
    try:
        yield
    except BoardCodeError as error:
        if error.ename != "SystemExit" or error.evalue not in ("", "0", "None"):
            raise


def _read(file: str) -> str:
    """Return a program's text. Raises UsageError where it is none, OSError."""
    import io
    import tokenize

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding).replace("\r\n", "\n")
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no program's text: {error}.") from None


@command("exec", board=True, timeout=True)
@click.argument("code")
def exec_(board: str | None, timeout: float | None, code: str) -> None:
    """Run CODE on a board, among the variables of its cells."""
    with open_board(board, timeout) as target, _program_may_exit():
        target.run(code)


@command("eval", board=True, timeout=True, json=True, context_settings={"ignore_unknown_options": True})  # -x is an expression
@click.argument("expression")
def eval_(board: str | None, timeout: float | None, as_json: bool, expression: str) -> None:
    """Print the value of EXPRESSION on a board: exact, as Python writes it."""
    with open_board(board, timeout) as target:
        try:
            value = target.eval(expression)
        except BoardValueError:
            if as_json:
                raise
            value = _Written(target.eval(f"repr({expression}\n)"))  # it cannot travel, but it can be looked at
    if as_json:
        output.print_json(_plain(value))
    else:
        print(repr(value))


class _Written(str):
    """What the board itself has written of a value."""

    def __repr__(self) -> str:
        return str(self)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: tuples and sets as lists, bytes as hexadecimal digits, keys as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, float) and value - value != 0:
        return repr(value)  # JSON has no infinity
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return [_plain(item) for item in value] if hasattr(value, "typecode") else repr(value)


@command("repl", board=True)
def repl(board: str | None) -> int:
    """Open a board's prompt. Ctrl-C interrupts the board, Ctrl-D leaves.

    Where stdin is no terminal its statements run one by one, and the first error ends that.
    """
    from .repl import run

    with open_board(board) as target:
        return run(target)
