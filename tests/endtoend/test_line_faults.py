"""The link between a real board's agent and the host, over lines that misbehave. `benchmarks/faults.py` does it at length."""

import random
import textwrap

import pytest
from emulator import Faults
from rig import ALIVE, Rig

from ucore import wire
from ukernel.link import session

LINE = {"baudrate": 921600, "kind": "uart", "latency_s": 0.002}
NOTHING_WRONG = {"lost": 0, "duplicated": 0, "reordered": 0, "wrong": 0}


def received(rig, count):
    found = rig.receive(count, 60)
    return {key: found[key] for key in NOTHING_WRONG}


@pytest.mark.parametrize("python", ["micropython", "cpython"])
@pytest.mark.parametrize(
    "faults",
    [
        Faults(bit_error_rate=1e-4),
        Faults(bursts_per_mb=200, burst_bytes=50),
        Faults(drop_rate=2e-4, duplicate_rate=2e-4),
    ],
    ids=["flipped bits", "lost bursts", "lost and doubled bytes"],
)
def test_every_sample_arrives_once_and_in_order(python, faults):
    with Rig(python=python, seed=7, to_host=faults, to_board=faults, **LINE) as rig:
        rig.produce(20_000)
        assert received(rig, 20_000) == NOTHING_WRONG


def test_a_cell_of_32_kB_arrives_whole_over_a_bad_line():
    faults = Faults(bit_error_rate=1e-4)
    text = "".join(random.Random(1).choice("abcdefghij") for _ in range(32_000))
    with Rig(seed=3, to_host=faults, to_board=faults, **LINE) as rig:
        parent = rig.start_cell(f"import binascii\ntext = '{text}'\nprint(len(text), binascii.crc32(text))")
        import binascii

        output = rig.wait_for(session.Message, 60, type=wire.STREAM, parent=parent).content
        assert output.split() == [b"32000", str(binascii.crc32(text.encode())).encode()]


def test_a_cable_that_is_cut_and_comes_back_under_another_name_loses_nothing():
    with Rig(**LINE) as rig:
        rig.produce(60_000)
        rig.wait_for(session.PipeBatch, 10)
        rig.events.queue.clear()  # only what comes from here on is looked at
        rig.emulator.cut()
        rig.emulator.restore()
        numbers = []
        while not isinstance(event := rig.events.get(timeout=30), session.PipeClosed):
            assert not isinstance(event, (session.Gone, session.Ready))
            if isinstance(event, session.PipeBatch):
                numbers.append((event.number, len(event.data) // event.size))
        for (number, items), (after, _) in zip(numbers, numbers[1:], strict=False):
            assert number + items == after
        assert event.frames == 60_000


def test_a_silent_stall_loses_nothing():
    with Rig(**LINE) as rig:
        rig.produce(30_000)
        rig.emulator.stall(1.0, keep=False)
        assert received(rig, 30_000) == NOTHING_WRONG


def test_a_board_that_restarts_is_reported_and_works_again():
    with Rig(**LINE) as rig:
        rig.start_cell("import machine\nmachine.reset()")
        ready = rig.wait_for(session.Ready, 20)
        assert ready.restarted
        assert rig.run("pass") == b'{"status":"ok"}'


@pytest.mark.parametrize("python", ["micropython", "cpython"])
@pytest.mark.parametrize(
    "cell",
    [
        "while True: pass",
        "import time\nwhile True: time.sleep(9)",
        "import time\nwhile True: time.sleep_ms(9000)",
        "while True: print('x' * 40)",
    ],
    ids=["busy", "asleep", "asleep in ms", "printing"],
)
def test_an_interrupt_stops_the_cell_and_leaves_the_producer_alone(python, cell):
    with Rig(python=python, **LINE) as rig:
        rig.run(ALIVE)
        for _ in range(10):
            parent = rig.start_cell(cell)
            rig.wait_for(session.Message, 10, type=wire.STATUS, parent=parent)
            rig.board.interrupt()
            reply = rig.wait_for(session.Message, 10, type=wire.EXECUTE_REPLY, parent=parent)
            assert b"KeyboardInterrupt" in reply.content
        rig.wait_for(session.PipeBatch, 10)
        assert rig.run("ucore.close_pipe('alive')") == b'{"status":"ok"}'


def test_five_megabytes_of_garbage_leave_the_link_in_step():
    with Rig() as rig:
        write = "import sys, os\nnoise = os.urandom(4096)\nfor _ in range(1280): sys.stdout.buffer.write(noise)"
        assert rig.run(write, 60) == b'{"status":"ok"}'
        assert len(rig.board._session._buffer) <= session.MAX_SEGMENT
        rig.produce(1000)
        assert received(rig, 1000) == NOTHING_WRONG


def test_a_producer_goes_on_while_the_host_is_gone_and_the_numbers_tell_the_exact_loss():
    with Rig(**LINE) as rig:
        rig.run(ALIVE)
        rig.emulator.stall(5.0, keep=False)  # longer than the board waits for an ack before it calls the host gone
        rig.start_cell("ucore.close_pipe('alive')")
        arrived = following = gaps = 0
        while not isinstance(event := rig.events.get(timeout=30), session.PipeClosed):
            if isinstance(event, session.PipeBatch):
                items = len(event.data) // event.size
                assert event.number >= following
                gaps += event.number - following
                following = event.number + items
                arrived += items
        gaps += event.frames - following
        assert gaps > 0
        assert arrived + gaps == event.frames


COMPUTE = "import time\nend = time.time() + 40\nwhile ucore.is_pipe_open('bench') and time.time() < end: pass"


@pytest.mark.parametrize("python", ["micropython", "cpython"])
@pytest.mark.parametrize("busy", ["the main thread", "another thread"])
def test_a_producer_goes_on_while_something_else_computes_until_it_has_ended(python, busy):
    with Rig(python=python) as rig:
        if busy == "another thread":
            rig.run(f"import _thread\ndef compute():\n{textwrap.indent(COMPUTE, ' ')}\nucore.open_pipe('bench')")
            rig.run("_thread.start_new_thread(compute, ())")
        rig.produce(100_000)
        produced = rig.passed_over
        parent = rig.start_cell(f"{COMPUTE}\nprint(time.time() < end)")
        output = rig.wait_for(session.Message, 60, type=wire.STREAM, parent=parent).content
        rig.passed_over[:0] = produced
        assert received(rig, 100_000) == NOTHING_WRONG
        assert output == b"True\n"
