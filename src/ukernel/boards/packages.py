"""The packages on a board: install, list, remove, and a list of them that another board can be given.

What was installed is recorded in a file on the board, with a sum of every file. Other tools leave that file alone, and it leaves with
the board's files; what they have put there is found by looking.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from ukernel.errors import PackageError, UcoreError

from . import mip
from .fileinfo import is_sum
from .files import BoardFiles
from .pins import Pin, sum_all

__all__ = ["BoardPackages", "Evaluator", "Package"]

RECORD = ".packages.json"  # beside the packages
FORMAT = 1  # of the record
# The folders in which the board looks for modules, and the version of bytecode that it understands.
_PLACE = "(list(__import__('sys').path), getattr(__import__('sys').implementation, '_mpy', 0) & 255)"
OURS = "ucore"  # µcore's own folder, on a board without it in the firmware
OK, CHANGED, INCOMPLETE, FOREIGN = "ok", "changed", "incomplete", "not recorded"
Report = Callable[[str], None]


class Evaluator(Protocol):
    """What of a `Board` is used here."""

    name: str

    @property
    def description(self) -> str: ...

    def eval(self, expression: str) -> Any: ...


class Package(NamedTuple):
    """A package on a board.

    name. version: empty where it is not known. source: what `install` was given. target: its folder. files: its paths on the board.
    needs: other packages, by their names. state: "ok", "changed" (its files are others than were installed), "incomplete" (some are
    gone) or "not recorded" (another program has put it there).
    """

    name: str
    version: str
    source: str
    target: str
    files: tuple[str, ...]
    needs: tuple[str, ...] = ()
    state: str = OK


# In the class below, `list` is a method.
_Packages = list[Package]
_AllFetched = list[mip.Fetched]
_Texts = list[str]


class _Place(NamedTuple):
    """Where packages go."""

    bytecode: int  # the version that it understands; 0 for none
    library: str  # of the folders that for packages; empty where there is none

    @property
    def record(self) -> str:
        return f"{self.library}/{RECORD}"


class BoardPackages:
    """The packages of one board: `Board.packages`. Every call may raise what `Board.call` and `Board.files` raise."""

    def __init__(self, board: Evaluator, files: BoardFiles):
        self._board = board
        self._files = files

    def install(
        self,
        *names: "str | os.PathLike[str]",
        index: str | None = None,
        target: str | None = None,
        mpy: bool = True,
        report: Report | None = None,
    ) -> _Packages:
        """Install packages and those that they need, and return them. What is there already is not sent again.

        names: NAME or NAME@VERSION of the index, "github:org/repo[/path][@ref]", "gitlab:...", "codeberg:...", a URL of a package.json
            or a module, or a path of this computer: a folder, a package.json, a module. A path has a slash in it, "./folder".
        index: its URL; None: micropython-lib's. target: a folder of the board; None: that of its `sys.path` which ends in "lib".
        mpy: take bytecode for the board's version where the index has it, else sources. report: is told what is done, a line each.

        All of it is fetched and checked before the board is changed. Raises PackageError where there is no such package, where it is
        damaged or has no room; the board has then what it had.
        """
        wanted = [mip.parse(os.fspath(name) if isinstance(name, str) else _local(name)) for name in names]
        return self._install([Pin(each, index or "", target or "", not mpy) for each in wanted], report)

    def install_pinned(self, text: str, *, report: Report | None = None) -> _Packages:
        """Install what `freeze` has said, or a list of names, a line each, as `install` takes them; return what was installed.

        Raises PackageError, and changes nothing, where a package is not the one that was frozen any more.
        """
        pins = [Pin.parse(line, number) for number, line in enumerate(text.splitlines(), 1)]
        return self._install([pin for pin in pins if pin is not None], report)

    def _install(self, pins: "Iterable[Pin]", report: Report | None) -> _Packages:
        place = self._place()
        report = report or _say_nothing
        found: _AllFetched = []
        rows: dict[str, dict[str, Any]] = {}
        for pin in pins:
            folder = self._target(place, pin.target or None)
            fetched = mip.fetch(
                pin.wanted,
                index=pin.origin or mip.INDEX,
                target=folder,
                bytecode=0 if pin.sources else place.bytecode,
                digest=self._sum,
                alone=bool(pin.sum),  # what it needs has a line of its own
                report=report,
            )
            if pin.sum and sum_all(folder, fetched[0].sums) != pin.sum:
                raise PackageError(
                    f"{fetched[0].name} is not what was frozen: its files are others now, or for another bytecode than this board's "
                    f"(version {place.bytecode}). Nothing was installed. Freeze anew from a board that has what you want."
                )
            for package in fetched:
                if package.name not in rows:
                    rows[package.name] = _row(package, folder, pin.origin, not pin.sources)
                    found.append(package)
        self._put(place, found, rows, report)
        return [_package(name, row) for name, row in rows.items()]

    def list(self, target: str | None = None) -> _Packages:
        """Return the packages on the board, by name: those that were recorded, and those that are found by looking.

        target: a folder to look in besides the board's own for packages.
        """
        place = self._place()
        recorded = self._read(place)
        packages = [_package(name, row) for name, row in recorded.items()]
        sums = self._sums(path for package in packages for path in package.files)
        states = [_state(recorded[package.name]["files"], sums) for package in packages]
        packages = [package._replace(state=state) for package, state in zip(packages, states)]
        owned = {path for package in packages for path in package.files}
        folders = dict.fromkeys([place.library, *(package.target for package in packages), (target or "").rstrip("/")])
        for folder in filter(None, folders):
            packages += self._look(folder, owned)
        return sorted(packages, key=lambda package: (package.name, package.target))

    def remove(self, name: str, *, force: bool = False) -> Package:
        """Remove a package's files, and folders that are empty then; return what it was. What it needs stays.

        name: as `list` has it, or its last part. Raises PackageError where there is none, or others need it, unless ``force``.
        """
        place = self._place()
        packages = self.list()
        package = _find(name, packages)
        needing = [other.name for other in packages if package.name in other.needs and other is not package]
        if needing and not force:
            raise PackageError(f"{package.name} is needed by {', '.join(needing)}. Remove that first, or use force.")
        others = {path for other in packages if other is not package for path in other.files}
        self._erase([path for path in package.files if path not in others], package.target)
        recorded = self._read(place)
        if package.state != FOREIGN and recorded.pop(package.name, None) is not None:
            self._write(place, recorded)
        return package

    def freeze(self) -> str:
        """Return the packages as text, a line each: name, version, and a hash of all files. `install_pinned` takes it."""
        place = self._place()
        recorded = self._read(place)
        lines = [
            f"# Packages of {self._board.description}. A board gets them by board.packages.install_pinned(text), or by",
            "# `ucore mip install -r FILE`.",
        ]
        for package in self.list():
            if package.state == FOREIGN:
                lines.append(f"# {package.name} is on the board, too, but another program has put it there.")
                continue
            if package.state != OK:
                lines.append(f"# {package.name} is {package.state} on the board: this is what was installed.")
            row = recorded[package.name]
            lines.append(
                Pin(
                    mip.Wanted(package.source, package.version),
                    row.get("index", ""),
                    "" if package.target == place.library else package.target,
                    bool(row.get("sources")),
                    row["sum"],
                ).text()
            )
        return "\n".join(lines) + "\n"

    # --- the board ------------------------------------------------------------------------------------------

    def _place(self) -> _Place:
        folders, bytecode = self._board.eval(_PLACE)
        library = next((path for path in folders if path.endswith("/lib") and not path.startswith("/rom")), "")
        return _Place(bytecode, library)

    def _target(self, place: _Place, target: str | None) -> str:
        if target is not None:
            folder = "/" + target.strip("/")
            if any(part in (".", "..") for part in folder.split("/")):
                raise PackageError(f"{target!r} is no folder for packages: it must be a plain path of the board, such as /lib.")
            return folder.rstrip("/")
        if not place.library:
            raise PackageError(
                f"The board {self._board.name} has no folder for packages: none in its sys.path ends in /lib. Name one with target."
            )
        return place.library

    def _sum(self, path: str) -> bytes | None:
        """Return the sum of a file's content, None where there is no such file."""
        try:
            return self._files.sum_up(path)
        except OSError:
            return None

    def _sums(self, paths: Iterable[str]) -> dict[str, bytes | None]:
        return {path: self._sum(path) for path in dict.fromkeys(paths)}

    def _look(self, folder: str, owned: set[str]) -> _Packages:
        """Return the packages in a folder whose files nobody has recorded: each module, and each folder, is one."""
        found: dict[str, _Texts] = {}
        if not self._files.exists(folder):
            return []
        for info, _ in self._files.walk(folder):
            top, _, below = info.path.partition("/")
            path = f"{folder}/{info.path}"
            if info.is_folder or path in owned or top.startswith(".") or top == OURS or top.endswith(("~", "~ucore")):
                continue
            name = top if below else top.removesuffix(".py").removesuffix(".mpy")
            found.setdefault(name, []).append(path)
        return [Package(name, "", "", folder, tuple(sorted(paths)), (), FOREIGN) for name, paths in found.items()]

    def _erase(self, paths: Iterable[str], top: str) -> None:
        """Remove files, and the folders below ``top`` that are empty then."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                self._files.remove(path)
            with contextlib.suppress(OSError):  # the first that is not empty
                while (path := path.rpartition("/")[0]).startswith(top + "/"):
                    self._files.remove(path)

    # --- the record -----------------------------------------------------------------------------------------

    def _read(self, place: _Place) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._files.read(place.record))
            packages: dict[str, dict[str, Any]] = found["packages"]
            for row in packages.values():
                if not isinstance(row["files"], dict) or not all(
                    isinstance(row[key], str) for key in ("source", "target", "sum")
                ):
                    raise TypeError("files, source, target, sum")
                for digest in row["files"].values():
                    bytes.fromhex(digest)
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, LookupError, AttributeError):
            raise PackageError(
                f"The list of packages on the board {self._board.name} is damaged. Remove {place.record} there: the packages stay, and "
                "are listed again once they are installed again."
            ) from None
        return packages

    def _write(self, place: _Place, packages: dict[str, dict[str, Any]]) -> None:
        self._files.mkdir(place.library or "/")
        text = json.dumps({"format": FORMAT, "packages": packages}, ensure_ascii=False, separators=(",", ":"))
        self._files.write(place.record, text.encode())

    # --- putting files there --------------------------------------------------------------------------------

    def _put(self, place: _Place, found: _AllFetched, rows: dict[str, dict[str, Any]], report: Report) -> None:
        """Write the files that the board lacks, and the record; or leave the board as it was."""
        recorded = self._read(place)
        there = self._sums(path for package in found for path in package.files)
        lacking = {
            path: data
            for package in found
            for path, data in package.files.items()
            if data is not None and not is_sum(there[path], package.sums[path])
        }
        files = {path for package in found for path in package.files}
        old = {path: row["target"] for name, row in recorded.items() if name in rows for path in row["files"]}
        self._check_shadows(files, old)
        self._check_room(lacking)
        before: dict[str, bytes | None] = {}
        try:
            for path, data in lacking.items():
                before[path] = self._files.read(path) if there[path] is not None else None
                report(f"writing {path} ({len(data):,} bytes)")
                self._files.mkdir(path.rpartition("/")[0] or "/")
                self._files.write(path, data)
            recorded.update(rows)
            self._write(place, recorded)
        except BaseException as error:
            self._undo(before, {path: row["target"] for row in rows.values() for path in row["files"]})
            if isinstance(error, OSError) and not isinstance(error, UcoreError):
                raise PackageError(
                    f"{found[0].name} cannot be installed: {error.strerror or error}. The board has what it had."
                ) from error
            raise
        others = {path for row in recorded.values() for path in row["files"]}
        for path, top in old.items():
            if path not in others:  # of the version before
                self._erase([path], top)

    def _undo(self, before: dict[str, bytes | None], tops: dict[str, str]) -> None:
        try:
            for path, data in before.items():
                if data is None:
                    self._erase([path], tops[path])
            for path, data in before.items():
                if data is not None:
                    self._files.write(path, data)
        except (UcoreError, OSError):
            pass  # the board is gone, say: then `list` tells what is there

    def _check_shadows(self, files: set[str], ours: Iterable[str]) -> None:
        """A board that has a module as source takes that, and never the bytecode beside it."""
        sources = [path[: -len("mpy")] + "py" for path in files if path.endswith(".mpy")]
        for path, digest in self._sums(path for path in sources if path not in files and path not in ours).items():
            if digest is not None:
                raise PackageError(
                    f"{path} is on the board, and would be imported instead of the {path[:-2]}mpy that is to be installed. Remove it "
                    "first, or install with mpy=False, which replaces it."
                )

    def _check_room(self, lacking: dict[str, bytes]) -> None:
        if not lacking:
            return
        path = next(iter(lacking))
        systems = [each for each in self._files.df() if path.startswith(each.path)]
        system = max(systems, key=lambda each: len(each.path), default=None)
        needed = sum(map(len, lacking.values()))
        if system is not None and needed > system.free:
            left = f"The board's file system has {system.free:,} bytes left; {needed:,} are needed."
            raise PackageError(f"{left} Nothing was installed. Delete files and try again.")


def _say_nothing(line: str) -> None:
    pass


def _local(path: "os.PathLike[str]") -> str:
    text = os.fspath(path)
    return text if os.path.isabs(text) else os.path.join(".", text)


def _row(package: mip.Fetched, target: str, index: str, mpy: bool) -> dict[str, Any]:
    """Return what is recorded of a package."""
    row: dict[str, Any] = {
        "version": package.version,
        "source": package.source,
        "target": target,
        "needs": package.needs,
        "files": {path: digest.hex() for path, digest in package.sums.items()},
        "sum": sum_all(target, package.sums),
    }
    if index and index != mip.INDEX:
        row["index"] = index
    if not mpy:
        row["sources"] = True
    return row


def _package(name: str, row: dict[str, Any]) -> Package:
    files, needs = tuple(sorted(row["files"])), tuple(row.get("needs", ()))
    return Package(name, str(row.get("version", "")), row["source"], row["target"], files, needs)


def _state(files: dict[str, str], sums: dict[str, bytes | None]) -> str:
    found = {path: sums[path] for path in files}
    if None in found.values():
        return INCOMPLETE
    return OK if all(is_sum(now, bytes.fromhex(files[path])) for path, now in found.items()) else CHANGED


def _find(name: str, packages: _Packages) -> Package:
    """Return the package that a name means, or the last part of one. Raises PackageError."""
    found = [package for package in packages if package.name == name] or [
        package for package in packages if package.name.removesuffix("/package.json").rpartition("/")[2] in (name, f"{name}.py")
    ]
    recorded = [package for package in found if package.state != FOREIGN]
    found = recorded or found
    if not found:
        known = ", ".join(dict.fromkeys(package.name for package in packages))
        raise PackageError(f"There is no package {name} on the board. It has {known or 'none'}.")
    if len(found) > 1:
        raise PackageError(f"{name} means several packages: {', '.join(f'{each.name} in {each.target}' for each in found)}.")
    return found[0]
