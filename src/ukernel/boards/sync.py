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
LOOK_MS = 200  # for which nothing changes, before a watched folder is first looked at
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
    "*~ucore",  # a file of a board that is being written
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
    def exists(self, path: str) -> bool: ...
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
        # The first look is when nothing has changed for a moment: from then on no change is missed, also not one that a sync meets.
        is_first = True
        for changes in watchfiles.watch(
            self._folder, stop_event=stop, raise_interrupt=True, yield_on_timeout=True, rust_timeout=LOOK_MS
        ):
            if not changes and not is_first:
                continue
            try:
                result = self.run(delete, progress)
            except FileNotFoundError as error:
                if str(self._folder) not in str(error.filename):
                    raise
                continue  # it has gone meanwhile, which is the next change
            if is_first or result.put or result.removed:
                yield result
            is_first = False

    def _do(self, delete: bool, progress: Progress | None, dry_run: bool) -> SyncResult:
        spec = self._spec()
        folders, contents = read_folder(self._folder, spec.match_file)
        return apply(self._files, self._remote, folders, contents, spec.match_file, delete, progress, dry_run)

    def _spec(self) -> "pathspec.GitIgnoreSpec":
        import pathspec  # 15 ms, for who syncs

        lines = [*IGNORED]
        own = self._folder / IGNORE_FILE
        if own.is_file():
            try:
                lines += own.read_text("utf-8").splitlines()
            except UnicodeDecodeError:
                raise ValueError(f"{own} is no text in UTF-8.") from None
        try:
            return pathspec.GitIgnoreSpec.from_lines([*lines, *self._ignore])
        except ValueError as error:
            raise ValueError(f"A pattern of what is to be ignored means nothing: {error}") from None


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
    _take_twins(files, remote, {*folders, *contents}, theirs)
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


def _take_twins(files: Files, remote: str, wanted: set[str], theirs: dict[str, tuple[FileInfo, bytes]]) -> None:
    """To FAT, Main.py and main.py are one file: have what is there under the name that is wanted, lest it be taken for another."""
    twins = {path.lower(): path for path in theirs}
    for path in sorted(wanted - set(theirs)):
        twin = twins.get(path.lower())
        if twin is not None and twin not in wanted and twin in theirs and files.exists(posixpath.join(remote, path)):
            theirs[path] = theirs.pop(twin)


def _above(path: str) -> list[str]:
    """Return the folders that a path lies in."""
    parts = path.split("/")
    return ["/".join(parts[:size]) for size in range(1, len(parts))]


def _is_ours(path: str) -> bool:
    path = posixpath.normpath("/" + path).replace("//", "/")  # a board's programs work in its root
    return any(path == own or path.startswith(own + "/") for own in OWN)
