"""`ucore status`, `logs`, `token` and `stop`: the board hub that runs, and what it knows."""

import time
from typing import Any

import click

from ukernel import settings
from ukernel.errors import HubUnreachableError

from . import output
from .options import command

__all__ = ["logs", "status", "stop", "token"]

FOLLOW_S = 0.5  # between two looks for new lines of the log


@command("stop")
def stop() -> None:
    """Stop the hub, if one runs. It starts again when it is needed."""
    from ukernel.client import connection

    try:
        hub = connection.connect(start=False)
    except HubUnreachableError:
        print("No board hub runs.")
        return
    with hub:
        hub.request("stop_request", {})
    print("The board hub stops. It starts again when a notebook needs it.")


@command("token")
def token() -> None:
    """Print the token that a reader needs to be let in, for one at the other end of an SSH tunnel."""
    from ukernel.protocol import statefile

    here = statefile.find()
    if here is None:
        raise HubUnreachableError(f"No board hub runs (looked at {settings.state_path()}).")
    print(here.token)


@command("status", json=True)
def status(as_json: bool) -> None:
    """Say what the hub has: boards, who uses them, what runs, and pipes. None is started for it."""
    from ukernel.client import connection
    from ukernel.protocol import statefile
    from ukernel.recordings import recordings

    about: dict[str, Any] = {
        "running": False,
        "pid": None,
        "build": "",
        "state_path": str(settings.state_path()),
        "boards": [],
        "pipes": [],
        "recordings": [recording.state._asdict() for recording in recordings()],
    }
    try:
        with connection.connect(start=False) as hub:
            here = statefile.find()
            about["running"] = True
            if here is not None:
                about["pid"], about["build"] = here.pid, here.build
            about["boards"] = [board for board in hub.request("boards_request")["boards"] if board["state"] != "free"]
            about["pipes"] = [pipe for pipe in hub.request("pipes_request")["pipes"] if pipe["open"]]
    except HubUnreachableError:
        pass
    about["boards"] = [_board(board) for board in about["boards"]]
    about["pipes"] = [_pipe(pipe) for pipe in about["pipes"]]
    if as_json:
        output.print_json(about)
    elif not about["running"]:
        print("No board hub runs. It starts when a notebook or a command needs a board.")
    else:
        _print(about)
    if not as_json:
        for recording in recordings():
            print(f"\nRecording {recording.id}: {recording.state.describe()}")


def _board(board: dict[str, Any]) -> dict[str, Any]:
    running = board.get("running") or {}
    return {
        "name": board["name"],
        "port": board["port"],
        "state": board["state"],
        "description": board["description"],
        "users": list(board.get("clients", ())),
        "running": running.get("client", ""),
        "running_s": round(time.time() - running["since"], 3) if running else None,
        "waiting": list(board.get("waiting", ())),
    }


def _pipe(pipe: dict[str, Any]) -> dict[str, Any]:
    lost = {cause: count for cause, count in pipe["lost"].items() if count}
    return {
        **{key: pipe[key] for key in ("name", "board", "frames", "readers", "frames_per_s", "bytes_per_s")},
        "lost": sum(lost.values()),
    }


def _print(about: dict[str, Any]) -> None:
    print(f"The board hub runs: process {about['pid']}, build {about['build']}.")
    for board in about["boards"]:
        print(f"\n{board['name']} on {board['port']}: {board['state']}, {board['description']}")
        print(f"  used by:  {', '.join(board['users']) or 'nobody'}")
        if board["running"]:
            print(f"  runs:     a cell of {board['running']}, for {board['running_s']:.0f} s")
        if board["waiting"]:
            print(f"  waiting:  {', '.join(board['waiting'])}")
        for pipe in about["pipes"]:
            if pipe["board"] == board["name"]:
                print(
                    f"  pipe:     {pipe['name']}, {pipe['frames']:,} frames, {pipe['frames_per_s']:,.0f} per second, "
                    f"{pipe['lost']:,} lost, {pipe['readers']} readers"
                )
    if not about["boards"]:
        print("It has no board open.")


@command("logs", json=True)
@click.option("-n", "--lines", "count", type=click.IntRange(min=0), default=100, show_default=True, help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C or the hub's end.")
def logs(as_json: bool, count: int, follow: bool) -> None:
    """Print what the board hub has done lately. UCORE_HUB_LOG names a file that keeps more."""
    from ukernel.client import connection

    with connection.connect(start=False) as hub:
        lines = hub.request("logs_request")["lines"]
        _print_lines(lines[-count:] if count else [], as_json, follow)
        last = lines[-1]["number"] if lines else 0
        while follow:
            time.sleep(FOLLOW_S)
            try:
                lines = hub.request("logs_request", {"since": last})["lines"]
            except HubUnreachableError:
                output.say("The board hub has ended.")
                return
            _print_lines(lines, as_json, follow)
            last = lines[-1]["number"] if lines else last


def _print_lines(lines: list[dict[str, Any]], as_json: bool, follow: bool) -> None:
    if as_json and not follow:
        output.print_json(lines)
        return
    for line in lines:
        if as_json:
            import json

            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            print(
                f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(line['time']))} {line['level']:7} {line['text']}",
                flush=True,
            )
