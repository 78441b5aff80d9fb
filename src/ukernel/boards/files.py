"""The files of a board: looked at, sent, fetched. What is sent comes to stand beside the old file, and takes its place when it is whole."""

import contextlib
import errno
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ukernel.errors import BoardCodeError, BoardError, UcoreError

from .fileerrors import as_error, as_os_error, check_room
from .fileinfo import FileInfo, FileSystem, Progress, Sum, SyncResult, inside, replaceable, sums, tell
from .localfiles import check_readable, read_folder

if TYPE_CHECKING:
    import threading

    from .mount import Mount
    from .requests import Requests

__all__ = ["BoardFiles", "Caller"]

PIECE = 2048  # bytes in one message, until a file has more and the board's memory is known
LEAST_PIECE = 128  # for a board whose memory is nearly full
MOST_PIECE = 8192  # 0.8 s of a line of 115200 baud: so long may a cell have to wait
PART_OF_MEMORY = 8  # a piece is in a board's memory twice, in one run of bytes each time
TRIES = 3  # to send one file: a sum that does not fit is next to impossible, or somebody else writes it too
# What is asked again, as often, where a board's memory was too full for it: what it has sent and the host has not acknowledged leaves soon.
REPEATABLE = ("begun", "finish", "free_memory", "read", "stat", "sum_up", "write")


class Caller(Protocol):
    """What of a `Board` is used here."""

    name: str
    facts: dict[str, Any]

    def call_value(
        self, name: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> Any: ...


class BoardFiles:
    """A board's files. Paths are the board's, with slashes; a relative one begins in its working directory.

    Every method raises the OSError that the board names (FileNotFoundError, FileExistsError, IsADirectoryError, ...; its ``filename`` is
    the board's path), and what `Board.call` raises besides: BoardTimeoutError, BoardGoneError, ...
    """

    def __init__(self, board: Caller, requests: "Requests | None" = None):
        """``requests``: of the board, for `mount`."""
        self._board = board
        self._requests = requests
        self._piece = PIECE
        self._is_piece_known = False

    def ls(self, path: str = "") -> list[FileInfo]:
        """Return what is in a folder, sorted by name, folders first."""
        found = [_info(_below(path, name), folder, size) for name, folder, size in self._items("ls", path or ".")]
        return sorted(found, key=lambda info: (not info.is_folder, info.path))

    def tree(self, path: str = "") -> list[FileInfo]:
        """Return all that lies below a folder, sorted by path."""
        return sorted(info for info, _ in self.walk(path))

    def walk(self, path: str = "", *, sums: bool = False, progress: Progress | None = None) -> Iterator[tuple[FileInfo, bytes]]:
        """Yield all that lies below a folder with the sum of its content (see `sum_up`), empty for folders and without ``sums``."""
        for name, folder, size, summed in self._items("walk", path or ".", sums):
            tell(progress, posixpath.join(path, name), size, size)
            yield _info(name, folder, size), summed

    def stat(self, path: str) -> FileInfo:
        """Return what is at a path."""
        folder, size, _ = self._call("stat", path)
        return _info(path, folder, size)

    def exists(self, path: str) -> bool:
        """Whether there is anything at a path."""
        try:
            self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def sum_up(self, path: str) -> bytes:
        """Return the sum of a file's content, as the function of that name in `fileinfo` makes it."""
        found: bytes = self._call("sum_up", path)
        return found

    def read(self, path: str, *, progress: Progress | None = None) -> bytes:
        """Return a file's content."""
        return b"".join(self._pieces(path, progress))

    def _pieces(self, path: str, progress: Progress | None) -> Iterator[bytes]:
        info = self.stat(path)
        if info.is_folder:  # of the root, chips say something else
            raise as_error(errno.EISDIR, path)
        size = info.size
        done = 0
        tell(progress, path, 0, size)
        while True:
            piece: bytes = self._in_memory(size, partial(self._call, "read", path, done))
            done += len(piece)
            if piece:
                yield piece
                tell(progress, path, done, max(size, done))
            if not piece or done == size:  # a file that is no file, a stream of a driver's, has no size
                return

    def write(self, path: str, data: bytes, *, progress: Progress | None = None) -> None:
        """Write a file: whole, or not at all.

        What an earlier, broken off call has sent of the same content is not sent again. Raises OSError with errno.ENOSPC where there is no
        room for the new file beside the old one: before anything is sent, where the board knows.
        """
        for _ in range(TRIES):
            try:
                self._write(path, data, progress)
                return
            except BoardCodeError as error:
                if error.ename != "ValueError":
                    raise
        raise BoardError(
            f"{path} could not be written on the board {self._board.name}: it is being written by somebody else, or its flash is damaged."
        )

    def _write(self, path: str, data: bytes, progress: Progress | None) -> None:
        tell(progress, path, 0, len(data))
        if len(data) <= self._piece:
            try:
                self._call("put", path, data, sums(data))
                tell(progress, path, len(data), len(data))
                return
            except BoardCodeError as error:
                if error.ename != "MemoryError":
                    raise
        there, summed, free = self._call("begun", path)
        at = there if there <= len(data) and summed in sums(data[:there]) else 0
        tell(progress, path, at, len(data))
        try:
            check_room(path, len(data) - at, free if free < 0 else free + there - at)
            while at < len(data):
                at += self._in_memory(len(data), partial(self._write_piece, path, data, at))
                tell(progress, path, at, len(data))
            self._call("finish", path, sums(data))
        except BaseException as error:
            if not isinstance(error, UcoreError) or isinstance(error, BoardCodeError):
                with contextlib.suppress(UcoreError):  # the board is there: nothing of it stays
                    self._call("discard", path)
            raise

    def _write_piece(self, path: str, data: bytes, at: int, size: int) -> int:
        piece = data[at : at + size]
        self._call("write", path, at, piece)
        return len(piece)

    def _in_memory(self, size: int, call: Callable[[int], Any]) -> Any:
        """Call with the bytes that the board's memory takes at once, of a file with ``size`` bytes; with fewer, where it does not."""
        if size > self._piece and not self._is_piece_known:
            free: int = self._call("free_memory")
            self._piece = max(LEAST_PIECE, min(MOST_PIECE, 1 << (max(free, 1) // PART_OF_MEMORY).bit_length() >> 1))
            self._is_piece_known = True
        while True:
            try:
                return call(self._piece)
            except BoardCodeError as error:
                if error.ename != "MemoryError" or self._piece <= LEAST_PIECE:
                    raise
                self._piece //= 2

    def put(self, local: str | os.PathLike[str], remote: str = "", *, progress: Progress | None = None) -> list[str]:
        """Copy a file or a folder to the board, and return the board's paths of the files.

        A ``remote`` that is a folder there, or ends with a slash, gets it under its own name. Links are followed.
        """
        source = Path(local)
        if not source.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        target = self._target(remote, source.resolve().name)
        if not source.is_dir():
            check_readable(source)
            self._make_parents(target)
            self.write(target, source.read_bytes(), progress=progress)
            return [target]
        folders, contents = read_folder(source, lambda path: False)
        put = []
        for path in ["", *sorted(folders)]:
            self.mkdir(posixpath.join(target, path))
        for path, file in sorted(contents.items()):
            place = posixpath.join(target, path)
            self.write(place, file.read_bytes(), progress=progress)
            put.append(place)
        return put

    def get(self, remote: str, local: str | os.PathLike[str] = ".", *, progress: Progress | None = None) -> list[Path]:
        """Copy a file or a folder from the board, and return the paths of the files here.

        A ``local`` that is a folder gets it under its own name. A file here is replaced when the new one is whole.
        """
        info = self.stat(remote)
        target = Path(local)
        if target.is_dir():
            target = target / (posixpath.basename(remote.rstrip("/")) or self._board.name)
        if not info.is_folder:
            self._fetch(remote, target, progress)
            return [target]
        got = []
        target.mkdir(parents=True, exist_ok=True)
        for found, _ in self.walk(remote):
            place = inside(target, found.path)
            if found.is_folder:
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(posixpath.join(remote, found.path), place, progress)
                got.append(place)
        return got

    def _fetch(self, remote: str, place: Path, progress: Progress | None) -> None:
        """Copy a file from the board: whole, or not at all."""
        place = replaceable(place)
        beside = place.with_name(place.name + "~ucore")
        try:
            for _ in range(TRIES):
                summed = Sum()
                with beside.open("wb") as file:
                    for piece in self._pieces(remote, progress):
                        file.write(piece)
                        summed.add(piece)
                if self._call("sum_up", remote) in summed.sums():
                    os.replace(beside, place)
                    return
        finally:
            beside.unlink(missing_ok=True)
        raise BoardError(f"{remote} on the board {self._board.name} is being written: it changes while it is read.")

    def sync(
        self,
        folder: str | os.PathLike[str],
        remote: str = "/",
        *,
        delete: bool = False,
        dry_run: bool = False,
        ignore: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> SyncResult:
        """Make a folder of the board like one here, by sending what differs in its content.

        ignore: patterns as in a .gitignore, for what neither is sent nor removed; besides them those in the folder's file .ucoreignore,
        and what no board needs (.git, __pycache__, ...). delete: remove what is on the board and not here; µcore's own package stays.
        dry_run: only say what would be done. Raises NotADirectoryError where the folder is none, and what `write` raises.
        """
        from .sync import Sync

        sync = Sync(self, Path(folder), remote, ignore)
        return sync.plan(delete) if dry_run else sync.run(delete, progress)

    def watch(
        self,
        folder: str | os.PathLike[str],
        remote: str = "/",
        *,
        delete: bool = False,
        ignore: Iterable[str] = (),
        progress: Progress | None = None,
        stop: "threading.Event | None" = None,
    ) -> Iterator[SyncResult]:
        """Sync now, and again after each change in the folder; yields what was done, until ``stop`` is set, or for ever.

        Needs the library watchfiles (extra ``watch``). Raises as `sync`.
        """
        from .sync import Sync

        return Sync(self, Path(folder), remote, ignore).watch(delete, progress, stop)

    def backup(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
        """Write all files of the board into a zip archive with a manifest, and return how many there are.

        The archive is replaced when the new one is whole.
        """
        from .archive import backup

        return backup(self, self._board, Path(path), progress)

    def restore(self, path: str | os.PathLike[str], *, delete: bool = False, progress: Progress | None = None) -> SyncResult:
        """Give the board the files of an archive made by `backup`; what it has already is not sent.

        delete: remove what is not in the archive; µcore's own package stays. Raises ValueError for a file that is no such archive, or one
        that is damaged; nothing is written then.
        """
        from .archive import restore

        return restore(self, Path(path), delete, progress)

    def mount(self, folder: str | os.PathLike[str], *, write: bool = False) -> "Mount":
        """Make a folder of this computer the board's `/remote`, where `import` finds it first; a context manager that ends it.

        write: whether the board may change it. Raises NotADirectoryError, BoardBusyError where another folder is mounted, BoardError
        where the board's Python cannot mount.
        """
        from .mount import Mount

        if self._requests is None:
            raise BoardError("A folder is mounted on a board that `connect` gives.")
        return Mount(self._board, self._requests, folder, write)

    def remove(self, path: str, *, recursive: bool = False, progress: Progress | None = None) -> None:
        """Remove a file, an empty folder, or with ``recursive`` a folder and all that is in it.

        µcore's own package stays, and so does what is mounted; alone they are refused. Of the root only what is in it is removed.
        """
        if not path:
            raise FileNotFoundError(errno.ENOENT, "an empty path names nothing on the board")
        if recursive and self.stat(path).is_folder:
            for _ in self._items("remove_all", path):
                tell(progress, path, 0, 0)  # how much there is to do nobody knows
        else:
            self._call("remove", path)

    def mkdir(self, path: str) -> None:
        """Make a folder, and those it lies in; one that is there stays."""
        self._call("make_folder", path)

    def move(self, old: str, new: str) -> None:
        """Rename a file or a folder; a ``new`` that is a folder gets it under its own name. A folder does not go into itself (EINVAL)."""
        self._call("move", old, self._target(new, posixpath.basename(old.rstrip("/"))))

    def copy(self, old: str, new: str) -> None:
        """Copy a file on the board; a ``new`` that is a folder gets it under its own name."""
        self._call("copy", old, self._target(new, posixpath.basename(old)))

    def df(self) -> list[FileSystem]:
        """Return the board's file systems."""
        return [FileSystem(*found) for found in self._call("space")]

    def _target(self, remote: str, name: str) -> str:
        """Where something goes that is called ``name``."""
        if not remote:
            return name
        if remote.endswith("/"):
            return posixpath.join(remote, name)
        try:
            is_folder = self.stat(remote).is_folder
        except FileNotFoundError:
            return remote
        return posixpath.join(remote, name) if is_folder else remote

    def _make_parents(self, path: str) -> None:
        folder = posixpath.dirname(path)
        if folder.strip("/"):
            self.mkdir(folder)

    def _call(self, function: str, *args: Any) -> Any:
        tries = TRIES if function in REPEATABLE else 1
        while True:
            tries -= 1
            try:
                return self._board.call_value(f"ucore.filesystem.{function}", args)
            except BoardCodeError as error:
                if error.ename != "MemoryError" or not tries:
                    raise as_os_error(error, str(args[0]) if args else "") from None

    def _items(self, function: str, *args: Any) -> Iterator[Any]:
        items = self._call(function, *args)
        while True:
            try:
                yield next(items)
            except StopIteration:
                return
            except BoardCodeError as error:
                raise as_os_error(error, str(args[0])) from None


def _info(path: str, is_folder: bool, size: int) -> FileInfo:
    return FileInfo(path, is_folder, 0 if is_folder else size)


def _below(path: str, name: str) -> str:
    return posixpath.join(path, name) if path not in ("", ".") else name
