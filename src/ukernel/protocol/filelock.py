"""Locks on files that the operating system keeps: each is its process's, and is gone with that, whatever it dies of.

`filelock` would do the same, but it imports asyncio, which doubles a client's start.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

__all__ = ["FileLock", "try_lock"]

POLL_S = 0.05  # between two tries: who waits does so for builds of seconds, and Windows can wait for 10 s at most by itself

if sys.platform == "win32":
    import msvcrt

    def try_lock(fd: int, shared: bool = False) -> bool:
        """Lock an open file, and return whether that was done: never where somebody else has it. Closing ``fd`` lets it go."""
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(fd: int, shared: bool = False) -> bool:
        """Lock an open file, and return whether that was done: never where somebody else has it. Closing ``fd`` lets it go.

        Those who ask for a shared lock do not see each other; on Windows they do.
        """
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


class FileLock:
    """A lock that one process, and one object in it, can have. The file is made where there is none, and stays.

    `try_acquire` or `acquire` it, and `release` it.
    """

    def __init__(self, path: Path):
        self._path = path
        self._fd = -1

    def try_acquire(self) -> bool:
        """Take the lock, and return whether it was free. Raises OSError where the file cannot be made."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if try_lock(fd):
            self._fd = fd
            return True
        os.close(fd)
        return False

    def acquire(self) -> None:
        """Wait for the lock. Raises OSError where the file cannot be made."""
        while not self.try_acquire():
            time.sleep(POLL_S)

    def release(self) -> None:
        """Let go of the lock. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
