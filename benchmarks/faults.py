"""Exactly once over a line that misbehaves: 921600 baud, 4 ms each way, bit errors, lost bursts, and a hundred interrupts of each kind.

Goodput is told against the same line without errors, in the same run. `garbage_mb` of noise, and as many without a frame's end, must leave
the host's memory as it was (`garbage_memory_mb`, more than before) and the link in step (`garbage_recovered`).
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests" / "support"))  # the rig is the tests'

import psutil
from emulator import Faults
from rig import ALIVE, Rig

from ucore import wire
from ukernel.link import session

LINE = {"baudrate": 921600, "kind": "uart", "latency_s": 0.004}
BAD = {
    "1e5": Faults(bit_error_rate=1e-5),
    "1e4": Faults(bit_error_rate=1e-4),
    "bursts": Faults(bursts_per_mb=100, burst_bytes=50),
    "drops": Faults(drop_rate=1e-4, duplicate_rate=1e-4),
}
CELLS = {
    "busy": "while True: pass",
    "asleep": "import time\nwhile True: time.sleep(10)",
    "asleep_ms": "import time\nwhile True: time.sleep_ms(10000)",
    "prints": "while True: print('a line of printed text, again and again')",
}


def stream(count: int, faults: Faults, seed: int) -> dict:
    with Rig(seed=seed, to_host=faults, to_board=faults, **LINE) as rig:
        rig.produce(count)
        return rig.receive(count, count / 1000 + 60)


def interrupts(code: str, count: int) -> list[float]:
    """The answer times of ``count`` interrupts, in s; a producer thread must be alive at the end."""
    times = []
    with Rig(**LINE) as rig:
        rig.run(ALIVE)
        for number in range(count):
            parent = rig.start_cell(code)
            rig.wait_for(session.Message, 10, type=wire.STATUS, parent=parent)
            time.sleep(0.002 * (number % 10))  # strike at different points
            asked = time.monotonic()
            rig.board.interrupt()
            try:
                reply = rig.wait_for(session.Message, 5, type=wire.EXECUTE_REPLY, parent=parent)
            except Exception:
                break
            if b"KeyboardInterrupt" in reply.content:
                times.append(time.monotonic() - asked)
        rig.wait_for(session.PipeBatch, 5)
        if rig.run("ucore.close_pipe('alive')") != b'{"status":"ok"}':
            times.clear()
    return times


GARBAGE = {
    "noise": "import os\ndata = os.urandom(65536)",
    "no end of a frame": "data = b'\\x85' * 65536",
}


def garbage(megabytes: int) -> tuple[float, bool]:
    """(What the host's memory has grown by in MB, whether the link was in step afterwards) after so much of each kind."""
    with Rig() as rig:
        rig.run(f"{GARBAGE['noise']}\nimport sys\nfor _ in range(16): sys.stdout.buffer.write(data)", 60)
        rig.events.queue.clear()
        before = most = psutil.Process().memory_info().rss
        for make in GARBAGE.values():
            parent = rig.start_cell(f"{make}\nimport sys\nfor _ in range({16 * megabytes}): sys.stdout.buffer.write(data)")
            while not (isinstance(event := rig.events.get(timeout=60), session.Message) and event.type == wire.EXECUTE_REPLY):
                most = max(most, psutil.Process().memory_info().rss)
            assert event.parent == parent
        rig.produce(10_000)
        found = rig.receive(10_000, 60)
    good = not (found["lost"] or found["duplicated"] or found["reordered"] or found["wrong"])
    return (most - before) / 1e6, good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="at most a minute")
    quick = parser.parse_args().quick
    count, each = (100_000, 25) if quick else (1_000_000, 100)
    figures = dict.fromkeys(("lost", "duplicated", "reordered", "wrong"), 0)
    clean = stream(count, Faults(), 0)["per_s"]
    print(f"clean      {clean:8.0f} samples/s", flush=True)
    for seed, (name, faults) in enumerate(BAD.items()):
        found = stream(count, faults, seed)
        for key in ("lost", "duplicated", "reordered", "wrong"):
            figures[key] += found[key]
        print(
            f"{name:10} {found['per_s']:8.0f} samples/s, {found['per_s'] / clean:.3f} of clean, lost {found['lost']}",
            flush=True,
        )
        if name in ("1e5", "1e4"):
            figures[f"goodput_{name}"] = round(found["per_s"] / clean, 4)
    answered: list[float] = []
    for name, code in CELLS.items():
        times = interrupts(code, each)
        answered += times
        print(
            f"{name:10} {len(times)} of {each} interrupts answered, the slowest after {max(times, default=0):.3f} s", flush=True
        )
    figures["interrupts_sent"] = each * len(CELLS)
    figures["interrupts_answered"] = len(answered)
    figures["interrupt_max_s"] = round(max(answered, default=0.0), 4)
    figures["garbage_mb"] = 5 if quick else 100
    grown, figures["garbage_recovered"] = garbage(figures["garbage_mb"])
    figures["garbage_memory_mb"] = round(grown, 1)
    print(f"garbage    {figures['garbage_mb']} MB of each kind, {grown:.1f} MB more memory", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
