"""What the tests of the canvas in a page share: producers, and what is seen of them."""

import itertools
import math
import struct
import time

WIDTH = 200  # of the default window


def sine(feed):
    """A producer that never ends: 1 kHz, a slow sine."""
    feed.opened()
    for i in itertools.count(step=10):
        feed.batch(*(struct.pack("<f", math.sin(j / 17.3)) for j in range(i, i + 10)), number=i % 2**32)
        time.sleep(0.01)


def values(*numbers, end=None):
    """A producer of these values, which then stands still."""

    def script(feed):
        feed.opened()
        for start in range(0, len(numbers), 10_000):
            part = numbers[start : start + 10_000]
            feed.batch(struct.pack(f"<{len(part)}f", *part), number=start, size=4)
        if end:
            feed.end(end)

    return script


def seen_at(notebook, number=0, line=0):
    """The columns of pixels in which there is something of the line: position along the axes (0 to 1), lowest, highest."""
    columns = notebook.get(f"ucore.seen({number}, {line})")
    return [(index / len(columns), *found) for index, found in enumerate(columns) if found]


def wait_for_samples(notebook, count, number=0):
    notebook.wait(f"ucore.state({number})?.drawn > 0 && ucore.state({number}).traces.every((trace) => trace.seen >= {count})")
