"""A folder of a board made like one here: only what differs is sent, by the sums of contents."""

import errno
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .fileinfo import FileInfo, Progress, SyncResult, sums
from .localfiles import read_folder

if TYPE_CHECKING:
    import threading

    import pathspec

__all__ = ["Files", "Sync", "apply"]

IGNORE_FILE = ".ucoreignore"
# What no board needs: what tools leave beside a program's text.
IGNORED = (
    ".git/",
    "__pycache__/",
    "*.pyc",
    ".DS_Store",
    "Thumbs.db",
    ".vscode/",
    ".idea/",
    ".venv/",
    ".ipynb_checkpoints/",
    "*~",
    IGNORE_FILE,
)
# What µcore has put on a stock board: removing it would cut the line that removes it. And where a folder of this computer may be mounted.
OWN = ("/lib/ucore", "/remote")


class Files(Protocol):
    """What of `BoardFiles` is used here."""

    def walk(
        self, path: str = "", *, sums: bool = False, progress: Progress | None = None
    ) -> Iterator[tuple[FileInfo, bytes]]: ...
    def write(self, path: str, data: bytes, *, progress: Progress | None = None) -> None: ...
    def mkdir(self, path: str) -> None: ...
    def remove(self, path: str, *, recursive: bool = False) -> None: ...


class Sync:
    """One folder here, and one of a board."""

    def __init__(self, files: Files, folder: Path, remote: str = "/", ignore: Iterable[str] = ()):
        """See `BoardFiles.sync`."""
        if not folder.is_dir():
            number = errno.ENOTDIR if folder.exists() else errno.ENOENT
            raise OSError(number, os.strerror(number), str(folder))
        self._files = files
        self._folder = folder
        self._remote = remote or "/"
        self._ignore = tuple(ignore)

    def plan(self, delete: bool = False) -> SyncResult:
        """Return what `run` would do."""
        return self._do(delete, None, dry_run=True)

    def run(self, delete: bool = False, progress: Progress | None = None) -> SyncResult:
        """Do it."""
        return self._do(delete, progress, dry_run=False)

    def watch(self, delete: bool, progress: Progress | None, stop: "threading.Event | None") -> Iterator[SyncResult]:
        """See `BoardFiles.watch`."""
        try:
            import watchfiles
        except ImportError:
            raise ImportError("Watching a folder needs the library watchfiles: pip install 'ukernel[watch]'") from None
        yield self.run(delete, progress)
        for _ in watchfiles.watch(self._folder, stop_event=stop, raise_interrupt=True):
            result = self.run(delete, progress)
            if result.put or result.removed:
                yield result

    def _do(self, delete: bool, progress: Progress | None, dry_run: bool) -> SyncResult:
        spec = self._spec()
        folders, contents = read_folder(self._folder, spec.match_file)
        return apply(self._files, self._remote, folders, contents, spec.match_file, delete, progress, dry_run)

    def _spec(self) -> "pathspec.GitIgnoreSpec":
        import pathspec  # 15 ms, for who syncs

        lines = [*IGNORED]
        own = self._folder / IGNORE_FILE
        if own.is_file():
            lines += own.read_text("utf-8").splitlines()
        return pathspec.GitIgnoreSpec.from_lines([*lines, *self._ignore])


def apply(
    files: Files,
    remote: str,
    folders: Iterable[str],
    contents: Mapping[str, Path | bytes],
    is_ignored: Callable[[str], bool],
    delete: bool,
    progress: Progress | None,
    dry_run: bool = False,
) -> SyncResult:
    """Give a board's folder these folders and contents, by path from there; a content is bytes, or a file here."""
    theirs: dict[str, tuple[FileInfo, bytes]] = {}
    try:
        theirs = {info.path: (info, summed) for info, summed in files.walk(remote, sums=True, progress=progress)}
    except FileNotFoundError:
        if not dry_run:
            files.mkdir(remote)
    put: list[str] = []
    removed: list[str] = []
    unchanged = 0

    def remove(path: str) -> None:
        removed.append(path)
        if not dry_run:
            files.remove(posixpath.join(remote, path), recursive=theirs[path][0].is_folder)

    # What is in the way of another kind goes, whatever `delete` says: it could not be written else.
    wanted = set(folders)
    for path in sorted({*wanted, *contents} & set(theirs)):
        if theirs[path][0].is_folder != (path in wanted):
            remove(path)
            for lost in [other for other in theirs if other == path or other.startswith(path + "/")]:
                del theirs[lost]
    for path in sorted(wanted - set(theirs)):
        put.append(path)
        if not dry_run:
            files.mkdir(posixpath.join(remote, path))
    for path, content in sorted(contents.items()):
        data = content if isinstance(content, bytes) else content.read_bytes()
        if path in theirs and theirs[path][0].size == len(data) and theirs[path][1] in sums(data):
            unchanged += 1
            continue
        put.append(path)
        if not dry_run:
            files.write(posixpath.join(remote, path), data, progress=progress)
    if delete:
        extra = set(theirs) - wanted - set(contents)
        kept = {path for path in theirs if path not in extra or _is_ours(posixpath.join(remote, path)) or is_ignored(path)}
        needed = {above for path in kept for above in _above(path)}  # folders in which something stays
        gone: set[str] = set()
        for path in sorted(extra - kept - needed):
            if gone.isdisjoint(_above(path)):
                remove(path)
            gone.add(path)
    return SyncResult(put, removed, unchanged)


def _above(path: str) -> list[str]:
    """Return the folders that a path lies in."""
    parts = path.split("/")
    return ["/".join(parts[:size]) for size in range(1, len(parts))]


def _is_ours(path: str) -> bool:
    path = posixpath.normpath("/" + path).replace("//", "/")  # a board's programs work in its root
    return any(path == own or path.startswith(own + "/") for own in OWN)
