"""Puts µcore on a stock MicroPython board over its raw REPL, and starts it. mpremote is used here and nowhere else.

Nothing is started at boot: what was copied lies in /lib/ucore until the next `ensure_agent`, and costs no memory until then.
"""

from __future__ import annotations

import ast
import hashlib
import time
from collections.abc import Callable

from ucore import wire
from ukernel.errors import BoardError, BoardGoneError, BoardVersionError, NoAnswerError
from ukernel.ports import stream

from . import pack

__all__ = ["ensure_agent"]

FOLDER = "/lib/ucore"
MIN_VERSION = (1, 20)  # the first whose bytecode is of version 6
BYTECODE = 6
MIN_FREE = 24_000  # bytes of heap: the agent, and a little for the user
REPL_S = 4.0  # for a board to stop what it does and show its raw REPL
ANSWER_S = 20.0  # for a step on the board: erasing flash takes a while
PIECE = 120  # bytes the board takes before it says so; two of them fit the smallest input ring (259)
TRIES = 3  # a file that a bad line has damaged is sent again
OPEN_S = 3.0  # who had the port before may still be letting go of it

# One line tells all: version, bytecode, free memory, room for files, build that is frozen in or None, hashes of what was copied, whether it is loaded.
_PROBE = """
import sys, gc, os
gc.collect()
def _u():
 try:
  import hashlib
  d = {}
  for n in os.listdir(%(folder)r):
   h = hashlib.sha256()
   with open(%(folder)r + '/' + n, 'rb') as f:
    while True:
     b = f.read(256)
     if not b:
      break
     h.update(b)
   d[n] = h.digest()[:8]
  return d
 except (OSError, ImportError):
  return {}
def _v():
 try:
  s = os.statvfs('/lib' if 'lib' in os.listdir('/') else '/')
  return s[1] * s[3]
 except OSError:
  return -1
def _w():
 w = sys.modules.get('ucore.wire')
 if w:
  return None if w.__file__[0] == '/' else w.BUILD
 was = sys.path[:], [n for n in sys.modules if n.split('.')[0] == 'ucore']
 if was[1]:
  return None
 sys.path[:] = ['.frozen']
 try:
  from ucore.wire import BUILD
  return BUILD
 except ImportError:
  return None
 finally:
  sys.path[:] = was[0]
  for n in list(sys.modules):
   if n.split('.')[0] == 'ucore':
    del sys.modules[n]
_l = 'ucore.agent' in sys.modules
_w = _w()
gc.collect()
print((sys.platform, tuple(sys.implementation.version[:3]), getattr(sys.implementation, '_mpy', 0) & 255, gc.mem_free(), _v(), _w, _u(), _l))
del _u, _v, _w, _l
"""

# The host sends the bytes of a file as they are, and learns of every PIECE taken in.
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
 for _i in range(0, %(size)d, %(piece)d):
  sys.stdin.buffer.readinto(_m[_i : _i + %(piece)d])
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

_START = """
import sys
if '/lib' in sys.path: sys.path.remove('/lib')
sys.path.insert(0, '/lib')
import ucore.agent
ucore.agent.serve()
"""
_START_FROZEN = "import ucore.agent\nucore.agent.serve()\n"


def ensure_agent(port: str, report: Callable[[str], None] | None = None) -> bool:
    """Start µcore on the stock board at ``port``, copying what it lacks. Returns whether anything was copied.

    The port must be free, and is free again on return, with the agent waiting for a hello. ``report`` is called with a line per
    step. The board is not reset, and its variables stay, unless an older µcore is replaced. A running program is stopped.

    Raises NoAnswerError where no MicroPython prompt appears, BoardVersionError for MicroPython before 1.20, BoardBusyError for a
    port in use, BoardNotFoundError for none, BoardError where the board has no room, or the agent does not start.
    """
    report = report or (lambda line: None)
    report(f"looking for MicroPython on {port}")
    with _Repl(port) as repl:
        platform, version, bytecode, free, room, frozen, hashes, loaded = repl.ask(_PROBE % {"folder": FOLDER})
        if version < MIN_VERSION:
            raise BoardVersionError(
                f"The board on {port} runs MicroPython {_dotted(version)}; µcore needs 1.20 or later. Install a newer MicroPython on the board."
            )
        if frozen == pack.BUILD:
            report("µcore is part of the board's firmware: nothing is copied")
            repl.start(_START_FROZEN)
            return False
        files = pack.files(platform, compiled=bytecode == BYTECODE)
        missing = {name: data for name, data in files.items() if hashes.get(name) != _digest(data)[:8]}
        stale = [name for name in hashes if name not in files]
        if missing or stale:
            size = sum(map(len, missing.values()))
            if free < MIN_FREE + size:
                raise BoardError(
                    f"The board on {port} has {free:,} bytes of free memory; µcore needs {MIN_FREE + size:,}. Reset the board, or make its "
                    "main.py smaller, and try again."
                )
            if 0 <= room < size + 4096 * (len(missing) + 2):
                raise BoardError(
                    f"The board's file system has {room:,} bytes left; µcore needs {size:,}. Delete files and try again."
                )
            if room < 0:
                raise BoardError(
                    f"The board on {port} has no file system to put µcore on. Format it, or use a firmware that has one."
                )
            for name in stale:
                repl.run(f"import os\nos.remove({FOLDER + '/' + name!r})")
            for name, data in missing.items():
                report(f"copying {name} ({len(data):,} bytes)")
                repl.copy(f"{FOLDER}/{name}", data)
            if loaded:
                report("restarting the board's Python: an older µcore was loaded")
                repl.restart()
        elif free < MIN_FREE and not loaded:
            raise BoardError(
                f"The board on {port} has {free:,} bytes of free memory; µcore needs {MIN_FREE:,}. Reset the board and try again."
            )
        report("starting µcore")
        repl.start(_START)
        return bool(missing)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _dotted(version: tuple) -> str:
    return ".".join(map(str, version))


class _Repl:
    """The raw REPL of a board, while it is ours. mpremote's errors become ours."""

    def __init__(self, port: str):
        self.port = port
        self._line = None

    def __enter__(self) -> _Repl:
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

    def __exit__(self, kind, error, trace) -> None:
        if error is not None:
            try:
                self._line.serial.write(b"\r\x03\x02")  # leave a board that we could not serve at its usual prompt
            except OSError:
                pass
        self._close()
        if error is not None and not isinstance(error, BoardError) and isinstance(error, Exception):
            raise self._error(error) from error

    def _open(self):
        from mpremote.transport import TransportError
        from mpremote.transport_serial import SerialTransport
        from serial import SerialException

        give_up = time.monotonic() + OPEN_S
        while True:
            try:
                return SerialTransport(self.port, timeout=ANSWER_S)
            except (TransportError, SerialException, OSError, ValueError) as error:
                if time.monotonic() > give_up or isinstance(error, ValueError):
                    stream.open_stream(self.port).close()  # mpremote keeps the reason to itself
                    raise NoAnswerError(
                        f"The port {self.port} could not be opened at first, but can now. Try again."
                    ) from error
                time.sleep(0.1)

    def _enter(self, soft_reset: bool) -> None:
        """A program that takes its time to end, or an agent, gets a second chance."""
        import contextlib
        import io

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
        if self._line is not None:
            held = getattr(self._line.serial, "_socket", None)
            try:
                self._line.close()
            except OSError:
                pass
            if held is not None:
                held.close()  # pyserial forgets to, where the other end was first
            self._line = None

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

    def ask(self, code: str):
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
            "parents": ("/lib", FOLDER),
            "size": len(data),
            "piece": PIECE,
            "digest": _digest(data),
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
        for at in range(0, len(data), PIECE):
            line.serial.write(data[at : at + PIECE])
            if at and line.serial.read(1) != b"+":  # one piece ahead, so that the line never rests
                return False
        if line.serial.read(1) != b"+":
            return False
        out, err = line.follow(ANSWER_S)
        return out.strip() == b"good" and not err

    def restart(self) -> None:
        """Start the board's Python afresh; boot.py runs, main.py does not."""
        self._enter(soft_reset=True)

    def start(self, code: str) -> None:
        """Run ``code``, which does not end, until its first frame."""
        line = self._line
        line.exec_raw_no_follow(code)
        said = line.read_until(1, wire.MARK, timeout=ANSWER_S)
        if not said.endswith(wire.MARK):
            text = said.decode(errors="replace").strip("\x04>\r\n ").splitlines()
            raise BoardError(f"µcore does not start on the board on {self.port}: {text[-1] if text else 'it says nothing'}")
