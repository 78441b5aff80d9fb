"""What µcore costs on a chip, by the chip's own clock: an emulated Raspberry Pi Pico at 125 MHz.

write_us: one `pipe.write` of 4 bytes that joins a batch; item_us: the same with its share of framing and sending, flat out to a host
that listens; heap_bytes: what the agent, imported from copied files and serving, takes of the heap; naive_us: the baseline, one frame
for every sample. growth_bytes: what the heap has grown by after growth_writes more of them. core1_lost: of core1_frames that a thread on
the other core wrote for core1_s seconds (the chip's) beside a main thread that printed, those that did not arrive once, in order.
mpy_bytes: the copied files, as far as plain cells and pipes load them; rare_mpy_bytes: the others.
"""

import argparse
import json
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "support")]

from picos import Pico, Talker, missing  # noqa: E402

from ukernel.install import installer, pack  # noqa: E402
from ukernel.install.repl import Repl  # noqa: E402

HEAP = "gc.collect(); print(gc.mem_alloc() - __main__.before)"
START = "import gc\ngc.collect()\nbefore = gc.mem_alloc()\nimport ucore.agent\nucore.agent.serve()\n"
FUNCTIONS = """
import gc
from time import ticks_us as now
def loop(n):
    began = now()
    for i in range(n): pass
    return now() - began
def flat_out(n, write, a, b):
    began = now()
    for i in range(n):
        write(a)
        write(b)
    return (now() - began - loop(n)) / n / 2
def least(n, write, data):
    # A write that joins a batch, and is not the one that sends it: the median of many runs of a few.
    took = []
    for i in range(n):
        began = now()
        write(data); write(data); write(data); write(data)
        took.append(now() - began)
    took.sort()
    return took[n // 2] / 4
pipe = ucore.open_pipe('chip')
"""


CORE1 = """
import _thread, struct, time
pipe = None
done = []
def run():
    pipe = ucore.open_pipe('core1')
    until = time.ticks_add(time.ticks_ms(), %d)
    number = 0
    while time.ticks_diff(until, time.ticks_ms()) > 0:
        pipe.write(struct.pack('<I', number))
        number += 1
    pipe.close()
    done.append(number)
_thread.start_new_thread(run, ())
lines = 0
while not done:
    lines += 1
    print('line', lines)
    time.sleep_ms(20)
print('end', lines, done[0])
"""


def beside_prints(talker: Talker, seconds: int) -> tuple[int, int]:
    """(Frames written on core 1, how many of them did not arrive once and in order); raises where a printed line is missing."""
    talker.frames.clear()
    talker.begin(CORE1 % (1000 * seconds))
    text, reply = talker.end()
    assert '"ok"' in reply, reply
    *lines, (_, printed, written) = [line.split() for line in text.splitlines()]
    assert lines == [["line", str(number + 1)] for number in range(int(printed))]
    data = b"".join(data for _, _, data in talker.frames)
    arrived = struct.unpack(f"<{len(data) // 4}I", data)
    in_order = sum(a == b for a, b in zip(arrived, range(int(written)), strict=False))
    return int(written), int(written) - in_order


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most a minute")
    quick = parser.parse_args().quick
    count = 10_000 if quick else 50_000
    growth_writes = 20_000 if quick else 1_000_000
    seconds = 5 if quick else 60
    why = missing()
    if why:
        print(json.dumps({"skipped": why}))
        return
    pico = Pico()
    try:
        installer.ensure_agent(pico.port)
        with Repl(pico.port) as repl:
            repl.restart()
            repl.start(START)
        with Talker(pico.port) as talker:
            talker.cell("import gc, __main__")
            heap = int(talker.cell(HEAP))
            talker.cell(FUNCTIONS)
            heap_with_pipe = int(talker.cell(HEAP))
            item = float(talker.cell(f"gc.collect(); print(flat_out({count}, pipe.write, b'abcd', b'efgh'))"))
            write = float(talker.cell("gc.collect(); print(least(2000, pipe.write, b'abcd'))"))
            heap_before = int(talker.cell(HEAP))
            for _ in range(growth_writes // 20_000):
                talker.cell("flat_out(10_000, pipe.write, b'abcd', b'efgh')")
            growth = int(talker.cell(HEAP)) - heap_before
            naive = float(talker.cell(f"gc.collect(); print(flat_out({count // 20}, pipe.write, b'abcd', b'efghi'))"))
            talker.cell("pipe.close()")
            written, lost = beside_prints(talker, seconds)
    finally:
        pico.stop()
    sizes = {name: len(content) for name, content in pack.files("rp2", compiled=True).items()}
    rare = sum(sizes.pop(f"{name}.mpy", 0) for name in pack.RARE)
    result = {
        "write_us": round(write, 1),
        "item_us": round(item, 1),
        "naive_us": round(naive, 1),
        "heap_bytes": heap,
        "heap_with_pipe_bytes": heap_with_pipe,
        "growth_bytes": growth,
        "growth_writes": growth_writes,
        "core1_s": seconds,
        "core1_frames": written,
        "core1_lost": lost,
        "mpy_bytes": sum(sizes.values()),
        "rare_mpy_bytes": rare,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
