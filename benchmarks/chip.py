"""What µcore costs on a chip, by the chip's own clock: an emulated Raspberry Pi Pico at 125 MHz.

write_us: one `pipe.write` of 4 bytes that joins a batch; item_us: the same with its share of framing and sending, flat out to a host
that listens; heap_bytes: what the agent, imported from copied files and serving, takes of the heap; mpy_bytes: those files, as far as
cells and pipes load them; rare_mpy_bytes: those that only rich output and top-level await load; naive_us: the baseline, one frame for
every sample.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "chip")]

from picos import Pico, Talker, missing  # noqa: E402

from ukernel import installer, pack  # noqa: E402

HEAP = "import gc, __main__; gc.collect(); print(gc.mem_alloc() - __main__.before)"
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most a minute")
    count = 10_000 if parser.parse_args().quick else 50_000
    why = missing()
    if why:
        print(json.dumps({"skipped": why}))
        return
    pico = Pico()
    try:
        installer.ensure_agent(pico.port)
        with installer._Repl(pico.port) as repl:
            repl.restart()
            repl.start(START)
        with Talker(pico.port) as talker:
            heap = int(talker.cell(HEAP))
            talker.cell(FUNCTIONS)
            heap_with_pipe = int(talker.cell(HEAP))
            item = float(talker.cell(f"gc.collect(); print(flat_out({count}, pipe.write, b'abcd', b'efgh'))"))
            write = float(talker.cell("gc.collect(); print(least(2000, pipe.write, b'abcd'))"))
            naive = float(talker.cell(f"gc.collect(); print(flat_out({count // 20}, pipe.write, b'abcd', b'efghi'))"))
    finally:
        pico.stop()
    sizes = {name: len(content) for name, content in pack.files("rp2", compiled=True).items()}
    rare = sum(sizes.pop(f"{name}.mpy") for name in pack.RARE)
    result = {
        "write_us": round(write, 1),
        "item_us": round(item, 1),
        "naive_us": round(naive, 1),
        "heap_bytes": heap,
        "heap_with_pipe_bytes": heap_with_pipe,
        "mpy_bytes": sum(sizes.values()),
        "rare_mpy_bytes": rare,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
