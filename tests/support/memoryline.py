"""A host's session and a board's link in one thread, and a UART between them in virtual time: what an hour decides takes a moment.

Both ends are the real ones, `ukernel.link.session` and `ucore.link` (on CPython). The one program that runs is the board's: whenever it
waits for its line, or sleeps, time goes on, bytes arrive, and the host does what is due.
"""

from __future__ import annotations

import contextlib
import math
import struct
import sys
import types
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable

import pytest
from emulator.faults import CLEAN, Faults, Noise

from ucore import link, pipes, quirks, startup
from ucore import output as output_module
from ukernel.link import session
from ukernel.link.baudrate import STEADY
from ukernel.link.session import Session

FIRST_RATE, HIGHEST_RATE = 115200, 921600
NONCE = 0x12345678  # no number of a run is random, but by its seed
FIFO_BYTES = 128  # of the board's: a write that does not fit waits
STEP_S = 20e-6  # that a look of the board's at its line takes
HOST_STEP_S = 0.001  # between two turns of the host's thread that nothing has woken
NUMBER = struct.Struct("<I")


class _Direction:
    """Bytes on their way to one end."""

    def __init__(self, name: str):
        self._name = name
        self._queue: deque[tuple[float, bytes, int]] = deque()  # (arrives at, bytes, sent at this rate)
        self.free_at = 0.0  # when what has been sent has left
        self.set_faults(CLEAN, 0)

    def set_faults(self, faults: Faults, seed: int) -> None:
        self._noise = Noise(faults, seed, self._name)

    @property
    def arrives_at(self) -> float:
        return self._queue[0][0] if self._queue else math.inf

    def send(self, data: bytes, rate: int, now: float, latency_s: float) -> None:
        self.free_at = max(now, self.free_at) + 10 * len(data) / rate
        self._queue.append((self.free_at + latency_s, data, rate))

    def take(self, now: float, rate: int, max_rate: int) -> bytes:
        """What has arrived at an end that listens at this rate."""
        found = b""
        while self.arrives_at <= now:
            _, data, sent_rate = self._queue.popleft()
            fits = sent_rate == rate <= max_rate
            found += self._noise.apply(data) if fits else self._noise.garbage(len(data))
        return found


class MemoryLine(contextlib.ExitStack):
    """The line, its two ends, and their clock, ``now``. ``max_rate``: above it everything is garbage, as with a bad cable."""

    def __init__(self, *, max_rate: int = HIGHEST_RATE, latency_s: float = 0.002):
        super().__init__()
        self.now = 1000.0
        self.max_rate = max_rate
        self.events: list[session.Event] = []
        self.board_rate = self.host_rate = FIRST_RATE
        self._latency_s = latency_s
        self._to_board, self._to_host = _Direction("to_board"), _Direction("to_host")
        self._host_at = 0.0
        self.host = Session(kind="uart", max_baudrate=HIGHEST_RATE, nonce=NONCE)
        self.host.start(self.now)
        self._input = b""
        self.board = self._start_board()
        self.run_until(lambda: self.host.state == session.READY)

    def set_faults(self, faults: Faults, seed: int = 0) -> None:
        """What goes wrong in both directions from now on."""
        for direction in (self._to_board, self._to_host):
            direction.set_faults(faults, seed)

    def _start_board(self) -> link.Link:
        patch = self.enter_context(pytest.MonkeyPatch.context())
        for module in (link, pipes, startup):
            patch.setattr(module, "MAIN_WRITES", False)
        for module in (link, startup):
            patch.setattr(module, "SPEEDS", True)
        for module in (quirks, link, output_module, pipes, startup):
            for name in ("ticks_ms", "ticks_us", "sleep_ms", "sleep_us"):
                patch.setattr(module, name, getattr(self, "_" + name), raising=False)
        patch.setattr(link, "ticker", lambda callback, period_ms: None)  # the one thread looks at its line often enough
        patch.setattr(startup, "streams", lambda: (self, self))
        patch.setattr(startup, "select", types.SimpleNamespace(POLLIN=1, poll=lambda: self))
        patch.setattr(startup, "random32", lambda: NONCE)
        machine = types.ModuleType("machine")
        machine.UART = self._set_board_rate
        patch.setitem(sys.modules, "machine", machine)
        patch.setattr(pipes, "_link", None)
        patch.setattr(pipes, "_open", {})
        patch.setattr(pipes, "_threads", {})
        patch.setattr(pipes, "_names", allocate_lock())
        made = link.Link()
        startup.fill_link(made, startup.facts())
        startup.fill_output(output_module.Output(), made)
        pipes.start(made)
        return made

    # What tests do

    def run_until(self, done: Callable[[], bool], patience_s: float = 20.0) -> None:
        """Let an idle board look at its line until ``done()``, for so many seconds of virtual time at most."""
        until = self.now + patience_s
        while not done():
            assert self.now < until, f"{self.host._baudrate.state} at {self.host.baudrate} baud"
            self.board.pump()
            self.board.idle(20)

    def settle(self, wanted: int, patience_s: float = 20.0) -> None:
        """Wait until both ends run steadily at this rate."""
        self.run_until(
            lambda: self.host._baudrate.state == STEADY and self.host.baudrate == self.board_rate == wanted, patience_s
        )

    def produce(self, count: int, meanwhile: Callable[[int], object] = bool) -> None:
        """Write ``count`` numbers to a pipe, and close it; ``meanwhile`` is called with each before it is written."""
        pipe = pipes.open_pipe("bench")
        for number in range(count):
            meanwhile(number)
            pipe.write(NUMBER.pack(number))
        pipe.close()

    def wait_for_close(self, patience_s: float = 90.0) -> session.PipeClosed:
        """Wait until the host knows that the pipe is closed."""
        self.run_until(lambda: bool(self._closed()), patience_s)
        return self._closed()[0]

    def _closed(self) -> list[session.PipeClosed]:
        return [event for event in self.events if isinstance(event, session.PipeClosed)]

    @property
    def numbers(self) -> list[int]:
        """The numbers that have arrived, in order."""
        data = b"".join(event.data for event in self.events if isinstance(event, session.PipeBatch))
        return [number for (number,) in NUMBER.iter_unpack(data)]

    # The clock, and what goes on meanwhile

    def _advance(self, until: float, for_input: bool = False) -> None:
        """Let time go on, to the first byte for the board at most where it waits ``for_input``."""
        while True:
            deadline = self.host.deadline(self.now)
            host_at = math.inf if deadline is None else max(deadline, self._host_at + HOST_STEP_S)
            self.now = max(self.now, min(until, host_at, self._to_host.arrives_at, self._to_board.arrives_at))
            self._input += self._to_board.take(self.now, self.board_rate, self.max_rate)
            data = self._to_host.take(self.now, self.host_rate, self.max_rate)
            if data:
                self.events += self.host.receive_data(data, self.now)
            if data or self.now >= host_at:
                self._run_host()
            if self.now >= until or (for_input and self._input):
                return

    def _run_host(self) -> None:
        self._host_at = self.now
        self.host.check_silence(self.now)
        data = self.host.data_to_send(self.now)
        self.host_rate = self.host.baudrate
        if data:
            self._to_board.send(data, self.host_rate, self.now, self._latency_s)

    def _ticks_ms(self) -> int:
        return int(self.now * 1000) & 0x3FFFFFFF

    def _ticks_us(self) -> int:
        return int(self.now * 1_000_000) & 0x3FFFFFFF

    def _sleep_ms(self, ms: int) -> None:
        self._advance(self.now + ms / 1000)

    def _sleep_us(self, us: int) -> None:
        self._advance(self.now + us / 1_000_000)

    # The board's end: its streams, `select.poll` and `machine.UART`

    def _set_board_rate(self, number: int, baudrate: int) -> None:
        self._advance(max(self.now, self._to_host.free_at))  # what has been written leaves first
        self.board_rate = baudrate

    def register(self, reader: object, flags: int) -> None:
        pass

    def poll(self, timeout_ms: int = -1) -> list[object]:
        if not self._input:
            self._advance(self.now + max(timeout_ms / 1000, STEP_S), for_input=True)
        return [self] if self._input else []

    def read(self, size: int) -> bytes:
        while not self._input:  # as a line that blocks
            self._advance(self.now + 1.0, for_input=True)
        data, self._input = self._input[:size], self._input[size:]
        return data

    def readline(self, limit: int) -> bytes:
        line = b""
        while len(line) < limit and line[-1:] != b"\n":
            line += self.read(1)
        return line

    def write(self, data: bytes) -> int:
        fits_at = self._to_host.free_at + 10 * (len(data) - FIFO_BYTES) / self.board_rate
        if fits_at > self.now:
            self._advance(fits_at)
        self._to_host.send(bytes(data), self.board_rate, self.now, self._latency_s)
        return len(data)
