"""The commands of ``%ucore`` for files and packages: each a thin face of `ukernel.boards`, on the notebook's board."""

import argparse
import os
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from ukernel.errors import BoardNotFoundError, UsageError

from . import magicmessages
from .progressbar import ProgressBar
from .stdinchannel import StdinChannel

if TYPE_CHECKING:
    from ukernel.boards import Board

__all__ = ["FILE_COMMANDS", "run"]

_board: "Board | None" = None  # the notebook's, as it was when it was last asked for


def _notebook_board(channel: StdinChannel) -> "Board":
    """Return the board that this notebook uses now."""
    global _board
    own = channel.ask(magicmessages.BOARD_INFO, wait=True)
    if own.get("error"):
        raise BoardNotFoundError(own["error"])
    if _board is None or _board.port != own["port"]:
        from ukernel.boards import connect

        if _board is not None:
            _board.close()
        _board = connect(own["port"])
    return _board


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _put(board: "Board", options: Any) -> None:
    with ProgressBar() as progress:
        for path in board.files.put(os.path.expanduser(options.source), options.to, progress=progress):
            print(path)


def _get(board: "Board", options: Any) -> None:
    with ProgressBar() as progress:
        for path in board.files.get(options.source, os.path.expanduser(options.to or "."), progress=progress):
            print(path)


def _ls(board: "Board", options: Any) -> None:
    for info in board.files.ls(options.path):
        print(f"{'' if info.is_folder else format(info.size, ','):>12}  {info.name}{'/' * info.is_folder}")


def _tree(board: "Board", options: Any) -> None:
    for info in board.files.tree(options.path):
        depth = info.path.count("/")
        print(f"{'    ' * depth}{info.name}{'/' if info.is_folder else f'  {info.size:,}'}")


def _cat(board: "Board", options: Any) -> None:
    print(board.files.read(options.path).decode("utf-8", "replace"), end="")


def _rm(board: "Board", options: Any) -> None:
    for path in options.paths:
        board.files.remove(path, recursive=options.recursive)


def _mkdir(board: "Board", options: Any) -> None:
    board.files.mkdir(options.path)


def _mv(board: "Board", options: Any) -> None:
    board.files.move(options.old, options.new)


def _cp(board: "Board", options: Any) -> None:
    board.files.copy(options.old, options.new)


def _df(board: "Board", options: Any) -> None:
    for system in board.files.df():
        print(f"{system.path:12} {system.free:>12,} of {system.size:,} bytes free")


def _sync(board: "Board", options: Any) -> None:
    with ProgressBar() as progress:
        result = board.files.sync(
            os.path.expanduser(options.folder),
            options.to,
            delete=options.delete,
            dry_run=options.dry_run,
            ignore=options.ignore,
            progress=progress,
        )
    for path in result.put:
        print(f"+ {path}")
    for path in result.removed:
        print(f"- {path}")
    print(
        f"{'Would be: ' * options.dry_run}{len(result.put)} sent, {len(result.removed)} removed, {result.unchanged} as they were."
    )


def _arguments(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, options


_PATH = _arguments("path", nargs="?", default="")
_OLD_NEW = _arguments("old"), _arguments("new")
# Name -> what it takes, in words; what it does; the function; its arguments.
FILE_COMMANDS: dict[str, tuple[str, str, Callable[["Board", Any], None], tuple[Any, ...]]] = {
    "ls": ("[FOLDER]", "the files in a folder of the board", _ls, (_PATH,)),
    "tree": ("[FOLDER]", "all that lies below it", _tree, (_PATH,)),
    "cat": ("FILE", "the text of a file of the board", _cat, (_arguments("path"),)),
    "put": (
        "FILE|FOLDER [TO]",
        "copy a file or a folder to the board",
        _put,
        (_arguments("source"), _arguments("to", nargs="?", default="")),
    ),
    "get": (
        "FILE|FOLDER [TO]",
        "copy one from the board",
        _get,
        (_arguments("source"), _arguments("to", nargs="?", default="")),
    ),
    "rm": (
        "[-r] PATH ...",
        "remove files, or with -r folders and what is in them",
        _rm,
        (_arguments("-r", "--recursive", action="store_true"), _arguments("paths", nargs="+")),
    ),
    "mkdir": ("FOLDER", "make a folder, and those it lies in", _mkdir, (_arguments("path"),)),
    "mv": ("OLD NEW", "rename a file or folder of the board", _mv, _OLD_NEW),
    "cp": ("OLD NEW", "copy a file on the board", _cp, _OLD_NEW),
    "df": ("", "the room on the board", _df, ()),
    "sync": (
        "FOLDER [TO] [--delete] [--dry-run] [--ignore PATTERN]",
        "send what differs in a folder",
        _sync,
        (
            _arguments("folder"),
            _arguments("to", nargs="?", default="/"),
            _arguments("--delete", action="store_true"),
            _arguments("--dry-run", action="store_true"),
            _arguments("--ignore", action="append", default=[]),
        ),
    ),
}


def run(name: str, channel: StdinChannel, rest: str) -> None:
    """Run one of `FILE_COMMANDS`. Raises UsageError for what it does not take, OSError and BoardError as `ukernel.boards` does."""
    _, _, do, arguments = FILE_COMMANDS[name]
    parser = _Parser(prog=f"%ucore {name}", add_help=False)
    for names, options in arguments:
        parser.add_argument(*names, **options)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise UsageError(str(error)) from None
    do(_notebook_board(channel), parser.parse_args(words))
