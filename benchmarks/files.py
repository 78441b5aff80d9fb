"""Files, and calls: how much of a slow line they use, and how long they take, beside `mpremote fs cp` in the same run.

The line has 115200 baud and 10 ms each way, an adapter's and its driver's: that is where `mpremote fs cp` has about 17 % of it. The file
does not compress. put_of_line, get_of_line: a file's bytes a second to the
board and from it, as a part of the 11,520 that the line carries; mpremote_put_of_line, mpremote_get_of_line: the same of `mpremote fs cp`,
its own start not counted; put_ratio, get_ratio: ours by theirs. sync_unchanged_s: to see that the 200 files of a folder are on the board
as they are here; sync_first_s: to send them. bad_line_of_line: a put at a bit error rate of 1e-5 each way; wrong: files that did not come
as they left, of all in this run. pipe_per_s, pipe_lost: of a pipe of 1,000 samples/s beside a put, and piped_of_line what the put has of
the line then. near_..._of_line: with one millisecond each way, near_put_ring200_of_line: there with a board that holds 200 bytes of input unread, as most
chips do.

Unthrottled, through a hub's process: eval_ms, `1+1`; call_ms, a function with two numbers. help_s: `ucore --help`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))  # the line is the tests'

from emulator import Faults, LineEmulator
from scripted import HubThread

from ukernel.boards import Board, connect
from ukernel.hub.driver import BoardDriver
from ukernel.virtual import firmware
from ukernel.virtual.launcher import VirtualBoard

BAUDRATE = 115200
LINE = BAUDRATE / 10  # bytes/s
LATENCY_S = 0.010
NEAR_S = 0.001
FILES = 200
SAMPLES = """
import struct, time, _thread
def produce():
    pipe = ucore.open_pipe("bench")
    number = 0
    due = time.ticks_ms()
    while ucore.is_pipe_open("bench"):
        if time.ticks_diff(time.ticks_ms(), due) < 0:
            time.sleep_ms(1)
            continue
        pipe.write(struct.pack("<I", number))
        number += 1
        due = time.ticks_add(due, 1)
_thread.start_new_thread(produce, ())
"""


@contextlib.contextmanager
def slow_board(latency_s: float = LATENCY_S, ring: int = 0) -> Iterator[tuple[Board, LineEmulator]]:
    """A virtual board behind the line, and a hub of this process. ``ring``: of its input, in bytes, if it is not to be its own."""
    with tempfile.TemporaryDirectory() as folder, VirtualBoard("micropython") as virtual:
        os.environ["UCORE_STATE_PATH"] = os.path.join(folder, "hub.json")
        with LineEmulator(virtual.port, baudrate=BAUDRATE, latency_s=latency_s) as line:
            hub = HubThread(60.0)
            hub.hub.boards.make_driver = lambda port, deliver: _driver(port, deliver, ring)
            try:
                with connect(line.port) as board:
                    yield board, line
            finally:
                hub.stop()


def _driver(port: str, deliver: Callable[[BoardDriver, object], None], ring: int) -> BoardDriver:
    def tell(board: BoardDriver, event: object) -> None:
        if ring:
            board._session._sender.ring = ring
        deliver(board, event)

    return BoardDriver(port, tell, kind="uart", max_baudrate=BAUDRATE)


class Copies:
    """Files that go to a board and come back, and how many of them came changed."""

    def __init__(self) -> None:
        self.wrong = 0

    def put(self, board: Board, data: bytes, name: str = "/bench.bin") -> float:
        """Return the part of the line that a file has on its way to the board."""
        began = time.perf_counter()
        board.files.write(name, data)
        return len(data) / (time.perf_counter() - began) / LINE

    def get(self, board: Board, data: bytes, name: str = "/bench.bin") -> float:
        """Return the part of the line that a file has on its way back; ``data`` is what it must be."""
        began = time.perf_counter()
        self.wrong += board.files.read(name) != data
        return len(data) / (time.perf_counter() - began) / LINE


def mpremote(data: bytes, latency_s: float = LATENCY_S) -> tuple[float, float]:
    """(the part of the line that `mpremote fs cp` has to the board, and back)."""
    with tempfile.TemporaryDirectory() as folder, VirtualBoard("micropython") as virtual:
        here, empty = Path(folder, "bench.bin"), Path(folder, "empty.bin")
        here.write_bytes(data)
        empty.write_bytes(b"")
        with LineEmulator(virtual.port, baudrate=BAUDRATE, latency_s=latency_s) as line:

            def copy(source: str, target: str) -> float:
                began = time.perf_counter()
                command = [sys.executable, "-m", "mpremote", "connect", str(line.port), "resume", "fs", "cp", source, target]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
                return time.perf_counter() - began

            start = copy(str(empty), ":/empty.bin")
            put = copy(str(here), ":/bench.bin") - start
            here.unlink()
            start = copy(":/empty.bin", str(empty))
            get = copy(":/bench.bin", str(here)) - start
            assert here.read_bytes() == data
    return len(data) / put / LINE, len(data) / get / LINE


def measure_copies(data: bytes, copies: Copies, figures: dict[str, float]) -> None:
    """Put and get, on a clean line and a bad one, and beside a pipe."""
    with slow_board() as (board, line):
        figures["put_of_line"] = copies.put(board, data)
        figures["get_of_line"] = copies.get(board, data)
        bad = Faults(bit_error_rate=1e-5)
        line.set_faults(seed=1, to_host=bad, to_board=bad)
        figures["bad_line_of_line"] = copies.put(board, data[::-1])
        copies.get(board, data[::-1])
        line.set_faults()
        measure_beside_pipe(board, data, copies, figures)
    with slow_board(NEAR_S) as (board, _):
        figures["near_put_of_line"] = copies.put(board, data)
        figures["near_get_of_line"] = copies.get(board, data)
    with slow_board(NEAR_S, ring=200) as (board, _):
        figures["near_put_ring200_of_line"] = copies.put(board, data)
        copies.get(board, data)


def measure_beside_pipe(board: Board, data: bytes, copies: Copies, figures: dict[str, float]) -> None:
    """A put while a thread on the board writes 1,000 samples a second into a pipe."""
    with board.subscribe("bench") as pipe:
        board.run(SAMPLES)
        found: list[bytes] = []
        pipe.read()  # it flows
        reader = threading.Thread(target=lambda: found.extend(pipe))
        began = time.perf_counter()
        reader.start()
        figures["piped_of_line"] = copies.put(board, data, "/piped.bin")
        took = time.perf_counter() - began
        board.run("ucore.close_pipe('bench')")
        reader.join()
        numbers = b"".join(found)
        figures["pipe_per_s"] = len(numbers) / 4 / took
        expected = b"".join(number.to_bytes(4, "little") for number in range(1, len(numbers) // 4 + 1))
        figures["pipe_lost"] = pipe.lost + (numbers != expected)
    copies.get(board, data, "/piped.bin")


def measure_sync(figures: dict[str, float]) -> None:
    """A folder of small files: sent, and looked at again."""
    with tempfile.TemporaryDirectory() as folder, slow_board() as (board, _):
        for number in range(FILES):
            place = Path(folder, "code", f"part{number % 8}", f"module_{number}.py")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"# %d\n" % number + os.urandom(100).hex().encode())
        source = Path(folder, "code")
        for name in ("sync_first_s", "sync_unchanged_s"):
            began = time.perf_counter()
            result = board.files.sync(source, "/code")
            figures[name] = time.perf_counter() - began
        assert result.unchanged == FILES and not result.put, result


def measure_calls(figures: dict[str, float], count: int) -> None:
    """Calls through a hub's process, as a program has it."""
    with tempfile.TemporaryDirectory() as folder, VirtualBoard("micropython") as virtual:
        os.environ["UCORE_STATE_PATH"] = os.path.join(folder, "hub.json")
        with connect(virtual.port) as board:
            board.run("def add(a, b):\n    return a + b")
            figures["eval_ms"] = _median_ms(lambda: board.eval("1+1"), count)
            figures["call_ms"] = _median_ms(lambda: board.call("add", 1, 2.5), count)
            board._requests.ask("stop_request")


def _median_ms(call: Callable[[], object], count: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    once()
    return 1000 * statistics.median(once() for _ in range(count))


def measure_help(count: int) -> float:
    """Seconds of `ucore --help`."""
    return (
        _median_ms(
            lambda: subprocess.run([sys.executable, "-m", "ukernel.cli", "--help"], stdout=subprocess.DEVNULL, check=True),
            count,
        )
        / 1000
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less than two minutes")
    options = parser.parse_args()
    firmware.build()
    size = 40_000 if options.quick else 100_000
    data = os.urandom(size)
    copies = Copies()
    figures: dict[str, float] = {}
    measure_calls(figures, 100 if options.quick else 500)
    figures["help_s"] = measure_help(3 if options.quick else 9)
    measure_copies(data, copies, figures)
    measure_sync(figures)
    theirs = mpremote(data[: 10_000 if options.quick else size])
    for name, part in zip(("put", "get"), theirs, strict=True):
        figures[f"mpremote_{name}_of_line"] = part
        figures[f"{name}_ratio"] = figures[f"{name}_of_line"] / part
    near = mpremote(data[: 10_000 if options.quick else size], NEAR_S)
    figures["near_mpremote_put_of_line"], figures["near_mpremote_get_of_line"] = near
    for name, value in figures.items():
        print(f"{name:24} {value:8.3f}", flush=True)
    print(json.dumps({**{name: round(value, 4) for name, value in figures.items()}, "wrong": copies.wrong}))


if __name__ == "__main__":
    main()
