"""What `ucore doctor` looks at: each function is a check, and gives what it has found. None of them opens a port or changes anything."""

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ukernel import settings
from ukernel.errors import UcoreError, describe

__all__ = ["Check", "check_all"]

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LIBRARIES = ("ipykernel", "jupyter_client", "pyzmq", "pyserial", "mpremote")
WIDGETS = ("anywidget", "ipympl")  # what plots that move need where notebooks run
GROUPS = ("dialout", "uucp", "plugdev", "tty")
LINUX = sys.platform == "linux"
UDEV_FOLDERS = ("/etc/udev/rules.d", "/run/udev/rules.d", "/lib/udev/rules.d", "/usr/lib/udev/rules.d")


class Check(NamedTuple):
    """What a check has found. name: what was looked at. state: "ok", "warning" or "problem". mend: what to do; empty where nothing."""

    name: str
    state: str
    text: str
    mend: str = ""


def check_all(board: str | None) -> list[Check]:
    """Look at everything; what cannot be looked at is a warning."""
    looks: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("versions", _check_versions),
        ("kernels", _check_kernels),
        ("widgets", _check_widgets),
        ("hub", _check_hub),
        ("boards", lambda: _check_boards(board)),
    ]
    if LINUX:
        looks += [("groups", _check_groups), ("ModemManager", _check_modem_manager)]
    found: list[Check] = []
    for name, look in looks:
        try:
            found += look()
        except (UcoreError, OSError) as error:
            found.append(
                Check(name, WARNING, f"this could not be looked at: {describe(error) if isinstance(error, OSError) else error}")
            )
    return found


def _check_versions() -> Iterator[Check]:
    from ukernel import __version__

    yield Check("µcore", OK, f"{__version__}, Python {sys.version.split()[0]} in {sys.prefix}")
    missing, there = [], []
    for name in LIBRARIES:
        try:
            there.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Check(
            "libraries", PROBLEM, f"missing: {', '.join(missing)}", f"{sys.executable} -m pip install {' '.join(missing)}"
        )
    else:
        yield Check("libraries", OK, ", ".join(there))


def _check_kernels() -> Iterator[Check]:
    import json
    import shutil

    from jupyter_client.kernelspec import KernelSpecManager

    from ukernel.kernel.kernelspec import NAMES

    found = KernelSpecManager().find_kernel_specs()
    for name in NAMES:
        if name not in found:
            yield Check(
                f"kernel {name}",
                PROBLEM,
                "Jupyter does not know it",
                "ucore install-kernels, with --user for a Jupyter elsewhere",
            )
            continue
        path = Path(found[name], "kernel.json")
        try:
            python = str(json.loads(path.read_text(encoding="utf-8"))["argv"][0])
        except (OSError, ValueError, LookupError):
            yield Check(f"kernel {name}", PROBLEM, f"{path} cannot be read", "ucore install-kernels")
            continue
        if os.path.isabs(python) and shutil.which(python) is None:
            yield Check(f"kernel {name}", PROBLEM, f"its Python is gone: {python}", "ucore install-kernels")
        else:
            yield Check(f"kernel {name}", OK, found[name])


def _check_widgets() -> Iterator[Check]:
    missing = [name for name in WIDGETS if not _is_installed(name)]
    if missing:
        yield Check(
            "plots that move", WARNING, f"missing: {', '.join(missing)}", f"{sys.executable} -m pip install {' '.join(missing)}"
        )
        return
    from jupyter_core.paths import jupyter_path

    folders = [Path(folder) for folder in jupyter_path("labextensions")]
    missing = [name for name in WIDGETS[:1] if not any((folder / name).is_dir() for folder in folders)]
    if missing:
        yield Check(
            "browser widgets",
            WARNING,
            f"the browser's half of {', '.join(missing)} is not in this environment",
            "Install anywidget where JupyterLab runs, and load the page again.",
        )
    else:
        yield Check("browser widgets", OK, ", ".join(f"{name} {importlib.metadata.version(name)}" for name in WIDGETS))


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
        return True
    except importlib.metadata.PackageNotFoundError:
        return False


def _check_hub() -> Iterator[Check]:
    from ucore.wire import BUILD
    from ukernel.protocol import statefile

    here = statefile.find()
    if here is None:
        yield Check("board hub", OK, "none runs; it starts when a board is needed")
    elif here.build != BUILD:
        yield Check(
            "board hub",
            WARNING,
            f"the one that runs is of build {here.build}, this is {BUILD}",
            "ucore stop, when no notebook needs it",
        )
    else:
        yield Check("board hub", OK, f"process {here.pid}, build {here.build}")


def _check_boards(wanted: str | None) -> Iterator[Check]:
    from ukernel.ports import discovery

    boards = discovery.find_boards()
    ports = {info.port: info.name for info in boards}
    chosen = wanted or settings.board()
    if chosen:
        try:
            port = discovery.resolve(chosen)
            ports.setdefault(port, discovery.describe(port).name)
        except UcoreError as error:
            yield Check("board", PROBLEM, str(error))
    if not ports:
        yield Check(
            "boards",
            WARNING,
            "no board is plugged in that is known by its USB identity",
            "Try another cable: many carry power only. `ucore virtual` needs no hardware.",
        )
    for port, name in ports.items():
        yield from _check_port(port, name)


def _check_port(port: str, name: str) -> Iterator[Check]:
    from ukernel.ports import stream

    if "://" in port or os.name == "nt":
        yield Check(name, OK, port)
        return
    if not os.path.exists(port):
        yield Check(name, PROBLEM, f"there is no port {port}", "Plug the board in.")
        return
    if not os.access(port, os.R_OK | os.W_OK):
        yield Check(name, PROBLEM, f"you may not open {port}", _permission(port))
        return
    holder = stream.other_reader(port)
    if holder and not _is_hub(holder):
        yield Check(name, WARNING, f"{port} is used by {holder}", "Close it there, when a notebook is to have the board.")
    else:
        yield Check(name, OK, f"{port}, which the board hub has" if holder else f"{port}, free")


def _is_hub(holder: str) -> bool:
    from ukernel.protocol import statefile

    here = statefile.find()
    return here is not None and f"(process {here.pid})" in holder


def _permission(port: str) -> str:
    if not LINUX:
        return "Look at who owns the port."
    import grp

    try:
        group = grp.getgrgid(os.stat(port).st_gid).gr_name
    except (KeyError, OSError):
        group = "dialout"
    if group == "root":
        return f'Only root may: write SUBSYSTEM=="tty", GROUP="dialout", MODE="0660" into {UDEV_FOLDERS[0]}/60-ucore.rules, and plug the board in again.'
    return f"sudo usermod -aG {group} $USER, then log in again."


def _check_groups() -> Iterator[Check]:
    import grp

    if os.geteuid() == 0:
        yield Check("permissions", OK, "this is root, who may open every port")
        return
    mine = {grp.getgrgid(number).gr_name for number in os.getgroups() if _has_name(number)}
    there = [name for name in GROUPS[:2] if _has_group(name)]
    if mine & set(GROUPS[:2]):
        yield Check("permissions", OK, f"in the group {', '.join(sorted(mine & set(GROUPS[:2])))}, which owns serial ports")
    elif there:
        yield Check(
            "permissions",
            WARNING,
            f"your user is not in the group {there[0]}, which owns serial ports",
            f"sudo usermod -aG {there[0]} $USER, then log in again.",
        )


def _has_name(number: int) -> bool:
    import grp

    try:
        grp.getgrgid(number)
        return True
    except KeyError:
        return False


def _has_group(name: str) -> bool:
    import grp

    try:
        grp.getgrnam(name)
        return True
    except KeyError:
        return False


def _check_modem_manager() -> Iterator[Check]:
    """ModemManager opens new serial ports for seconds to look for a modem, and sends them text."""
    if not _runs("ModemManager"):
        yield Check("ModemManager", OK, "does not run")
        return
    if any("ID_MM_DEVICE_IGNORE" in text for text in _udev_rules()):
        yield Check("ModemManager", OK, "runs, and udev rules tell it to leave boards alone")
    else:
        yield Check(
            "ModemManager",
            WARNING,
            "runs, and tries every new port for a modem: a board that was just plugged in gets its text, and is busy for seconds",
            'sudo systemctl disable --now ModemManager, or write ATTRS{idVendor}=="303a", ENV{ID_MM_DEVICE_IGNORE}="1" (for an ESP32) into '
            f"{UDEV_FOLDERS[0]}/60-ucore.rules",
        )


def _runs(name: str) -> bool:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path("/proc", pid, "comm").read_text().strip() == name[:15]:
                return True
        except OSError:
            continue
    return False


def _udev_rules() -> Iterator[str]:
    """Yield the rules that people have written here; those that come with ModemManager name other devices."""
    for folder in UDEV_FOLDERS[:2]:
        for path in Path(folder).glob("*.rules"):
            try:
                yield path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
