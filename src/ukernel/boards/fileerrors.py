"""The errors of a board's files, as this computer's: OSError, with the number and the sentence that fit."""

import builtins
import errno
import os
import re

from ukernel.errors import BoardCodeError

__all__ = ["as_error", "as_os_error", "check_room"]

_ERRNO = re.compile(r"\[Errno (-?\d+)\]|^(-?\d+)$")

# A board's numbers are Linux's, whatever this computer's are.
_NUMBERS = {
    1: errno.EPERM,
    2: errno.ENOENT,
    5: errno.EIO,
    12: errno.ENOMEM,
    13: errno.EACCES,
    16: errno.EBUSY,
    17: errno.EEXIST,
    19: errno.ENODEV,
    20: errno.ENOTDIR,
    21: errno.EISDIR,
    22: errno.EINVAL,
    24: errno.EMFILE,
    28: errno.ENOSPC,
    30: errno.EROFS,
    36: errno.ENAMETOOLONG,
    39: errno.ENOTEMPTY,
    84: errno.EILSEQ,
}
_EILSEQ = 84  # also what LittleFS says of damage


def check_room(path: str, needed: int, free: int) -> None:
    """Raise OSError where a file system has less room for a file than it needs; below 0: nobody knows."""
    if 0 <= free < needed:
        text = f"no room on the board: {needed:,} bytes are needed, {free:,} are free. What was there before is as it was"
        raise OSError(errno.ENOSPC, text, path)


def as_os_error(error: BoardCodeError, path: str) -> Exception:
    """Return the host's error for the board's; the board's own where it is none of files."""
    kind = getattr(builtins, error.ename, None)  # the stand-in on CPython says FileNotFoundError where MicroPython says OSError
    is_os_error = isinstance(kind, type) and issubclass(kind, OSError)
    match = _ERRNO.search(error.evalue) if is_os_error else None
    if match is None:
        return error
    theirs = abs(int(match[1] or match[2]))
    number = _NUMBERS.get(theirs, theirs)
    if number == errno.ENOSPC:
        return OSError(number, "no room on the board; what was there before is as it was", path)
    if theirs == _EILSEQ:
        return OSError(number, "a name there is no text, or the file system is damaged (on the board)", path)
    if number == errno.EBUSY:
        return OSError(number, "µcore itself runs from there; another program can change that, after `ucore detach`", path)
    return as_error(number, path)


def as_error(number: int, path: str) -> OSError:
    """Return the error with this computer's number for something on the board."""
    return OSError(number, f"{os.strerror(number)} on the board", path)
