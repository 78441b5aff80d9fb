"""Files and packages of a board as text: what the command line and notebooks print of them."""

import posixpath
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .fileinfo import FileInfo, FileSystem, SyncResult

if TYPE_CHECKING:
    from .packages import Package

__all__ = [
    "PACKAGE_COLUMNS",
    "SPACE_COLUMNS",
    "describe_removed",
    "describe_sync",
    "draw_tree",
    "list_folder",
    "package_rows",
    "space_rows",
]

SPACE_COLUMNS = ("path", "size", "used", "free")
PACKAGE_COLUMNS = ("package", "version", "state", "files", "from")


def list_folder(found: Sequence[FileInfo]) -> Iterator[str]:
    """Yield a line for each of a folder's files: size and name."""
    width = max((len(f"{info.size:,}") for info in found), default=0)
    for info in found:
        yield f"{'' if info.is_folder else f'{info.size:,}':>{width}}  {info.name}{'/' if info.is_folder else ''}"


def draw_tree(found: Sequence[FileInfo], root: str) -> Iterator[str]:
    """Yield a line for each of what `BoardFiles.tree` has found, as a tree below the folder ``root``."""
    inside: dict[str, list[FileInfo]] = {}
    for info in found:
        inside.setdefault(posixpath.dirname(info.path), []).append(info)

    def draw(folder: str, indent: str) -> Iterator[str]:
        here = inside.get(folder, [])
        for info in here:
            is_last = info is here[-1]
            yield f"{indent}{'└── ' if is_last else '├── '}{info.name}{'/' if info.is_folder else f'  {info.size:,}'}"
            if info.is_folder:
                yield from draw(info.path, indent + ("    " if is_last else "│   "))

    yield root or "."
    yield from draw("", "")


def space_rows(found: Sequence[FileSystem]) -> list[tuple[str, ...]]:
    """Return rows of `SPACE_COLUMNS`, in bytes."""
    return [(one.path, f"{one.size:,}", f"{one.size - one.free:,}", f"{one.free:,}") for one in found]


def describe_sync(result: SyncResult, dry_run: bool = False) -> tuple[list[str], str]:
    """Return what was sent and removed, a line each, and a sentence on how much that was, or with ``dry_run`` would be."""
    would = "would be " if dry_run else ""
    sentence = f"{len(result.put)} {would}sent, {len(result.removed)} {would}removed, {result.unchanged} as they should be."
    return [*(f"+ {path}" for path in result.put), *(f"- {path}" for path in result.removed)], sentence


def package_rows(packages: "Sequence[Package]") -> list[tuple[str, ...]]:
    """Return rows of `PACKAGE_COLUMNS`."""
    return [(one.name, one.version, one.state, str(len(one.files)), one.source) for one in packages]


def describe_removed(package: "Package") -> str:
    """Return a sentence on a package that was removed."""
    count = len(package.files)
    return f"Removed {package.name} {package.version}".rstrip() + f", {count} file{'' if count == 1 else 's'}."
