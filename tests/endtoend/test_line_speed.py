"""A UART's baud rate, raised and lowered under way: a real agent, a line that garbles what is too fast, and ends that disagree.

What only the two ends' logic decides is tried in virtual time, in tests/ukernel/link/test_baudrate.py.
"""

import struct
import time

import pytest
from emulator import Faults, has_compiler
from patience import wait_until
from rig import Rig

from ukernel.hub import driver
from ukernel.hub.driver import BoardDriver
from ukernel.link import session
from ukernel.link.baudrate import STEADY

pytestmark = pytest.mark.skipif(
    not has_compiler(), reason="the board's UART cannot be emulated here: no Linux, or no C compiler"
)

LINE = {"baudrate": "port", "kind": "uart", "uart": True, "latency_s": 0.002, "hello": {"fifo": 1}}
NOTHING_WRONG = {"lost": 0, "duplicated": 0, "reordered": 0, "wrong": 0}


def baudrate(rig):
    return rig.board._session._baudrate


def settle(rig, wanted, patience_s=20):
    """Wait until the line runs steadily at this rate."""
    deadline = time.monotonic() + patience_s
    while not (baudrate(rig).state == STEADY and baudrate(rig).current == wanted):
        assert time.monotonic() < deadline, f"{baudrate(rig).state} at {baudrate(rig).current} baud instead of {wanted}"
        time.sleep(0.01)


def rate_of_the_board(rig):
    return round(10 * struct.unpack_from("<d", rig.uart._page)[0])


def received(rig, count):
    found = rig.receive(count, 90)
    return {key: found[key] for key in NOTHING_WRONG}


@pytest.mark.parametrize("python", ["micropython", "cpython"])
def test_a_line_is_raised_at_once_and_given_back_as_it_was(python, monkeypatch):
    monkeypatch.setattr(
        driver, "SLOW_DOWN_S", 6.0
    )  # a busy machine may need more than usual; by itself the board does it after 8
    with Rig(python=python, **LINE) as rig:
        settle(rig, 921600)
        assert rate_of_the_board(rig) == 921600
        rig.produce(20_000)
        assert received(rig, 20_000) == NOTHING_WRONG
        rig.board.close()
        wait_until(lambda: not rig.board._thread.is_alive(), "the end of the line's thread")
        assert rate_of_the_board(rig) == 115200


def test_a_line_that_gets_worse_is_slowed_down_and_loses_nothing():
    with Rig(**LINE) as rig:
        settle(rig, 921600)
        rig.produce(40_000)
        rig.wait_for(session.PipeBatch, 10)
        rig.events.queue.clear()
        rig.emulator.set_faults(seed=5, to_host=Faults(bit_error_rate=1e-3), to_board=Faults(bit_error_rate=1e-3))
        deadline = time.monotonic() + 20
        while baudrate(rig).current == 921600:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        rig.emulator.set_faults()
        assert rig.wait_for(session.PipeClosed, 60).frames == 40_000


def test_a_board_that_boots_at_the_first_rate_is_found_there_and_raised_again():
    with Rig(**LINE) as rig:
        settle(rig, 921600)
        rig.start_cell("import machine\nmachine.UART(0, baudrate=115200)\nmachine.reset()")
        assert rig.wait_for(session.Ready, 30).restarted
        settle(rig, 921600)


def test_a_new_host_finds_a_board_that_the_last_one_has_left_fast():
    with Rig(**LINE) as rig:
        settle(rig, 921600)
        rig.run("kept = 5")
        rig.board._slow_down = lambda *_: None  # as after SIGKILL
        rig.board.close()
        assert rate_of_the_board(rig) == 921600
        rig.events.queue.clear()
        port = rig.emulator.port
        other = BoardDriver(
            port, lambda board, event: rig.events.put(event), kind="uart", hello={"fifo": 1}, look_for=lambda: port
        )
        rig.callback(other.close)
        rig.board = other
        other.start()
        assert not rig.wait_for(session.Ready, 30).restarted
        settle(rig, 921600)
        assert rig.run("assert kept == 5") == b'{"status":"ok"}'


def test_a_line_without_a_baud_rate_is_never_asked_to_change():
    with Rig(latency_s=0.001) as rig:
        assert rig.run("1") == b'{"status":"ok"}'
        assert rig.board._session.facts.get("max_baud") is None
        assert baudrate(rig).current == 115200


def test_a_board_on_native_usb_makes_the_uart_fast_that_its_firmware_talks_to_as_well():
    with Rig(baudrate=None, kind="usb_jtag", uart=True) as rig:
        assert rig.run("1") == b'{"status":"ok"}'
        assert rate_of_the_board(rig) == 921600
        assert baudrate(rig).current == 115200
