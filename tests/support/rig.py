"""The rig of the benchmarks and of the fault tests: a virtual board, a line of a given quality, and the host's end of it."""

from __future__ import annotations

import contextlib
import queue
import struct
import time

import pytest
from emulator import BoardUart, Faults, LineEmulator  # noqa: F401

from ucore import wire
from ukernel.hub.driver import BoardDriver
from ukernel.install import installer
from ukernel.link import session
from ukernel.virtual import firmware
from ukernel.virtual.launcher import VirtualBoard

PRODUCER = """
import struct, _thread
def produce(name, count, first):
    pipe = ucore.open_pipe(name)
    pack = struct.pack
    write = pipe.write
    for number in range(first, first + count):
        write(pack("<I", number))
    pipe.close()
_thread.start_new_thread(produce, ({name!r}, {count}, {first}))
"""

# A producer that never ends: what it writes shows that others' trouble leaves it alone.
ALIVE = """
import time, _thread
def produce():
    pipe = ucore.open_pipe("alive")
    while ucore.is_pipe_open("alive"):
        pipe.write(b"tick")
        time.sleep_ms(5)
_thread.start_new_thread(produce, ())
"""


class Rig(contextlib.ExitStack):
    """A virtual board behind an emulated line, and a `BoardDriver` on it whose events land in a queue."""

    board_port: str | None = (
        None  # of the board that pytest's --board names: it stands for the virtual one on a line without faults
    )

    def __init__(
        self,
        *,
        uart: bool = False,
        kind: str | None = None,
        python: str = "micropython",
        hello: dict | None = None,
        slice_ms: float | None = None,
        **line_options,
    ):
        super().__init__()
        if self.board_port and (uart or slice_ms or line_options or python != "micropython"):
            pytest.skip("it needs a virtual board or an emulated line")
        self.events: queue.Queue = queue.Queue()
        self.passed_over: list = []  # by the last `wait_for`
        self.parent = 0
        board_options = {"slice_ms": slice_ms}
        if uart:
            self.uart = self.enter_context(BoardUart(baudrate=_fixed(line_options["baudrate"]) or 115200))
            board_options["env"] = self.uart.env
        options: dict = {"kind": kind} if kind else {}
        port = self.board_port
        if port:
            options["install"] = installer.ensure_agent
        else:
            if python == "micropython":
                firmware.build()  # at once where it is built
            self.virtual = self.enter_context(VirtualBoard(python, **board_options))
            port = self.virtual.port
        self.emulator = None
        if line_options:
            self.emulator = self.enter_context(LineEmulator(port, **({"uart": self.uart} if uart else {}), **line_options))
            port = self.emulator.port
        baudrate = _fixed(line_options.get("baudrate"))
        if baudrate:
            options["max_baudrate"] = baudrate
        if self.emulator:
            options["look_for"] = lambda: self.emulator.port or port  # under another name after a cut
        self.board = BoardDriver(
            port, lambda board, event: self.events.put(event), baudrate=baudrate or 115200, hello=hello, **options
        )
        self.callback(self.board.close)
        self.board.start()
        self.wait_for(session.Ready, 60 if self.board_port else 10)  # the agent may have to be copied first
        if self.board_port:  # as fresh as a virtual board would be
            self.board.send(wire.SHUTDOWN_REQUEST, 0, b"")
            self.wait_for(session.Ready, 60, restarted=True)

    @property
    def counts(self) -> session.Counts:
        return self.board._session.counts

    def wait_for(self, kind, timeout_s: float, **fields):
        """The next event of a kind, with these fields; others are passed over."""
        deadline = time.monotonic() + timeout_s
        self.passed_over = []
        while True:
            event = self.events.get(timeout=max(deadline - time.monotonic(), 0.001))
            if isinstance(event, session.Refused):
                raise event.error
            if isinstance(event, kind) and all(getattr(event, key) == value for key, value in fields.items()):
                return event
            self.passed_over.append(event)

    def start_cell(self, code: str) -> int:
        self.parent += 1
        self.board.send(wire.EXECUTE_REQUEST, self.parent, code.encode())
        return self.parent

    def run(self, code: str, timeout_s: float = 30) -> bytes:
        """Run a cell to its end; returns its reply's content."""
        parent = self.start_cell(code)
        return self.wait_for(session.Message, timeout_s, type=wire.EXECUTE_REPLY, parent=parent).content

    def produce(self, count: int, first: int = 0, name: str = "bench", timeout_s: float = 30) -> None:
        """Start a thread on the board that writes ``count`` numbers, 4 bytes each."""
        reply = self.run(PRODUCER.format(name=name, count=count, first=first), timeout_s)
        assert reply == b'{"status":"ok"}', reply

    def receive(self, count: int, timeout_s: float) -> dict:
        """Take in the producer's numbers; returns {lost, duplicated, reordered, wrong, seconds}."""
        early = self.passed_over  # a producer's first numbers may come before the reply to the cell that has started it
        arrived = bytearray()
        numbers = []
        started = None
        deadline = time.monotonic() + timeout_s
        while True:
            event = early.pop(0) if early else self.events.get(timeout=max(deadline - time.monotonic(), 0.001))
            if isinstance(event, session.PipeBatch):
                if started is None:
                    started = time.monotonic()
                    skipped = len(event.data) // 4
                arrived += event.data
                numbers.append((event.number, len(event.data) // 4))
            elif isinstance(event, session.PipeClosed):
                break
        seconds = time.monotonic() - started
        values = struct.unpack(f"<{len(arrived) // 4}I", arrived)
        seen = set(values)
        return {
            "lost": count - len(seen & set(range(count))),
            "duplicated": len(values) - len(seen),
            "reordered": sum(b < a for a, b in zip(values, values[1:])),
            "wrong": len(seen - set(range(count))) + sum(n != m for n, m in zip(_starts(numbers), (n for n, _ in numbers))),
            "seconds": seconds,
            "per_s": (count - skipped) / seconds,
        }


def _fixed(baudrate: int | str | None) -> int | None:
    return None if baudrate == "port" else baudrate


def _starts(numbers):
    at = 0
    for _, items in numbers:
        yield at
        at += items
