"""Answers what a board asks of a folder that is mounted there (docs/protocol.md, 1.11)."""

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["FolderServer"]

MAX_DATA = 4096  # bytes of one answer
LISTED_BYTES = 800  # of an answer that lists a folder, before another one begins
BLOCK = 4096  # in which file systems are measured
_FOLDER, _FILE = 0x4000, 0x8000
_MODES = {"r", "r+", "w", "w+", "a", "a+", "x", "x+"}
# A board's numbers are Linux's; this computer's may be others.
_NUMBERS = {
    errno.EPERM: 1, errno.ENOENT: 2, errno.EIO: 5, errno.EBADF: 9, errno.ENOMEM: 12, errno.EACCES: 13, errno.EBUSY: 16, errno.EEXIST: 17,
    errno.ENODEV: 19, errno.ENOTDIR: 20, errno.EISDIR: 21, errno.EINVAL: 22, errno.ENOSPC: 28, errno.EROFS: 30, errno.ENAMETOOLONG: 36,
    errno.ENOTEMPTY: 39,
}  # fmt: skip
EINVAL, EIO, EROFS, EACCES = 22, 5, 30, 13


class FolderServer:
    """One folder of this computer. ``write``: whether the board may change what is in it. It keeps no file open.

    Raises NotADirectoryError or FileNotFoundError where it is no folder.
    """

    def __init__(self, folder: Path, write: bool = False):
        if not folder.is_dir():
            number = errno.ENOTDIR if folder.exists() else errno.ENOENT
            raise OSError(number, os.strerror(number), str(folder))
        self._root = folder.resolve()
        self._write = write

    def answer(self, question: bytes) -> bytes:
        """Return the answer to a question, whatever that is."""
        number: object = 0
        try:
            head, _, data = question.partition(b"\n")
            number, name, *args = json.loads(head)
            does = self._DOES[name]
            if name in self._CHANGES and not self._write:
                return _answer(number, EROFS)
            found, content = does(self, data, *args) if name == "write" else does(self, *args)
            return _answer(number, 0, found, content)
        except OSError as error:
            return _answer(number, _NUMBERS.get(error.errno or 0, EIO))
        except Exception:  # no question of ours: a board may send anything
            return _answer(number, EINVAL)

    def _find(self, path: str) -> Path:
        """Return where a path of the board's is. Raises PermissionError for one that leads out of the folder, by a link too."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if any("\\" in part or "\0" in part or (":" in part and os.name == "nt") for part in parts):
            raise OSError(errno.EINVAL, "no name of a file")
        place = Path(os.path.normpath(self._root.joinpath(*parts)))
        real = place.resolve()
        if real != self._root and self._root not in real.parents:
            raise OSError(errno.EACCES, "it leads out of the folder")
        return place

    def _stat(self, path: str) -> tuple[Any, bytes]:
        found = self._find(path).stat()
        return [*_kind(found), int(found.st_mtime)], b""

    def _statvfs(self, path: str) -> tuple[Any, bytes]:
        usage = shutil.disk_usage(self._find(path))
        return [BLOCK, usage.total // BLOCK, usage.free // BLOCK], b""

    def _ls(self, path: str, first: int) -> tuple[Any, bytes]:
        names = sorted(os.listdir(self._find(path)))
        entries: list[list[Any]] = []
        size = 0
        for name in names[first:]:
            if size > LISTED_BYTES:
                return [entries, True], b""
            try:
                about = _kind(self._find(f"{path}/{name}").stat())
                name.encode()
            except (OSError, UnicodeError):
                about = [0, 0]  # a link to nowhere: it is counted, so that the next answer begins right
            entries.append([name.encode("utf-8", "replace").decode(), *about])
            size += len(json.dumps(entries[-1], ensure_ascii=False).encode())
        return [entries, False], b""

    def _open(self, path: str, mode: str, size: int) -> tuple[Any, bytes]:
        if mode not in _MODES:
            raise OSError(errno.EINVAL, "no mode of a file")
        if mode != "r" and not self._write:
            raise OSError(errno.EROFS, "mounted to be read")
        place = self._find(path)
        if place.exists() and not place.is_file() and not place.is_dir():
            raise OSError(errno.EACCES, "a device or a pipe might never answer")
        with place.open(mode.replace("+", "") + "b" + ("+" if "+" in mode else "")) as file:
            is_read = mode in ("r", "r+")
            content = file.read(max(0, min(size, MAX_DATA))) if is_read else b""
            return os.fstat(file.fileno()).st_size, content

    def _read(self, path: str, at: int, size: int) -> tuple[Any, bytes]:
        place = self._find(path)
        if not place.is_file():
            raise OSError(errno.EISDIR if place.is_dir() else errno.ENOENT, "no file")
        with place.open("rb") as file:
            file.seek(at)
            return None, file.read(max(0, min(size, MAX_DATA)))

    def _write_piece(self, data: bytes, path: str, at: int) -> tuple[Any, bytes]:
        place = self._find(path)
        if place.exists() and not place.is_file() and not place.is_dir():
            raise OSError(errno.EACCES, "a device or a pipe might never take it")
        with place.open("r+b") as file:
            file.seek(at)
            return file.write(data), b""

    def _remove(self, path: str) -> tuple[Any, bytes]:
        place = self._find(path)
        if place.is_dir() and not place.is_symlink():
            raise OSError(errno.EISDIR, "a folder")
        place.unlink()
        return None, b""

    def _rmdir(self, path: str) -> tuple[Any, bytes]:
        self._not_root(path).rmdir()
        return None, b""

    def _mkdir(self, path: str) -> tuple[Any, bytes]:
        self._find(path).mkdir()
        return None, b""

    def _rename(self, old: str, new: str) -> tuple[Any, bytes]:
        os.replace(self._not_root(old), self._not_root(new))
        return None, b""

    def _not_root(self, path: str) -> Path:
        place = self._find(path)
        if place == self._root:
            raise OSError(errno.EBUSY, "the folder itself")
        return place

    _DOES: ClassVar[dict[str, Callable[..., tuple[Any, bytes]]]] = {
        "stat": _stat,
        "statvfs": _statvfs,
        "ls": _ls,
        "open": _open,
        "read": _read,
        "write": _write_piece,
        "remove": _remove,
        "rmdir": _rmdir,
        "mkdir": _mkdir,
        "rename": _rename,
    }
    _CHANGES = frozenset(("write", "remove", "rmdir", "mkdir", "rename"))


def _kind(found: os.stat_result) -> list[int]:
    is_folder = stat.S_ISDIR(found.st_mode)
    return [_FOLDER if is_folder else _FILE, 0 if is_folder else found.st_size]


def _answer(number: object, error: int, found: Any = None, data: bytes = b"") -> bytes:
    return json.dumps([number, error, found], ensure_ascii=False, separators=(",", ":")).encode() + b"\n" + data
