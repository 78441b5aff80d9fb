"""The commands of ``%ucore`` for files and packages: each a thin face of `ukernel.boards`, on the notebook's board."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ukernel.boards import copying, listing
from ukernel.errors import BoardNotFoundError, UsageError
from ukernel.tables import format_table

from . import magicmessages
from .progressbar import ProgressBar, Text
from .stdinchannel import StdinChannel

if TYPE_CHECKING:
    from ukernel.boards import Board
    from ukernel.boards.packages import BoardPackages, Package

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
        _board.on_wait = _tell
    return _board


def _tell(holder: str) -> None:
    print(f"Waiting for the board: {holder} is using it.", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _put(board: "Board", options: Any) -> None:
    with ProgressBar() as progress:
        for _, path in copying.put(board.files, options.names, progress=progress):
            print(path)


def _get(board: "Board", options: Any) -> None:
    with ProgressBar() as progress:
        for path in copying.get(board.files, options.names, progress=progress):
            print(path)


def _ls(board: "Board", options: Any) -> None:
    _print(listing.list_folder(board.files.ls(options.path)))


def _tree(board: "Board", options: Any) -> None:
    _print(listing.draw_tree(board.files.tree(options.path), options.path))


def _cat(board: "Board", options: Any) -> None:
    with ProgressBar() as progress:
        for path in options.paths:
            print(board.files.read(path, progress=progress).decode("utf-8", "replace"), end="")


def _rm(board: "Board", options: Any) -> None:
    with ProgressBar() as progress:
        for path in options.paths:
            board.files.remove(path, recursive=options.recursive, progress=progress)


def _mkdir(board: "Board", options: Any) -> None:
    for path in options.paths:
        board.files.mkdir(path)


def _mv(board: "Board", options: Any) -> None:
    board.files.move(options.old, options.new)


def _cp(board: "Board", options: Any) -> None:
    board.files.copy(options.old, options.new)


def _df(board: "Board", options: Any) -> None:
    print(format_table(listing.SPACE_COLUMNS, listing.space_rows(board.files.df())))


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
    lines, sentence = listing.describe_sync(result, options.dry_run)
    _print([*lines, sentence])


def _mip(board: "Board", options: Any) -> object:
    return _PACKAGE_COMMANDS[options.action](board.packages, options)


def _install(packages: "BoardPackages", options: Any) -> None:
    if not options.names and options.requirements is None:
        raise UsageError("what is to be installed?")
    installed: list[Package] = []
    if options.names:
        installed += packages.install(
            *options.names, index=options.index, target=options.target, mpy=not options.no_mpy, report=print
        )
    if options.requirements is not None:
        text = Path(options.requirements).expanduser().read_text(encoding="utf-8")
        installed += packages.install_pinned(text, report=print)
    _print_packages(installed)


def _list(packages: "BoardPackages", options: Any) -> None:
    found = packages.list()
    if found:
        _print_packages(found)
    else:
        print("The board has no packages. `%ucore mip install NAME` brings one.")


def _remove(packages: "BoardPackages", options: Any) -> None:
    for name in options.names:
        print(listing.describe_removed(packages.remove(name, force=options.force)))


def _freeze(packages: "BoardPackages", options: Any) -> str:
    return Text(packages.freeze())


def _print_packages(packages: "Sequence[Package]") -> None:
    print(format_table(listing.PACKAGE_COLUMNS, listing.package_rows(packages)))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _arguments(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, options


_PATH = _arguments("path", nargs="?", default="", type=copying.as_board_path)
_PATHS = _arguments("paths", nargs="+", type=copying.as_board_path)
_NAMES = _arguments("names", nargs="+")
_OLD_NEW = _arguments("old", type=copying.as_board_path), _arguments("new", type=copying.as_board_path)
# Name -> what it takes, in words; what it does; the function; its arguments.
FILE_COMMANDS: dict[str, tuple[str, str, Callable[["Board", Any], object], tuple[Any, ...]]] = {
    "ls": ("[FOLDER]", "the files in a folder of the board", _ls, (_PATH,)),
    "tree": ("[FOLDER]", "all that lies below it", _tree, (_PATH,)),
    "cat": ("FILE ...", "the text of files of the board", _cat, (_PATHS,)),
    "put": ("FILE|FOLDER ... [TO]", "copy files and folders to the board", _put, (_NAMES,)),
    "get": ("FILE|FOLDER ... [TO]", "copy them from the board", _get, (_NAMES,)),
    "rm": (
        "[-r] PATH ...",
        "remove files, or with -r folders and what is in them",
        _rm,
        (_arguments("-r", "--recursive", action="store_true"), _PATHS),
    ),
    "mkdir": ("FOLDER ...", "make folders, and those they lie in", _mkdir, (_PATHS,)),
    "mv": ("OLD NEW", "rename a file or folder of the board", _mv, _OLD_NEW),
    "cp": ("OLD NEW", "copy a file on the board", _cp, _OLD_NEW),
    "df": ("", "the room on the board", _df, ()),
    "sync": (
        "FOLDER [TO] [--delete] [--dry-run] [--ignore PATTERN]",
        "send what differs in a folder",
        _sync,
        (
            _arguments("folder"),
            _arguments("to", nargs="?", default="/", type=copying.as_board_path),
            _arguments("--delete", action="store_true"),
            _arguments("-n", "--dry-run", action="store_true"),
            _arguments("--ignore", action="append", default=[]),
        ),
    ),
    "mip": (
        "install NAME ... | list | remove NAME ... | freeze",
        "the packages of the board; install -r FILE takes what freeze has said",
        _mip,
        (),
    ),
}
_PACKAGE_COMMANDS: dict[str, Callable[["BoardPackages", Any], object]] = {
    "install": _install,
    "list": _list,
    "remove": _remove,
    "freeze": _freeze,
}
_PACKAGE_ARGUMENTS = {
    "install": (
        _arguments("names", nargs="*"),
        _arguments("-r", "--requirements"),
        _arguments("--index"),
        _arguments("--target"),
        _arguments("--no-mpy", action="store_true"),
    ),
    "list": (),
    "remove": (_NAMES, _arguments("--force", action="store_true")),
    "freeze": (),
}


def run(name: str, channel: StdinChannel, rest: str) -> object:
    """Run one of `FILE_COMMANDS`. Raises UsageError for what it does not take, OSError, BoardError and PackageError as `ukernel.boards` does."""
    _, _, do, arguments = FILE_COMMANDS[name]
    parser = _Parser(prog=f"%ucore {name}", add_help=False)
    _add(parser, arguments)
    if name == "mip":
        actions = parser.add_subparsers(dest="action", required=True)
        for action, taken in _PACKAGE_ARGUMENTS.items():
            _add(actions.add_parser(action, add_help=False), taken)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise UsageError(str(error)) from None
    options = parser.parse_args(words)
    return do(_notebook_board(channel), options)


def _add(parser: argparse.ArgumentParser, arguments: Iterable[tuple[tuple[str, ...], dict[str, Any]]]) -> None:
    for names, options in arguments:
        parser.add_argument(*names, **options)
