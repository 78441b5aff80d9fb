"""Callbacks that print and write to a pipe while the threads that they interrupt do the same, however they came to the board."""

import struct

import pytest
from rig import Rig

from ucore import wire
from ukernel.boards import rewrite
from ukernel.link import session

pytestmark = pytest.mark.board

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
seen = -1
while seen != ticks:  # those that wait for their turn still come, and are no writes to a closed pipe
    seen = ticks
    time.sleep_ms(20)
pipe.close()
print(" end", ticks, written)
"""


@pytest.mark.parametrize("python", ["micropython", "cpython"])
def test_a_timer_may_print_and_write_whatever_it_interrupts(python):
    with Rig(python=python) as rig:
        messages = []
        for code in (SET_UP, BUSY, END):
            assert rig.run(rewrite.transform(code)) == b'{"status":"ok"}'
            messages += rig.passed_over
        while not any(isinstance(event, session.PipeClosed) for event in messages):
            messages.append(rig.events.get(timeout=20))
        (end,) = (event for event in messages if isinstance(event, session.PipeClosed))
        text = printed(messages)
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
        assert rig.run(rewrite.transform(SET_UP)) == b'{"status":"ok"}'
        for number in range(60):
            cell = rig.start_cell(ENDLESS)
            rig.wait_for(session.Message, 10, type=wire.STATUS, parent=cell)
            for _ in range(number % 4):
                rig.wait_for(session.PipeBatch, 10)
            rig.board.interrupt()
            reply = rig.wait_for(session.Message, 20, type=wire.EXECUTE_REPLY, parent=cell).content
            assert b"KeyboardInterrupt" in reply
        assert rig.run("timer.deinit()\npipe.close()") == b'{"status":"ok"}'


def printed(events) -> bytes:
    return b"".join(e.content for e in events if isinstance(e, session.Message) and e.type == wire.STREAM)


FAST = """
import machine
beats = [0]
def beat(timer):
    beats[0] += 1
    print('beat', beats[0])
    if ucore.is_pipe_open('beats'):
        ucore.open_pipe('beats').write(b'beat')
heart = machine.Timer(-1)
heart.init(period=1, mode=machine.Timer.PERIODIC, callback=beat)
"""
MAIN = """
import time
until = time.ticks_add(time.ticks_ms(), 1500)
lines = 0
while time.ticks_diff(until, time.ticks_ms()) > 0:
    lines += 1
    print('main', lines)
"""
# How a callback gets to a board past a host that reads the cells.
WAYS = {
    "a cell": "\n" + FAST,
    "nested quotes": '\nd = {\'k\': 1}\nprint(f"{d["k"]}")\n' + FAST,
    "tabs and spaces": "\ndef odd(x):\n\tif x:\n\t\treturn 5\n        return 6\n" + FAST,
    "exec of a file": f"\nwith open('prog.txt', 'w') as f: f.write({FAST!r})\nexec(open('prog.txt').read())",
    "__import__": f"\nwith open('prog_a.py', 'w') as f: f.write('import ucore' + {FAST!r})\nimport sys\nsys.path.append('.')\n"
    "prog = __import__('prog_a')\nheart, beats = prog.heart, prog.beats",
    "a helper": f"\nwith open('helper_b.py', 'w') as f: f.write('def run(text, names):\\n    exec(text, names)\\n')\nimport sys\nsys.path.append('.')\n"
    f"import helper_b\nhelper_b.run({FAST!r}, globals())",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_timer_that_prints_never_hangs_the_board_however_it_came_there(way):
    with Rig() as rig:
        assert rig.run(rewrite.transform(WAYS[way])) == b'{"status":"ok"}'
        assert rig.run(rewrite.transform("\nucore.open_pipe('beats');")) == b'{"status":"ok"}'
        assert rig.run(MAIN) == b'{"status":"ok"}'
        text = printed(rig.passed_over)
        assert text.count(b"main") > 50 and text.count(b"beat") > 50
        mains = [line for line in text.splitlines() if line.startswith(b"main ")]
        numbers = [int(line.split()[1]) for line in mains if line.count(b" ") == 1]
        assert numbers == sorted(numbers)
        assert rig.run("heart.deinit()\nucore.close_pipe('beats')") == b'{"status":"ok"}'


@pytest.mark.parametrize("python", ["micropython", "cpython"])
def test_a_timer_that_prints_is_heard_beside_an_idle_agent(python):
    with Rig(python=python) as rig:
        assert rig.run(FAST) == b'{"status":"ok"}'
        for _ in range(30):
            rig.wait_for(session.Message, 10, type=wire.STREAM)
        assert rig.run("heart.deinit()") == b'{"status":"ok"}'


COMPUTING = """
import _thread
going = True
def compute():
    x = 0
    while going:
        x += 1
_thread.start_new_thread(compute, ())
_thread.start_new_thread(compute, ())
"""


@pytest.mark.parametrize("python", ["micropython", "cpython"])
def test_a_timer_that_prints_and_writes_waits_for_no_thread_that_computes(python):
    with Rig(python=python) as rig:
        assert rig.run(COMPUTING) == b'{"status":"ok"}'
        assert rig.run("ucore.open_pipe('beats')") == b'{"status":"ok"}'
        assert rig.run(FAST) == b'{"status":"ok"}'
        assert rig.run(MAIN) == b'{"status":"ok"}'
        assert printed(rig.passed_over).count(b"beat") > 20
        cell = rig.start_cell("while True: pass")
        rig.wait_for(session.Message, 10, type=wire.STATUS, parent=cell)
        for _ in range(5):
            rig.wait_for(session.PipeBatch, 10)
        rig.board.interrupt()
        assert b"KeyboardInterrupt" in rig.wait_for(session.Message, 20, type=wire.EXECUTE_REPLY, parent=cell).content
        assert rig.run("heart.deinit()\ngoing = False\nucore.close_pipe('beats')") == b'{"status":"ok"}'


WRITERS = """
import _thread, micropython, struct
from time import sleep_ms
done = []
def scheduled(number):
    print('s', number)
    p = ucore.open_pipe('w')
    p.write(struct.pack('<I', number))
def produce(first):
    pipe = ucore.open_pipe('w')
    for number in range(first, first + 2000):
        pipe.write(struct.pack('<I', number))
        if number % 10 == 0:
            try:
                micropython.schedule(scheduled, 1000000 + number)
            except RuntimeError:
                pass
    done.append(1)
for first in (0, 10000):
    _thread.start_new_thread(produce, (first,))
while len(done) < 2:
    print('main')
    sleep_ms(1)
ucore.close_pipe('w')
"""


def test_what_threads_and_what_they_schedule_write_arrives_whole_and_is_counted():
    with Rig() as rig:
        assert rig.run(FAST) == b'{"status":"ok"}'
        assert rig.run(WRITERS, 60) == b'{"status":"ok"}'
        events = rig.passed_over
        while not any(isinstance(event, session.PipeClosed) for event in events):
            events.append(rig.events.get(timeout=20))
        (end,) = (event for event in events if isinstance(event, session.PipeClosed))
        batches = [event for event in events if isinstance(event, session.PipeBatch)]
        data = b"".join(event.data for event in batches)
        numbers = struct.unpack(f"<{len(data) // 4}I", data)
        for first in (0, 10000):
            assert [n for n in numbers if first <= n < first + 2000] == list(range(first, first + 2000))
        assert len(set(numbers)) == len(numbers)
        assert sum(n >= 1000000 for n in numbers) > 20
        gaps = sum(b.number - a.number - len(a.data) // 4 for a, b in zip(batches, batches[1:]))
        assert batches[0].number + len(numbers) + gaps <= end.frames
        assert rig.run("heart.deinit()") == b'{"status":"ok"}'


LONG = """
import _thread
from time import sleep_ms
done = []
def say(mark, size):
    for _ in range(20):
        print(mark * size)
    done.append(1)
for mark in 'abc':
    _thread.start_new_thread(say, (mark, 700))
say('m', 300)
while len(done) < 4:
    sleep_ms(5)
"""


@pytest.mark.parametrize("python", ["micropython", "cpython"])
@pytest.mark.parametrize("beside", ["", FAST], ids=["", "timer"])
def test_a_print_is_never_torn_apart_by_those_of_others(python, beside):
    with Rig(python=python) as rig:
        assert rig.run(beside) == b'{"status":"ok"}'
        assert rig.run(LONG, 60) == b'{"status":"ok"}'
        lines = printed(rig.passed_over).split(b"\n")
        for mark, size in (("a", 700), ("b", 700), ("c", 700), ("m", 300)):
            assert lines.count(mark.encode() * size) == 20
        assert rig.run("try:\n    heart.deinit()\nexcept NameError:\n    pass") == b'{"status":"ok"}'


def test_a_callback_that_fails_says_so_and_the_board_goes_on():
    with Rig() as rig:
        code = "import micropython\ndef fail(_):\n    1 // 0\nfor _ in range(3):\n    micropython.schedule(fail, 0)\n    print('on')"
        assert rig.run(code) == b'{"status":"ok"}'
        text = b"".join(getattr(event, "content", b"") or getattr(event, "data", b"") for event in rig.passed_over)
        assert text.count(b"on") >= 3


NOT_ALLOWED = """
import machine
said = []
def ask(_):
    try:
        input('?')
    except RuntimeError as error:
        said.append(str(error))
timer = machine.Timer(-1)
timer.init(period=10, mode=machine.Timer.ONE_SHOT, callback=ask)
"""


def test_input_in_a_callback_says_that_it_is_not_for_callbacks():
    with Rig() as rig:
        assert rig.run(NOT_ALLOWED) == b'{"status":"ok"}'
        assert rig.run("import time\nwhile not said: time.sleep_ms(5)\nprint(said[0])") == b'{"status":"ok"}'
        assert b"not in a callback" in printed(rig.passed_over)


@pytest.mark.parametrize("call", ["start_new_thread(f, (5))", "start_new_thread(f, 5)", "start_new_thread(f, (), 5)"])
@pytest.mark.parametrize("python", ["micropython", "cpython"])
def test_a_thread_without_a_tuple_of_arguments_fails_where_it_is_started(python, call):
    with Rig(python=python) as rig:
        reply = rig.run(f"import _thread\ndef f(*args): print('ran')\n_thread.{call}")
        assert b"TypeError" in reply and b"ran" not in printed(rig.passed_over)
        assert rig.run("_thread.start_new_thread(f, (1,), {})") == b'{"status":"ok"}'
