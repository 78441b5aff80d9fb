"""Puts µcore on a stock MicroPython board over its raw REPL, and starts it.

Nothing is started at boot: what was copied lies in /lib/ucore until the next `ensure_agent`, and costs no memory until then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from ukernel.errors import BoardError, BoardVersionError

from . import pack
from .repl import Repl

__all__ = ["ensure_agent"]

FOLDER = "/lib/ucore"
MIN_VERSION = (1, 20)  # the first whose bytecode is of version 6
BYTECODE = 6
MIN_FREE = 24_000  # bytes of heap: the agent, and a little for the user

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
    with Repl(port) as repl:
        board = _Board(*repl.ask(_PROBE % {"folder": FOLDER}))
        if board.version < MIN_VERSION:
            raise BoardVersionError(
                f"The board on {port} runs MicroPython {_dotted(board.version)}; µcore needs 1.20 or later. Install a newer MicroPython on the board."
            )
        if board.frozen == pack.BUILD:
            report("µcore is part of the board's firmware: nothing is copied")
            repl.start(_START_FROZEN)
            return False
        files = pack.files(board.platform, compiled=board.bytecode == BYTECODE)
        missing = {name: data for name, data in files.items() if board.hashes.get(name) != _digest(data)[:8]}
        stale = [name for name in board.hashes if name not in files]
        if missing or stale:
            _check_room(port, board, missing)
            for name in stale:
                repl.run(f"import os\nos.remove({FOLDER + '/' + name!r})")
            for name, data in missing.items():
                report(f"copying {name} ({len(data):,} bytes)")
                repl.copy(f"{FOLDER}/{name}", data)
            if board.loaded:
                report("restarting the board's Python: an older µcore was loaded")
                repl.restart()
        elif board.free < MIN_FREE and not board.loaded:
            raise BoardError(
                f"The board on {port} has {board.free:,} bytes of free memory; µcore needs {MIN_FREE:,}. Reset the board and try again."
            )
        report("starting µcore")
        repl.start(_START)
        return bool(missing)


class _Board(NamedTuple):
    """What `_PROBE` has found out."""

    platform: str
    version: tuple[int, ...]
    bytecode: int  # its version
    free: int  # bytes of heap
    room: int  # bytes of the file system, below 0 for none
    frozen: str | None  # the build that is part of the firmware
    hashes: dict[str, bytes]  # of the files that were copied
    loaded: bool


def _check_room(port: str, board: _Board, missing: dict[str, bytes]) -> None:
    """Raise BoardError where the board has not the memory, or not the file system, for what is to be copied."""
    size = sum(map(len, missing.values()))
    if board.free < MIN_FREE + size:
        raise BoardError(
            f"The board on {port} has {board.free:,} bytes of free memory; µcore needs {MIN_FREE + size:,}. Reset the board, or make its "
            "main.py smaller, and try again."
        )
    if 0 <= board.room < size + 4096 * (len(missing) + 2):
        raise BoardError(
            f"The board's file system has {board.room:,} bytes left; µcore needs {size:,}. Delete files and try again."
        )
    if board.room < 0:
        raise BoardError(f"The board on {port} has no file system to put µcore on. Format it, or use a firmware that has one.")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
