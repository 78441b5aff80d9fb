"""The `ucore` command: a module a group of commands, and a row of the table here for each command.

`main` is what runs; nothing else of this part is for others.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

from ukernel import __version__
from ukernel.errors import UcoreError, describe

from . import boards, hub, install, virtual

__all__ = ["main"]


class Command(NamedTuple):
    """What stands after `ucore`."""

    name: str
    help: str  # what it does, as the list of commands says it
    run: Callable[[argparse.Namespace], None]
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None


COMMANDS = (
    Command("virtual", "run a virtual board until Ctrl-C", virtual.run, virtual.add_arguments),
    Command("install", "put µcore on a MicroPython board", install.install, install.add_port),
    Command("install-kernels", "make the kernels known to Jupyter", install.install_kernels, install.add_target),
    Command("stop", "stop the board hub", hub.stop),
    Command("boards", "list the boards that are connected", boards.show),
    Command("pipes", "list the pipes that are open, and those that have ended lately", hub.show_pipes),
    Command("token", "print the hub's token, for a reader at the other end of an SSH tunnel", hub.show_token),
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ends the process with 1 and a sentence on stderr where something cannot be done."""
    parser = argparse.ArgumentParser(prog="ucore", description="Jupyter notebooks for microcontrollers.")
    parser.add_argument("--version", action="version", version=f"µcore {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        text = command.help
        its_parser = commands.add_parser(command.name, help=text, description=text[0].upper() + text[1:] + ".")
        if command.add_arguments is not None:
            command.add_arguments(its_parser)
        its_parser.set_defaults(run=command.run)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except UcoreError as error:
        sys.exit(f"ucore: {error}")
    except OSError as error:
        sys.exit(f"ucore: That could not be done: {describe(error)}.")
    except KeyboardInterrupt:
        sys.exit(130)
