"""The `ucore` command. Every subcommand is one function here and one row of the table at the end."""

import argparse
import sys
from collections.abc import Callable

from . import __version__, virtualboard
from .errors import UcoreError

__all__ = ["main"]


def _virtual(options: argparse.Namespace) -> None:
    def announce(about: dict) -> None:
        print(f"A {about['banner']}, on {about['port']}")
        if about["python"] == "cpython" and virtualboard.pty and not options.socket:
            print("It runs the board's agent on CPython: the same cells, but not MicroPython's own behaviour.")
        print(f"Use it from another terminal: UCORE_BOARD={about['port']} jupyter lab")
        print("Ctrl-C stops it.", flush=True)

    virtualboard.run(options, announce)


def _boards(options: argparse.Namespace) -> None:
    from . import ports

    found = ports.find_boards()
    for board in found:
        print(f"{board.name:20} {board.port:20} {board.description}")
    if not found:
        print("No board is connected. `ucore virtual` starts one that needs no hardware.")


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


# Name, what it does, what adds its arguments, what runs it.
_Row = tuple[str, str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]
COMMANDS: "list[_Row]" = [
    ("virtual", "run a virtual board until Ctrl-C", virtualboard.add_arguments, _virtual),
    ("boards", "list the boards that are connected", _no_arguments, _boards),
]


def main(arguments: "list[str] | None" = None) -> None:
    """Run the command line; ends the process with 1 and a sentence on stderr where something cannot be done."""
    parser = argparse.ArgumentParser(prog="ucore", description="Jupyter notebooks for microcontrollers.")
    parser.add_argument("--version", action="version", version=f"µcore {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text, add_arguments, run in COMMANDS:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        add_arguments(command)
        command.set_defaults(run=run)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except UcoreError as error:
        sys.exit(f"ucore: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
