"""Files to and from a board over a line of 115200 baud, beside `mpremote fs cp` on the same line in the same run; and what a call costs.

put_ratio, get_ratio: mpremote's seconds by ours, for a file that does not compress; mpremote's own start is taken off. put_of_line, get_of_line:
which part of the line's bytes were the file's. sync_unchanged_s: a folder of 200 files that are all there. call_ms, eval_ms: a function
with two numbers, and `1 + 1`, without any line, as medians (belay, over USB: 4.2 ms). help_s: `ucore --help`. wrong: bytes that did
not arrive as they were sent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests" / "support"))  # the rig is the tests'

from emulator import LineEmulator
from scripted import HubThread

from ukernel.boards import Board, connect
from ukernel.hub.driver import BoardDriver
from ukernel.virtual import firmware
from ukernel.virtual.launcher import VirtualBoard

BAUD = 115200
BYTES_PER_S = BAUD / 10
FILES = 200


@contextlib.contextmanager
def line() -> Iterator[str]:
    """A virtual board behind an emulated line; the line's port."""
    with VirtualBoard("micropython") as virtual, LineEmulator(virtual.port, baudrate=BAUD, latency_s=0.001) as emulated:
        assert emulated.port is not None
        yield emulated.port


@contextlib.contextmanager
def connected(port: str) -> Iterator[Board]:
    """Our end of it: a hub of its own, which takes the port for a UART."""
    hub = HubThread(60.0)
    hub.hub.boards.make_driver = lambda port, deliver: BoardDriver(port, deliver, kind="uart", max_baudrate=BAUD)
    try:
        with connect(port) as board:
            yield board
    finally:
        hub.stop()


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def mpremote(port: str, *command: str) -> float:
    """Seconds that a command of mpremote's takes, its start without any included."""
    argv = [sys.executable, "-m", "mpremote", "connect", port, "resume", *command]
    return seconds(lambda: subprocess.run(argv, check=True, stdout=subprocess.DEVNULL))


def compare(size: int, folder: pathlib.Path) -> dict[str, float]:
    """Both tools on the same line, one after the other."""
    data = os.urandom(size)
    sent, back = folder / "sent.bin", folder / "back.bin"
    sent.write_bytes(data)
    wrong = 0
    with line() as port:
        with connected(port) as board:
            put_s = seconds(lambda: board.files.write("/ours.bin", data))
            fetched: list[bytes] = []
            get_s = seconds(lambda: fetched.append(board.files.read("/ours.bin")))
            wrong += fetched != [data]
        start_s = mpremote(port, "eval", "1")
        their_put_s = mpremote(port, "fs", "cp", str(sent), ":/theirs.bin") - start_s
        their_get_s = mpremote(port, "fs", "cp", ":/theirs.bin", str(back)) - start_s
        wrong += back.read_bytes() != data
    return {
        "put_ratio": their_put_s / put_s,
        "get_ratio": their_get_s / get_s,
        "put_of_line": size / BYTES_PER_S / put_s,
        "get_of_line": size / BYTES_PER_S / get_s,
        "wrong": wrong,
    }


def sync_unchanged(folder: pathlib.Path) -> float:
    source = folder / "source"
    for number in range(FILES):
        place = source / f"part{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"module{number}.py").write_text(f"NUMBER = {number}\n" * 5)
    with line() as port, connected(port) as board:
        board.files.sync(source, "/")
        found = []
        took = seconds(lambda: found.append(board.files.sync(source, "/")))
    assert found[0].unchanged == FILES and not found[0].put, found
    return took


def calls(count: int) -> dict[str, float]:
    with VirtualBoard("micropython") as virtual, connect(virtual.port) as board:

        @board.function
        def add(a: float, b: float) -> float:
            return a + b

        add(1, 2.5)
        call_s = statistics.median(seconds(lambda: add(1, 2.5)) for _ in range(count))
        eval_s = statistics.median(seconds(lambda: board.eval("1 + 1")) for _ in range(count))
    return {"call_ms": 1000 * call_s, "eval_ms": 1000 * eval_s}


def help_s() -> float:
    argv = [sys.executable, "-m", "ukernel.cli", "--help"]
    return statistics.median(seconds(lambda: subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)) for _ in range(7))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="below two minutes")
    options = parser.parse_args()
    firmware.build()
    size, rounds = (50_000, 1) if options.quick else (100_000, 3)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.environ["UCORE_STATE_PATH"] = str(folder / "hub.json")
        found = [compare(size, folder) for _ in range(rounds)]
        for key in found[0]:
            figures[key] = round(statistics.median(one[key] for one in found), 3)
            print(f"{key:20} {figures[key]}", flush=True)
        figures["wrong"] = sum(one["wrong"] for one in found)
        figures["sync_unchanged_s"] = round(sync_unchanged(folder), 2)
        figures |= {key: round(value, 2) for key, value in calls(200 if options.quick else 1000).items()}
        figures["help_s"] = round(help_s(), 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
