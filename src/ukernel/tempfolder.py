"""Folders for temporary files that are removed in the end, whatever their owners die of.

An owner holds a lock on its folder itself (so that nothing of ours lies in it) for life. A folder whose lock is free is an orphan:
the next one that is made removes it. systemd's cleaning of old temporary files respects that lock, too.
"""

import contextlib
import os
import re
import shutil
import tempfile
import weakref

__all__ = ["TempFolder", "living"]

# Orphans that one start removes: a start must not take long, and there will be others.
MAX_SWEPT = 20
_NAME = re.compile(r"ucore-(virtual-board|python|files)-\w{8}")

try:
    import fcntl

    _has_locks = True
except ImportError:  # Windows: no locks on folders, and no way to remove one that is in use; what is left there stays
    _has_locks = False


class TempFolder:
    """A folder that only this user can enter, as its attribute `path`; a context manager that gives the path.

    ``kind`` is a word of its name: "virtual-board", "python" or "files". ``parent``: another folder than the usual one.
    """

    def __init__(self, kind: str, parent: str | None = None):
        parent = parent or tempfile.gettempdir()
        _sweep(parent)
        self.path = ""
        self._end: weakref.finalize[..., TempFolder]
        while not self._make(kind, parent):
            pass  # somebody's sweep came between; there is one at a time, so this ends soon

    def _make(self, kind: str, parent: str) -> bool:
        self.path = tempfile.mkdtemp(prefix=f"ucore-{kind}-", dir=parent)
        if not _has_locks:
            self._end = weakref.finalize(self, _remove, self.path, -1, os.getpid())
            return True
        try:
            fd = _open(self.path)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:
            pass  # no locks on this file system: then nobody else gets one either
        # At the latest when this process ends in its own time.
        self._end = weakref.finalize(self, _remove, self.path, fd, os.getpid())
        if os.path.isdir(self.path):
            return True
        self.remove()
        return False

    def remove(self) -> None:
        """Remove the folder with all that is in it. May be called twice; what resists now is left for a later start."""
        self._end()

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


def living(kind: str) -> list[str]:
    """Return this user's folders of a kind whose owners live. On Windows, where that cannot be told, all that are there."""
    found = []
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(f"ucore-{kind}-") and _NAME.fullmatch(entry.name) and _is_held(entry.path):
                found.append(entry.path)
    return found


def _is_held(path: str) -> bool:
    if not _has_locks:
        return True
    try:
        fd = _open(path)
    except OSError:
        return False
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: askers never see each other as the owner
        return False
    except OSError:
        return True
    finally:
        os.close(fd)


def _remove(path: str, lock_fd: int, owner: int) -> None:
    if os.getpid() == owner:  # else this is a copy of it that was forked, and ends
        shutil.rmtree(path, ignore_errors=True)
        if lock_fd >= 0:
            os.close(lock_fd)


def _sweep(parent: str) -> None:
    """Remove this user's folders whose owners are gone."""
    if not _has_locks:
        return
    try:
        with os.scandir(parent) as entries:
            found = [entry.path for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    swept = 0
    for path in found:
        if swept == MAX_SWEPT:
            return
        try:
            fd = _open(path)
        except OSError:
            continue  # gone, another user's, or no folder
        try:
            if os.fstat(fd).st_uid == os.geteuid():
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
                swept += 1
        except OSError:
            pass  # its owner lives
        finally:
            os.close(fd)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
