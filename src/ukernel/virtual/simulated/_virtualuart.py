"""`machine.UART` of a virtual board. UART(0) is the line to the host; on UART(1) and UART(2) TX is wired to RX."""

import io
import struct
import time

import _virtualchip
from _virtualboard import as_bytes

_POLL = 3  # requests of a stream's ioctl, and what they say: MicroPython's own numbers
_READABLE = 1
_WRITABLE = 4
_wires = {}


class UART(io.IOBase):
    """``UART(1, baudrate=9600, tx=Pin(17), rx=Pin(16))``: what is written comes back, at that rate.

    ``UART(0)`` sets the rate of the line to the host only, where the environment variable UCORE_VIRTUAL_UART names a file: its first
    eight bytes are the rate in bytes a second, a little-endian double (for programs that stand in for the line).
    """

    def __init__(self, id, baudrate=115200, **options):
        if id not in (0, 1, 2):
            raise ValueError("UART(%d) does not exist" % id)
        self._id = id
        self._wire = _wires.setdefault(id, [])  # [when it arrives (us), byte]
        self._timeout_ms = 0
        self._rx = 256
        self.init(baudrate, **options)

    def init(self, baudrate=115200, bits=8, parity=None, stop=1, *, timeout=0, rxbuf=256, **options):
        """Set the rate, ``timeout`` (ms that a read waits for the first byte) and ``rxbuf`` (bytes that wait; more are lost)."""
        self._baudrate = baudrate
        self._timeout_ms = timeout
        self._rx = rxbuf
        line = self._id == 0 and _virtualchip.memory("UCORE_VIRTUAL_UART")
        if line:
            struct.pack_into("<d", line, 0, baudrate / 10)

    def deinit(self):
        """Turn it off: what waits is lost."""
        self._wire.clear()

    def any(self):
        """Return how many bytes have arrived."""
        now = time.ticks_us()
        count = 0
        for due, _ in self._wire:
            count += time.ticks_diff(now, due) >= 0
        return count

    def write(self, data):
        """Send bytes; return how many."""
        data = as_bytes(data)
        if self._id == 0:
            return len(data)
        step_us = 10_000_000 // self._baudrate
        due = time.ticks_us()
        if self._wire and time.ticks_diff(self._wire[-1][0], due) > 0:
            due = self._wire[-1][0]
        for byte in data:
            due = time.ticks_add(due, step_us)
            if len(self._wire) < self._rx:
                self._wire.append((due, byte))
        return len(data)

    def _wait(self):
        end = time.ticks_add(time.ticks_ms(), self._timeout_ms)
        while not self.any() and time.ticks_diff(end, time.ticks_ms()) > 0:
            time.sleep_ms(1)
        return self.any()

    def read(self, nbytes=-1):
        """Return what has arrived, ``nbytes`` at most; None where nothing has."""
        count = self._wait()
        if nbytes is not None and nbytes >= 0:
            count = min(count, nbytes)
        if not count:
            return None
        found = bytes([byte for _, byte in self._wire[:count]])
        del self._wire[:count]
        return found

    def readinto(self, buf, nbytes=None):
        """Read into a buffer; return how many bytes, None for none."""
        found = self.read(len(buf) if nbytes is None else min(nbytes, len(buf)))
        if found is None:
            return None
        buf[: len(found)] = found
        return len(found)

    def readline(self, limit=-1):
        """Return what has arrived up to the end of a line; None where nothing has."""
        count = self._wait()
        for place in range(count):
            if self._wire[place][1] == 10:
                return self.read(place + 1)
        return self.read(count) if count else None

    def flush(self):
        """Wait until all is sent."""
        while self._wire and time.ticks_diff(self._wire[-1][0], time.ticks_us()) > 0:
            time.sleep_ms(1)

    def txdone(self):
        """Return whether all is sent."""
        return not self._wire or time.ticks_diff(self._wire[-1][0], time.ticks_us()) <= 0

    def ioctl(self, request, argument):
        """For `select.poll` and asyncio's streams."""
        if request == _POLL:
            return argument & ((_READABLE if self.any() else 0) | _WRITABLE)
        return -1  # 0 would be a file number, the board's own input

    def __repr__(self):
        return "UART(%d, baudrate=%d)" % (self._id, self._baudrate)
