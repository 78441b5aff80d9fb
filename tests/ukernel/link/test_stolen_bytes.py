"""A program that reads the real stdin takes what the host sends away from the link, and loses nobody the board."""

import pytest
from rig import Rig

from ucore import wire
from ukernel.link import session

pytestmark = pytest.mark.micropython

# A module that was imported before the agent served has the real one.
REAL = "import ucore.link\nreal = ucore.link.sys.stdin\n"
STEAL = f"""{REAL}
import select, time
ready = select.poll()
ready.register(real, select.POLLIN)
began = time.ticks_ms()
while time.ticks_diff(time.ticks_ms(), began) < 4000:
    print('y' * 100)
    while ready.poll(5):
        real.buffer.read(1)
print('end')
"""


def test_a_cell_that_reads_all_that_the_host_says_ends_and_so_do_the_next():
    with Rig() as rig:
        assert rig.run(STEAL) == b'{"status":"ok"}'
        assert rig.run("print(1)") == b'{"status":"ok"}'
        assert rig.run(REAL + "real.buffer.read(3)") == b'{"status":"ok"}'
        assert rig.run("print(2)") == b'{"status":"ok"}'


def test_a_cell_that_waits_at_the_real_stdin_is_interrupted():
    with Rig() as rig:
        rig.start_cell(REAL + "while True: real.buffer.read(1)")
        rig.wait_for(session.Message, 20, type=wire.STATUS)
        rig.board.interrupt()
        assert b"KeyboardInterrupt" in rig.wait_for(session.Message, 20, type=wire.EXECUTE_REPLY).content
        assert rig.run("print(1)") == b'{"status":"ok"}'


def test_the_link_recovers_from_a_thread_that_read_the_real_stdin():
    with Rig() as rig:
        # It ends by itself: whether a cell that would tell it to gets through beside it is luck.
        rig.run(
            REAL
            + "import _thread\nleft = [60]\ndef read():\n    while left[0]:\n        real.buffer.read(1)\n        left[0] -= 1\n"
            + "_thread.start_new_thread(read, ())"
        )
        for _ in range(20):
            assert rig.run("print(1)", 60) == b'{"status":"ok"}'
        # How much it got is luck, too; that it got something is the test's premise.
        assert rig.run("assert left[0] < 60") == b'{"status":"ok"}'
