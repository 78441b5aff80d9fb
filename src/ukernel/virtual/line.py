"""The line of a virtual board: pseudo-terminals, or a socket where there are none.

Pseudo-terminals::

    hub == slave B | master B == board's output          (at full speed, nothing in between)
                     master B --> this process --> master A | slave A == board's input

The board's input has a terminal of its own because 0x03 must interrupt the board, however much input waits before it, as a UART
driver's ``kbd_intr`` does: while A has signals on, this process turns 0x03 into SIGINT. A is also the board's controlling terminal:
when this process dies, even by SIGKILL, A hangs up and takes the board with it.

Either line has the board's reset button as well: `RESET` on it is not for the board, however that hangs. `END_MAIN` is Ctrl-C for
boot.py and main.py, and for no cell; the board says by TOSTOP, which has no meaning on A otherwise, that it runs them.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["END_MAIN", "HAS_TERMINALS", "RESET", "RING", "Socket", "Terminal"]

RING = 2048  # bytes that the board's input holds while nobody reads it; more are dropped, as a UART does
STUCK_S = 2.0  # output that nobody takes for so long is dropped, as USB drivers do
INTERRUPT = b"\x03"
# In what the protocol says to a board, no 0x10 follows another one.
RESET = b"\x10\x10ucore reset\n"
END_MAIN = b"\x10\x10ucore break\n"  # as long as RESET

try:
    import fcntl
    import pty
    import termios

    HAS_TERMINALS = True
except ImportError:  # Windows
    HAS_TERMINALS = False


class Chip(Protocol):
    """The board's process, as its line sees it: `ukernel.virtual.process` has it."""

    delay_s: float
    stopped: bool

    @property
    def process(self) -> subprocess.Popen[bytes]: ...

    def boot_text(self, cause: str) -> bytes: ...

    def boot(
        self, stdin: int, stdout: int, stderr: int, preexec_fn: Callable[[], object] | None = None
    ) -> subprocess.Popen[bytes]: ...

    def ended(self) -> str: ...

    def reset(self) -> None: ...


class Terminal:
    """The board on two pseudo-terminals, in one thread. ``chip`` boots its process, and knows why that ended."""

    def __init__(self, chip: Chip):
        self.chip = chip
        self.master_a, self.slave_a = pty.openpty()
        # B's slave stays open here, so that hubs may come and go: without any, the board's output would fail.
        self.master_b, self.slave_b = pty.openpty()
        _make_raw(self.slave_b)
        self.port = os.ttyname(self.slave_b)
        os.set_blocking(self.master_a, False)
        os.set_blocking(self.slave_b, False)
        self.button = _Button(chip)
        self.stuck_since: float | None = None

    def run(self, parent_pipe: int | None) -> None:
        """Carry bytes and boot the board again whenever it ends, until a signal ends this, or the end of the pipe from who has started it."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        for fd in (self.master_b, woken, *([] if parent_pipe is None else [parent_pipe])):
            poll.register(fd, select.POLLIN)
        self._boot("power on")
        boot_at, cause = None, ""
        while True:
            for fd, _ in poll.poll(1000 if boot_at is None else max(0, 1000 * (boot_at - time.monotonic()))):
                if fd == self.master_b:
                    self._to_board(os.read(self.master_b, 4096))
                elif fd == woken:
                    os.read(woken, 4096)
                elif not os.read(fd, 4096):  # the parent's pipe
                    return
            if boot_at is None and self.chip.process.poll() is not None:
                cause = self.chip.ended()
                boot_at = time.monotonic() + self.chip.delay_s
            if boot_at is not None and time.monotonic() >= boot_at:
                self._boot(cause)
                boot_at = None
            self._drop_unread_output()

    def _boot(self, cause: str) -> None:
        _make_raw(self.slave_a)
        termios.tcflush(self.slave_a, termios.TCIFLUSH)  # what the ring held was for the board as it was before
        text = self.chip.boot_text(cause)
        if _is_writable(self.master_b, 0):
            os.write(self.master_b, text)
        self.chip.boot(stdin=self.slave_a, stdout=self.master_b, stderr=self.master_b, preexec_fn=_take_terminal)

    def _has(self, flag: int) -> bool:
        """Whether the board has set this flag of A's."""
        return bool(termios.tcgetattr(self.slave_a)[3] & flag)

    def _to_board(self, data: bytes) -> None:
        data = self.button.take(data, lambda: self._has(termios.TOSTOP))
        if INTERRUPT in data and self._has(termios.ISIG):
            data = data.replace(INTERRUPT, b"")
            if self.chip.process.poll() is None:
                os.kill(self.chip.process.pid, signal.SIGINT)  # by the terminal, it would wait behind a full queue
        waiting = int.from_bytes(fcntl.ioctl(self.slave_a, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)
        try:
            os.write(self.master_a, data[: max(0, RING - waiting)])  # as on a UART: what the ring cannot take is lost
        except BlockingIOError:
            pass

    def _drop_unread_output(self) -> None:
        """Make room for the board's output when nobody has read any for a while: it must not hang its program."""
        if _is_writable(self.master_b, 0):
            self.stuck_since = None
        elif self.stuck_since is None:
            self.stuck_since = time.monotonic()
        elif time.monotonic() - self.stuck_since >= STUCK_S and not _is_writable(self.master_b, 0.3):
            try:
                while os.read(self.slave_b, 65536):
                    pass
            except BlockingIOError:
                self.stuck_since = None


class Socket:
    """The board on loopback TCP, ``chip`` as for `Terminal`: one connection at a time, the board runs on between connections."""

    def __init__(self, chip: Chip):
        self.chip = chip
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self.listener.getsockname()[1]}"
        self.peer: socket.socket | None = None
        self.button = _Button(chip)

    def run(self, parent_pipe: int | None) -> None:
        """Carry bytes and boot the board again whenever it ends, until a signal ends this, or the end of the pipe from who has started it."""
        self._boot("power on")
        for work in (self._accept, self._from_board):
            threading.Thread(target=work, daemon=True).start()
        while parent_pipe is None or os.read(parent_pipe, 4096):
            time.sleep(0 if parent_pipe is not None else 3600)

    def _boot(self, cause: str) -> None:
        self._to_host(self.chip.boot_text(cause))
        process = self.chip.boot(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdin is not None and process.stdout is not None  # pipes were asked for
        self._input, self._output = process.stdin, process.stdout

    def _from_board(self) -> None:
        while True:
            data = os.read(self._output.fileno(), 65536)
            if data:
                self._to_host(data)
            else:
                cause = self.chip.ended()
                time.sleep(self.chip.delay_s)
                if self.chip.stopped:
                    return
                self._input.close()
                self._output.close()
                self._boot(cause)

    def _to_host(self, data: bytes) -> None:
        peer = self.peer
        try:
            # What nobody takes is dropped, as Terminal does.
            while peer and data and _is_writable(peer, STUCK_S):
                data = data[peer.send(data) :]
        except OSError:
            self.peer = None

    def _accept(self) -> None:
        while True:
            newcomer = self.listener.accept()[0]
            if self.peer:  # as a serial port that is open already
                newcomer.close()
                continue
            newcomer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peer = newcomer
            threading.Thread(target=self._from_host, args=(newcomer,), daemon=True).start()

    def _from_host(self, peer: socket.socket) -> None:
        try:
            while data := peer.recv(4096):
                try:
                    os.write(self._input.fileno(), self.button.take(data))
                except (OSError, ValueError):
                    pass  # it is booting
        except OSError:
            pass
        self.peer = None
        peer.close()


class _Button:
    """The reset button: pressed by `RESET` among the bytes to the board, in one piece or in two. `END_MAIN` becomes a Ctrl-C."""

    def __init__(self, chip: Chip):
        self._chip = chip
        self._tail = b""

    def take(self, data: bytes, runs_main: Callable[[], bool] = lambda: False) -> bytes:
        """Return the bytes that are for the board; press the button where they say so. ``runs_main`` is asked before an interrupt."""
        whole = self._tail + data
        before, pressed, after = whole.rpartition(RESET)
        self._tail = after[1 - len(RESET) :]
        if pressed:
            self._chip.reset()
            data = after
        if END_MAIN in after:
            data = data.replace(END_MAIN, b"") + (INTERRUPT if runs_main() else b"")
        return data


def _is_writable(file: int | socket.socket, timeout_s: float) -> bool:
    return bool(select.select([], [file], [], timeout_s)[1])


def _make_raw(terminal: int) -> None:
    """Let every byte pass as it is. Signals are off: the board turns them on when it can take them, and its 0x03 with them."""
    flags = termios.tcgetattr(terminal)
    flags[0] = flags[1] = 0
    flags[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    flags[3] = termios.NOFLSH  # an interrupt must not throw away what is on its way
    flags[6] = [b"\0"] * len(flags[6])  # no other control character has a meaning
    flags[6][termios.VINTR] = INTERRUPT
    flags[6][termios.VMIN] = 1
    flags[6][termios.VTIME] = 0
    termios.tcsetattr(terminal, termios.TCSANOW, flags)


def _take_terminal() -> None:
    """In the new process: its standard input becomes its controlling terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until it is ready to be interrupted
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
