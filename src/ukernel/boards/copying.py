"""Several files at once, as people name them: `FILE... [TO]`, to a board and from it."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ukernel.errors import UsageError

from .fileinfo import Progress

if TYPE_CHECKING:
    from .files import BoardFiles

__all__ = ["as_board_path", "get", "put"]


def as_board_path(text: str) -> str:
    """Return a board's path, which may begin with a colon as mpremote's do. Raises UsageError for one that leads out of its files."""
    path = text.removeprefix(":")
    depth = 0
    for part in path.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            raise UsageError(f"{path!r} leads out of the board's file system.")
    if "\0" in path:
        raise UsageError("A path has no NUL in it.")
    return path


def put(files: "BoardFiles", names: Sequence[str], *, progress: Progress | None = None) -> Iterator[tuple[str, str]]:
    """Copy files and folders to a board, of two or more names the last says where to; yield each file's source and its path there.

    Raises what `BoardFiles.put` raises, FileNotFoundError before anything is copied.
    """
    *sources, target = names if len(names) > 1 else (*names, "")
    sources, target = [os.path.expanduser(source) for source in sources], as_board_path(target)
    for source in sources:
        os.stat(source)
    if len(sources) > 1 and not target.endswith("/"):
        target += "/"
    for source in sources:
        for path in files.put(source, target, progress=progress):
            yield source, path


def get(files: "BoardFiles", names: Sequence[str], *, progress: Progress | None = None) -> Iterator[Path]:
    """Copy files and folders from a board, of two or more names the last says where to, else they come into this folder; yield the path of each file here.

    Raises what `BoardFiles.get` raises, NotADirectoryError where several are to go into what is no folder, and UsageError for a name on
    the board that leads out of where it goes.
    """
    *sources, target = names if len(names) > 1 else (*names, ".")
    remotes, target = [as_board_path(source) for source in sources], os.path.expanduser(target)
    if (len(remotes) > 1 or target.endswith(("/", os.sep))) and not os.path.isdir(target):
        raise NotADirectoryError(errno.ENOTDIR, "this is no folder here", target)
    for remote in remotes:
        try:
            yield from files.get(remote, target, progress=progress)
        except ValueError as error:
            raise UsageError(str(error)) from None
