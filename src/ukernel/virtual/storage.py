"""What a virtual board keeps in files: its flash, and the memory that it shares with the world around it.

A board with a name keeps its flash from one run to the next, as a board in a drawer does; another one's is gone with its process.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ukernel import settings
from ukernel.errors import BoardBusyError, SettingError
from ukernel.protocol.filelock import FileLock
from ukernel.tempfolder import TempFolder

from .simulated import _virtualworld as world

__all__ = ["Storage"]

FLASH_BYTES = 2 << 20  # as the smallest ESP32 has for files
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
# What the board's own programs have written there, up to the memory that a deep sleep keeps; the rest is the world's.
_OWN = ((world.LEVELS, world.DRIVEN), (world.DUTIES, world.VOLTAGES), (world.PIXELS, world.RTC))


class Storage:
    """The folder of one virtual board. ``name``: it is kept under that name, and empty at first only, or with ``erase``.

    Raises SettingError for what is no name, BoardBusyError where a board of that name runs, and OSError for a disk that is full.
    """

    def __init__(self, folder: str | None = None, name: str | None = None, erase: bool = False):
        if name is not None and not _NAME.fullmatch(name):
            raise SettingError(
                f"{name!r} is no name for a virtual board: up to 32 letters, digits, dots, dashes and underscores."
            )
        self._lock: FileLock | None = None
        self._own: TempFolder | None = None
        if folder is None:
            self._own = TempFolder("virtual-board")
            folder = self._own.path
        self.folder = Path(folder)
        self.files = self.folder / "files"  # where a board on CPython has its files
        self.files.mkdir(exist_ok=True)
        flash = self.folder / "flash"
        if name is not None:
            kept = settings.data_dir() / "virtual"
            kept.mkdir(parents=True, exist_ok=True)
            self._lock = _hold(kept / f"{name}.lock", name)
            flash = kept / f"{name}.flash"
        if erase or not flash.exists() or flash.stat().st_size != FLASH_BYTES:
            with open(flash, "wb") as file:
                file.truncate(FLASH_BYTES)  # the disk is used as the board uses it
        self._world = self.folder / "world"
        self._world.write_bytes(world.blank())
        self.environment = {"UCORE_VIRTUAL_FLASH": str(flash), "UCORE_VIRTUAL_WORLD": str(self._world)}
        self.world = str(self._world)

    def power_on(self) -> None:
        """The board boots: pins, pixels and display are as they are without a program."""
        blank = world.blank()
        with open(self._world, "r+b") as file:
            for start, end in _OWN:
                file.seek(start)
                file.write(blank[start:end])

    def close(self) -> None:
        """Throw away what has no name, and let go of what has."""
        if self._own:
            self._own.remove()
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()


def _hold(path: Path, name: str) -> FileLock:
    """Hold the name for this process."""
    lock = FileLock(path)
    if not lock.try_acquire():
        raise BoardBusyError(f"The virtual board {name} runs already. Give this one another name.")
    return lock
