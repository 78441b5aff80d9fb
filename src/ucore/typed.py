"""The cells' ``sys.stdin``: what the user types, asked for as `input` does. Loaded when a program first takes it.

The real one is the host's line. A program that only looks whether there is something (select, asyncio) has the user asked, too, and
goes on meanwhile.
"""

from _thread import get_ident

import ucore
from ucore import wire
from ucore.quirks import io

_POLL = 3  # requests of ioctl, as MicroPython numbers them
_POLLIN = 1
_EINVAL = 22
_QUESTION = b'{"prompt":"","password":false}'


class Typed(io.IOBase):
    """As bytes: ``sys.stdin.buffer``."""

    def __init__(self, link):
        self._link = link
        self._held = b""
        self._cell = 0
        self._asked = False  # and not answered yet
        self._session = 0

    def _has(self):
        """Ask the user if need be. Whether there is something to read, if only the end: the host asked is gone. It never waits."""
        link = self._link
        if get_ident() != link.main or not link.cell or link.inside():
            raise OSError("sys.stdin is for the cell, not for its threads and callbacks")
        if self._cell != link.cell:  # what another cell has left of its line is not for this one
            self._cell = link.cell
            self._held = b""
            self._asked = False
        if self._held:
            return True
        if not self._asked:
            self._asked = True
            self._session = link.session
            link.do(link.send, wire.INPUT_REQUEST, link.cell, _QUESTION, None, self._session)
        link.do(link.pump)
        reply = link.do(link.take, wire.INPUT_REPLY)
        if reply and reply[1] == link.cell:
            self._held = reply[2] + b"\n"
            self._asked = False
        return self._held or self._session != link.session or link.leave

    def _wait(self):
        """Wait for something to read; False at the end."""
        while not self._has():
            self._link.idle(50)
        return self._held

    def _take(self, size):
        taken = self._held[:size]
        self._held = self._held[size:]
        return taken

    def read(self, size=-1):
        """Read as many bytes; fewer only where no more can come."""
        if size is None or size < 0:
            raise OSError("sys.stdin.read() would read to the end, which no notebook has: say how much, or use readline()")
        found = b""
        while len(found) < size and self._wait():
            found += self._take(size - len(found))
        return found

    def readinto(self, buffer, size=None):
        """Read into ``buffer``; returns how many bytes."""
        found = self.read(len(buffer) if size is None else size)
        buffer[: len(found)] = found
        return len(found)

    def readline(self, size=-1):
        """Read a line with its end, at most ``size`` bytes of it; nothing at the end."""
        if not self._wait():
            return b""
        end = self._held.find(b"\n") + 1
        return self._take(end if size is None or size < 0 else min(size, end))

    def readlines(self):
        """Read lines until the user stops the cell."""
        return list(self)

    def __iter__(self):
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def ioctl(self, request, flags):
        """For select and asyncio."""
        if request != _POLL:
            return -_EINVAL
        return flags & _POLLIN if self._has() else 0

    def close(self):
        """It stays open."""


class Text(Typed):
    """``sys.stdin``; size is in characters."""

    def __init__(self, link):
        super().__init__(link)
        self.buffer = Typed(link)
        self._has = self.buffer._has

    def read(self, size=-1):
        """Read as many characters; fewer only where no more can come."""
        if size is None or size < 0:
            self.buffer.read(size)
        found = ""
        while len(found) < size:
            first = self.buffer.read(1)
            if not first:
                break
            more = (first[0] > 0xBF) + (first[0] > 0xDF) + (first[0] > 0xEF)
            found += (first + self.buffer.read(more)).decode()
        return found

    def readline(self, size=-1):
        """Read a line with its end, at most ``size`` characters of it; nothing at the end."""
        if size is not None and size >= 0:
            found = ""
            while len(found) < size and not found.endswith("\n"):
                more = self.read(1)
                if not more:
                    break
                found += more
            return found
        return self.buffer.readline().decode()


def start(link):
    """The module `ucore`, standing in for sys, has it from now on."""
    global stdin
    stdin = ucore.stdin = Text(link)
