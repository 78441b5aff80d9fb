"""The simulated peripherals, on both Pythons that a virtual board may run."""

import pytest
from lineboard import PYTHONS, LineBoard


@pytest.fixture(scope="module", params=PYTHONS)
def board(request):
    with LineBoard(request.param) as board:
        yield board


def test_a_pin_remembers_and_toggles(board):
    board.ask("pin = machine.Pin(2, machine.Pin.OUT, value=1)")
    assert board.ask("print(pin.value(), machine.Pin(2)(), pin)") == "1 1 Pin(2)"
    assert board.ask("pin.toggle(); print(pin()); pin.on(); print(pin()); pin.off(); print(pin())").split() == ["0", "1", "0"]


def test_an_input_reads_its_pull(board):
    assert board.ask("print(machine.Pin(5, machine.Pin.IN, machine.Pin.PULL_UP)())") == "1"
    assert board.ask("print(machine.Pin(6, machine.Pin.IN)())") == "0"


def test_a_pin_that_does_not_exist_is_a_value_error(board):
    with pytest.raises(RuntimeError, match="invalid pin"):
        board.ask("machine.Pin(99)")


def test_a_pin_calls_its_handler_on_the_edges_asked_for(board):
    board.ask("edges = []; pin = machine.Pin(7)")
    board.ask("pin.irq(lambda p: edges.append(p()), machine.Pin.IRQ_RISING)")
    board.ask("exec('for level in (1, 1, 0, 1, 0):\\n pin(level)\\n time.sleep_ms(1)')")
    board.ask("exec('while len(edges) < 2: time.sleep_ms(1)')")
    assert board.ask("print(edges)") == "[1, 1]"


def test_the_converter_sees_a_sine_of_one_volt_around_half_the_supply(board):
    board.ask("adc = machine.ADC(machine.Pin(4)); seen = []")
    board.ask("exec('for i in range(160): seen.append(adc.read_uv()); time.sleep_ms(5)')")  # more than a period of 0.7 s
    low, high = (int(word) for word in board.ask("print(min(seen), max(seen))").split())
    assert 640_000 < low < 750_000
    assert 2_550_000 < high < 2_660_000


def test_the_converters_units_agree(board):
    board.ask("adc = machine.ADC(0); machine.ADC.read_uv = lambda self: 1650000")
    try:
        assert board.ask("print(adc.read_u16(), adc.read())") == "32767 2047"
    finally:
        board.send("machine.reset()")
        board.read_until("READY\r?\n")


def test_the_temperature_is_a_whole_number_near_42_degrees(board):
    celsius, fahrenheit = (int(word) for word in board.ask("print(esp32.mcu_temperature(), esp32.raw_temperature())").split())
    assert 39 <= celsius <= 45
    assert abs(celsius * 9 / 5 + 32 - fahrenheit) < 2


def test_the_chip_has_an_identity_of_six_bytes_and_a_frequency(board):
    assert board.ask("print(len(machine.unique_id()), machine.freq())") == "6 240000000"
    assert board.ask("machine.freq(80000000); print(machine.freq())") == "80000000"


def test_a_periodic_timer_calls_back_until_it_is_stopped(board):
    board.ask("calls = []; timer = machine.Timer(-1, period=2, callback=lambda t: calls.append(t is timer))")
    board.ask("exec('while len(calls) < 10: time.sleep_ms(1)')")
    board.ask("timer.deinit(); time.sleep_ms(20); n = len(calls); time.sleep_ms(50)")
    assert board.ask("print(len(calls) == n, all(calls))") == "True True"


def test_a_timer_calls_back_in_the_main_thread_while_that_sleeps_or_works(board):
    board.ask("main = _thread.get_ident(); where = []")
    board.ask("timer = machine.Timer(0, period=2, callback=lambda t: where.append(_thread.get_ident()))")
    board.ask("time.sleep(0.1); time.sleep_ms(100); exec('for i in range(100000): pass')")
    assert board.ask("timer.deinit(); print(len(where) > 5, set(where) == {main})") == "True True"


def test_a_one_shot_timer_calls_back_once(board):
    board.ask("calls = []; timer = machine.Timer(1)")
    board.ask("timer.init(mode=machine.Timer.ONE_SHOT, period=1, callback=calls.append); time.sleep_ms(50)")
    assert board.ask("print(len(calls))") == "1"


def test_a_timer_without_a_period_is_a_value_error(board):
    with pytest.raises(RuntimeError, match="period must be positive"):
        board.ask("machine.Timer(2, callback=print)")
