"""The `ucore` command. Every subcommand is one function here and one row of the table at the end."""

import argparse
import sys
from collections.abc import Callable

from ukernel import __version__
from ukernel.errors import HubUnreachableError, UcoreError, describe
from ukernel.virtual import process
from ukernel.virtual.line import HAS_TERMINALS

__all__ = ["main"]


def _virtual(options: argparse.Namespace) -> None:
    def announce(about: dict) -> None:
        print(f"A {about['banner']}, on {about['port']}")
        if about["python"] == "cpython" and HAS_TERMINALS and not options.socket:
            print("It runs the board's agent on CPython: the same cells, but not MicroPython's own behaviour.")
        print(f"Use it from another terminal: UCORE_BOARD={about['port']} jupyter lab")
        print("Ctrl-C stops it.", flush=True)

    process.run(options, announce)


def _boards(options: argparse.Namespace) -> None:
    boards = _known_boards()
    for board in boards:
        used = ", ".join(board.get("clients", ()))
        state = board["state"] + (f", used by {used}" if used else "")
        print(f"{board['name']:20} {board['port']:20} {board['description']:30} {state}")
    if not boards:
        print("No board is connected. `ucore virtual` starts one that needs no hardware.")


def _known_boards() -> "list[dict]":
    """Return the boards that are plugged in, virtual ones that run, the one in UCORE_BOARD; and what the hub, where one runs, knows of them."""
    from ukernel import settings
    from ukernel.client import connection
    from ukernel.ports import discovery

    try:
        with connection.connect(start=False) as hub:
            found = hub.request("boards_request")["boards"]
    except HubUnreachableError:
        found = [
            {"name": info.name, "port": info.port, "description": info.description, "state": "free"}
            for info in discovery.find_boards() + discovery.find_virtual_boards()
        ]
    chosen = settings.board()
    if chosen and not any(chosen in (board["name"], board["port"]) for board in found):
        info = discovery.describe(chosen)
        found.append(
            {"name": info.name, "port": chosen, "description": f"{info.description}, in UCORE_BOARD", "state": "not in use"}
        )
    return found


def _add_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "board", metavar="PORT", nargs="?", help="port or name of the board; the only one that is connected by default"
    )


def _install(options: argparse.Namespace) -> None:
    from ukernel import settings
    from ukernel.install import installer
    from ukernel.ports import discovery

    port = discovery.resolve(options.board or settings.board())
    copied = installer.ensure_agent(port, print)
    later = " Nothing starts by itself at boot: a notebook does it when it needs the board." if copied else ""
    print(f"µcore runs on {port}.{later}")


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", action="store_true", help="for this user, whatever environment Jupyter runs in")
    parser.add_argument(
        "--provisioner",
        action="store_true",
        help="have the Jupyter server ready hub and board before it starts a kernel; it needs µcore in its own environment",
    )


def _install_kernels(options: argparse.Namespace) -> None:
    from ukernel.kernel import kernelspec

    for folder in kernelspec.install(user=options.user, provisioner=options.provisioner):
        print(f"Installed the kernel {folder.name} in {folder}")


def _stop(options: argparse.Namespace) -> None:
    from ukernel.client import connection

    try:
        hub = connection.connect(start=False)
    except HubUnreachableError:
        print("No board hub runs.")
        return
    with hub:
        hub.request("stop_request", {})
    print("The board hub stops. It starts again when a notebook needs it.")


def _pipes(options: argparse.Namespace) -> None:
    from ukernel.pipes.listing import pipes

    print(pipes().table())


def _token(options: argparse.Namespace) -> None:
    from ukernel import settings
    from ukernel.protocol import statefile

    here = statefile.find()
    if here is None:
        raise HubUnreachableError(f"No board hub runs (looked at {settings.state_path()}).")
    print(here.token)


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


# Name, what it does, what adds its arguments, what runs it.
_Row = tuple[str, str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]
COMMANDS: "list[_Row]" = [
    ("virtual", "run a virtual board until Ctrl-C", process.add_arguments, _virtual),
    ("install", "put µcore on a MicroPython board", _add_port, _install),
    ("install-kernels", "make the kernels known to Jupyter", _add_target, _install_kernels),
    ("stop", "stop the board hub", _no_arguments, _stop),
    ("boards", "list the boards that are connected", _no_arguments, _boards),
    ("pipes", "list the pipes that are open, and those that have ended lately", _no_arguments, _pipes),
    ("token", "print the hub's token, for a reader at the other end of an SSH tunnel", _no_arguments, _token),
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
    except OSError as error:
        sys.exit(f"ucore: That could not be done: {describe(error)}.")
    except KeyboardInterrupt:
        sys.exit(130)
