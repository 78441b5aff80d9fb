"""A virtual board: the board's side of a serial line, with real MicroPython (or CPython) behind it.

``python -m ukernel.virtual.process`` prints one JSON line, ``{"port", "python", "version", "banner"}``, and runs until it is told
to stop. The port is a pseudo-terminal, which the hub opens as it would open a serial port; where there are none (Windows),
or with ``--socket``, it is a ``socket://`` URL.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ukernel.errors import SettingError, UcoreError, describe
from ukernel.ports import virtual

from . import firmware
from .launcher import HEAP, environment
from .line import HAS_TERMINALS, Socket, Terminal
from .storage import Storage

__all__ = ["add_arguments", "main", "run"]

MIN_HEAP = 32 << 10  # with less, MicroPython for 64 bits has no room to start the agent
MIN_SLICE_MS, MAX_SLICE_MS = 0.05, 10_000.0
# How the board's process ends when its program asked for it (ukernel/virtual/simulated/machine.py has the same), and the
# machine.reset_cause() that follows; any other end is a crash.
CAUSES = {
    0: ("its program ended", 5),
    82: ("machine.reset", 2),
    83: ("machine.soft_reset", 5),
    84: ("its watchdog", 3),
    85: ("machine.deepsleep is over", 4),
    86: ("soft reset in the raw REPL", 5),
}
RAW = 86  # it goes on in the raw REPL
CRASHED = 3
BOOT_DELAY_S = 0.05
RESET_BUTTON = ("its reset button", 2)
MAX_BOOT_DELAY_S = 5.0  # between two boots of a board that dies at once every time


_T = TypeVar("_T")


class Announcement(virtual.About):
    """The JSON line."""

    python: str  # "micropython" or "cpython"
    version: str  # of that


class _BoardProcess:
    """The board's process: what runs it, and how often it has booted."""

    def __init__(self, options: argparse.Namespace):
        self.python, self.version, self.command, self.note = _choose(options)
        self.environment = environment()
        # The second digit makes a random one a local address, which no real chip has.
        own = hashlib.sha256(options.name.encode()).hexdigest()[:10] if options.name else secrets.token_hex(5)
        identity = options.id or os.environ.get("UCORE_VIRTUAL_ID") or "02" + own
        identity = _setting("UCORE_VIRTUAL_ID", _identity, identity)
        _setting("UCORE_VIRTUAL_SLICE_MS", _slice, os.environ.get("UCORE_VIRTUAL_SLICE_MS") or "1")
        self.environment.update(MICROPYPATH=".frozen:lib", UCORE_VIRTUAL_ID=identity, UCORE_VIRTUAL_RESET_CAUSE="1")
        if options.slice is not None:
            self.environment["UCORE_VIRTUAL_SLICE_MS"] = str(options.slice)
        self.environment.update(setting.split("=", 1) for setting in options.env)
        self.storage = Storage(options.folder, options.name or None, options.erase)  # last: what fails above leaves nothing
        self.environment.update(self.storage.environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.boots = 0
        self.delay_s = 0.0
        self.stopped = False
        self._pressed = False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """What runs the board; it must have been booted once."""
        assert self._process is not None
        return self._process

    @property
    def banner(self) -> str:
        name = "MicroPython" if self.python == "micropython" else "CPython"
        return f"virtual board, {name} {self.version}" + (f" ({self.note})" if self.note else "")

    def boot_text(self, cause: str) -> bytes:
        """Return what the line shows before the next boot, as a chip's ROM does."""
        self.boots += 1
        return f"\r\nµcore {self.banner}, boot {self.boots} ({cause})\r\n".encode()

    def boot(
        self, stdin: int, stdout: int, stderr: int, preexec_fn: Callable[[], object] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start the process, with `Popen`'s arguments, and return it."""
        self._booted = time.monotonic()
        self.storage.power_on()
        # Windows: Ctrl-C in our console is not for the board.
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self._process = subprocess.Popen(
            self.command,
            cwd=self.storage.files,
            env=self.environment,
            start_new_session=True,
            creationflags=flags,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=preexec_fn,
        )
        return self._process

    def ended(self) -> str:
        """Return why the process, which has ended, did so; `delay_s` is then the time to wait before the next boot."""
        code = self.process.wait()
        cause, number = CAUSES.get(code, (f"it crashed, exit code {code}", CRASHED))
        if self._pressed:
            self._pressed, cause, number = False, *RESET_BUTTON
        self.environment["UCORE_VIRTUAL_RESET_CAUSE"] = str(number)
        self.environment["UCORE_VIRTUAL_RAW"] = "1" if code == RAW else ""
        at_once = number == CRASHED and code not in CAUSES and time.monotonic() - self._booted < 1.0
        self.delay_s = min(MAX_BOOT_DELAY_S, 2 * self.delay_s or 0.1) if at_once else BOOT_DELAY_S
        if at_once:
            print(f"The virtual board stopped as soon as it had booted: {cause}.", file=sys.stderr, flush=True)
        return cause

    def reset(self) -> None:
        """End the process whatever it does, as a reset button would; whoever watches it boots the next one."""
        self._pressed = True
        self._kill()

    def _kill(self) -> None:
        if self._process and self._process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)  # with what os.system() has started
            else:
                self._process.kill()

    def stop(self) -> None:
        """End the process and throw its file system away."""
        self.stopped = True
        self._kill()
        if self._process:
            self._process.wait()
        self.storage.close()


def _setting(name: str, parse: Callable[[str], _T], text: str) -> _T:
    """Return what an environment variable says. Raises SettingError."""
    try:
        return parse(text)
    except argparse.ArgumentTypeError as error:
        raise SettingError(f"{name}: {error}.") from None


def _choose(options: argparse.Namespace) -> tuple[str, str, list[str], str]:
    """Return (python, version, command, note for the banner). Raises UcoreError."""
    start = "__import__('_virtualboot').start()"  # no name of it is left among the user's
    note = ""
    if options.python != "cpython" and HAS_TERMINALS and not options.socket:
        program = firmware.build(package=options.package) if options.build else firmware.find(options.package)
        if program:
            return (
                "micropython",
                firmware.version(program),
                [str(program), "-X", f"heapsize={options.heap}", "-c", start],
                "",
            )
        note = "MicroPython is not built yet: ucore virtual --build"
        if options.python == "micropython":
            raise UcoreError("MicroPython for the virtual board is not built yet. Build it with: ucore virtual --build")
    elif options.python == "micropython":
        raise UcoreError("MicroPython for the virtual board needs a pseudo-terminal: use --python cpython here.")
    command = [sys.executable, "-u", "-X", "utf8", "-m", "ukernel.virtual.cpython"]
    if options.package:
        command += ["--package", str(options.package)]
    return "cpython", ".".join(str(part) for part in sys.version_info[:3]), command, note


def _stop(*_: object) -> None:
    raise SystemExit(0)


def run(options: argparse.Namespace, announce: Callable[[Announcement], object]) -> None:
    """Run a virtual board in this process until SIGINT or SIGTERM; call ``announce`` once its port is there.

    Raises UcoreError if the board cannot run.
    """
    try:
        chip = _BoardProcess(options)
    except OSError as error:
        raise UcoreError(f"The virtual board has no room for its file system: {describe(error)}.") from error
    try:
        line: Terminal | Socket = Terminal(chip) if HAS_TERMINALS and not options.socket else Socket(chip)
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), _stop)
        about: virtual.About = {
            "port": line.port,
            "name": options.name or "",
            "banner": chip.banner,
            "world": chip.storage.world,
        }
        virtual.announce(chip.storage.folder, about)
        announce({**about, "python": chip.python, "version": chip.version})
        line.run(sys.stdin.fileno() if options.end_with_stdin else None)
    finally:
        chip.stop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a virtual board to a command's parser."""
    add = parser.add_argument
    add(
        "--python",
        choices=("auto", "micropython", "cpython"),
        default="auto",
        help="what runs the board (default: MicroPython if it is built)",
    )
    add("--build", action="store_true", help="build MicroPython first if it is not built; takes half a minute")
    add(
        "--heap",
        type=_heap,
        default=HEAP,
        help="MicroPython's heap, such as 120k or 4m (default: %(default)s)",
    )
    add(
        "--slice",
        type=_slice,
        metavar="MS",
        help="milliseconds that a board thread computes while others wait, 1000 to be worse than any chip (default: "
        "UCORE_VIRTUAL_SLICE_MS, else what suits the Python)",
    )
    add(
        "--id",
        type=_identity,
        help="machine.unique_id(), 12 hexadecimal digits (default: UCORE_VIRTUAL_ID, else random)",
    )
    add(
        "--socket",
        action="store_true",
        help="serve on a socket:// URL instead of a pseudo-terminal; runs CPython",
    )
    add("--end-with-stdin", action="store_true", help=argparse.SUPPRESS)
    add(
        "--name",
        default=os.environ.get("UCORE_VIRTUAL_NAME"),
        help="keep its files under this name, and find them again (default: UCORE_VIRTUAL_NAME, else they end with it)",
    )
    add("--erase", action="store_true", help="with --name: begin with empty files")
    add("--folder", help=argparse.SUPPRESS)
    add("--package", type=Path, help=argparse.SUPPRESS)
    add("--env", action="append", default=[], help=argparse.SUPPRESS)


def _heap(text: str) -> str:
    found = re.fullmatch(r"([1-9]\d*)([kKmM]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 120k or 4m")
    if int(found[1]) << {"": 0, "k": 10, "m": 20}[found[2].lower()] < MIN_HEAP:
        raise argparse.ArgumentTypeError(f"{text!r} is too little for the board to boot: {MIN_HEAP >> 10}k at least")
    return text


def _slice(text: str) -> float:
    try:
        slice_ms = float(text)
    except ValueError:
        slice_ms = 0.0
    if not MIN_SLICE_MS <= slice_ms <= MAX_SLICE_MS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds, {MIN_SLICE_MS:g} to {MAX_SLICE_MS:g}")
    return slice_ms


def _identity(text: str) -> str:
    digits = text.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{12}", digits):
        raise argparse.ArgumentTypeError(f"{text!r} is not 12 hexadecimal digits")
    return digits


def main() -> None:
    """Run a virtual board and print its JSON line."""
    parser = argparse.ArgumentParser(prog="python -m ukernel.virtual.process", description="Run a virtual board.")
    add_arguments(parser)
    try:
        run(parser.parse_args(), lambda about: print(json.dumps(about), flush=True))
    except UcoreError as error:
        sys.exit(str(error))
    except OSError as error:  # no terminal left, for one
        sys.exit(describe(error))


if __name__ == "__main__":
    main()
