"""Callbacks that print and write to a pipe while the thread that they interrupt does the same."""

import struct

import pytest

from rig import Rig
from ucore import wire
from ukernel import session, source

SET_UP = """
import machine, struct
pipe = ucore.open_pipe("t")
ticks = 0
def call(timer):
    global ticks
    pipe.write(struct.pack("<I", ticks))
    print("t", end="")
    ticks += 1
timer = machine.Timer(-1)
timer.init(period=2, mode=machine.Timer.PERIODIC, callback=call)
"""
BUSY = """
import time
until = time.time() + 2
written = 0
while time.time() < until:
    print("m", end="")
    pipe.write(b"main")
    written += 1
"""
ENDLESS = """
while True:
    pipe.write(b"main")
    print("m", end="")
"""
END = """
timer.deinit()
pipe.close()
print(" end", ticks, written)
"""


@pytest.mark.parametrize("python", ["micropython", "cpython"])
def test_a_timer_may_print_and_write_whatever_it_interrupts(python):
    with Rig(python=python) as rig:
        messages = []
        for code in (SET_UP, BUSY, END):
            assert rig.run(source.transform(code)) == b'{"status":"ok"}'
            messages += rig.passed_over
        while not any(isinstance(event, session.PipeClosed) for event in messages):
            messages.append(rig.events.get(timeout=20))
        (end,) = (event for event in messages if isinstance(event, session.PipeClosed))
        text = b"".join(e.content for e in messages if isinstance(e, session.Message) and e.type == wire.STREAM)
        data = b"".join(e.data for e in messages if isinstance(e, session.PipeBatch))
        ticks, written = (int(word) for word in text.split(b" end ")[1].split())
        assert ticks > 50 and written > 50
        items = [data[at : at + 4] for at in range(0, len(data), 4)]
        numbers = [struct.unpack("<I", item)[0] for item in items if item != b"main"]
        lost = end.frames - len(items)
        assert items.count(b"main") == written and end.frames == ticks + written
        assert numbers == sorted(set(numbers)) and len(numbers) == ticks - lost


@pytest.mark.parametrize("python", ["micropython", "cpython"])
def test_an_interrupt_beside_a_timer_leaves_the_links_locks_whole(python):
    with Rig(python=python) as rig:
        assert rig.run(source.transform(SET_UP)) == b'{"status":"ok"}'
        for number in range(60):
            cell = rig.start_cell(ENDLESS)
            rig.wait_for(session.Message, 10, type=wire.STATUS, parent=cell)
            for _ in range(number % 4):
                rig.wait_for(session.PipeBatch, 10)
            rig.board.interrupt()
            reply = rig.wait_for(session.Message, 20, type=wire.EXECUTE_REPLY, parent=cell).content
            assert b"KeyboardInterrupt" in reply
        assert rig.run("timer.deinit()\npipe.close()") == b'{"status":"ok"}'
