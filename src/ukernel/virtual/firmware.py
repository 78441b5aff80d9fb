"""Builds MicroPython for the virtual board: its unix port, from Debian's source package, with µcore frozen in.

Everything is kept in `settings.cache_dir()`: the download, the patched source with its object files (so that a change in
`ucore` costs seconds), and the finished programs, one for every state of the files that go in.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ucore import wire
from ukernel import settings
from ukernel.errors import UcoreError, describe
from ukernel.protocol.filelock import FileLock

__all__ = ["FirmwareError", "build", "find", "version"]

SUITE = "trixie"  # the Debian release whose MicroPython (1.25) the patches fit
TOOLS = {"apt-get": "apt", "gcc": "gcc", "make": "make", "dpkg-source": "dpkg-dev", "patch": "patch"}
MAX_PROGRAMS = 12  # kept in the cache: a few checkouts, and what tests freeze; under a megabyte each
MAX_SOURCES = 2
STEPS = 6


class FirmwareError(UcoreError):
    """MicroPython could not be built; the text says why and what to do."""


def find(package: Path | None = None) -> Path | None:
    """Return the program that was built from the files as they are now, or None.

    ``package`` is the folder of another ``ucore`` package to freeze in, for tests.
    """
    program = _program(_inputs(package))
    try:
        os.utime(program)  # it counts as new when old ones are thrown away
    except OSError:  # none there, or in somebody else's cache
        return program if program.exists() else None
    return program


def build(report: Callable[[str], None] | None = None, package: Path | None = None) -> Path:
    """Return the program for the files as they are now, building it if need be (half a minute the first time).

    ``report`` is called with one line per step; None prints them on stderr. Raises FirmwareError.
    """
    report = report or (lambda line: print(line, file=sys.stderr, flush=True))
    inputs = _inputs(package)
    program = _program(inputs)
    if find(package) == program:
        return program
    try:
        root = _root()
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / "lock")
        if not lock.try_acquire():
            report("another build is running: waiting for it")
            lock.acquire()
        try:
            if not program.exists():
                _build(root, inputs, program, report)
        finally:
            lock.release()
    except OSError as error:
        raise FirmwareError(f"MicroPython could not be built in {_root()}: {describe(error)}.") from error
    return program


def version(program: Path) -> str:
    """Return the version of a built program, such as "1.25.0". Raises FirmwareError if it does not run."""
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise FirmwareError(f"{program} does not run: {error}. Delete it and build again.") from error
    found = re.search(r"MicroPython v?([0-9.]+)", text)
    return found[1] if found else "unknown"


def _root() -> Path:
    return settings.cache_dir() / "micropython"


def _inputs(package: Path | None) -> dict[str, bytes]:
    """Return all that goes into the program: relative path to content, as it is at this moment."""
    here = Path(__file__).parent
    firmware = here.parents[2] / "firmware"  # in a checkout
    if not (firmware / "unix").is_dir():
        firmware = here / "_firmware"  # in an installed wheel
    if package is None:
        package = Path(wire.__file__).parent
    found = {}
    for folder, target in (
        (package, "stage/ucore"),
        (here / "simulated", "stage"),
        (firmware / "unix", "variant"),
    ):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".c", ".h", ".mk", ".patch"):
                found[f"{target}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return found


def _digest(inputs: dict[str, bytes], prefix: str) -> str:
    """Return a short name for the part of the inputs whose paths start with the prefix, on this kind of machine."""
    digest = hashlib.sha256(f"{SUITE} {platform.machine()} {platform.libc_ver()}".encode())
    for name, content in sorted(inputs.items()):
        if name.startswith(prefix):
            digest.update(f"\n{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _program(inputs: dict[str, bytes]) -> Path:
    return _root() / f"program-{_digest(inputs, '')}" / "micropython"


def _build(root: Path, inputs: dict[str, bytes], program: Path, report: Callable[[str], None]) -> None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if "apt-get" in missing:
        raise FirmwareError(
            "MicroPython for the virtual board is built from Debian's source package, and this is not a Debian system: "
            "the virtual board runs the same agent on CPython here."
        )
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        raise FirmwareError(f"Building MicroPython needs {', '.join(missing)}: apt-get install {packages}")
    if re.search(r"\s", str(root)):
        raise FirmwareError(
            f"make cannot build in a folder with a space in its name, {root}: set UCORE_CACHE_DIR to another one."
        )
    report(f"[1/{STEPS}] MicroPython for the virtual board, in {root}")
    source = root / f"source-{_digest(inputs, 'variant/patches/')}"
    if not (source / "patched").exists():
        _unpack(root, source, inputs, report)
    os.utime(source)
    common = ["make", f"-j{os.cpu_count() or 1}", f"PYTHON={sys.executable}", "CFLAGS_EXTRA=-Wno-error"]
    report(f"[4/{STEPS}] compiling its cross-compiler")
    _run([*common, "-C", "mpy-cross"], source)

    _stage(source / "stage", inputs, "stage/")
    changed = _stage(source / "variant", inputs, "variant/", but="variant/patches/")
    if changed:  # make does not see that flags have changed
        shutil.rmtree(source / "build", ignore_errors=True)
    report(f"[5/{STEPS}] compiling MicroPython" + (" (20 s)" if changed else ""))
    variant = source / "variant"
    settings_ = [f"VARIANT_DIR={variant}", f"FROZEN_MANIFEST={variant}/manifest.py", f"BUILD={source}/build"]
    _run([*common, "-C", "ports/unix", *settings_, f"MICROPY_MANIFEST_STAGE_DIR={source}/stage"], source)

    report(f"[6/{STEPS}] trying it")
    _run(
        [f"{source}/build/micropython", "-c", "import ucore, machine, esp32, _thread, select, asyncio"],
        source / "stage",
    )
    unfinished = program.parent.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    shutil.copy2(source / "build/micropython", unfinished)
    os.utime(unfinished / "micropython")
    unfinished.rename(program.parent)
    _prune(root, "program-*/micropython", MAX_PROGRAMS)
    _prune(root, "source-*/patched", MAX_SOURCES)


def _unpack(root: Path, source: Path, inputs: dict[str, bytes], report: Callable[[str], None]) -> None:
    """Put the patched source in its place, from the package in the cache or else from the package mirror."""
    unfinished = root / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    packages = sorted((root / "download").glob("*.dsc"))
    if not packages:
        report(f"[2/{STEPS}] fetching its source package from the mirror that this machine's apt uses")
        _download(unfinished)
        (unfinished / "download").rename(root / "download")
        packages = sorted((root / "download").glob("*.dsc"))
    report(f"[3/{STEPS}] unpacking and patching {packages[-1].stem}")
    _run(["dpkg-source", "--no-check", "-x", packages[-1], unfinished / "source"], root)
    for name in sorted(name for name in inputs if name.startswith("variant/patches/")):
        patch = unfinished / Path(name).name
        patch.write_bytes(inputs[name])
        _run(
            ["patch", "-p1", "--batch", "--forward", "-i", patch],
            unfinished / "source",
            f"{Path(name).name} does not fit {packages[-1].stem}",
        )
    (unfinished / "source/patched").touch()
    shutil.rmtree(source, ignore_errors=True)
    (unfinished / "source").rename(source)
    shutil.rmtree(unfinished, ignore_errors=True)


def _download(folder: Path, packages: Sequence[str] = ()) -> None:
    """Fetch MicroPython's source package, and binary packages beside it, into folder/download, through apt with a source list of our own."""
    for name in ("download", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    own_list = folder / "own.list"
    options = {
        "Dir::Etc::SourceList": own_list,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
    }
    apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
    key = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    signed = f"[signed-by={key}] " if key.exists() else ""
    kinds = ("deb-src", "deb") if packages else ("deb-src",)
    reasons = []
    for mirror in _mirrors():
        own_list.write_text("".join(f"{kind} {signed}{mirror} {SUITE} main\n" for kind in kinds))
        try:
            _run([*apt, "update", "-oAPT::Update::Error-Mode=any"], folder)
            _run([*apt, "source", "--download-only", "micropython"], folder / "download")
            if packages:
                _run([*apt, "download", *packages], folder / "download")
            return
        except FirmwareError as error:
            reasons.append(str(error))
    if not reasons:
        reasons.append("No Debian package mirror is configured for apt.")
    raise FirmwareError(f"The source package of MicroPython (Debian {SUITE}) is out of reach. " + "\n".join(reasons))


def _mirrors() -> list[str]:
    """Return the addresses that apt fetches this Debian release from, most likely ones first.

    Asked of apt itself, so that every format of source list, proxy and mirror setting is understood.
    """
    shown = subprocess.run(["apt-get", "update", "--print-uris"], capture_output=True, text=True)
    found = re.findall(r"^'(\S+)/dists/([^/'\s]+)/InRelease'", shown.stdout, re.MULTILINE)
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", SUITE)
    wanted = {release, SUITE, "stable", "oldstable", "testing", "unstable", "sid"}
    mirrors = dict.fromkeys(url for url, suite in found if suite in wanted)
    return sorted(mirrors, key=lambda url: not url.endswith("/debian"))


def _stage(folder: Path, inputs: dict[str, bytes], prefix: str, but: str = "\0") -> bool:
    """Make the folder hold these inputs and nothing else; return whether anything changed."""
    wanted = {folder / name[len(prefix) :]: name for name in inputs if name.startswith(prefix) and not name.startswith(but)}
    changed = False
    for path in [path for path in folder.rglob("*") if path.is_file() and path not in wanted]:
        path.unlink()
        changed = True
    for path, name in wanted.items():
        if not path.exists() or path.read_bytes() != inputs[name]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(inputs[name])
            changed = True
    return changed


def _run(command: Sequence[str | Path], folder: Path, trouble: str = "") -> None:
    """Run a step of the build; raise FirmwareError with the end of its output if it fails."""
    # A clean slate: flags meant for other builds must not leak in, and messages are to be English.
    environment = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy")
        if name in os.environ
    }
    environment["LC_ALL"] = "C"
    words = [str(part) for part in command]
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        log = _root() / "failed.log"
        log.write_text(f"{' '.join(words)}\n\n{output}\n")
        errors = [line for line in output.splitlines() if re.search(r"error|E:|FAILED|Traceback", line)]
        end = "\n".join((errors or output.splitlines())[-6:])
        what = trouble or f"'{' '.join(words[:2])}' failed"
        raise FirmwareError(f"{what}:\n{end}\nThe whole output is in {log}.")


def _prune(root: Path, pattern: str, keep: int) -> None:
    """Throw away all but the newest."""
    newest_first = sorted(root.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[keep:]:
        shutil.rmtree(path.parent, ignore_errors=True)
