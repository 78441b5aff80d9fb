"""`ucore record`, `recordings`, `recover` and `export`: pipes in files."""

import sys
import time
from typing import Any

import click

from ukernel.errors import RecordingError, UsageError

from . import exitcodes, output
from .completion import complete_pipes
from .options import as_seconds, command

__all__ = ["export", "record", "recordings", "recover"]

TELL_S = 1.0  # between two lines on how it goes, on a terminal


@command("record", board=True, json=True)
@click.argument("pipes", nargs=-1, shell_complete=complete_pipes)
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(readable=False),
    metavar="FILE",
    required=True,
    help="The file, such as run1.mcap.",
)
@click.option(
    "-f",
    "--format",
    "formats",
    multiple=True,
    metavar="[PIPE=]FORMAT",
    help="A struct format of a frame's numbers, such as <hhf: for all pipes, or for one or a pattern. Without one frames are kept as bytes.",
)
@click.option("--names", multiple=True, metavar="[PIPE=]A,B,...", help="Names of the numbers in a frame.")
@click.option("--units", multiple=True, metavar="[PIPE=]A,B,...", help="Their units.")
@click.option("--every", type=as_seconds, metavar="SECONDS", help="Make all safe so often: what a kill takes. Default: 0.25.")
@click.option(
    "--rotate-mb", type=float, metavar="MB", help="Begin another file, FILE.0002.mcap and so on, after so many megabytes."
)
@click.option("--rotate", "rotate_s", type=as_seconds, metavar="SECONDS", help="Begin another file after so long.")
@click.option("--keep", type=click.IntRange(min=1), metavar="FILES", help="Keep the latest so many of these files.")
@click.option("--seconds", type=as_seconds, metavar="SECONDS", help="End after so long.")
@click.option("--replay", is_flag=True, help="Begin with what the hub still holds.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option("-d", "--detach", is_flag=True, help="Return at once; `ucore recordings` lists what is recorded, and stops it.")
def record(
    board: str | None,
    as_json: bool,
    pipes: tuple[str, ...],
    path: str,
    formats: tuple[str, ...],
    names: tuple[str, ...],
    units: tuple[str, ...],
    every: float | None,
    rotate_mb: float | None,
    rotate_s: float | None,
    keep: int | None,
    seconds: float | None,
    replay: bool,
    overwrite: bool,
    detach: bool,
) -> int:
    """Record PIPES, names or patterns such as 'temp*' (default: all), until Ctrl-C; those that open later, too. Without a board, those of all.

    SIGTERM ends the file just as well: docs/recordings.md has a unit file for systemd.
    """
    from ukernel import settings
    from ukernel.recordings import recording
    from ukernel.recordings.order import make_order

    recording.check_installed()
    options: dict[str, Any] = {
        "board": board or settings.board(),
        "formats": _by_pipe(formats),
        "names": _rows(names),
        "units": _rows(units),
        "every": every,
        "rotate_mb": rotate_mb,
        "rotate_s": rotate_s,
        "keep": keep,
        "overwrite": overwrite,
        "replay": replay,
        "seconds": seconds,
    }
    if detach:
        found = recording.record(pipes or "*", path, **options)
        if as_json:
            output.print_json(_as_json(found.state))
        else:
            print(found.id)
            output.say(f"Recording to {found.path}. `ucore recordings --stop {found.id}` ends it.")
        return exitcodes.OK
    from ukernel.recordings.recorder import Recorder

    last = Recorder(make_order(pipes or "*", path, **options), on_state=_Teller().tell).run()
    state = recording.RecordingState.of(last)
    if as_json:
        output.print_json(_as_json(state))
    if state.error:
        raise RecordingError(state.error)
    output.say(f"Recorded {state.describe()}.")
    return exitcodes.OK


class _Teller:
    """Says on a terminal how it goes, in one line; elsewhere what changes."""

    def __init__(self) -> None:
        self._told_at = 0.0
        self._state = ""
        self._width = 0

    def tell(self, state: dict[str, Any]) -> None:
        from ukernel.recordings import RecordingState

        if output.is_quiet():
            return
        about = RecordingState.of(state)
        if not sys.stderr.isatty():
            if about.state != self._state and not about.is_ended:
                print(about.describe(), file=sys.stderr, flush=True)
            self._state = about.state
            return
        now = time.monotonic()
        if now >= self._told_at + TELL_S or about.is_ended:
            self._told_at = now
            line = "" if about.is_ended else about.describe()
            print(f"\r{line.ljust(self._width)}", end="\r" if about.is_ended else "", file=sys.stderr, flush=True)
            self._width = len(line)


@command("recordings", json=True)
@click.option("-a", "--all", "ended", is_flag=True, help="List those of the last day that have ended, too.")
@click.option(
    "--stop", "stopped", multiple=True, metavar="ID|FILE|all", help="End a recording, and wait until its file is whole."
)
def recordings(as_json: bool, ended: bool, stopped: tuple[str, ...]) -> int:
    """List what is being recorded on this computer, by whomever of your notebooks and programs; or stop it."""
    from ukernel.recordings import recordings as known

    if stopped:
        return _stop(stopped, as_json)
    found = known(ended=ended)
    if as_json:
        output.print_json([_as_json(one.state) for one in found])
    elif found:
        output.print_table(found.COLUMNS, found.rows())
    else:
        print(found.table())
    return exitcodes.OK


def _stop(wanted: tuple[str, ...], as_json: bool) -> int:
    import os

    from ukernel.recordings import recordings as known

    running = known()
    chosen = []
    for name in wanted:
        found = [one for one in running if name in ("all", one.id) or os.path.abspath(name) in (str(one.path), one.state.file)]
        if not found and name != "all":
            raise UsageError(f"Nothing is being recorded as {name!r}. `ucore recordings` lists what is.")
        chosen += [one for one in found if one not in chosen]
    states = [one.stop() for one in chosen]
    if as_json:
        output.print_json([_as_json(state) for state in states])
    for state in states:
        output.say(f"Stopped: {state.describe()}.")
    return exitcodes.OK


@command("recover", json=True)
@click.argument("path", type=click.Path(readable=False), metavar="FILE")
@click.option(
    "-o", "--output", "to", type=click.Path(readable=False), metavar="FILE", help="Mend a copy, and leave FILE as it is."
)
def recover(as_json: bool, path: str, to: str | None) -> int:
    """Mend a recording whose recorder was killed: nothing that is in it is lost. `load` reads it without that, too."""
    from ukernel.recordings.recording import check_installed

    check_installed()
    from ukernel.recordings.recovery import recover as mend

    report = mend(path, to)
    if as_json:
        output.print_json(report._asdict())
    else:
        print(report.describe())
    return exitcodes.OK


@command("export", json=True)
@click.argument("path", type=click.Path(readable=False), metavar="FILE")
@click.argument("pipes", nargs=-1)
@click.option(
    "-o",
    "--output",
    "to",
    type=click.Path(readable=False),
    metavar="FILE",
    required=True,
    help="Its ending says what it is: .csv, .parquet, .arrow, .wav, or .mcap with a message a sample.",
)
@click.option("--start", type=float, metavar="SECONDS", help="From there on, counted from the beginning of the recording.")
@click.option("--stop", type=float, metavar="SECONDS", help="Up to there.")
@click.option("--on", metavar="PIPE", help="Whose times are the rows of the table. Default: the pipe with most frames.")
@click.option(
    "--tolerance",
    type=float,
    metavar="SECONDS",
    help="By how much a value of another pipe may be off its row. Default: half of the usual time between two rows.",
)
@click.option(
    "-f",
    "--format",
    "formats",
    multiple=True,
    metavar="[PIPE=]FORMAT",
    help="A struct format of frames that were recorded without one, such as <hhf.",
)
@click.option("--separator", default=",", metavar="CHAR", help="Of a CSV file. With a semicolon numbers have a decimal comma.")
@click.option("--rate", type=float, metavar="HZ", help="Samples a second of a WAV file. Default: what was measured.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
def export(
    as_json: bool,
    path: str,
    pipes: tuple[str, ...],
    to: str,
    start: float | None,
    stop: float | None,
    on: str | None,
    tolerance: float | None,
    formats: tuple[str, ...],
    separator: str,
    rate: float | None,
    overwrite: bool,
) -> int:
    """Write a recording, or PIPES of it (names or patterns), for other programs. Several pipes make one table: of each, a row has the nearest value
    that there is, or none."""
    from ukernel.recordings import export as write

    report = write(
        path,
        to,
        pipes=pipes or None,
        start=start,
        stop=stop,
        on=on,
        tolerance=tolerance,
        formats=_by_pipe(formats),
        separator={"\\t": "\t", "tab": "\t"}.get(separator, separator),
        rate=rate,
        overwrite=overwrite,
    )
    if as_json:
        output.print_json({**report._asdict(), "path": str(report.path)})
    else:
        output.say(report.describe())
    return exitcodes.OK


def _as_json(state: Any) -> dict[str, Any]:
    return {**state._asdict(), "lost": state.lost}


def _by_pipe(values: tuple[str, ...]) -> dict[str, str]:
    """Return what is said of pipes, in "PIPE=VALUE"; "VALUE" alone is of all. A struct format may begin with "="."""
    found = {}
    for value in values:
        pipe, equals, rest = value.partition("=")
        found[pipe if equals and pipe else "*"] = rest if equals and pipe else value
    return {pipe: found[pipe] for pipe in sorted(found, key=lambda pipe: pipe == "*")}


def _rows(values: tuple[str, ...]) -> dict[str, list[str]]:
    return {pipe: row.split(",") for pipe, row in _by_pipe(values).items()}
