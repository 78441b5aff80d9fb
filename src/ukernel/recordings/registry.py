"""The recorders of this user and host: each says in a file of its own how it is, and ends when another file asks for that.

The files lie in a folder beside the hub's state file, which only this user can enter. A lock is held for a recorder's life: one whose lock is
free has ended, or was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from ukernel import settings
from ukernel.errors import RecordingError, describe
from ukernel.protocol import statefile
from ukernel.protocol.filelock import FileLock, try_lock

__all__ = ["ENDED", "Entry", "ask_stop", "read", "read_all"]

ENDED, KILLED = "ended", "killed"
TRIES = 5  # to read what is written over and over
KEEP_S = 86_400.0  # what has ended is known for a day
_ID = re.compile(r"[0-9a-f]{12}")


def _folder() -> Path:
    return settings.state_path().with_suffix(".recorders")


def _path(id: str, kind: str) -> Path:
    return _folder() / f"{id}.{kind}"


class Entry:
    """A recorder's own entry, from when it is made until `release`. Raises RecordingError where it cannot be made."""

    def __init__(self, id: str = ""):
        self.id = id or uuid4().hex[:12]
        folder = _folder()
        self._stop_path = _path(self.id, "stop")
        self._size_bytes = 0
        try:
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            statefile.check_folder(folder / self.id)
            self._lock = FileLock(_path(self.id, "lock"))
            if not self._lock.try_acquire():
                raise RecordingError(f"There is a recorder {self.id} already.")
            self._fd = os.open(_path(self.id, "json"), os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise RecordingError(f"The recorder cannot keep its files in {folder}: {describe(error)}.") from error
        _remove_old()

    def write(self, state: dict[str, Any]) -> None:
        """Say how the recorder is. What cannot be written now is written the next time."""
        # In one write over the last one: a rename would have the disk work each time.
        data = json.dumps(state).encode()
        self._size_bytes = max(self._size_bytes, len(data))
        with contextlib.suppress(OSError):
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.write(self._fd, data.ljust(self._size_bytes))

    @property
    def is_stop_asked(self) -> bool:
        """Whether somebody wants the recorder to end."""
        return os.path.exists(self._stop_path)

    def release(self) -> None:
        """The recorder has ended, and has said so."""
        os.close(self._fd)
        for kind in ("stop", "lock") if self._size_bytes else ("stop", "lock", "json"):
            with contextlib.suppress(OSError):
                _path(self.id, kind).unlink()
        self._lock.release()


def read(id: str) -> dict[str, Any] | None:
    """Return what a recorder said last; None where nothing is known of it. Where it was killed its "state" says so."""
    state = _load(id)
    if state is not None and state.get("state") != ENDED and not _is_held(id):
        state = _load(id)  # it may have ended between the two looks
        if state is not None and state.get("state") != ENDED:
            state["state"] = KILLED
    return None if state is None else {**state, "id": id}


def _load(id: str) -> dict[str, Any] | None:
    for _ in range(TRIES):
        try:
            with open(_path(id, "json"), encoding="utf-8") as file:
                state = json.load(file)
            return (
                state
                if isinstance(state, dict) and isinstance(state.get("state"), str) and isinstance(state.get("file"), str)
                else None
            )
        except OSError:
            return None
        except ValueError:
            time.sleep(0.001)  # it may be just written
    return None


def read_all() -> list[dict[str, Any]]:
    """Return what is known of all recorders, those that have ended lately included: the oldest first."""
    found = [state for state in map(read, _ids()) if state is not None]
    return sorted(found, key=lambda state: float(state.get("started", 0)))


def ask_stop(id: str) -> None:
    """Ask a recorder to end. Raises RecordingError where that cannot be asked."""
    try:
        os.close(os.open(_path(id, "stop"), os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise RecordingError(f"The recorder {id} cannot be asked to stop: {describe(error)}.") from error


def _ids() -> list[str]:
    try:
        names = os.listdir(_folder())
    except OSError:
        return []
    return sorted({name.partition(".")[0] for name in names if _ID.fullmatch(name.partition(".")[0])})


def _is_held(id: str) -> bool:
    try:
        fd = os.open(_path(id, "lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(fd, shared=True)
    finally:
        os.close(fd)


def _remove_old() -> None:
    """Remove what is left of recorders that have ended long ago, or were killed."""
    for id in _ids():
        if _is_held(id):
            continue
        state = read(id)
        if state is None or not 0 <= time.time() - float(state.get("seen", 0)) <= KEEP_S:
            for kind in ("json", "stop", "lock"):
                with contextlib.suppress(OSError):
                    _path(id, kind).unlink()
