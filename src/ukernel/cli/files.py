"""`ucore fs` and its short forms `ls`, `cat`, `put`, `get`, `rm`, `sync` and `mount`: the files of a board, as `Board.files` has them."""

import os
import posixpath
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ukernel.errors import UcoreError, UsageError

from . import output
from .commands import Entry, LazyGroup
from .completion import complete_board_or_local, complete_files, complete_folders, complete_local_or_board
from .options import command, open_board

if TYPE_CHECKING:
    from ukernel.boards.fileinfo import FileInfo, SyncResult

__all__ = [
    "backup",
    "cat",
    "cp",
    "df",
    "edit",
    "fs",
    "get",
    "ls",
    "mkdir",
    "mount",
    "mv",
    "put",
    "restore",
    "rm",
    "stat",
    "sync",
    "tree",
    "watch",
]

LOOK = "Look at them"
CHANGE = "Copy and change them"
FOLDERS = "Whole folders and boards"

fs = LazyGroup(
    "fs",
    (
        Entry("ls", "files", "list a folder", LOOK),
        Entry("tree", "files", "list all that lies below a folder", LOOK),
        Entry("stat", "files", "say what is at a path", LOOK),
        Entry("cat", "files", "print a file", LOOK),
        Entry("df", "files", "say how full the board is", LOOK),
        Entry("put", "files", "copy files to a board", CHANGE),
        Entry("get", "files", "copy files from a board", CHANGE),
        Entry("rm", "files", "remove files", CHANGE),
        Entry("mkdir", "files", "make folders", CHANGE),
        Entry("mv", "files", "rename", CHANGE),
        Entry("cp", "files", "copy a file on the board", CHANGE),
        Entry("edit", "files", "change a file in $EDITOR", CHANGE),
        Entry("sync", "files", "make a board's folder like one here", FOLDERS),
        Entry("watch", "files", "sync, and again after each change", FOLDERS),
        Entry("backup", "files", "write all files of a board into an archive", FOLDERS),
        Entry("restore", "files", "give a board the files of an archive", FOLDERS),
        Entry("mount", "files", "show a folder here to a board, as /remote", FOLDERS),
    ),
    help="The files of a board. Its paths may begin with a colon, as mpremote's do.",
)


LOCAL_PATH = click.Path(readable=False)  # what may not be read is said as what is not there is


def board_path(text: str) -> str:
    """Return a path on a board, see `as_board_path`."""
    from ukernel.boards.copying import as_board_path  # which costs time, that completion need not take

    return as_board_path(text)


@command("ls", board=True, json=True)
@click.argument("path", type=board_path, default="", shell_complete=complete_folders)
def ls(board: str | None, as_json: bool, path: str) -> None:
    """List the folder PATH of a board, the working directory by default."""
    from ukernel.boards.listing import list_folder

    with open_board(board) as target:
        info = target.files.stat(path) if path else None
        found = [info] if info is not None and not info.is_folder else target.files.ls(path)
    if as_json:
        output.print_json([_row(info) for info in found])
        return
    _print_lines(list_folder(found))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _row(info: "FileInfo", folder: str = "") -> dict[str, Any]:
    return {"path": posixpath.join(folder, info.path), "name": info.name, "folder": info.is_folder, "size": info.size}


@command("tree", board=True, json=True)
@click.argument("path", type=board_path, default="", shell_complete=complete_folders)
def tree(board: str | None, as_json: bool, path: str) -> None:
    """List all that lies below the folder PATH of a board."""
    from ukernel.boards.listing import draw_tree

    with open_board(board) as target:
        found = target.files.tree(path)
    if as_json:
        output.print_json([_row(info, path) for info in found])
    else:
        _print_lines(draw_tree(found, path))


@command("stat", board=True, json=True)
@click.argument("path", type=board_path, shell_complete=complete_files)
def stat(board: str | None, as_json: bool, path: str) -> None:
    """Say what is at PATH: a folder, or a file and its size."""
    with open_board(board) as target:
        info = target.files.stat(path)
    if as_json:
        output.print_json(_row(info))
    else:
        print(f"{info.path}: {'a folder' if info.is_folder else f'a file of {info.size:,} bytes'}")


@command("cat", board=True)
@click.argument("paths", type=board_path, nargs=-1, required=True, metavar="PATH...", shell_complete=complete_files)
def cat(board: str | None, paths: tuple[str, ...]) -> None:
    """Print files of a board, byte for byte."""
    with open_board(board) as target, output.progress() as show:
        for path in paths:
            data = target.files.read(path, progress=show)
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


@command("put", board=True)
@click.argument("paths", nargs=-1, required=True, metavar="FILE... [TO]", shell_complete=complete_local_or_board)
def put(board: str | None, paths: tuple[str, ...]) -> None:
    """Copy files and folders to a board. Of two or more names the last is where they go: a folder of the board, or the new name of one."""
    from ukernel.boards import copying

    with open_board(board) as target, output.progress() as show:
        for source, path in copying.put(target.files, paths, progress=show):
            output.say(f"{source} -> {path}" if posixpath.basename(path) != source else path)


@command("get", board=True)
@click.argument("paths", nargs=-1, required=True, metavar="FILE... [TO]", shell_complete=complete_board_or_local)
def get(board: str | None, paths: tuple[str, ...]) -> None:
    """Copy files and folders from a board. Of two or more names the last is where they go: a folder here, or the new name of one."""
    from ukernel.boards import copying

    with open_board(board) as target, output.progress() as show:
        for path in copying.get(target.files, paths, progress=show):
            output.say(str(path))


@command("rm", board=True)
@click.argument("paths", type=board_path, nargs=-1, required=True, metavar="PATH...", shell_complete=complete_files)
@click.option("-r", "--recursive", is_flag=True, help="Folders, too, with all that is in them.")
def rm(board: str | None, paths: tuple[str, ...], recursive: bool) -> None:
    """Remove files, empty folders, and with -r whole folders of a board."""
    with open_board(board) as target, output.progress() as show:
        for path in paths:
            target.files.remove(path, recursive=recursive, progress=show)


@command("mkdir", board=True)
@click.argument("paths", type=board_path, nargs=-1, required=True, metavar="PATH...", shell_complete=complete_folders)
def mkdir(board: str | None, paths: tuple[str, ...]) -> None:
    """Make folders on a board, with those that they lie in."""
    with open_board(board) as target:
        for path in paths:
            target.files.mkdir(path)


@command("mv", board=True)
@click.argument("old", type=board_path, shell_complete=complete_files)
@click.argument("new", type=board_path, shell_complete=complete_files)
def mv(board: str | None, old: str, new: str) -> None:
    """Rename a file or folder of a board; a NEW that is a folder gets it."""
    with open_board(board) as target:
        target.files.move(old, new)


@command("cp", board=True)
@click.argument("old", type=board_path, shell_complete=complete_files)
@click.argument("new", type=board_path, shell_complete=complete_files)
def cp(board: str | None, old: str, new: str) -> None:
    """Copy a file on a board; a NEW that is a folder gets it. `ucore put` and `ucore get` copy between board and computer."""
    with open_board(board) as target:
        try:
            target.files.copy(old, new)
        except FileNotFoundError:
            if not os.path.exists(old) or target.files.exists(old):
                raise
            raise UsageError(
                f"The board has no {old}, this computer has: `ucore put {old} {new}` copies it to the board."
            ) from None


@command("df", board=True, json=True)
def df(board: str | None, as_json: bool) -> None:
    """Say how full a board's file systems are."""
    from ukernel.boards.listing import SPACE_COLUMNS, space_rows

    with open_board(board) as target:
        found = target.files.df()
    if as_json:
        output.print_json(
            [{"path": one.path, "size": one.size, "used": one.size - one.free, "free": one.free} for one in found]
        )
        return
    output.print_table(SPACE_COLUMNS, space_rows(found))


@command("sync", board=True, json=True)
@click.argument("folder", type=LOCAL_PATH)
@click.argument("to", type=board_path, default="/", shell_complete=complete_folders)
@click.option("--delete", is_flag=True, help="Remove from the board what is not here.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Leave out what fits, as in a .gitignore. May be given again.")
def sync(board: str | None, as_json: bool, folder: str, to: str, delete: bool, dry_run: bool, ignore: tuple[str, ...]) -> None:
    """Make the folder TO of a board (/ by default) like FOLDER here. Only what differs in its content is sent.

    Patterns in FOLDER/.ucoreignore are left out, too.
    """
    with open_board(board) as target, output.progress() as show, _values_are_told():
        result = target.files.sync(folder, to, delete=delete, dry_run=dry_run, ignore=ignore, progress=show)
    if as_json:
        output.print_json(_result(result, dry_run))
    else:
        _print_result(result, dry_run)


def _result(result: "SyncResult", dry_run: bool = False) -> dict[str, Any]:
    return {"put": list(result.put), "removed": list(result.removed), "unchanged": result.unchanged, "dry_run": dry_run}


def _print_result(result: "SyncResult", dry_run: bool = False) -> None:
    from ukernel.boards.listing import describe_sync

    lines, sentence = describe_sync(result, dry_run)
    _print_lines(lines)
    output.say(sentence)


@command("watch", board=True)
@click.argument("folder", type=LOCAL_PATH)
@click.argument("to", type=board_path, default="/", shell_complete=complete_folders)
@click.option("--delete", is_flag=True, help="Remove from the board what is not here.")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Leave out what fits, as in a .gitignore. May be given again.")
def watch(board: str | None, folder: str, to: str, delete: bool, ignore: tuple[str, ...]) -> None:
    """Sync FOLDER to a board now, and after each change in it, until Ctrl-C."""
    with open_board(board) as target, _values_are_told():
        try:
            for result in target.files.watch(folder, to, delete=delete, ignore=ignore):
                _print_result(result)
                sys.stdout.flush()
        except ImportError as error:
            raise UcoreError(str(error)) from None


@command("edit", board=True)
@click.argument("path", type=board_path, shell_complete=complete_files)
def edit(board: str | None, path: str) -> None:
    """Change a file of a board in $VISUAL or $EDITOR; one that is not there is made."""
    from ukernel.tempfolder import TempFolder

    with open_board(board) as target, TempFolder("files") as folder:
        try:
            before = target.files.read(path)
        except FileNotFoundError:
            before = b""
        draft = Path(folder, posixpath.basename(path) or "file")
        draft.write_bytes(before)
        _run_editor(draft)
        after = draft.read_bytes()
        if after == before:
            output.say(f"{path} stays as it was.")
            return
        try:
            with output.progress() as show:
                target.files.write(path, after, progress=show)
        except BaseException:
            rescued = Path(draft.name + ".edited")
            rescued.write_bytes(after)
            output.say(f"What you have written is in {rescued}.")
            raise
        output.say(f"{path} is written, {len(after):,} bytes.")


def _run_editor(draft: Path) -> None:
    import shlex
    import subprocess

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    if not editor and os.name != "nt" and not sys.stdin.isatty():
        raise UcoreError("This is no terminal: EDITOR must name a program that changes a file without one.")
    editor = editor or ("notepad" if os.name == "nt" else "vi")
    command = [editor] if os.name == "nt" else shlex.split(editor)
    try:
        code = subprocess.call([*command, str(draft)])
    except OSError:
        raise UcoreError(f"The editor {editor!r} cannot be started. EDITOR names another one.") from None
    if code:
        raise UcoreError(f"The editor {editor!r} ended with {code}: the board's file stays as it was.")


@command("backup", board=True)
@click.argument("archive", type=LOCAL_PATH)
def backup(board: str | None, archive: str) -> None:
    """Write all files of a board into ARCHIVE, a zip with a manifest."""
    with open_board(board) as target, output.progress() as show:
        count = target.files.backup(archive, progress=show)
    print(f"{count} files of {target.name} are in {archive}.")


@command("restore", board=True, json=True)
@click.argument("archive", type=LOCAL_PATH)
@click.option("--delete", is_flag=True, help="Remove from the board what is not in the archive.")
def restore(board: str | None, as_json: bool, archive: str, delete: bool) -> None:
    """Give a board the files of an ARCHIVE that `ucore fs backup` has written. What it has already is not sent."""
    with open_board(board) as target, output.progress() as show, _values_are_told():
        result = target.files.restore(archive, delete=delete, progress=show)
    if as_json:
        output.print_json(_result(result))
    else:
        _print_result(result)


class _values_are_told:
    """A ValueError of files is about what the user has named: an archive that is none, a path that climbs out."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError):
            raise UcoreError(str(error)) from None


@command("mount", board=True)
@click.argument("folder", type=LOCAL_PATH, default=".")
@click.option("--write", is_flag=True, help="The board may write there, too.")
def mount(board: str | None, folder: str, write: bool) -> None:
    """Show FOLDER here, this one by default, to a board as /remote, until Ctrl-C. `import` on the board finds modules there."""
    with open_board(board) as target, target.files.mount(folder, write=write) as mounted:
        what = "for reading and writing" if write else "read-only"
        output.say(f"{os.path.abspath(folder)} is /remote on {target.name}, {what}. Ctrl-C ends it.")
        while not mounted.wait(0.5):  # Python on Windows sees a Ctrl-C between two waits only
            pass
