"""How much of the line's capacity carries samples: one 4-byte pipe.write each, from a thread on the MicroPython virtual board.

The baseline is the line's physical limit: a byte is ten bits, so 115200 baud are 2,880 samples/s. `small` keeps the board's writes to
120 bytes, as an ESP32's UART wants; `large` does not; `latency16` adds 16 ms each way; `fifo` puts the ESP32's 128-byte transmit FIFO
with its 10 ms tick into the board. `naive` is what one frame a sample gives, measured in the same run.
`unthrottled_per_s` goes through a hub to `collect` in another process, without any line.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests" / "support"))  # the rig is the tests'

from rig import PRODUCER, Rig

from ukernel.client import connection
from ukernel.virtual import firmware
from ukernel.virtual.launcher import VirtualBoard

LIMIT = {115200: 2880, 921600: 23040}
CASES = {
    "small_115200": (115200, {"kind": "uart", "latency_s": 0.001}),
    "small_921600": (921600, {"kind": "uart", "latency_s": 0.001}),
    "large_115200": (115200, {"latency_s": 0.001, "hello": {"window": 4096}}),
    "large_921600": (921600, {"latency_s": 0.001}),
    "latency16_921600": (921600, {"kind": "uart", "latency_s": 0.016}),
    "fifo_921600": (921600, {"kind": "uart", "latency_s": 0.001, "uart": True, "hello": {"fifo": 1}}),
    "naive_115200": (115200, {"kind": "uart", "latency_s": 0.001, "hello": {"payload": 7}}),
}
READER = """
import sys, time
from ukernel.pipes import subscribe
count = int(sys.argv[1])
with subscribe("bench") as pipe:
    print("ready", flush=True)
    first = pipe.read_array(1, "<I")
    started = time.perf_counter()
    rest = pipe.read_array(count - 1, "<I")
    seconds = time.perf_counter() - started
ordered = bool((rest[1:] == rest[:-1] + 1).all()) and first[0] == 0
print(len(rest) / seconds, count - 1 - len(rest), ordered)
"""


def fraction(name: str, seconds: float) -> tuple[float, int]:
    """One case: (samples/s as a fraction of the limit, samples lost, doubled, displaced or wrong)."""
    baudrate, options = CASES[name]
    count = int(LIMIT[baudrate] * seconds)
    with Rig(baudrate=baudrate, **options) as rig:
        rig.produce(count)
        found = rig.receive(count, 20 * seconds + 60)
    bad = found["lost"] + found["duplicated"] + found["reordered"] + found["wrong"]
    return found["per_s"] / LIMIT[baudrate], bad


def unthrottled(count: int) -> tuple[float, int]:
    """(samples/s from a board thread to an array in another process, samples lost)."""
    with tempfile.TemporaryDirectory() as folder, VirtualBoard("micropython") as board:
        os.environ["UCORE_STATE_PATH"] = os.path.join(folder, "hub.json")
        with connection.connect() as hub:
            hub.request("attach_request", {"board": board.port, "client": "benchmarks/wire.py"}, 20)
            reader = subprocess.Popen([sys.executable, "-c", READER, str(count)], stdout=subprocess.PIPE, text=True)
            reader.stdout.readline()
            hub.send("execute_request", {"code": PRODUCER.format(name="bench", count=count, first=0)})
            rate, lost, ordered = reader.communicate(timeout=300)[0].split()
            hub.request("stop_request", {}, 10)
    return float(rate), int(lost) + (ordered != "True")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="at most a minute")
    parser.add_argument("--only", help="one case")
    options = parser.parse_args()
    firmware.build()
    seconds, rounds = (4, 1) if options.quick else (20, 3)
    figures: dict[str, float] = {}
    lost = 0
    for name in [options.only] if options.only else CASES:
        found = [fraction(name, seconds) for _ in range(rounds)]
        figures[name] = round(statistics.median(part for part, _ in found), 4)
        lost += sum(bad for _, bad in found)
        print(f"{name:20} {100 * figures[name]:5.1f} % of the line", flush=True)
    if not options.only:
        found = [unthrottled(1_000_000 if options.quick else 3_000_000) for _ in range(rounds)]
        figures["unthrottled_per_s"] = round(statistics.median(rate for rate, _ in found))
        lost += sum(bad for _, bad in found)
        print(f"unthrottled          {figures['unthrottled_per_s']:,} samples/s", flush=True)
    print(json.dumps({**figures, "lost": lost}))


if __name__ == "__main__":
    main()
