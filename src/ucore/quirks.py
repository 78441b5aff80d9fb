"""What differs between the ports of MicroPython (and CPython), behind a few names."""

import sys
from _thread import start_new_thread

from ucore.wire import CPYTHON

# For the other modules, too. With a u before its name a module is the firmware's own, whatever files and modules the user has.
if CPYTHON:
    import io
    import json
    import os
    import select
    from array import array
    from binascii import hexlify
    from collections import OrderedDict, deque, namedtuple
else:
    import uio as io  # noqa: F401
    import ujson as json  # noqa: F401
    import uos as os
    import uselect as select
    from uarray import array  # noqa: F401
    from ubinascii import hexlify  # noqa: F401
    from ucollections import OrderedDict, deque, namedtuple  # noqa: F401
UNIX = sys.platform in ("linux", "darwin", "win32")
ESP32 = sys.platform == "esp32"
# Bytes the input takes while nobody reads: an ESP32's UART has 259, USB holds the rest back, a pseudo-terminal has 4095.
RING = 1000 if UNIX else 400 if sys.platform == "rp2" else 200

# USB on rp2 moves in the main thread alone: another core that waits for it to take a frame, while the main thread waits for the lock
# that it holds, waits for ever. So that core hands its frames over.
MAIN_WRITES = sys.platform == "rp2"
PACED = ESP32 or UNIX  # on unix for the tests
# The REPL's UART can be set to another rate while it is in use; a virtual board's is simulated, for the tests.
SPEEDS = ESP32 or (UNIX and bool((os.getenv if CPYTHON else __import__("_virtualchip").setting)("UCORE_VIRTUAL_UART")))
MAX_BAUD = 921600
IDLE_MS = 200  # an idle agent's look around, which is all that a first callback waits for
SOON_MS = 20  # the same once there have been callbacks

if CPYTHON:
    import struct as exact
    import time

    class struct:
        """Numbers are 32 bits: of a larger one the lowest are packed, as MicroPython does."""

        def pack(format, *numbers):
            return exact.pack(format, *[number & 0xFFFFFFFF for number in numbers])

        def pack_into(format, buffer, at, *numbers):
            exact.pack_into(format, buffer, at, *[number & 0xFFFFFFFF for number in numbers])

    def sleep_ms(ms):
        time.sleep(ms / 1000)

    def sleep_us(us):
        time.sleep(us / 1000000)

    def ticks_ms():
        return int(time.monotonic() * 1000) & 0x3FFFFFFF

    def ticks_us():
        return int(time.monotonic() * 1000000) & 0x3FFFFFFF

    def ticks_diff(a, b):
        return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000

    def ticks_add(a, b):
        return (a + b) & 0x3FFFFFFF

    micropython = sys.modules.get("micropython")  # the stand-in's; there is none below the tests

else:
    import micropython
    import ustruct as struct  # noqa: F401
    from utime import sleep_us, ticks_add, ticks_diff, ticks_ms, ticks_us  # noqa: F401

    if ESP32:
        sleep_ms = select.poll().ipoll  # lets other threads run: time.sleep_ms keeps the GIL for its last 10 ms

    else:
        from utime import sleep_ms


def streams():
    """The board's raw byte streams, (input, output): unbuffered, nothing translated."""
    if CPYTHON:
        return open(0, "rb", 0, closefd=False), open(1, "wb", 0, closefd=False)
    return sys.stdin.buffer, sys.stdout.buffer


def random32():
    """A random number other than 0, for nonces; an emulated chip has the same "random" bytes after every boot."""
    return (int.from_bytes(os.urandom(4), "little") ^ ticks_us() & 0xFFFFFF) | 1


def allow_interrupt(on):
    """Whether Ctrl-C raises KeyboardInterrupt; off, it arrives as data."""
    micropython.kbd_intr(3 if on else -1)


def hurry(callback):
    """Call ``callback(0)`` in the main thread soon, between two bytecodes."""
    try:
        micropython.schedule(callback, 0)
    except RuntimeError:
        pass  # so much is waiting already that the ticker will be sooner


if MAIN_WRITES:

    def ticker(callback, period_ms):
        """Call ``callback(timer)`` every ``period_ms`` in the main thread, between two bytecodes; returns what stops it, or None."""
        from machine import Timer

        timer = Timer(-1)
        timer.init(period=period_ms, mode=Timer.PERIODIC, callback=callback)
        return timer.deinit

else:

    def ticker(callback, period_ms):
        """Call ``callback(None)`` every ``period_ms`` in a thread of its own; returns what stops it, or None where there is no memory.

        Not by a Timer: while a scheduled callback runs, no thread passes the GIL on, so a callback that gives it up, as every lock
        and every write does, waits for ever for a thread that computes.
        """
        going = [True]

        def run():
            while going:
                sleep_ms(period_ms)
                try:
                    callback(None)
                except Exception:  # no memory, see agent.serve
                    pass

        try:
            start_new_thread(run, ())
        except (OSError, RuntimeError, MemoryError):
            return None
        return going.clear
