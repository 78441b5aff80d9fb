"""A byte stream to a board, opened without resetting it. pyserial's lines are opened here, and by the installer."""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import sys
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from ukernel.errors import BoardBusyError, BoardError, BoardGoneError, BoardNotFoundError

from .discovery import NO_BOARD_HINT, SOCKET, PortInfo, describe

__all__ = ["Stream", "open_stream", "other_reader"]

_MAX_READ = 65536
_TTY_PIECE = 4095  # the system hands out terminal data in pieces of this size at most
_CONNECT_TIMEOUT_S = 5.0
_WRITE_TIMEOUT_S = 5.0  # the link keeps less than a board's buffer in flight, so only a dead line blocks this long
_SLICE_S = 0.25  # how long a stream without a file descriptor may miss a wake


def open_stream(port: str, baudrate: int = 115200) -> Stream:
    """Open ``port`` for this process alone, without resetting the board behind it.

    Raises BoardNotFoundError if it is not there, BoardBusyError if another program has it (named where the system
    tells), BoardError if it cannot be opened for another reason.
    """
    info = describe(port)
    if info.kind == SOCKET:
        return _socket_stream(info)
    import serial

    try:
        line = serial.serial_for_url(port, do_not_open=True, timeout=0, write_timeout=_WRITE_TIMEOUT_S)
        line.baudrate = baudrate
        line.exclusive = True
        # Both lines up, as the system raises them itself on open: CDC boards want DTR, and on the auto-reset circuit of
        # bridges and of USB-Serial-JTAG only a difference between the two resets the chip.
        line.dtr = True
        line.rts = True
        line.open()
    except (OSError, ValueError) as error:
        raise _opening_error(port, error) from error
    return _tty_stream(info, line) if os.name != "nt" and "://" not in port else _SerialStream(info, line)


def _opening_error(port: str, error: Exception) -> BoardError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK) or "lock port" in text:
        holder = other_reader(port)
        by = f"used by {holder}" if holder else "used by another program"
        return BoardBusyError(f"The port {port} is {by}. Close it there, or wait until it is done, and try again.")
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV) or "FileNotFoundError" in text:
        return BoardNotFoundError(f"There is no port {port}: plug the board in, or name another port. {NO_BOARD_HINT}")
    if number == errno.EACCES:
        if sys.platform == "linux":
            return BoardError(
                f"You may not open {port}: your user is not in the group that owns it (dialout or uucp). "
                "Run `sudo usermod -aG dialout $USER`, log in again and try again."
            )
        else:
            return BoardBusyError(
                f"The port {port} is used by another program, or closed to you. Close it there and try again."
            )
    if "PermissionError" in text:
        return BoardBusyError(f"The port {port} is used by another program. Close it there and try again.")
    return BoardError(f"The port {port} cannot be opened: {text}")


def other_reader(port: str) -> str:
    """Return a name for another process that has ``port`` open, whose owner does not count; empty for none, or where that is not told.

    A pseudo-terminal's owner has both of its ends.
    """
    return "" if "://" in port else _holder(port, but_owner=True)


def _holder(port: str, but_owner: bool = False) -> str:
    """Return a name for the process that has ``port`` open; empty where the system does not tell. Linux only."""
    if sys.platform != "linux":
        return ""
    path = os.path.realpath(port)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            open_files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            if path in open_files and not (but_owner and "/dev/ptmx" in open_files):
                with open(f"/proc/{pid}/comm") as file:
                    return f"{file.read().strip()} (process {pid})"
        except OSError:
            continue  # gone meanwhile, or another user's
    return ""


class _SerialLine(Protocol):
    """What we use of pyserial's lines, which have no types. Not all of them can be waited for (`fileno`), or woken (`cancel_read`)."""

    baudrate: int
    timeout: float | None

    @property
    def in_waiting(self) -> int: ...

    def fileno(self) -> int: ...

    def read(self, size: int) -> bytes: ...

    def write(self, data: bytes) -> int | None: ...

    def cancel_read(self) -> None: ...

    def close(self) -> None: ...


class Stream:
    """Bytes from and to one board.

    Attributes: ``port``; ``kind``: "uart", "usb_jtag", "usb_cdc", "pty" or "socket".
    One thread reads and writes; only `wake` may be called from others.
    """

    def __init__(self, info: PortInfo, line: _SerialLine | socket.socket):
        self.port = info.port
        self.kind = info.kind
        self._line = line

    def read(self, timeout_s: float | None) -> bytes:
        """Return the bytes that are there (up to 64 kB), waiting for the first; b"" on timeout or `wake`.

        None waits for ever. Raises BoardGoneError once the line is gone.
        """
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send all of ``data``. Raises BoardGoneError once the line is gone, or takes nothing for 5 s."""
        raise NotImplementedError

    def wake(self) -> None:
        """End a `read` that waits, or the next one, from any thread."""
        raise NotImplementedError

    def set_baudrate(self, baudrate: int) -> None:
        """Change this end's speed; does nothing where speed means nothing."""
        if isinstance(self._line, socket.socket) or self._line.baudrate == baudrate:
            return
        try:
            self._line.baudrate = baudrate
        except (OSError, ValueError) as error:
            raise self._gone(error) from error

    def close(self) -> None:
        """Let go of the port. May be called twice."""
        raise NotImplementedError

    def _gone(self, why: object = "") -> BoardGoneError:
        detail = f" ({why})" if why else ""
        return BoardGoneError(f"The board on {self.port} went away: unplugged, switched off or ended{detail}.")


if sys.platform == "linux":

    class _Selector(selectors.PollSelector):
        """`select` breaks above descriptor 1023, and `epoll` would cost each stream a descriptor more."""

    def _is_connected(fd: int) -> bool:
        """Whether it is certain that a terminal's other end has not hung up."""
        poll = select.poll()
        poll.register(fd, 0)  # hang-ups and errors are told in any case
        return not poll.poll(0)

else:

    class _Selector(selectors.SelectSelector):
        """macOS cannot poll terminals, and Windows has no `poll`."""

    def _is_connected(fd: int) -> bool:
        """Whether it is certain that a terminal's other end has not hung up."""
        return False


class _Waiter:
    """Waits for one file descriptor and for a wake from another thread, at no cost while nothing happens."""

    def __init__(self, fd: int):
        self._fd = fd
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self._selector = _Selector()
        self._selector.register(fd, selectors.EVENT_READ)
        self._selector.register(self._inner, selectors.EVENT_READ)

    def wait(self, timeout_s: float | None) -> bool:
        """Return True if the descriptor has something to say, False on timeout or wake."""
        ready = {key.fileobj for key, _ in self._selector.select(timeout_s)}
        if self._inner in ready:
            self._inner.recv(4096)
        return self._fd in ready

    def wait_writable(self, timeout_s: float) -> bool:
        """Return True once the descriptor takes bytes, False on timeout."""
        with _Selector() as selector:
            selector.register(self._fd, selectors.EVENT_WRITE)
            return bool(selector.select(timeout_s))

    def wake(self) -> None:
        """End a `wait`, or the next one, from any thread."""
        try:
            self._outer.send(b"w")
        except OSError:
            pass  # full: a wake is pending already; closed: nobody reads

    def close(self) -> None:
        """Let the wake's sockets go. The descriptor is the stream's, and the selector holds nothing of the system's."""
        self._inner.close()
        self._outer.close()


class _FdStream(Stream):
    """A stream that the system can wait for. `_receive` and `_send` are the system calls."""

    def __init__(
        self,
        info: PortInfo,
        line: _SerialLine | socket.socket,
        receive: Callable[[int], bytes],
        send: Callable[[memoryview], int],
    ):
        super().__init__(info, line)
        self._receive = receive
        self._send = send
        self._fd = line.fileno()
        self._waiter = _Waiter(self._fd)

    def read(self, timeout_s: float | None) -> bytes:
        if not self._waiter.wait(timeout_s):
            return b""
        data = self._read_some()
        if data == b"":
            if self.kind != SOCKET and _is_connected(self._fd):
                return b""  # another program that reads the same terminal was quicker
            raise self._gone()  # ready and nothing there: the other end is gone
        if data is None or len(data) < _TTY_PIECE:
            return data or b""
        parts, size = [data], len(data)
        while data and len(data) >= _TTY_PIECE and size < _MAX_READ - _TTY_PIECE:
            data = self._read_some()
            if data:
                parts.append(data)
                size += len(data)
        return b"".join(parts)

    def _read_some(self) -> bytes | None:
        try:
            return self._receive(_MAX_READ)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._gone(error.strerror) from error

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._send(view) :]
            except BlockingIOError:
                if not self._waiter.wait_writable(_WRITE_TIMEOUT_S):
                    raise self._gone("it takes no bytes any more") from None
            except OSError as error:
                raise self._gone(error.strerror) from error

    def wake(self) -> None:
        self._waiter.wake()

    def close(self) -> None:
        self._line.close()
        self._waiter.close()


def _tty_stream(info: PortInfo, line: _SerialLine) -> Stream:
    fd = line.fileno()
    return _FdStream(info, line, lambda size: os.read(fd, size), lambda view: os.write(fd, view))


def _socket_stream(info: PortInfo) -> Stream:
    """``socket://host:port``: a virtual board, or a serial server. pyserial's own class sleeps on close."""
    try:
        parts = urlsplit(info.port)
        sock = socket.create_connection((parts.hostname, parts.port or 0), timeout=_CONNECT_TIMEOUT_S)
    except (OSError, TypeError, ValueError) as error:
        raise BoardNotFoundError(
            f"No board answers at {info.port} ({error}). It must be socket://host:port, with a board listening there. "
            f"{NO_BOARD_HINT}"
        ) from error
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _FdStream(info, sock, sock.recv, sock.send)


class _SerialStream(Stream):
    """Any other line that pyserial knows: Windows ports, rfc2217:// and its kin."""

    def __init__(self, info: PortInfo, line: _SerialLine):
        super().__init__(info, line)
        self._serial = line
        self._woken = False

    def read(self, timeout_s: float | None) -> bytes:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while not self._woken:
                left = _SLICE_S if deadline is None else deadline - time.monotonic()
                # cancel_read misses a read that has not begun yet; short slices bound what that costs.
                self._serial.timeout = min(max(left, 0), _SLICE_S)
                data = self._serial.read(1)
                if data:
                    more = min(self._serial.in_waiting, _MAX_READ - 1)
                    self._serial.timeout = 0
                    return data + (self._serial.read(more) if more else b"")
                if left <= 0:
                    break
        except (OSError, TypeError, AttributeError) as error:  # pyserial raises the last two when its port vanishes
            raise self._gone(error) from error
        self._woken = False
        return b""

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except (OSError, TypeError, AttributeError) as error:
            raise self._gone(error) from error

    def wake(self) -> None:
        self._woken = True
        try:
            self._serial.cancel_read()
        except (OSError, TypeError, AttributeError):
            pass  # not every line can; the slice ends soon

    def close(self) -> None:
        self._serial.close()
