"""Gets packages for boards by mpremote's own rules. Its code for that is used here, and nowhere else.

mpremote's Python API is declared unstable, and its `mip` writes to the board as it goes. So it is given a copy of its module for
itself, in which it finds another way to the network, to this computer's files and to the board: what it fetches is kept until all is
there and is what the index says.
"""

import hashlib
import http.client
import importlib.util
import io
import json
import os
import re
import types
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ukernel.errors import PackageError, describe

from .fileinfo import sums

__all__ = ["INDEX", "Fetched", "Wanted", "fetch", "parse"]

INDEX = "https://micropython.org/pi/v2"  # of micropython-lib
HOSTS = ("github:", "gitlab:", "codeberg:")
ANSWER_S = 20.0  # for a server to say something
MAX_BYTES = 16 << 20  # of one file: no board has more flash
MAX_PACKAGES = 200  # that one needs
LATEST = "latest"
_HASH = re.compile("[0-9a-f]{8,64}")
_NO_NAME = re.compile(r"""[\x00-\x20\x7f/\\?#%"'<>:]""")
_MODULE = (".py", ".mpy")


class Wanted(NamedTuple):
    """What is to be installed. ``source``: a package's name, "github:org/repo", a URL, or a path of this computer."""

    source: str
    version: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is on this computer."""
        return _is_path(self.source)

    @property
    def is_indexed(self) -> bool:
        """Whether an index has it."""
        return not self.is_local and not self.source.startswith((*HOSTS, "http:", "https:"))


@dataclass
class Fetched:
    """A package. ``files``: the content by the path on the board; None where the board has it already."""

    name: str
    version: str  # as its index says it, or what comes behind the @; may be empty
    source: str
    files: dict[str, bytes | None] = field(default_factory=dict)
    sums: dict[str, bytes] = field(default_factory=dict)  # of each of them, see `fileinfo.is_sum`
    needs: list[str] = field(default_factory=list)

    def add(self, path: str, data: bytes) -> None:
        self.files[path] = data
        self.sums[path] = b"".join(sums(data))


def parse(spec: str) -> Wanted:
    """Return what a text names: NAME[@VERSION], github:org/repo[/path][@ref], a URL, a folder, a file. Raises PackageError."""
    if _is_path(spec) and "\0" not in spec:
        return Wanted(os.path.abspath(os.path.expanduser(spec)))
    if spec.startswith(("http://", "https://")):
        return Wanted(spec)
    source, _, version = spec.partition("@")
    host = next((host for host in HOSTS if source.startswith(host)), "")
    rest = source[len(host) :]
    if host:
        parts = rest.split("/")
        wrong = len(parts) < 2 or not parts[0] or not parts[1] or any(part in (".", "..") for part in parts)
        wrong = wrong or re.search(r"[\x00-\x20?#\\]", rest) is not None
    else:
        wrong = not rest or rest.startswith(".") or _NO_NAME.search(rest) is not None
    if wrong or "@" in version or (not host and _NO_NAME.search(version)):
        raise PackageError(
            f"{spec!r} names no package. What does is NAME, NAME@VERSION, github:org/repo@ref, a URL, or a path such as ./folder."
        )
    return Wanted(source, version)


def _is_path(text: str) -> bool:
    if text.startswith((*HOSTS, "http://", "https://")):
        return False
    return text.startswith((".", "~")) or "/" in text or "\\" in text or text.endswith((*_MODULE, ".json"))


def fetch(
    wanted: Wanted,
    *,
    index: str,
    target: str,
    bytecode: int,
    digest: Callable[[str], bytes | None],
    alone: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> list[Fetched]:
    """Return a package and those that it needs, which come behind it. Nothing is changed on the board.

    index: its URL. target: the board's folder. bytecode: the version that the board understands; 0: sources are wanted. digest: returns the sum of a file that the board has. alone: what it needs is left out. report: is told what is fetched, a line each.

    Raises PackageError where there is none, where it is damaged or no server answers.
    """
    index = index.rstrip("/")
    if not index.startswith(("http://", "https://")):
        raise PackageError(f"{index!r} is no index: its URL begins with https:// or http://.")
    run = _Run(index, target, bytecode, digest, alone, report)
    if wanted.is_local:
        return run.read(Path(wanted.source))
    return run.get(wanted.source, wanted.version)


class _Run:
    """One use of mpremote's code, which takes this for its connection to a board."""

    def __init__(
        self,
        index: str,
        target: str,
        bytecode: int,
        digest: Callable[[str], bytes | None],
        alone: bool,
        report: Callable[[str], None],
    ):
        self._index, self._target, self._bytecode, self._alone = index, target, bytecode, alone
        self._digest = digest
        self._report = report
        self._fetched: list[Fetched] = []
        self._hashes: set[str] = set()  # of files that the index keeps
        self._awaits_manifest = False
        self._mip = self._load()
        self._install = self._mip._install_package
        self._mip._install_package = self._get_one

    def _load(self) -> Any:
        from mpremote.commands import show_progress_bar  # noqa: F401  # mpremote is there: its own code is found by name

        spec = importlib.util.find_spec("mpremote.mip")
        assert spec is not None and spec.loader is not None
        mip: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(mip)
        request = types.SimpleNamespace(urlopen=self._open_url)
        mip.urllib = types.SimpleNamespace(request=request, error=urllib.error)
        mip.open = self._open_file
        mip.print = mip.show_progress_bar = lambda *args, **kwargs: None
        return mip

    def get(self, source: str, version: str) -> list[Fetched]:
        """Fetch by mpremote's code. Raises PackageError."""
        from mpremote.commands import CommandError

        try:
            self._mip._install_package(self, source, self._index, self._target, version or None, bool(self._bytecode))
        except CommandError as error:
            raise PackageError(f"{source} cannot be had: {error}.") from None
        return self._fetched

    def read(self, path: Path) -> list[Fetched]:
        """Take a package of this computer: by its package.json, or all modules of a folder. Raises PackageError."""
        manifest = path / "package.json" if path.is_dir() else path
        if manifest.suffix == ".json" and (manifest.exists() or not path.is_dir()):
            return self.get(manifest.as_posix(), "")
        package = Fetched(path.stem if path.is_file() else path.name, "", str(path))
        if not path.is_dir():
            package.add(f"{self._target}/{path.name}", _read(path))
            return [package]
        # A folder that is a package is copied as such; of another one, what is in it.
        top = path.parent if (path / "__init__.py").exists() or (path / "__init__.mpy").exists() else path
        for found in sorted(path.rglob("*")):
            parts = found.relative_to(top).parts
            hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
            if found.is_file() and not hidden and found.suffix in _MODULE:
                package.add("/".join((self._target, *parts)), _read(found))
        if not package.files:
            raise PackageError(f"{path} has neither a package.json nor a module, so there is nothing to install.")
        return [package]

    # --- what mpremote's code calls --------------------------------------------------------------------------

    def exec(self, code: str) -> None:
        """It imports what it asks for next."""

    def eval(self, code: str) -> int:
        """It asks for the version of the bytecode."""
        return self._bytecode

    def fs_exists(self, path: str) -> bool:
        """Folders are made when all files are there."""
        return True

    def fs_hashfile(self, path: str, algorithm: str, *_: Any) -> bytes:
        """It asks whether the board has a file already."""
        self._check_path(path)
        found = self._digest(path)
        if found is None:
            raise FileNotFoundError(path)
        self._package.files[path] = None  # unless the hash is another: then it is written
        self._package.sums[path] = found
        return found

    def fs_writefile(self, path: str, data: bytes, **_: Any) -> None:
        """It has fetched a file."""
        self._check_path(path)
        self._package.add(path, data)

    @property
    def _package(self) -> Fetched:
        return self._fetched[-1]

    def _get_one(self, run: "_Run", source: str, index: str, target: str, version: str | None, mpy: bool) -> None:
        """What `mip` calls for a package, and for each that this one needs; all of its files come before these."""
        if self._fetched:
            if self._alone:
                return
            wanted = parse(source)
            if wanted.is_local:
                needing = next(package.name for package in self._fetched if source in package.needs)
                raise PackageError(f"{needing} is damaged: it needs {source!r}, which is no package.")
            source, version = wanted.source, version or wanted.version
        for known in self._fetched:
            if known.source == source:
                if version not in (None, "", LATEST, "*", known.version):
                    raise PackageError(f"{source} is needed in version {known.version or LATEST}, and in {version}.")
                return
        if len(self._fetched) >= MAX_PACKAGES:
            raise PackageError(f"{self._fetched[0].name} needs more than {MAX_PACKAGES} packages.")
        version = None if version in ("", "*") else version
        package = Fetched(_name(source), version or "", source)
        self._fetched.append(package)
        self._awaits_manifest = not source.endswith(_MODULE)
        self._report(f"fetching {source}{'@' + version if version else ''}")
        try:
            self._install(run, source, index, target, version, mpy)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise PackageError(f"{source} is damaged: {error}.") from None

    def _check_path(self, path: str) -> None:
        inside = path[len(self._target) + 1 :] if path.startswith(self._target + "/") else ""
        if any(part in ("", ".", "..") for part in inside.split("/")) or "\0" in inside:
            raise PackageError(f"{self._package.name} is damaged: it has a file {path!r}, which is not in {self._target}.")

    def _open_url(self, url: str) -> io.BytesIO:
        """What `mip` has for `urllib.request.urlopen`."""
        try:
            data = _get(url)
        except _MissingError:
            data = self._find_elsewhere(url)
        if self._awaits_manifest:
            self._take_manifest(data, url)
            return io.BytesIO(data)
        expected = url.rpartition("/")[2]
        is_named = url.startswith(f"{self._index}/file/") and expected in self._hashes
        if is_named and not hashlib.sha256(data).hexdigest().startswith(expected):
            raise PackageError(
                f"{self._package.name} is damaged, or was tampered with: {url} is not the file that the index names. "
                "Nothing was installed. Try again, and if it stays so, tell who runs the index."
            )
        return io.BytesIO(data)

    def _find_elsewhere(self, url: str) -> bytes:
        """A package that is not there as bytecode may be as sources. Raises PackageError where it is not."""
        package = self._package
        as_code = f"{self._index}/package/{self._bytecode}/"
        if not self._awaits_manifest:
            raise PackageError(f"{package.name} is damaged: there is no file {url}.")
        if url.startswith(as_code):
            try:
                return _get(f"{self._index}/package/py/{url[len(as_code) :]}")
            except _MissingError:
                pass
        if not Wanted(package.source).is_indexed:
            raise PackageError(f"There is no package at {url}.")
        raise PackageError(self._say_missing(package))

    def _say_missing(self, package: Fetched) -> str:
        import difflib

        try:
            known = json.loads(_get(f"{self._index}/index.json"))["packages"]
            names = [str(each["name"]) for each in known]
        except (PackageError, _MissingError, ValueError, LookupError, TypeError):
            names = []
        if package.name in names and package.version:
            return f"The index {self._index} has {package.name}, but not in version {package.version}."
        near = difflib.get_close_matches(package.name, names, 3)
        hint = f" It has {', '.join(near)}." if near else ""
        return f"The index {self._index} has no package {package.name}.{hint}"

    def _open_file(self, path: str, mode: str = "r") -> Any:
        """What `mip` has for `open`: of local packages alone, for what a server gives is never a path here."""
        data = _read(Path(path))
        if self._awaits_manifest:
            self._take_manifest(data, path)
        return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode("utf-8"))

    def _take_manifest(self, data: bytes, where: str) -> None:
        self._awaits_manifest = False
        package = self._package
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise PackageError(f"{package.name} is damaged: {where} is no package.json.")
        for key in ("hashes", "urls", "deps"):
            rows = found.get(key, [])
            right = isinstance(rows, list) and all(
                isinstance(row, list) and len(row) == 2 and all(isinstance(word, str) and word for word in row) for row in rows
            )
            if not right:
                raise PackageError(f'{package.name} is damaged: "{key}" in {where} is no list of pairs of texts.')
        hashes = {row[1] for row in found.get("hashes", ())}
        if not all(map(_HASH.fullmatch, hashes)):
            raise PackageError(f"{package.name} is damaged: {where} has what is no hash.")
        self._hashes |= hashes
        package.needs = [row[0] for row in found.get("deps", ())]
        version = found.get("version")
        if isinstance(version, str) and version and not _NO_NAME.search(version) and Wanted(package.source).is_indexed:
            package.version = version


class _MissingError(Exception):
    """The server says that there is no such thing."""


def _get(url: str) -> bytes:
    """Return what is at a URL. Raises _MissingError, and PackageError where it cannot be had."""
    quoted = urllib.parse.quote(url, safe="/:?#[]@!$&'()*+,;=%~")
    try:
        with urllib.request.urlopen(quoted, timeout=ANSWER_S) as response:
            data: bytes = response.read(MAX_BYTES + 1)
            left = response.length  # of what it has promised
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise _MissingError(url) from None
        raise PackageError(f"{url} cannot be had: the server says {error.code} {error.reason}.") from None
    except urllib.error.URLError as error:
        raise PackageError(f"{url} cannot be had: {_reason(error.reason)}. Is this computer online?") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PackageError(f"{url} cannot be had: {_reason(error)}.") from None
    if len(data) > MAX_BYTES:
        raise PackageError(f"{url} has more than {MAX_BYTES >> 20} MB, which no board has room for.")
    if left:
        raise PackageError(f"{url} cannot be had: it was cut off. Try again.")
    return data


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_S:g} s"
    if isinstance(error, OSError) and error.strerror:
        return describe(error)
    return str(error) or type(error).__name__


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror or error}.") from None


def _name(source: str) -> str:
    """Return what a package is called on the board."""
    if not _is_path(source):
        return source
    path = Path(source)
    return path.parent.name if path.name == "package.json" else path.stem
