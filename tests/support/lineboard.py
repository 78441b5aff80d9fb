"""A virtual board with the line agent on it, and a serial port to talk to it: one line of Python, one answer."""

import os
from pathlib import Path

import pytest
import serial

from ukernel.errors import UcoreError
from ukernel.virtual import firmware
from ukernel.virtual.launcher import VirtualBoard

PACKAGE = Path(__file__).parent / "lineagent" / "ucore"
PYTHONS = [pytest.param("micropython", marks=pytest.mark.micropython), "cpython"]


def need_micropython():
    """Build MicroPython with the line agent; skip the test where that is impossible, except in CI."""
    try:
        firmware.build(package=PACKAGE)
    except UcoreError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


class LineBoard:
    """A virtual board and an open port. Options are those of VirtualBoard."""

    def __init__(self, python, **options):
        if python == "micropython":
            need_micropython()
        self.board = VirtualBoard(python, package=PACKAGE, **options)

    def __enter__(self):
        self.board.start()
        self.open()
        return self

    def __exit__(self, *exc_info):
        self.line.close()
        self.board.stop()

    def open(self):
        """Open the port, as a hub would: for ourselves alone."""
        exclusive = {} if "://" in self.board.port else {"exclusive": True}
        self.line = serial.serial_for_url(self.board.port, timeout=20, **exclusive)

    def send(self, code):
        """Send one line and return once the board has started it."""
        self.line.write(code.encode() + b"\n")
        self.read_until("GO\r?\n")

    def ask(self, code):
        """Run one line and return what it printed."""
        self.send(code)
        return self.read_until("(DONE|INTERRUPTED|ERROR .*?)\r?\n").strip()

    def interrupt(self):
        """Send Ctrl-C and return what the running line had printed; fails if it is not interrupted."""
        self.line.write(b"\x03")
        return self.read_until("INTERRUPTED\r?\n")

    def read_until(self, pattern):
        """Read up to the pattern, which must come; return what came before it, or raise TimeoutError."""
        import re
        import time

        text, end = "", time.monotonic() + self.line.timeout
        while time.monotonic() < end:
            # A pattern ends with its line, so only a line's end is worth a look.
            found = text.endswith("\n") and re.search(pattern, text)
            if found:
                if found[0].startswith("ERROR"):
                    raise RuntimeError(found[0])
                return text[: found.start()]
            text += self.line.read(1).decode(errors="replace")
        raise TimeoutError(f"{pattern} did not come, only {text[-500:]!r}")
