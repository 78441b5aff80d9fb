"""The raw REPL of a stock board, over mpremote's transport. mpremote is used here and nowhere else."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import time
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Protocol

from ucore import wire
from ukernel.errors import BoardError, BoardGoneError, NoAnswerError
from ukernel.ports import stream

__all__ = ["Repl"]

REPL_S = 4.0  # for a board to stop what it does and show its raw REPL
ANSWER_S = 20.0  # for a step on the board: erasing flash takes a while
OPEN_S = 3.0  # who had the port before may still be letting go of it
FRAGMENT = 120  # bytes the board takes before it says so; two of them fit the smallest input ring (259)
TRIES = 3  # a file that a bad line has damaged is sent again

# The host sends the bytes of a file as they are, and learns of every FRAGMENT taken in.
_RECEIVE = """
import sys, os, gc, micropython
gc.collect()
for _p in %(parents)r:
 try:
  os.mkdir(_p)
 except OSError:
  pass
_b = bytearray(%(size)d)
_m = memoryview(_b)
sys.stdout.write('ready')
micropython.kbd_intr(-1)
try:
 for _i in range(0, %(size)d, %(fragment)d):
  sys.stdin.buffer.readinto(_m[_i : _i + %(fragment)d])
  sys.stdout.write('+')
finally:
 micropython.kbd_intr(3)
import hashlib
if hashlib.sha256(_b).digest() == %(digest)r:
 with open(%(path)r, 'wb') as _f:
  _f.write(_b)
 print('good')
else:
 print('damaged')
del _b, _m
"""


class _Serial(Protocol):
    """What we use of pyserial's lines, which have no types."""

    timeout: float | None

    def read(self, size: int) -> bytes: ...

    def write(self, data: bytes) -> int | None: ...


class _Transport(Protocol):
    """What we use of mpremote's `SerialTransport`, which has no types."""

    serial: _Serial
    is_pty: bool

    def enter_raw_repl(self, soft_reset: bool, timeout_overall: float) -> None: ...

    def exec_raw(self, command: str, timeout: float) -> tuple[bytes, bytes]: ...

    def exec_raw_no_follow(self, command: str) -> None: ...

    def read_until(self, min_num_bytes: int, ending: bytes, timeout: float) -> bytes: ...

    def follow(self, timeout: float) -> tuple[bytes, bytes]: ...

    def close(self) -> None: ...


class Repl:
    """The raw REPL of a board, while it is ours. mpremote's errors become ours."""

    def __init__(self, port: str):
        self.port = port
        self._line: _Transport

    def __enter__(self) -> Repl:
        from mpremote.transport import TransportError

        give_up = time.monotonic() + OPEN_S
        while True:
            self._line = self._open()
            try:
                self._enter(soft_reset=False)
                break
            except (TransportError, OSError, BoardError) as error:
                self._close()
                if isinstance(error, OSError) and not isinstance(error, BoardError) and time.monotonic() < give_up:
                    time.sleep(0.1)  # a socket may be taken from us while its last user is being forgotten
                    continue
                if isinstance(error, BoardError):
                    raise
                raise self._error(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            try:
                self._line.serial.write(b"\r\x03\x02")  # leave a board that we could not serve at its usual prompt
            except OSError:
                pass
        self._close()
        if error is not None and not isinstance(error, BoardError) and isinstance(error, Exception):
            raise self._error(error) from error

    def _open(self) -> _Transport:
        from mpremote.transport import TransportError
        from mpremote.transport_serial import SerialTransport
        from serial import SerialException

        give_up = time.monotonic() + OPEN_S
        while True:
            try:
                line: _Transport = SerialTransport(self.port, timeout=ANSWER_S)
                return line
            except (TransportError, SerialException, OSError, ValueError) as error:
                if time.monotonic() > give_up or isinstance(error, ValueError):
                    stream.open_stream(self.port).close()  # mpremote keeps the reason to itself
                    raise NoAnswerError(
                        f"The port {self.port} could not be opened at first, but can now. Try again."
                    ) from error
                time.sleep(0.1)

    def _enter(self, soft_reset: bool) -> None:
        """A program that takes its time to end, or an agent, gets a second chance."""
        from mpremote.transport import TransportError

        serial, timeout_s = self._line.serial, self._line.serial.timeout
        if self._line.is_pty:
            serial.timeout = 0.1  # mpremote reads there whether or not something has come, and looks at no clock meanwhile
        for attempt in (1, 2, 3):
            with contextlib.redirect_stdout(io.StringIO()):  # mpremote prints what it does not understand
                try:
                    self._line.enter_raw_repl(soft_reset=soft_reset, timeout_overall=REPL_S * attempt)
                    serial.timeout = timeout_s
                    return
                except TransportError:
                    pass
        virtual = " A virtual board (`ucore virtual`) needs no installation: µcore is part of its firmware."
        raise NoAnswerError(
            f"The board on {self.port} shows no MicroPython prompt. Either it has no MicroPython, or its program cannot be stopped with "
            f"Ctrl-C, or this is another device. Press the board's reset button and try again.{virtual if self._line.is_pty else ''}"
        )

    def _close(self) -> None:
        held = getattr(self._line.serial, "_socket", None)
        try:
            self._line.close()
        except OSError:
            pass
        if held is not None:
            held.close()  # pyserial forgets to, where the other end was first

    def _error(self, error: Exception) -> BoardError:
        from mpremote.transport import TransportExecError

        if isinstance(error, TransportExecError):
            last = error.error_output.strip().splitlines()[-1:] or ["no reason given"]
            return BoardError(f"The board on {self.port} could not do a step of the installation: {last[0]}")
        if isinstance(error, OSError):
            return BoardGoneError(f"The board on {self.port} went away while µcore was being installed ({error}).")
        return NoAnswerError(
            f"The board on {self.port} stopped answering while µcore was being installed ({error}). Try again."
        )

    def run(self, code: str) -> str:
        """Run ``code`` on the board; returns what it printed."""
        out, err = self._line.exec_raw(code, timeout=ANSWER_S)
        if err:
            from mpremote.transport import TransportExecError

            raise TransportExecError(out, err.decode(errors="replace"))
        return out.decode(errors="replace")

    def ask(self, code: str) -> Any:
        """Run ``code``, which prints one Python literal last; returns its value."""
        text = self.run(code)
        try:
            return ast.literal_eval(text.strip().splitlines()[-1])
        except (ValueError, SyntaxError, IndexError):
            raise NoAnswerError(
                f"The board on {self.port} answered with something else: {text[-80:]!r}. Press its reset button."
            ) from None

    def copy(self, path: str, data: bytes) -> None:
        """Write a file on the board, checked by its hash."""
        code = _RECEIVE % {
            "parents": [str(folder) for folder in reversed(PurePosixPath(path).parents)][1:],  # but the root
            "size": len(data),
            "fragment": FRAGMENT,
            "digest": hashlib.sha256(data).digest(),
            "path": path,
        }
        for _ in range(TRIES):
            if self._send(code, data):
                return
            self._enter(soft_reset=False)
        raise BoardError(
            f"The line to the board on {self.port} damages what it carries: {path} did not arrive whole in {TRIES} tries."
        )

    def _send(self, code: str, data: bytes) -> bool:
        line = self._line
        line.exec_raw_no_follow(code)
        if not line.read_until(1, b"ready", timeout=ANSWER_S).endswith(b"ready"):
            return False
        for at in range(0, len(data), FRAGMENT):
            line.serial.write(data[at : at + FRAGMENT])
            if at and line.serial.read(1) != b"+":  # one fragment ahead, so that the line never rests
                return False
        if line.serial.read(1) != b"+":
            return False
        out, err = line.follow(ANSWER_S)
        return out.strip() == b"good" and not err

    def restart(self) -> None:
        """Start the board's Python afresh; boot.py runs, main.py does not."""
        self._enter(soft_reset=True)

    def start(self, code: str) -> None:
        """Run ``code``, which does not end, until its first packet."""
        line = self._line
        line.exec_raw_no_follow(code)
        said = line.read_until(1, wire.MARK, timeout=ANSWER_S)
        if not said.endswith(wire.MARK):
            text = said.decode(errors="replace").strip("\x04>\r\n ").splitlines()
            raise BoardError(f"µcore does not start on the board on {self.port}: {text[-1] if text else 'it says nothing'}")
