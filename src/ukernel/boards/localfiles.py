"""The files of a folder of this computer, as they are to come to a board."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

__all__ = ["check_readable", "read_folder"]


def check_readable(path: Path) -> None:
    """Raise PermissionError for a file that may not be read, before anything is sent."""
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def read_folder(folder: Path, is_left_out: Callable[[str], bool]) -> tuple[list[str], dict[str, Path]]:
    """Return the folders that lie below one, and the files by their path from there. What is left out is not even looked into.

    is_left_out: takes such a path; a folder's ends with a slash. Links are followed, but for those that lead back, or nowhere. Raises
    PermissionError for what may not be read: as if it were not there, the board's would be taken for superfluous.
    """
    folders: list[str] = []
    contents: dict[str, Path] = {}
    above = {str(folder): frozenset((os.path.realpath(folder),))}  # of a folder, those that it lies in, and itself
    for place, inner, names in os.walk(folder, followlinks=True, onerror=_refuse):
        below = Path(place).relative_to(folder).as_posix()
        below = "" if below == "." else below + "/"
        kept = []
        for name in sorted(inner):
            real = os.path.realpath(os.path.join(place, name))
            if real not in above[place] and not is_left_out(f"{below}{name}/"):  # a link may lead back
                kept.append(name)
                above[os.path.join(place, name)] = above[place] | {real}
        inner[:] = kept
        folders += [below + name for name in inner]
        for name in sorted(names):
            path = Path(place) / name
            if path.is_file() and not is_left_out(below + name):  # no socket, no link to nowhere
                check_readable(path)
                contents[below + name] = path
    return folders, contents


def _refuse(error: OSError) -> NoReturn:
    raise error
