"""`ucore pipes`, `ucore pipe read` and `ucore cat-pipe`: what boards send, listed and read."""

import contextlib
from typing import TYPE_CHECKING, Any

import click

from ukernel.errors import BoardError, UsageError

from . import output
from .commands import Entry, LazyGroup
from .completion import complete_pipes
from .options import as_seconds, command, open_board

if TYPE_CHECKING:
    from ukernel.pipes import Pipe

__all__ = ["cat_pipe", "pipe", "pipes", "read"]

pipe = LazyGroup("pipe", (Entry("read", "pipes", "print what a pipe brings"),), help="Read pipes. `ucore pipes` lists them.")


@command("pipes", board=True, json=True)
def pipes(board: str | None, as_json: bool) -> None:
    """List the pipes that are open, and those that have ended lately: of all boards, or of one."""
    from ukernel.pipes.listing import PipeStates
    from ukernel.pipes.listing import pipes as known

    of = _name_of(board) if board is not None else None
    found = PipeStates(one for one in known() if of in (None, one.board))
    if as_json:
        output.print_json([one._asdict() for one in found])
    elif found:
        output.print_table(found.COLUMNS, found.rows())
    else:
        print(found.table())


def _name_of(board: str) -> str:
    """Return the name of a board that may be meant by its port. Raises BoardNotFoundError."""
    from .boards import known_boards

    found = [one["name"] for one in known_boards() if board in (one["name"], one["port"])]
    if found:
        return str(found[0])
    from ukernel.ports import discovery

    return discovery.describe(discovery.resolve(board)).name


def _declare(name: str) -> click.Command:
    @command(name, board=True)
    @click.argument("name", shell_complete=complete_pipes)
    @click.option(
        "-f", "--format", "format_", metavar="FORMAT", help="A struct format of a frame's numbers, such as <hhf. Default: <f."
    )
    @click.option("--csv", "style", flag_value="csv", default="csv", help="Numbers, with commas. This is the default.")
    @click.option("--jsonl", "style", flag_value="jsonl", help="A JSON object a frame.")
    @click.option("--raw", "style", flag_value="raw", help="The bytes as they are.")
    @click.option("--hex", "style", flag_value="hex", help="The bytes of a frame as hexadecimal digits.")
    @click.option(
        "-t", "--times", is_flag=True, help="Say when each frame was written, and by how many seconds that may be off."
    )
    @click.option("--header", is_flag=True, help="Begin CSV with the names of the columns.")
    @click.option("-n", "--count", type=click.IntRange(min=1), metavar="FRAMES", help="End after so many frames.")
    @click.option("--seconds", type=as_seconds, metavar="SECONDS", help="End after so long.")
    @click.option("-o", "--output", "path", type=click.Path(readable=False), metavar="FILE", help="Write there, not to stdout.")
    @click.option("--replay", is_flag=True, help="Begin with what the hub still holds.")
    @click.option("--follow", is_flag=True, help="Go on with the next opening when this one has ended.")
    def read(
        board: str | None,
        name: str,
        format_: str | None,
        style: str,
        times: bool,
        header: bool,
        count: int | None,
        seconds: float | None,
        path: str | None,
        replay: bool,
        follow: bool,
    ) -> None:
        """Print what the pipe NAME brings, a frame a line, until it ends or Ctrl-C. Rate and losses are said on stderr."""
        from .pipeprinter import PipePrinter

        printer = PipePrinter(name, style, format_, times, header)
        with contextlib.ExitStack() as stack:
            found = _subscribe(stack, name, board, replay, times, follow)
            printer.print_frames(stack.enter_context(found), path, count, seconds)

    return read


read = _declare("read")
cat_pipe = _declare("cat-pipe")


def _subscribe(stack: contextlib.ExitStack, name: str, board: str | None, replay: bool, times: bool, follow: bool) -> "Pipe":
    """Subscribe. Where no such pipe is known its board may be one that no hub has, whose pipes are announced when one does."""
    from ukernel import settings
    from ukernel.pipes import subscribe
    from ukernel.pipes.listing import pipes as known

    wanted = board or settings.board()
    of = _name_of(board) if board else None
    options: dict[str, Any] = {"replay": replay, "timestamps": times, "follow": follow}
    try:
        found = subscribe(name, board=of, **options)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not any(one.name == name and one.open and of in (None, one.board) for one in known()):
        try:
            stack.enter_context(open_board(wanted))
        except BoardError:
            if wanted is not None:
                found.close()
                raise
    return found
