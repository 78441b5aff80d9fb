"""What is said of a board's files."""

import hashlib
import os
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["FileInfo", "FileSystem", "Progress", "SyncResult", "inside", "sum_up"]

SUM_BYTES = 16  # of a SHA-256: enough to tell files apart, and half the bytes on the line

Progress = Callable[[str, int, int], object]  # path, bytes done, bytes in all


class FileInfo(NamedTuple):
    """A file or folder of a board. path: from its root, or from where it was asked. size: in bytes; 0 for a folder."""

    path: str
    is_folder: bool
    size: int

    @property
    def name(self) -> str:
        """The last part of its path."""
        return posixpath.basename(self.path)


class FileSystem(NamedTuple):
    """A file system of a board. path: where it is mounted. size, free: in bytes."""

    path: str
    size: int
    free: int


class SyncResult(NamedTuple):
    """What a sync did, or would do. put: paths of files that were sent, folders that were made among them. removed: paths. unchanged: how
    many files were as they should be. Paths begin in the board's folder."""

    put: list[str]
    removed: list[str]
    unchanged: int


def sum_up(data: bytes) -> bytes:
    """Return what `BoardFiles.walk` says of a file with this content: the first 16 bytes of its SHA-256."""
    return hashlib.sha256(data).digest()[:SUM_BYTES]


def inside(folder: Path, path: str) -> Path:
    """Return where a path of the board's lies in a folder here. Raises ValueError for one that leads out of it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or any(os.sep in part or (":" in part and os.name == "nt") for part in parts):
        raise ValueError(f"{path!r} leads out of {folder}.")
    return folder.joinpath(*parts)
