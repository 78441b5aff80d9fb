"""The `ucore` command: a module a group of commands, and a row of the tables here for each command.

`main` is what runs; nothing else of this part is for others. Commands are click's, which Typer is built on: Typer needs three times as
long to start one (docs/workbench.md, "The command line").
"""

import os
import signal
import sys
from typing import Any

import click

from ukernel.errors import BoardCodeError, UcoreError, describe

from . import completion, exitcodes, output
from .commands import Entry, LazyGroup
from .options import take_board, take_quiet

__all__ = ["main"]

COMPLETE = "_UCORE_COMPLETE"  # what a shell that completes sets

BOARDS, PROGRAMS, FILES, PIPES, COMPUTER = "Boards", "Programs", "Files and packages", "Pipes", "This computer"

COMMANDS = (
    Entry("boards", "boards", "list the boards that are connected", BOARDS),
    Entry("status", "hub", "say what the hub has: boards, who uses them, pipes", BOARDS),
    Entry("info", "boards", "say what a board is", BOARDS),
    Entry("wait", "boards", "wait until a board is there", BOARDS),
    Entry("name", "boards", "give a board a name of your own", BOARDS),
    Entry("reset", "boards", "restart a board's Python, or the board", BOARDS),
    Entry("interrupt", "boards", "stop what runs on a board", BOARDS),
    Entry("install", "install", "put µcore on a MicroPython board", BOARDS),
    Entry("detach", "boards", "give a board's port back to other programs", BOARDS),
    Entry("virtual", "virtual", "run a virtual board until Ctrl-C", BOARDS),
    Entry("run", "programs", "run a program's file on a board", PROGRAMS),
    Entry("exec", "programs", "run code on a board", PROGRAMS),
    Entry("eval", "programs", "print the value of an expression", PROGRAMS),
    Entry("repl", "programs", "open a board's prompt", PROGRAMS),
    Entry("fs", "files", "the files of a board: ls, put, get, sync, backup, ...", FILES),
    Entry("ls", "files", "list a folder", FILES),
    Entry("cat", "files", "print a file", FILES),
    Entry("put", "files", "copy files to a board", FILES),
    Entry("get", "files", "copy files from a board", FILES),
    Entry("rm", "files", "remove files", FILES),
    Entry("sync", "files", "make a board's folder like one here", FILES),
    Entry("mount", "files", "show a folder here to a board, as /remote", FILES),
    Entry("mip", "packages", "a board's packages: install, list, remove, freeze", FILES),
    Entry("pipes", "pipes", "list the pipes that are open, and those that have ended lately", PIPES),
    Entry("pipe", "pipes", "read a pipe: `ucore pipe read NAME`", PIPES),
    Entry("cat-pipe", "pipes", "the same as `ucore pipe read`", PIPES),
    Entry("record", "recordings", "record pipes into a file", PIPES),
    Entry("recordings", "recordings", "list what is being recorded, and stop it", PIPES),
    Entry("export", "recordings", "write a recording as CSV, Parquet, Arrow, sound or MCAP with a message a sample", PIPES),
    Entry("recover", "recordings", "mend a recording whose recorder was killed", PIPES),
    Entry("doctor", "doctor", "find out what is wrong here, and how to mend it", COMPUTER),
    Entry("install-kernels", "install", "make the kernels known to Jupyter", COMPUTER),
    Entry("completion", "shell", "print what makes a shell complete commands", COMPUTER),
    Entry("logs", "hub", "print what the board hub has done", COMPUTER),
    Entry("token", "hub", "print the hub's token, for a reader at the other end of an SSH tunnel", COMPUTER),
    Entry("stop", "hub", "stop the board hub", COMPUTER),
)


def _print_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        from ukernel import __version__

        print(f"µcore {__version__}")
        context.exit()


# What is in a group, and what other tools call it.
ELSEWHERE = {
    **{name: f"fs {name}" for name in ("tree", "stat", "df", "mkdir", "mv", "cp", "edit", "watch", "backup", "restore")},
    "devs": "boards",
    "disconnect": "detach",
    "soft-reset": "reset",
    "upload": "put",
    "download": "get",
    "read": "pipe read",
}

ucore = LazyGroup(
    "ucore",
    COMMANDS,
    elsewhere=ELSEWHERE,
    help="Jupyter notebooks for microcontrollers: boards, their programs, files, packages and pipes.",
    epilog="`ucore COMMAND --help` says more. A board is named by -b, else by UCORE_BOARD, else it is the only one there is.",
    params=[
        click.Option(
            ["-b", "--board"],
            metavar="BOARD",
            callback=take_board,
            shell_complete=completion.complete_boards,
            help="A board's name, port or URL.",
        ),
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=take_quiet, help="Print results and errors only."
        ),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
        ),
    ],
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ends the process with an exit code (docs/workbench.md), and a sentence on stderr where something fails."""
    if arguments is None:
        _open_closed()
        _listen_to_signals()
    output.set_quiet(False)
    code = _run(arguments)
    if code:
        sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    if os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(ucore, {}, "ucore", COMPLETE, os.environ[COMPLETE])
    if not words:
        print(ucore.get_help(click.Context(ucore, info_name="ucore")), file=sys.stderr)
        return exitcodes.USAGE
    try:
        # Not click's own `main`, which makes one and the same of all that ends a program.
        with ucore.make_context("ucore", list(words)) as context:
            result = ucore.invoke(context)
        sys.stdout.flush()
        return result if isinstance(result, int) else exitcodes.OK
    except click.exceptions.Exit as ended:  # --help and --version
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        return _fail(_describe_usage(error), exitcodes.USAGE)
    except BoardCodeError as error:
        text = output.format_error(error, output.has_colours(sys.stderr))
        print(text if error.traceback else f"ucore: {text}", file=sys.stderr)
        return exitcodes.of(error)
    except UcoreError as error:
        return _fail(str(error), exitcodes.of(error))
    except BrokenPipeError as error:
        return _close_output() if error.filename is None else _fail(_describe_os_error(error), exitcodes.of(error))
    except OSError as error:
        return _fail(_describe_os_error(error), exitcodes.of(error))
    except output.OutputClosed:
        return _close_output()
    except _Terminated as ended:
        return ended.code
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            print(file=sys.stderr)  # after the ^C that the terminal shows
        return exitcodes.INTERRUPTED
    except EOFError:
        return _fail("The board asks for input, and there is none: stdin has ended.", exitcodes.FAILED)
    except Exception as error:
        if os.environ.get("UCORE_TRACEBACK"):
            raise
        return _fail(
            f"That failed inside µcore: {type(error).__name__}: {error}. Please report it, with what UCORE_TRACEBACK=1 shows.",
            exitcodes.INTERNAL,
        )


def _open_closed() -> None:
    """Whoever has started us with `>&-` wants none of it; Python has None there, and nobody counts with that."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, closefd=False))  # noqa: SIM115 - as long as the process


def _fail(sentence: str, code: int) -> int:
    print(f"ucore: {sentence}", file=sys.stderr)
    return code


def _describe_usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "ucore"
    text = error.format_message().strip()
    text = text if text.endswith((".", "?", "!")) else text + "."
    return f"{text} `{path} --help` says what can be written."


def _describe_os_error(error: OSError) -> str:
    return f"That could not be done: {describe(error)}."


def _close_output() -> int:
    """Nobody reads stdout any more, as in `| head`: that is an end like any other."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # what Python flushes at its end would fail again
        os.close(null)
    except (OSError, ValueError):
        pass
    return exitcodes.OK


class _Terminated(KeyboardInterrupt):
    """A signal that ends programs: as with Ctrl-C, the board is interrupted."""

    def __init__(self, code: int):
        super().__init__()
        self.code = code


def _listen_to_signals() -> None:
    def end(number: int, frame: Any) -> None:
        raise _Terminated(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
