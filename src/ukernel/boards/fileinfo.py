"""What is said of a board's files."""

import errno
import hashlib
import os
import posixpath
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "FileInfo",
    "FileSystem",
    "Progress",
    "Sum",
    "SyncResult",
    "inside",
    "is_sum",
    "replaceable",
    "sum_up",
    "sums",
    "tell",
]

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


class Sum:
    """The sum of a content that comes in pieces."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._crc = 0

    def add(self, piece: bytes) -> None:
        """Take in the next piece."""
        self._sha.update(piece)
        self._crc = zlib.crc32(piece, self._crc)

    def sums(self) -> tuple[bytes, bytes]:
        """Return what a board may say of it: the first 16 bytes of its SHA-256, or, where it has none, its CRC-32."""
        return self._sha.digest()[:SUM_BYTES], self._crc.to_bytes(4, "little")


def sums(data: bytes) -> tuple[bytes, bytes]:
    """Return what a board may say of a file with this content; see `Sum.sums`."""
    summed = Sum()
    summed.add(data)
    return summed.sums()


def sum_up(data: bytes) -> bytes:
    """Return the first 16 bytes of a content's SHA-256, which most boards say of it."""
    return sums(data)[0]


def is_sum(said: bytes | None, recorded: bytes) -> bool:
    """Whether what a board says of a content is what is recorded of it: both sums behind each other, or the first alone."""
    return said is not None and said in (recorded[:SUM_BYTES], recorded[SUM_BYTES:])


def tell(progress: "Progress | None", path: str, done: int, size: int) -> None:
    """Call ``progress``, if there is one."""
    if progress is not None:
        progress(path, done, size)


def inside(folder: Path, path: str) -> Path:
    """Return where a path of the board's lies in a folder here. Raises ValueError for one that leads out of it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or any(os.sep in part or (":" in part and os.name == "nt") for part in parts):
        raise ValueError(f"{path!r} leads out of {folder}.")
    return folder.joinpath(*parts)


def replaceable(path: Path) -> Path:
    """Return the file here that is to be replaced, where a link leads to it. Raises OSError for what is no file, such as /dev/null."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file, and stays what it is", str(path))
    return path
