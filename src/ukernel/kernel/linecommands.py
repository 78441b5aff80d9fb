"""The commands of ``%ucore``: a function each, and its line in the table at the end. They run in the sub-kernel.

The board is the switchboard's, so that is asked, over the channel that carries ``input()``; what the hub tells anybody is asked there.
"""

import ast
import base64
import keyword
import time
from collections.abc import Callable, Iterator
from typing import Any

from ucore import wire
from ukernel.boards import rewrite, syntax
from ukernel.errors import BoardBusyError, UcoreError, UsageError
from ukernel.protocol import values

from . import filecommands, magicmessages
from .stdinchannel import StdinChannel

__all__ = ["COMMANDS", "FORCE", "Command", "CommandUsageError", "usage"]

FORCE = "--force"


class CommandUsageError(UsageError):
    """What is wrong with the line; the command's usage is added to it."""


def _status(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    _take_nothing("status", rest)
    print("\n".join(f"{name + ':':9}{value}" for name, value in _describe(channel.ask(magicmessages.BOARD_INFO, wait=True))))


def _describe(own: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known about the notebook's board, as (name, value) pairs."""
    if own.get("error"):
        yield "Board", f"none: {own['error']}"
        return
    from ukernel.client import connection

    with connection.connect() as hub:
        found = [board for board in hub.request("boards_request")["boards"] if board["name"] == own["name"]]
        known = hub.request("pipes_request")["pipes"]
    open_pipes = [pipe for pipe in known if pipe["board"] == own["name"] and pipe["open"]]
    state = found[0] if found else {}
    facts = own["facts"]
    yield "Board", f"{own['name']} on {own['port']}, {state.get('state', 'gone')}"
    python = {"micropython": "MicroPython", "cpython": "CPython"}.get(facts.get("python"), facts.get("python"))
    yield "Runs", f"{python} {facts.get('version')}, {facts.get('machine')}, µcore {facts.get('build')}"
    running = state.get("running")
    yield "Busy", f"with a cell of {running['client']}, {time.time() - running['since']:.0f} s" if running else "no"
    if state.get("waiting"):
        yield "Waiting", ", ".join(state["waiting"])
    yield "Used by", ", ".join(state.get("clients") or ["nobody"])
    yield "Pipes", f"\n{'':9}".join(map(_describe_pipe, open_pipes)) or "none open"


def _describe_pipe(pipe: dict[str, Any]) -> str:
    from ukernel.pipes.reasons import describe_losses

    rate = f"{pipe['frames_per_s']:,.0f} frames and {pipe['bytes_per_s']:,.0f} bytes per second"
    lost = {cause: count for cause, count in pipe["lost"].items() if count}
    return f"{pipe['name']} ({pipe['frames']:,} frames, {rate}, {describe_losses(lost) if lost else 'none lost'})"


def _pipes(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    _take_nothing("pipes", rest)
    from IPython.display import display

    from ukernel.pipes.listing import pipes

    display(pipes())  # type: ignore[no-untyped-call] # IPython's has no annotations


def _boards(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    _take_nothing("boards", rest)
    from ukernel.client import connection

    own = channel.ask(magicmessages.BOARD_INFO, wait=False)
    with connection.connect() as hub:
        found = hub.request("boards_request")["boards"]
    for one in found:
        mark = "*" if one["name"] == own.get("name") else " "
        print(f"{mark} {one['name']:20} {one['port']:20} {one['state']:10} {one['description']}")
    if not found:
        print("No board is connected. `%ucore use virtual` brings one that needs no hardware.")


_views: dict[str, Any] = {}  # by port: the live picture of a virtual board, of which there is one however often it is shown


def _board(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    _take_nothing("board", rest)
    from IPython.display import display

    from ukernel.virtual import view

    own = channel.ask(magicmessages.BOARD_INFO, wait=True)
    if own.get("error"):
        raise UcoreError(own["error"])
    about = view.find_running(own["port"])
    if about is None:
        raise UcoreError(
            f"The board {own['name']} is a real one: look at it. `%ucore use virtual` brings one whose pins can be seen here."
        )
    for port in [port for port, shown in _views.items() if not shown.is_live]:
        _views.pop(port).close()
    if own["port"] not in _views:
        _views[own["port"]] = view.BoardView(about["world"], f"{own['name']}: {about['banner']}")
    display(_views[own["port"]].widget)  # type: ignore[no-untyped-call] # IPython's has no annotations


def _use(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    if not rest or len(rest.split()) > 1:
        raise CommandUsageError("%ucore use takes the board to use.")
    own = channel.ask(magicmessages.USE_BOARD, board=rest)
    print(f"Board cells of this notebook now run on {own['name']} ({own['port']}).")


def _reset(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    answer = _ask_alone(channel, "reset", rest)
    print(f"The board {answer['board']} has restarted: its variables, threads and pipes are gone.")


def _interrupt(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    stopped = _ask_alone(channel, "interrupt", rest)["stopped"]
    print(f"A cell of {stopped} was interrupted." if stopped else "The board runs no cell. Its threads cannot be interrupted.")


def _ask_alone(channel: StdinChannel, command: str, rest: str) -> dict[str, Any]:
    """Ask for what others who use the board would mind, which the hub then does by force only."""
    if rest not in ("", FORCE):
        raise CommandUsageError(f"%ucore {command} does not know {rest!r}.")
    try:
        return channel.ask(magicmessages.HUB, type=f"{command}_request", content={"force": rest == FORCE})
    except BoardBusyError as error:
        raise BoardBusyError(f"{error} `%ucore {command} {FORCE}` does it all the same.") from None


def _push(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    name, equals, expression = (part.strip() for part in rest.partition("="))
    if equals and _is_name(name) and not expression.startswith("="):
        given = {name: _evaluate(expression, names)}
    else:
        given = {}
        for name in rest.replace(",", " ").split():
            if not _is_name(name):
                raise CommandUsageError(f"%ucore push: {name!r} is no name.")
            if name not in names:
                raise NameError(f"name {name!r} is not defined on the host")
            given[name] = names[name]
    if not given:
        raise CommandUsageError("%ucore push takes what to push.")
    order = values.storing(given)
    if len(order) > wire.MAX_REQUEST:
        what = f"{', '.join(given)} {'has' if len(given) == 1 else 'have'}"
        raise UsageError(f"{what} {len(order):,} bytes; {wire.MAX_REQUEST:,} can be pushed at once. Push parts.")
    channel.ask(magicmessages.EXECUTE, order=base64.b64encode(order).decode())


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _evaluate(expression: str, names: dict[str, Any]) -> object:
    try:
        ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError) as error:
        raise CommandUsageError(f"%ucore push: {expression!r} is no expression ({error}).") from None
    return eval(expression, names)


def _pull(channel: StdinChannel, rest: str, names: dict[str, Any]) -> object:
    if not syntax.is_expression(rest):
        raise CommandUsageError(
            f"%ucore pull takes an expression for the board, not {rest!r}." if rest else "%ucore pull: what?"
        )
    answer = channel.ask(magicmessages.EXECUTE, code=rewrite.transform(f"\n{rest}", plain=True))
    if answer.get("stuck"):
        where, what, shown = answer["stuck"]
        place = f"its {where} is" if where else "it is"
        shown = f", in {shown if len(shown) <= 200 else shown[:200] + '...'}" if shown else ""
        raise TypeError(f"{rest} cannot be pulled: on the board {place} {what}{shown}. {values.WHAT_CAN}")
    if answer["value"] is None:
        raise ValueError(f"{rest} is too large to be pulled at once. Pull slices of it, or use a pipe.")
    return values.decode_text(answer["value"])


def _producers(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    _take_nothing("producers", rest)
    found = _ask_producers(channel)
    for name, period_ms, calls, pipe in sorted(found):
        print(f"{name:20} every {period_ms:g} ms, {calls:,} calls, {f'to the pipe {pipe}' if pipe else 'no pipe'}")
    if not found:
        print('The board has no producer. `ucore.every(10, read, pipe="adc")` in a board cell makes one.')


def _stop(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    if not rest:
        raise CommandUsageError("%ucore stop takes the name of a producer.")
    rest = rest.strip("'\"")
    known = sorted(name for name, *_ in _ask_producers(channel, rest))
    if rest not in known:
        others = f"It has {', '.join(known)}." if known else "It has none."
        raise UsageError(f"The board has no producer {rest!r} (of ucore.every). {others}")
    print(f"The producer {rest} has stopped.")


def _ask_producers(channel: StdinChannel, stop: str = "") -> list[tuple[str, float, int, str]]:
    """Return the board's producers; what is called ``stop`` it then ends. Answered while a cell runs, too."""
    found: list[tuple[str, float, int, str]] = channel.ask(magicmessages.HUB, type="producers_request", content={"stop": stop})[
        "producers"
    ]
    return found


def _help(channel: StdinChannel, rest: str, names: dict[str, Any]) -> None:
    print(usage())


def _take_nothing(command: str, rest: str) -> None:
    if rest:
        raise CommandUsageError(f"%ucore {command} takes nothing, not {rest!r}.")


class Command:
    def __init__(self, takes: str, help: str, run: Callable[[StdinChannel, str, dict[str, Any]], object]):
        self.takes, self.help, self.run = takes, help, run


def _run_file_command(name: str) -> Callable[[StdinChannel, str, dict[str, Any]], object]:
    def run(channel: StdinChannel, rest: str, names: dict[str, Any]) -> object:
        try:
            return filecommands.run(name, channel, rest)
        except UsageError as error:
            raise CommandUsageError(f"%ucore {name}: {str(error).rstrip('.')}.") from None

    return run


COMMANDS = {
    "status": Command("", "what this notebook's board is and does", _status),
    "board": Command("", "the virtual board as one sees it: pins, pixels, display, sliders for its inputs", _board),
    "boards": Command("", "the boards that are connected", _boards),
    "pipes": Command("", "the pipes of all boards: their state, rates, losses and readers", _pipes),
    "use": Command("BOARD", "run this notebook's board cells there: a port, a URL, a board's name, or virtual", _use),
    "push": Command("NAME ... | NAME = EXPRESSION", "copy values of the host to the board", _push),
    "pull": Command("EXPRESSION", "return a value of the board: x = %ucore pull readings[-1]", _pull),
    **{name: Command(takes, help, _run_file_command(name)) for name, (takes, help, _, _) in filecommands.FILE_COMMANDS.items()},
    "producers": Command("", "what `ucore.every` calls on this notebook's board", _producers),
    "stop": Command("PRODUCER", "stop one of them, and close its pipe", _stop),
    "interrupt": Command(f"[{FORCE}]", "stop the cell that the board runs, with --force another notebook's, too", _interrupt),
    "reset": Command(f"[{FORCE}]", "start the board's Python afresh, with --force although others use it", _reset),
    "help": Command("", "this list", _help),
}


def usage(command: str = "") -> str:
    found = {command: COMMANDS[command]} if command in COMMANDS else COMMANDS
    lines = [f"  %ucore {name + ' ' + one.takes:36}{one.help}" for name, one in found.items()]
    return "\n".join(["Usage:", *lines])
