"""The board's own UART.

It is a small C library that is loaded into the board's process (LD_PRELOAD), because the kernel buffers of a
pseudo-terminal hold 4 kB and more and would hide a 128-byte FIFO: the wait has to happen inside the board's
own `write()`, where the chip has it, and at no cost to the interpreter whose speed is measured.
"""

from __future__ import annotations

import mmap
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

BITS_PER_BYTE = 10  # 8N1: a start bit, eight data bits, a stop bit


def has_compiler() -> bool:
    """Whether `BoardUart` can work here."""
    return sys.platform == "linux" and shutil.which("cc") is not None


class BoardUart:
    """A transmit FIFO that makes the board's `write()` wait, and an input ring that loses what does not fit.

    `env`: what the board's environment needs in addition. A writer that finds the FIFO full sleeps until the
    next tick, every `tick_s` (10 ms on the ESP32); 0 wakes it when half of the FIFO is free. `ring_bytes=0`
    never loses input. Raises RuntimeError where there is no C compiler or no LD_PRELOAD.
    """

    # What uart.c shares with us: bytes a second, FIFO, tick in us; then its counts: boots, bytes
    # written, waits for the FIFO, bytes read (but for 0x03, which the driver takes).
    LAYOUT = struct.Struct("<dIIQQQQ")

    def __init__(self, *, baudrate: int, fifo_bytes: int = 128, tick_s: float = 0.010, ring_bytes: int = 260) -> None:
        if not has_compiler():
            raise RuntimeError(
                "the board's UART cannot be emulated here: it needs Linux and a C compiler (cc); "
                "the line itself can be emulated without"
            )
        self.ring_bytes = ring_bytes
        self._folder = tempfile.TemporaryDirectory(prefix="ucore-uart-")
        self.path = os.path.join(self._folder.name, "uart")
        library = os.path.join(self._folder.name, "uart.so")
        source = pathlib.Path(__file__).with_name("uart.c")
        flags = ["-O2", "-Wall", "-shared", "-fPIC"]
        subprocess.run(["cc", *flags, "-o", library, source, "-ldl", "-lpthread"], check=True)
        with open(self.path, "wb") as file:
            file.write(self.LAYOUT.pack(baudrate / BITS_PER_BYTE, fifo_bytes, round(tick_s * 1e6), 0, 0, 0, 0))
        self._page = map_page(self.path)
        # The same page twice: for uart.c, and for the rate that the board's program sets (machine.UART).
        self.env = {"LD_PRELOAD": library, "UCORE_TEST_UART": self.path, "UCORE_VIRTUAL_UART": self.path}

    def __enter__(self) -> BoardUart:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._page.close()
        self._folder.cleanup()

    @property
    def stats(self) -> dict[str, int]:
        """`boots` of the board; bytes that it has `written` and `read`; how often it `waits` for the FIFO."""
        _, _, _, boots, written, waits, read = self.LAYOUT.unpack_from(self._page)
        return {"boots": boots, "written": written, "waits": waits, "read": read}


def map_page(path: str) -> mmap.mmap:
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), BoardUart.LAYOUT.size)
