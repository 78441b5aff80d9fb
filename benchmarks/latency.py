"""How old a 4-byte sample is when the host has it: 100 Hz over 115200 baud, the board's main thread idle, asleep, busy, or printing.

The sample is the board's clock, which on the virtual board is the host's. The baseline is `floor_ms`: the bytes' own time on the wire and the
line's latency (1 ms). The UART's FIFO and input ring are an ESP32's.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import struct
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests" / "support"))  # the rig is the tests'

from rig import Rig

from ukernel.link import session

BAUDRATE, LATENCY_S, PERIOD_MS = 115200, 0.001, 10
FRAME_BYTES = 1 + 2 + 4 + 4 + 1  # mark, kind and number, sample, CRC, mark
PRODUCER = """
import struct, time, _thread
def produce():
    pipe = ucore.open_pipe("clock")
    for _ in range({count}):
        pipe.write(struct.pack("<I", time.time_ns() // 1000 & 0xFFFFFFFF))
        time.sleep_ms({period})
    pipe.close()
_thread.start_new_thread(produce, ())
"""
MAIN = {
    "idle": "",
    "asleep": "import time\ntime.sleep({seconds})",
    "busy": "import time\nend = time.time() + {seconds}\nwhile time.time() < end: pass",
    "prints": "import time\nend = time.time() + {seconds}\nwhile time.time() < end: print('a line of printed text, again and again')",
}


def ages(main: str, seconds: float) -> list[float]:
    """The samples' ages in ms, with the main thread doing what ``main`` says."""
    count = int(seconds * 1000 / PERIOD_MS)
    found = []
    with Rig(baudrate=BAUDRATE, latency_s=LATENCY_S, kind="uart", uart=True, hello={"fifo": 1}) as rig:
        rig.run(PRODUCER.format(count=count, period=PERIOD_MS))
        if MAIN[main]:
            rig.start_cell(MAIN[main].format(seconds=seconds))
        while not isinstance(event := rig.events.get(timeout=30), session.PipeClosed):
            if isinstance(event, session.PipeBatch):
                now = time.time_ns() // 1000
                for (sent,) in struct.iter_unpack("<I", event.data):
                    found.append((now - sent & 0xFFFFFFFF) / 1000)
    return found[20:]  # the first ones wait for the session to settle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="at most a minute")
    seconds = 8 if parser.parse_args().quick else 60
    figures = {"floor_ms": round(FRAME_BYTES * 10_000 / BAUDRATE + 1000 * LATENCY_S, 2)}
    for name in MAIN:
        found = ages(name, seconds)
        median, p99 = statistics.median(found), statistics.quantiles(found, n=100)[98]
        print(
            f"{name:8} median {median:6.2f} ms, p99 {p99:6.2f} ms, worst {max(found):6.2f} ms, {len(found)} samples", flush=True
        )
        if name == "idle":
            figures["idle_median_ms"] = round(median, 2)
        figures[f"{name}_p99_ms"] = round(p99, 2)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
