"""What commands have in common: which board is meant, JSON instead of a table, silence; and how a command of ours is declared."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from . import completion, output

__all__ = ["as_seconds", "board_of", "command", "open_board", "take_board", "take_quiet"]

F = TypeVar("F", bound=Callable[..., Any])


def as_seconds(text: str) -> float:
    """Return a number of seconds above 0. Raises click's BadParameter."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise click.BadParameter(f"{text!r} is not a number of seconds above 0.")
    return seconds


def command(
    name: str, *, board: bool = False, json: bool = False, timeout: bool = False, **settings: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command: the function's docstring is its help.

    ``board``: it gets ``board``, the name that `-b` gives, or None. ``json``: it gets ``as_json``. ``timeout``: it gets ``timeout``,
    seconds or None. All of them know `--quiet`. ``settings`` are click's own.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        function = click.option(
            "-q", "--quiet", is_flag=True, expose_value=False, callback=take_quiet, help="Print results and errors only."
        )(function)
        if json:
            function = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)
        if timeout:
            function = click.option(
                "--timeout", type=as_seconds, metavar="SECONDS", help="Give up, and interrupt the board, after so long."
            )(function)
        if board:
            function = click.option(
                "-b",
                "--board",
                metavar="BOARD",
                callback=take_board,
                shell_complete=completion.complete_boards,
                help="A board's name, port or URL. Default: UCORE_BOARD, else the only board there is.",
            )(function)
        context = {"help_option_names": ["-h", "--help"], **settings.pop("context_settings", {})}
        declare: Callable[[Callable[..., Any]], click.Command] = click.command(name, context_settings=context, **settings)
        return declare(function)

    return decorate


def take_quiet(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        output.set_quiet(True)


def take_board(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter("the name of a board cannot be empty.", context, option)
    return value or (board_of(context) if context.parent is not None else None)


def board_of(context: click.Context) -> str | None:
    """Return the board that `ucore -b BOARD COMMAND` names, None for none."""
    board: str | None = context.find_root().params.get("board")
    return board


def open_board(name: str | None, timeout: float | None = None) -> Any:
    """Return the `Board` of this name, port or URL, ready. Whoever it has to wait for later is said on stderr."""
    from ukernel.boards import connect

    board = connect(name, timeout=timeout, output=output.write_board_output)
    told = set()

    def tell(holder: str) -> None:
        if holder not in told:
            told.add(holder)
            output.say(f"Waiting for the board {board.name}: {holder} is using it.")

    board.on_wait = tell
    return board
