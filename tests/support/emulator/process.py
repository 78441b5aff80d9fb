"""The line itself: a process of its own, so that neither the hub nor a test delays it.

It works in deadlines: a byte leaves when the byte before it has left, however late the process woke up, so
that the rate does not drift. Requests come as JSON lines on stdin, and its end is the end of the process.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import gc
import json
import math
import mmap
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
import tty

from .faults import CLEAN, Faults, Noise
from .uart import BITS_PER_BYTE, BoardUart, map_page

STEP_S = 0.001  # bytes move in steps of a millisecond, as behind a USB bridge...
MIN_STEP_BYTES = 16  # ...but not in fewer than a 16550's FIFO
MAX_WAITING = 4096  # bytes that the far end has not taken: then the line takes no more, and its source must wait
MAX_IN_FLIGHT = 1 << 20  # the same for bytes under way on a line with latency and no baud rate
CONNECT_TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.01  # how often to look whether somebody has opened the port, or changed its baud rate


class _Direction:
    """One way through the line. `source` and `target`: descriptors, or None where nothing is plugged in."""

    def __init__(self) -> None:
        self.source: int | None = None
        self.target: int | None = None
        self.rate: float | None = None  # bytes a second
        self.latency_s = 0.0
        self.garble = False  # the ends do not agree on the baud rate
        self.noise = Noise(CLEAN, 0, "")
        self.taken = self.delivered = self.unheard = self.ring_lost = 0
        self.arrived = False  # select() said that the source has bytes
        self.ring: _Ring | None = None
        self._free_at = 0.0  # when the last byte taken will have left the transmitter
        self._busy = False  # ... and we have not looked at the source since
        self._under_way: collections.deque[tuple[float, bytes]] = collections.deque()
        self._bytes_under_way = 0
        self._waiting = b""  # arrived, but the target takes no more at the moment

    @property
    def held_back(self) -> bool:
        return len(self._waiting) >= MAX_WAITING or self._bytes_under_way >= MAX_IN_FLIGHT

    @property
    def blocked(self) -> bool:
        return bool(self._waiting)

    @property
    def wants_bytes(self) -> bool:
        return self.source is not None and not self._busy and not self.held_back

    def take(self, now: float) -> None:
        """Take what the transmitter has room for. Raises OSError when the source is gone."""
        if self.source is None:
            self._busy = False
        while self.source is not None and (self.arrived or (self._busy and now >= self._free_at)):
            if self.held_back:
                self._busy = self.arrived = False
                return
            # Whatever came while the line was busy follows without a gap, even if we woke up late.
            start = self._free_at if self._busy else now
            if self.rate is None:
                size = 65536
            else:
                step = max(MIN_STEP_BYTES, int(self.rate * STEP_S))
                size = max(step, int((now - start) * self.rate))
            self._busy = self.arrived = False
            try:
                data = os.read(self.source, size)
            except BlockingIOError:
                return
            if not data:
                raise OSError(errno.EIO, "end of file")
            self.taken += len(data)
            if self.rate is not None:
                self._free_at = start + len(data) / self.rate
                self._busy = True
            else:
                self._free_at = now
            data = self.noise.garbage(len(data)) if self.garble else self.noise.apply(data)
            self._under_way.append((self._free_at + self.latency_s, data))
            self._bytes_under_way += len(data)

    def deliver(self, now: float) -> None:
        """Hand over what has arrived. Raises OSError when the target is gone."""
        due = []
        while self._under_way and self._under_way[0][0] <= now:
            due.append(self._under_way.popleft()[1])
        data = b"".join(due)
        self._bytes_under_way -= len(data)
        if self.target is None:
            self.unheard += len(data)
            return
        if self.ring is not None and data:
            kept = self.ring.keep(data)
            self.ring_lost += len(data) - len(kept)
            data = kept
        self._waiting += data
        if self._waiting:
            with contextlib.suppress(BlockingIOError):
                count = os.write(self.target, self._waiting)
                self.delivered += count
                self._waiting = self._waiting[count:]

    def wakes_at(self) -> float:
        at = self._under_way[0][0] if self._under_way else math.inf
        return min(at, self._free_at) if self._busy else at

    def delay(self, seconds: float, until: float) -> None:
        self._under_way = collections.deque((due + seconds, data) for due, data in self._under_way)
        self._free_at = max(self._free_at + seconds, until)

    def empty(self) -> None:
        self.unheard += self._bytes_under_way + len(self._waiting)
        self._under_way.clear()
        self._bytes_under_way = 0
        self._waiting = b""

    def stats(self) -> dict[str, int]:
        counts = {name: getattr(self, name) for name in ("taken", "delivered", "unheard", "ring_lost")}
        faults = ("flipped_bits", "dropped", "duplicated", "bursts", "burst_lost")
        return counts | {name: getattr(self.noise, name) for name in faults}


class _Ring:
    """The board's input ring: what does not fit beside its unread bytes is lost, but for 0x03, which the
    driver takes out first."""

    def __init__(self, page: mmap.mmap, size_bytes: int) -> None:
        self._page = page
        self._size = size_bytes
        self._boots = self._sent = 0

    def keep(self, data: bytes) -> bytes:
        _, _, _, boots, _, _, read = BoardUart.LAYOUT.unpack_from(self._page)
        if boots != self._boots:  # it starts with an empty ring
            self._boots, self._sent = boots, read
        self._sent = max(self._sent, read)
        room = max(0, self._size - (self._sent - read))
        kept = data[:room]
        self._sent += len(kept) - kept.count(3)
        return kept + b"\3" * data.count(3, room)


class _Emulator:
    """The line's process: two directions, the host's pseudo-terminal, and the requests on stdin."""

    def __init__(self, config: dict) -> None:
        self.to_host = _Direction()
        self.to_board = _Direction()
        self.directions = {"to_host": self.to_host, "to_board": self.to_board}
        self.to_host.source, self.to_board.target = _open_board(config["board"])
        self.uart: mmap.mmap | None = None
        if config["uart"]:
            path, ring_bytes = config["uart"]
            self.uart = map_page(path)
            self.to_board.ring = _Ring(self.uart, ring_bytes) if ring_bytes else None
        self.master: int | None = None  # our end of the host's pseudo-terminal
        self.name = ""
        self.next_master: int | None = None
        self.next_name = ""
        self.look_at = 0.0
        self.stalled_until = 0.0
        self.keep = True
        self.set_faults(config["seed"], config["to_host"], config["to_board"])
        self.set_line(config["baudrate"], config["max_baudrate"], config["latency_s"])
        self.cut()
        self.hello = self.restore()

    # requests

    def stats(self) -> dict:
        return {name: direction.stats() for name, direction in self.directions.items()}

    def stall(self, seconds: float, keep: bool) -> dict:
        self.stalled_until = time.monotonic() + seconds
        self.keep = keep
        for direction in self.directions.values():
            if keep:
                direction.delay(seconds, self.stalled_until)
            else:
                direction.empty()
        return {}

    def cut(self) -> dict:
        # The next one is made before this one goes, or it might get the same name.
        if self.next_master is None:
            self.next_master, slave = os.openpty()
            self.next_name = os.ttyname(slave)
            tty.setraw(self.next_master, termios.TCSANOW)
            os.set_blocking(self.next_master, False)
            os.close(slave)  # from now on the kernel tells us whether somebody has it open
        self._host_left()
        if self.master is not None:
            os.close(self.master)
            self.master = None
        for direction in self.directions.values():
            direction.empty()
        return {}

    def restore(self) -> dict:
        if self.master is None:
            self.master, self.name = self.next_master, self.next_name
            self.next_master = None
            self.look_at = 0.0
        return {"port": self.name}

    def set_line(self, baudrate: int | str | None, max_baudrate: int | None, latency_s: float) -> dict:
        self.follow = baudrate == "port"
        self.max_baudrate = max_baudrate
        for direction in self.directions.values():
            direction.latency_s = latency_s
        self._set_baudrate(115200 if self.follow else baudrate)
        return {}

    def set_faults(self, seed: int, to_host: dict, to_board: dict) -> dict:
        self.to_host.noise = Noise(Faults(**to_host), seed, "to_host")
        self.to_board.noise = Noise(Faults(**to_board), seed, "to_board")
        return {}

    # the loop

    def run(self, parent: int) -> None:
        control = sys.stdin.fileno()
        os.set_blocking(control, False)
        requests = b""
        while os.getppid() == parent:
            now = time.monotonic()
            if now >= self.look_at:
                self._look(now)
            wake = min(now + 1.0, self.look_at)
            if now < self.stalled_until and self.keep:
                ready, _, _ = select.select([control], [], [], min(wake, self.stalled_until) - now)
                to_read: list[int] = []
            else:
                self._move(now)
                wake = min(wake, self.to_host.wakes_at(), self.to_board.wakes_at())
                to_read = [control] + [d.source for d in self.directions.values() if d.wants_bytes]
                to_write = [d.target for d in self.directions.values() if d.blocked and d.target is not None]
                ready, _, _ = select.select(to_read, to_write, [], max(0.0, wake - time.monotonic()))
                for direction in self.directions.values():
                    direction.arrived = direction.wants_bytes and direction.source in ready
            if control in ready:
                chunk = os.read(control, 4096)
                if not chunk:
                    return  # whoever made us is gone
                *lines, requests = (requests + chunk).split(b"\n")
                for line in lines:
                    request, content = json.loads(line)
                    print(json.dumps(getattr(self, request)(**content)), flush=True)

    def _move(self, now: float) -> None:
        if self.follow and self.master is not None:
            self._set_baudrate(_SPEEDS.get(termios.tcgetattr(self.master)[5], 115200))
        for direction, source_left in ((self.to_host, self._board_left), (self.to_board, self._host_left)):
            try:
                direction.take(now)
            except OSError:
                source_left()
        if now < self.stalled_until:  # a stall that loses: the loop does not come here in the other kind
            self.to_host.empty()
            self.to_board.empty()
        for direction, target_left in ((self.to_host, self._host_left), (self.to_board, self._board_left)):
            try:
                direction.deliver(now)
            except OSError:
                target_left()

    def _look(self, now: float) -> None:
        """Has somebody opened the port?"""
        self.look_at = math.inf
        if self.master is not None and self.to_host.target is None:
            self.look_at = now + LOOK_EVERY_S
            poll = select.poll()
            poll.register(self.master, 0)
            if not poll.poll(0):
                self.to_host.target = self.to_board.source = self.master

    def _set_baudrate(self, baudrate: int | None) -> None:
        """The host's end of the line has this rate. So has the board's, but where it has a UART that sets its own."""
        rate = board_rate = baudrate and baudrate / BITS_PER_BYTE
        if self.uart is not None and rate:
            if self.follow:
                (board_rate,) = struct.unpack_from("<d", self.uart, 0)
            else:
                struct.pack_into("<d", self.uart, 0, rate)
        self.to_board.rate, self.to_host.rate = rate, board_rate
        too_fast = bool(rate and self.max_baudrate and baudrate > self.max_baudrate)
        for direction in self.directions.values():
            direction.garble = too_fast or rate != board_rate

    def _host_left(self) -> None:
        self.to_host.target = self.to_board.source = None
        self.to_host.empty()
        self.look_at = 0.0
        if self.master is not None:
            try:  # what the host did not read is not for the next one
                slave = os.open(self.name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
                termios.tcflush(slave, termios.TCIFLUSH)
                os.close(slave)
            except OSError:
                pass  # someone else has it, exclusively

    def _board_left(self) -> None:
        self.to_host.source = self.to_board.target = None
        self.cut()


_SPEEDS = {
    getattr(termios, f"B{speed}"): speed
    for speed in (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1000000, 1500000, 2000000)
    if hasattr(termios, f"B{speed}")
}


def _open_board(board: str | list[int]) -> tuple[int, int]:
    if isinstance(board, list):
        source, target = board[0], board[-1]
    elif board.startswith("socket://"):
        host, port = board.removeprefix("socket://").rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        source = target = connection.detach()
    else:
        source = target = os.open(board, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(source, termios.TCSANOW)  # NOW: what the board has said already stays
    os.set_blocking(source, False)
    os.set_blocking(target, False)
    return source, target


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test run, which then lets us go
    gc.disable()  # no cycles are made in the loop, and no pauses wanted
    # A line is hardware: it does not queue for a processor. It also works where we may not ask for this.
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    config = json.loads(sys.argv[1])
    try:
        emulator = _Emulator(config)
    except OSError as error:
        reason = error.strerror or error
        sentence = f"the line emulator cannot open the board's port {config['board']}: {reason}"
        print(json.dumps({"error": sentence, "errno": error.errno}), flush=True)
        return
    print(json.dumps(emulator.hello), flush=True)
    emulator.run(int(sys.argv[2]))


if __name__ == "__main__":
    _main()
