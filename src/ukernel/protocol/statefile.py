"""The state file: how a hub says where it is.

The hub holds an operating-system lock beside the file for life. A file whose lock is free is stale, and nobody
connects to what it says.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections import namedtuple
from pathlib import Path

from ukernel import settings
from ukernel.errors import HubDeniedError

from .filelock import try_lock

__all__ = [
    "ANOTHER_HUB",
    "HubInfo",
    "StateFile",
    "check_folder",
    "check_kind",
    "find",
    "is_held",
    "read",
    "remove_stale",
]

FORMAT = 1
ANOTHER_HUB = 3  # the exit status of a hub that found another one holding the file
_ACQUIRE_TIMEOUT_S = 5.0  # a hub that leaves needs a moment to let its boards go
RENEW_S = 1.0  # how often a hub looks whether its files are still there
_POLL_S = 0.02  # between two looks for a state file that is about to be written again
_PLAIN = (
    getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)  # no link, and no wait for a FIFO
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class HubInfo(namedtuple("HubInfo", "pid host port token build")):  # a dataclass costs every client's start 8 ms
    """Where a hub is: its process, its address (a str and an int), its token (64 hex digits) and its build."""

    __slots__ = ()


def read(path: Path | None = None) -> HubInfo | None:
    """Return what the living hub says about itself, None if there is none (or its file is stale or garbled).

    Raises HubDeniedError if the file is another user's, or could have been written by one, or if there is something else in its
    place: neither a link is followed nor a FIFO waited for.
    """
    path = path or settings.state_path()
    check_kind(path)
    try:
        with open(os.open(path, os.O_RDONLY | _PLAIN), encoding="utf-8") as file:
            _check_owner(path, os.fstat(file.fileno()))
            content = json.loads(file.read(65536))
    except PermissionError:
        raise HubDeniedError(
            f"The state file {path} is another user's, and so is its hub. Set UCORE_STATE_PATH to a path in a folder of your own."
        ) from None
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        return None
    try:
        info = HubInfo(**content)
    except TypeError:
        return None
    types = {"pid": int, "host": str, "port": int, "token": str, "build": str}
    if any(type(getattr(info, name)) is not kind for name, kind in types.items()):
        return None
    if len(info.token) != 64 or not info.token.isascii() or not 1 <= info.port <= 65535:
        return None
    try:
        return info if _is_locked(_lock_path(path)) else None
    except FileNotFoundError:  # removed under a hub, which is about to make another one
        return info if _holds_removed(info.pid, _lock_path(path)) else None


def is_held(path: Path | None = None) -> bool:
    """Whether a hub holds the lock, whatever became of its state file."""
    try:
        return _is_locked(_lock_path(path or settings.state_path()))
    except FileNotFoundError:
        return False


def find() -> HubInfo | None:
    """Return what `read` does; where a hub lives whose state file is missing, wait until it has written that again."""
    deadline = time.monotonic() + 2 * RENEW_S
    while (here := read()) is None and is_held() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return here


def check_kind(path: Path) -> None:
    """Refuse what is no file in the place of a file of ours. Raises HubDeniedError."""
    try:
        kind = stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        return  # there is none
    if kind != stat.S_IFREG:
        raise HubDeniedError(
            f"{path} is {_KINDS.get(kind, 'no file')}, where the board hub keeps a file. Remove it, or set UCORE_STATE_PATH to another path."
        )


def _holds_removed(pid: int, path: Path) -> bool:
    """Whether a process still has this file open, which was removed. Known on Linux only."""
    folder = f"/proc/{pid}/fd"
    removed = f"{os.path.realpath(path.parent)}/{path.name} (deleted)"
    try:
        return any(os.readlink(f"{folder}/{fd}") == removed for fd in os.listdir(folder))
    except OSError:
        return False


class StateFile:
    """The hub's hold on its state file: acquired first, written once the hub listens, removed at the end."""

    def __init__(self, path: Path | None = None):
        self.path = path or settings.state_path()
        self._lock_fd = -1
        self._written = b""  # nothing yet

    def acquire(self) -> bool:
        """Take the lock; False if another hub holds it and is not just leaving.

        Raises HubDeniedError if other users can write in the file's folder, or own it, or if what is there is no file, and OSError.
        """
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        check_folder(self.path)
        check_kind(self.path)
        if not _lock_path(self.path).exists() and self.path.exists() and read(self.path) is not None:
            return False  # its lock file was removed
        # A reader that asks whether the lock is free holds it for microseconds, a hub that leaves for a little longer.
        deadline = time.monotonic() + _ACQUIRE_TIMEOUT_S
        while not self._try_lock():
            if (self.path.exists() and read(self.path) is not None) or time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        # From now on the lock would vouch for a file that a killed hub has left.
        self.path.unlink(missing_ok=True)
        return True

    def _try_lock(self) -> bool:
        """Lock the file beside the state file, and see to it that it is still that file: a hub that leaves removes it."""
        path = _lock_path(self.path)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _PLAIN, 0o600)
        try:
            check_kind(path)
            if try_lock(fd) and os.path.samestat(os.fstat(fd), os.stat(path)):
                self._lock_fd, fd = fd, -1
                return True
        except FileNotFoundError:
            pass  # removed between the two
        finally:
            if fd >= 0:
                os.close(fd)
        return False

    def write(self, info: HubInfo) -> None:
        """Write the file in one step, readable by this user only. Raises OSError if it cannot be written."""
        self._written = json.dumps({"format": FORMAT, **info._asdict()}).encode()
        self._write()

    def _write(self) -> None:
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(self._written)
            os.replace(draft, self.path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def renew(self) -> bool:
        """Put back what was removed under the hub, lock or state file; False where another hub has the lock by now.

        Raises OSError if that cannot be done, for the time being.
        """
        if not self._is_locked_here():
            old = self._lock_fd
            if not self._try_lock():
                return False
            os.close(old)
        if not self._is_written():
            self._write()
        return True

    def _is_locked_here(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._lock_fd), os.lstat(_lock_path(self.path)))
        except FileNotFoundError:
            return False

    def _is_written(self) -> bool:
        try:
            with open(os.open(self.path, os.O_RDONLY | _PLAIN), "rb") as file:
                return file.read(65536) == self._written
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the file if it is still the one this hub wrote. The lock stays until `release`."""
        try:
            if self._written and self._is_written():
                self.path.unlink()
        except OSError:
            pass

    def release(self) -> None:
        """Let go of the lock, and remove its file. Who has opened that before gets a lock that is worth nothing, and notices."""
        if self._lock_fd >= 0:
            if os.name != "nt" and self._is_locked_here():  # Windows removes no open file; another's is not ours to remove
                _lock_path(self.path).unlink(missing_ok=True)
            os.close(self._lock_fd)
            self._lock_fd = -1


def remove_stale() -> None:
    """Remove the state file that a killed hub has left; where a hub lives, or is about to, nothing happens."""
    state_file = StateFile()
    if state_file.path.exists() and read(state_file.path) is None and state_file._try_lock():
        state_file.path.unlink(missing_ok=True)
        state_file.release()


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _is_locked(path: Path) -> bool:
    """Whether a hub holds this lock file. Raises FileNotFoundError if there is none."""
    try:
        fd = os.open(path, os.O_RDWR | _PLAIN)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    try:
        return not try_lock(fd, shared=True)  # askers never see each other as the hub
    finally:
        os.close(fd)


if sys.platform == "win32":

    def check_folder(path: Path) -> None:
        """Windows keeps other users out of the profile folder by itself."""

    def _check_owner(path: Path, status: os.stat_result) -> None:
        """Windows keeps other users out of the profile folder by itself."""

else:

    def check_folder(path: Path) -> None:
        """Refuse to put a state file where another user could take it away and leave one of their own.

        A folder that we make is 0700. One that was there is left as it is: nobody but us can read the file in it. Raises
        HubDeniedError.
        """
        try:
            status = path.parent.stat()
        except OSError:
            return  # it is not there yet
        shared = (
            status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX
        )  # in a sticky one, as /tmp, files keep their owners
        if shared or status.st_uid not in (os.geteuid(), 0):
            raise HubDeniedError(
                f"Other users can write in the folder {path.parent}, so the board hub's token would not be safe there. "
                "Set UCORE_STATE_PATH to a path in a folder of your own."
            )

    def _check_owner(path: Path, status: os.stat_result) -> None:
        # Whoever can write the file can pose as the hub, and hubs are handed code to run.
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022:
            raise HubDeniedError(
                f"The state file {path} belongs to, or can be written by, another user, so what it says is not trusted. "
                "Remove it, or set UCORE_STATE_PATH to a path in a folder of your own."
            )
