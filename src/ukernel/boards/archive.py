"""All files of a board in one zip archive, with a manifest that says what board they were on."""

import datetime
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, Protocol

from ukernel import __version__

from .fileinfo import Progress, SyncResult, inside, replaceable, sum_up
from .sync import Files, apply

__all__ = ["MANIFEST", "backup", "restore"]

MANIFEST = "ucore-backup.json"
FORMAT = 1
ROOT = "files/"  # where the board's files are in the archive: none of them can be taken for the manifest
MAX_BYTES = 64 << 20  # of what is unpacked: no board's flash is larger, and no archive can fill this computer's memory


class ReadableFiles(Files, Protocol):
    """What of `BoardFiles` is used here."""

    def read(self, path: str, *, progress: Progress | None = None) -> bytes: ...


class NamedBoard(Protocol):
    """What of a `Board` is used here."""

    name: str
    facts: dict[str, Any]


def backup(files: ReadableFiles, board: NamedBoard, path: Path, progress: Progress | None) -> int:
    """See `BoardFiles.backup`."""
    found = sorted(files.walk("/", sums=True, progress=progress))
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "board": board.name,
        "facts": {key: board.facts.get(key) for key in ("machine", "platform", "python", "version", "id")},
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "by": f"ukernel {__version__}",
        "folders": [info.path for info, _ in found if info.is_folder],
        "files": {info.path: {"size": info.size, "sum": summed.hex()} for info, summed in found if not info.is_folder},
    }
    path = replaceable(path)
    beside = path.with_name(path.name + "~ucore")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in manifest["files"]:
                data = files.read("/" + name, progress=progress)
                # It may have been written since it was summed up.
                manifest["files"][name] = {"size": len(data), "sum": sum_up(data).hex()}
                archive.writestr(ROOT + name, data)
            archive.writestr(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return len(manifest["files"])


def restore(files: Files, path: Path, delete: bool, progress: Progress | None) -> SyncResult:
    """See `BoardFiles.restore`."""
    folders, contents = _read(path)
    return apply(files, "/", folders, contents, lambda path: False, delete, progress)


def _read(path: Path) -> tuple[list[str], dict[str, bytes]]:
    """Return the folders and the files of an archive. Raises ValueError where it is none, or not whole."""
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _unpack(archive)
        except (
            zipfile.BadZipFile, zlib.error, KeyError, TypeError, AttributeError, ValueError, EOFError, RuntimeError, OSError,
        ) as error:  # fmt: skip
            raise ValueError(f"{path} is no backup of a board, or it is damaged: {error}. Nothing was written.") from None


def _unpack(archive: zipfile.ZipFile) -> tuple[list[str], dict[str, bytes]]:
    if archive.getinfo(MANIFEST).file_size > MAX_BYTES:
        raise ValueError("its manifest is larger than any board's flash")
    manifest = json.loads(archive.read(MANIFEST))
    if manifest.get("format") != FORMAT:
        raise ValueError(f"its format is {manifest.get('format')!r}, this µcore knows {FORMAT}")
    folders = [_checked(name) for name in manifest["folders"]]
    sums = {_checked(name): about for name, about in manifest["files"].items()}
    if sum(archive.getinfo(ROOT + name).file_size for name in sums) > MAX_BYTES:
        raise ValueError("it is larger than any board's flash")
    contents: dict[str, bytes] = {}
    for name, about in sums.items():
        if archive.getinfo(ROOT + name).file_size != about["size"]:
            raise ValueError(f"{name} has not the size that its manifest says")
        contents[name] = archive.read(ROOT + name)
        if sum_up(contents[name]).hex() != about["sum"]:
            raise ValueError(f"{name} is not what its manifest says")
    return folders, contents


def _checked(name: str) -> str:
    inside(Path(), name)
    return name.strip("/")
