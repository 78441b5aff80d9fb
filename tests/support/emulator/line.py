"""The line, as its user sees it; the work is done in process.py."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import select
import subprocess
import sys
import threading

from .faults import CLEAN, Faults
from .uart import BoardUart

ANSWER_TIMEOUT_S = 30.0  # a process starts in a tenth of a second, but perhaps not on a busy machine


class LineEmulator:
    """A line between `board_port` and a new pseudo-terminal, `port`, for the host.

    - `board_port`: a path, a `socket://host:port`, a file descriptor, or a pair (to read, to write).
      Descriptors are given away.
    - `baudrate`: None for no limit, "port" for what the host sets on `port`, and the board on its `uart`; where the
      two differ, and above `max_baudrate`, both ends hear garbage.
    - `latency_s`: one way, on top of the bytes' own time.
    - `to_host`, `to_board`: what goes wrong in each direction. The same `seed` strikes the same bytes.
    - `uart`: what the board was started with, for its input ring, and so that its FIFO follows `set_line`.

    While nobody has `port` open, bytes for the host are lost, as on a real line. A host that does not read
    holds the line back, and so does a board without a `uart`. When the board is gone, so is the port.
    The process ends with this object, and also when its maker is killed. Raises OSError if `board_port`
    cannot be opened.
    """

    def __init__(
        self,
        board_port: str | int | tuple[int, int],
        *,
        baudrate: int | str | None = None,
        max_baudrate: int | None = None,
        latency_s: float = 0.0,
        seed: int = 0,
        to_host: Faults = CLEAN,
        to_board: Faults = CLEAN,
        uart: BoardUart | None = None,
    ) -> None:
        if isinstance(board_port, int):
            board_port = (board_port, board_port)
        self._given = () if isinstance(board_port, str) else tuple(board_port)
        self._config = {
            "board": board_port,
            "baudrate": baudrate,
            "max_baudrate": max_baudrate,
            "latency_s": latency_s,
            "seed": seed,
            "to_host": dataclasses.asdict(to_host),
            "to_board": dataclasses.asdict(to_board),
            "uart": uart and [uart.path, uart.ring_bytes],
        }
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self.port: str | None = None

    def __enter__(self) -> LineEmulator:
        command = [sys.executable, "-E", "-s", "-S", "-m", "emulator.process"]
        self._process = subprocess.Popen(
            [*command, json.dumps(self._config), str(os.getpid())],
            cwd=pathlib.Path(__file__).parent.parent,  # where -m finds it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=self._given,
        )
        for fd in set(self._given):
            os.close(fd)
        try:
            self.port = self._answer()["port"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        process, self._process, self.port = self._process, None, None
        if process is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # it ends with its standard input
            try:
                process.wait(ANSWER_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stats(self) -> dict[str, dict[str, int]]:
        """Per direction ("to_host", "to_board"): bytes `taken` and `delivered`; `unheard` (nobody there,
        a cut, a stall), `ring_lost` (the board's ring was full); each kind of fault since they were set."""
        return self._ask("stats")

    def stall(self, seconds: float, *, keep: bool = True) -> None:
        """Nothing passes for so long; what is sent meanwhile is kept, or lost. Returns at once."""
        self._ask("stall", seconds=seconds, keep=keep)

    def cut(self) -> None:
        """The host's port vanishes; what the board says is lost."""
        self._ask("cut")
        self.port = None

    def restore(self) -> str:
        """The port comes back under another name."""
        self.port = self._ask("restore")["port"]
        return self.port

    def set_line(self, *, baudrate: int | str | None, max_baudrate: int | None = None, latency_s: float = 0.0) -> None:
        """As for a new emulator; what is not named is back at its default."""
        self._ask("set_line", baudrate=baudrate, max_baudrate=max_baudrate, latency_s=latency_s)

    def set_faults(self, *, seed: int = 0, to_host: Faults = CLEAN, to_board: Faults = CLEAN) -> None:
        """From now on; positions count from here."""
        faults = {"to_host": dataclasses.asdict(to_host), "to_board": dataclasses.asdict(to_board)}
        self._ask("set_faults", seed=seed, **faults)

    def _ask(self, request: str, **content: object) -> dict:
        if self._process is None:
            raise RuntimeError("the line emulator is not running: use it in a `with` statement")
        with self._lock:
            self._process.stdin.write(json.dumps([request, content]) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> dict:
        if not select.select([self._process.stdout], [], [], ANSWER_TIMEOUT_S)[0]:
            raise TimeoutError(f"the line emulator (pid {self._process.pid}) does not answer")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the line emulator ended; what it printed on stderr says why")
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer
