"""`ucore boards`, `info`, `wait`, `name`, `reset`, `interrupt` and `detach`: which boards there are, and what may be done to one."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from ukernel import settings
from ukernel.errors import (
    BoardBusyError,
    BoardGoneError,
    BoardNotFoundError,
    BoardTimeoutError,
    HubUnreachableError,
    NoAnswerError,
    UsageError,
)

from . import output
from .completion import complete_boards
from .options import command, open_board

if TYPE_CHECKING:
    from ukernel.client.connection import HubClient

__all__ = ["boards", "detach", "info", "interrupt", "name", "reset", "wait"]

LOOK_S = 0.25  # between two looks for a board that is waited for


@command("boards", json=True)
def boards(as_json: bool) -> None:
    """List the boards that are connected."""
    found = known_boards()
    if as_json:
        output.print_json([_row(board) for board in found])
        return
    if not found:
        print("No board is connected. `ucore virtual` starts one that needs no hardware.")
        return
    rows = []
    for board in found:
        used = ", ".join(board.get("clients", ()))
        rows.append(
            (board["name"], board["port"], board["description"], board["state"] + (f", used by {used}" if used else ""))
        )
    if sys.stdout.isatty():
        output.print_table(("name", "port", "board", "state"), rows)
    else:
        for name, port, description, state in rows:  # as it was before there were tables: scripts may read it
            print(f"{name:20} {port:20} {description:30} {state}")


def _row(board: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": board["name"],
        "port": board["port"],
        "description": board["description"],
        "state": board["state"],
        "users": list(board.get("clients", ())),
        "running": (board.get("running") or {}).get("client", ""),
        "waiting": list(board.get("waiting", ())),
    }


def known_boards() -> list[dict[str, Any]]:
    """Return the boards that are plugged in, virtual ones that run, the one in UCORE_BOARD; and what the hub, where one runs, knows of them."""
    from ukernel.client import connection
    from ukernel.ports import discovery

    try:
        with connection.connect(start=False) as hub:
            found: list[dict[str, Any]] = hub.request("boards_request")["boards"]
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


@command("info", board=True, json=True, timeout=True)
def info(board: str | None, as_json: bool, timeout: float | None) -> None:
    """Say what a board is: its chip, its Python, its µcore, its memory."""
    from ukernel.ports import discovery

    with open_board(board, timeout) as target:
        known = target.info()
        facts = dict(target.facts)
        about: dict[str, Any] = {
            "name": target.name,
            "port": target.port,
            "machine": facts.get("machine", ""),
            "platform": facts.get("platform", ""),
            "python": facts.get("python", ""),
            "version": str(facts.get("version", "")),
            "ucore": str(facts.get("build", "")),
            "serial_number": discovery.describe(target.port).serial_number,
            "state": known.state,
            "users": [user for user in known.users if str(_own_process()) not in user],
            "running": known.running,
            "memory_free": None,
            "memory_used": None,
        }
        if not known.running:  # else it would have to be waited for
            about["memory_free"], about["memory_used"] = target.eval(
                "(lambda gc: (gc.collect(), gc.mem_free(), gc.mem_alloc())[1:] if hasattr(gc, 'mem_free') else (None, None))(__import__('gc'))"
            )
    if as_json:
        output.print_json(about)
        return
    memory = about["memory_free"]
    python = {"micropython": "MicroPython", "cpython": "CPython"}.get(about["python"], about["python"])
    lines = [
        ("Board", f"{about['name']} on {about['port']}"),
        ("Machine", about["machine"] or about["platform"]),
        ("Runs", f"{python} {about['version']}, µcore {about['ucore']}"),
        ("Serial no.", about["serial_number"] or ""),
        ("Memory", f"{memory:,} bytes free, {about['memory_used']:,} used" if memory is not None else ""),
        ("Busy", f"with a cell of {about['running']}" if about["running"] else "no"),
        ("Used by", ", ".join(about["users"]) or "nobody else"),
    ]
    for what, text in lines:
        if text:
            print(f"{what + ':':12}{text}")


def _own_process() -> str:
    import os

    return f"(process {os.getpid()})"


@command("wait", board=True, timeout=True)
def wait(board: str | None, timeout: float | None) -> None:
    """Wait until a board is there and answers, then print its name."""
    from ukernel.ports import discovery

    deadline = None if timeout is None else time.monotonic() + timeout
    wanted = board or settings.board()
    said = False
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        try:
            if left is not None and left <= 0:
                raise BoardTimeoutError(f"There was no board{f' {wanted!r}' if wanted else ''} within {timeout:g} s.")
            discovery.resolve(wanted)  # without a hub, as long as there is none
            with open_board(wanted, left) as target:
                print(target.name)
            return
        except (BoardNotFoundError, BoardGoneError, BoardBusyError, NoAnswerError) as error:
            if wanted is None and "Several" in str(error):
                raise
            if not said:
                said = True
                is_there = isinstance(error, (BoardBusyError, NoAnswerError))
                output.say(f"Waiting for {wanted or 'a board'}." + (f" {error}" if is_there else ""))
            time.sleep(LOOK_S if left is None else max(0.0, min(LOOK_S, left)))


@command("name", board=True, json=True)
@click.argument("new_name", metavar="[NAME]", required=False)
@click.option("--forget", is_flag=True, help="Take the board's own name from it again.")
def name(board: str | None, as_json: bool, new_name: str | None, forget: bool) -> None:
    """Give a board a NAME of your own, by which it can be meant anywhere; without one, list such names.

    It is remembered by the board's serial number, or for a board that has none by its port or URL.
    """
    from ukernel.ports import discovery, names

    if new_name is None and not forget:
        known = names.read()
        if as_json:
            output.print_json([{"name": own, "serial_number": of.serial_number, "port": of.port} for own, of in known.items()])
        elif known:
            output.print_table(("name", "of"), [(own, of.serial_number or of.port) for own, of in known.items()])
        else:
            print("No board has a name of your own. `ucore name NAME` gives one.")
        return
    if new_name is not None and forget:
        raise UsageError("Either a name is given, or it is forgotten.")
    port = discovery.resolve(board or settings.board())
    if new_name is None:
        discovery.forget_name(port)
    else:
        discovery.give_name(port, new_name)
    given = discovery.describe(port).name
    _tell_hub(port, given)
    print(f"The board on {port} is called {given}.")


def _tell_hub(port: str, name: str) -> None:
    """Where a hub has the board, its name there changes, too."""
    from ukernel.client import connection

    try:
        with connection.connect(start=False, timeout_s=2.0) as hub:
            hub.request("rename_request", {"board": port, "name": name})
    except HubUnreachableError:
        pass


@command("reset", board=True, timeout=True)
@click.option("--hard", is_flag=True, help="Restart the chip, not its Python alone: boot.py and main.py run.")
@click.option("--force", is_flag=True, help="Also where others use the board.")
def reset(board: str | None, timeout: float | None, hard: bool, force: bool) -> None:
    """Restart a board's Python: variables, threads and pipes are gone, files stay."""
    with open_board(board, timeout) as target:
        target.reset(force=force, hard=hard)
        print(f"The board {target.name} has restarted.")


@command("interrupt", board=True)
def interrupt(board: str | None) -> None:
    """Stop what runs on a board, whoever has started it."""
    with open_board(board) as target:
        stopped = target.interrupt()
        print(f"Stopped on {target.name}: {stopped}." if stopped else f"Nothing runs on {target.name}.")


@command("detach")
@click.argument("target", metavar="[BOARD]", required=False, shell_complete=complete_boards)
@click.option("-b", "--board", metavar="BOARD", shell_complete=complete_boards, help="The same as BOARD.")
@click.option("--force", is_flag=True, help="Also where a cell runs on the board: it is lost.")
def detach(target: str | None, board: str | None, force: bool) -> None:
    """Give a board's port back, for mpremote, Thonny and the like. The next cell or command for the board takes it again."""
    from ukernel.client import connection

    wanted = target or board or click.get_current_context().find_root().params.get("board") or settings.board()
    try:
        hub = connection.connect(start=False)
    except HubUnreachableError:
        print("No board hub runs: the ports are free.")
        return
    with hub:
        answer = _detach(hub, wanted, force)
        if wanted and not answer["detached"]:
            from ukernel.ports import discovery

            answer = _detach(hub, discovery.resolve(wanted), force)  # it may be another word for a port
    if answer["detached"]:
        print(
            f"The board {answer['name']} on {answer['port']} is free for other programs. The next cell or command for it takes it again."
        )
    else:
        print(
            "The hub has no board open: the ports are free."
            if not wanted
            else f"The hub does not have {wanted} open: its port is free."
        )


def _detach(hub: "HubClient", board: str | None, force: bool) -> dict[str, Any]:
    return hub.request("detach_request", {"board": board, "force": force}, timeout_s=15.0)
