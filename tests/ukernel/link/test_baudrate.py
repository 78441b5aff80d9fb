"""A UART's baud rate in virtual time: the host's session and the board's link, and a line that garbles what is too fast.

The same in real time, with MicroPython behind a pseudo-terminal, is in tests/endtoend/test_line_speed.py.
"""

import pytest
from emulator import Faults
from memoryline import FIRST_RATE, HIGHEST_RATE, MemoryLine


@pytest.mark.parametrize("rate", [921600, 460800, 230400])
def test_a_line_is_raised_to_what_its_cable_sustains(rate):
    with MemoryLine(max_rate=rate) as line:
        line.settle(rate)
        line.produce(5000)
        assert line.wait_for_close().frames == 5000
        assert line.numbers == list(range(5000))
        line.host.slow_down(line.now)
        line.run_until(lambda: line.host.is_slow)
        assert line.board_rate == FIRST_RATE


def test_a_cable_that_sustains_nothing_more_stays_as_it_is():
    with MemoryLine(max_rate=FIRST_RATE) as line:
        line.run_until(lambda: not line.host._baudrate._ladder)
        line.settle(FIRST_RATE)
        line.produce(1000)
        assert line.wait_for_close().frames == 1000
        assert line.numbers == list(range(1000))


@pytest.mark.parametrize("seed", range(10))
def test_a_line_that_gets_worse_is_slowed_down_and_loses_nothing(seed):
    def spoil_until_it_is_slower(number):
        if number == 1000:
            line.set_faults(Faults(bit_error_rate=1e-3), seed)
        elif line.host.baudrate < HIGHEST_RATE:
            line.set_faults(Faults())

    with MemoryLine() as line:
        line.settle(HIGHEST_RATE)
        line.produce(10_000, spoil_until_it_is_slower)
        assert line.host.baudrate < HIGHEST_RATE
        assert line.wait_for_close().frames == 10_000
        assert line.numbers == list(range(10_000))


@pytest.mark.parametrize("at", [1, 1000, 5000, 9999])
def test_a_line_that_suddenly_garbles_everything_goes_back_to_the_first_rate(at):
    def break_down(number):
        if number == at:
            line.max_rate = FIRST_RATE

    with MemoryLine() as line:
        line.settle(HIGHEST_RATE)
        line.produce(10_000, break_down)
        assert line.wait_for_close().frames == 10_000
        assert line.host.baudrate == line.board_rate == FIRST_RATE
