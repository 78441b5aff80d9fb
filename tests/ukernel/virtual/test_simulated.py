"""The simulated peripherals, on both Pythons that a virtual board may run."""

import re
from pathlib import Path

import pytest
from lineboard import PYTHONS, LineBoard

BOARDS_PAGE = Path(__file__).parents[3] / "docs" / "boards.md"
MACHINE = """
    ADC DAC PWM Pin Signal I2C SoftI2C SPI SoftSPI UART Timer RTC WDT lightsleep deepsleep idle reset soft_reset reset_cause wake_reason
    unique_id freq disable_irq enable_irq time_pulse_us bitstream PWRON_RESET HARD_RESET WDT_RESET DEEPSLEEP_RESET SOFT_RESET PIN_WAKE
    TIMER_WAKE
"""


@pytest.fixture(scope="module", params=PYTHONS)
def board(request):
    with LineBoard(request.param) as board:
        yield board


def test_a_pin_remembers_and_toggles(board):
    board.ask("pin = machine.Pin(2, machine.Pin.OUT, value=1)")
    assert board.ask("print(pin.value(), machine.Pin(2)(), pin)") == "1 1 Pin(2)"
    assert board.ask("pin.toggle(); print(pin()); pin.on(); print(pin()); pin.off(); print(pin())").split() == ["0", "1", "0"]


def test_the_led_of_the_board_has_a_name(board):
    board.ask("machine.Pin('LED', machine.Pin.OUT).on()")
    assert board.ask("print(machine.Pin('LED') is machine.Pin(2), machine.Pin(2)())") == "True 1"


def test_a_star_import_brings_all_of_the_machine_and_nothing_else(board):
    board.ask("names = {}; exec('from machine import *', names)")
    brought = set(board.ask("print(*[name for name in names if name[0] != '_'])").split())
    assert brought == set(MACHINE.split())


@pytest.mark.micropython
def test_requests_and_mip_are_frozen_in():
    with LineBoard("micropython") as board:
        assert board.ask("import requests, mip; print(callable(requests.get), callable(mip.install))") == "True True"


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
    # A board that was held up may have missed its ends.
    board.ask("exec('while min(seen) >= 750000 or max(seen) <= 2550000: seen.append(adc.read_uv()); time.sleep_ms(5)')")
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
    for wait in ("time.sleep(0.1)", "time.sleep_ms(100)", "pass"):
        board.ask(f"exec('n = len(where) + 5\\nwhile len(where) < n: {wait}')")
    assert board.ask("timer.deinit(); print(set(where) == {main})") == "True"


def test_a_one_shot_timer_calls_back_once(board):
    board.ask("calls = []; timer = machine.Timer(1)")
    board.ask("timer.init(mode=machine.Timer.ONE_SHOT, period=1, callback=calls.append)")
    board.ask("exec('while not calls: time.sleep_ms(1)'); time.sleep_ms(50)")
    assert board.ask("print(len(calls))") == "1"


def test_a_timer_without_a_period_is_a_value_error(board):
    with pytest.raises(RuntimeError, match="period must be positive"):
        board.ask("machine.Timer(2, callback=print)")


def test_a_signal_may_be_inverted(board):
    board.ask("pin = machine.Pin(12, machine.Pin.OUT); light = machine.Signal(pin, invert=True); light.on()")
    assert board.ask("print(pin(), light.value())") == "0 1"


def test_pwm_keeps_frequency_and_share_in_each_of_its_units(board):
    board.ask("pwm = machine.PWM(machine.Pin(13), freq=1000, duty_u16=16384)")
    assert board.ask("print(pwm.freq(), pwm.duty_u16(), pwm.duty(), pwm.duty_ns())") == "1000 16384 256 250003"
    board.ask("pwm.duty_ns(500000); pwm.freq(50)")
    assert board.ask("print(pwm)") == "PWM(Pin(13), freq=50, duty_u16=32767)"
    with pytest.raises(RuntimeError, match="duty_u16"):
        board.ask("pwm.duty_u16(65536)")


def test_the_bus_has_three_devices_and_a_missing_one_is_an_oserror(board):
    board.ask("i2c = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))")
    assert board.ask("print([hex(address) for address in i2c.scan()])") == "['0x3c', '0x68', '0x76']"
    with pytest.raises(RuntimeError, match=r"OSError.*19"):
        board.ask("i2c.writeto(0x20, b'x')")


# The data sheet's formulas in floats, as drivers have them.
BME280 = """
import struct
def bme280(i2c):
    t1, t2, t3, p1, p2, p3, p4, p5, p6, p7, p8, p9 = struct.unpack('<HhhHhhhhhhhh', i2c.readfrom_mem(0x76, 0x88, 24))
    i2c.writeto_mem(0x76, 0xF2, b'\\x01'); i2c.writeto_mem(0x76, 0xF4, b'\\x25')
    d = i2c.readfrom_mem(0x76, 0xF7, 8)
    p = d[0] << 12 | d[1] << 4 | d[2] >> 4; t = d[3] << 12 | d[4] << 4 | d[5] >> 4; h = d[6] << 8 | d[7]
    fine = (t / 16384 - t1 / 1024) * t2 + (t / 131072 - t1 / 8192) ** 2 * t3
    a = fine / 2 - 64000; b = a * a * p6 / 32768 + a * p5 * 2; b = b / 4 + p4 * 65536
    a = (p3 * a * a / 524288 + p2 * a) / 524288; a = (1 + a / 32768) * p1
    p = (1048576 - p - b / 4096) * 6250 / a; p += (p9 * p * p / 2147483648 + p * p8 / 32768 + p7) / 16
    return fine / 5120, p, h * struct.unpack('<h', i2c.readfrom_mem(0x76, 0xE1, 2))[0] / 65536
"""


def test_a_bme280_driver_finds_temperature_pressure_and_humidity(board):
    board.ask(f"i2c = machine.I2C(0); exec({BME280!r})")
    assert board.ask("print(i2c.readfrom_mem(0x76, 0xD0, 1))") == "b'`'"
    celsius, pascal, percent = (float(word) for word in board.ask("print(*bme280(i2c))").split())
    assert 20 < celsius < 22
    assert 101_200 < pascal < 101_450
    assert 42 < percent < 48


def test_an_mpu6050_sleeps_until_it_is_woken_and_then_feels_one_g(board):
    board.ask("import struct; i2c = machine.I2C(0); six = lambda at: struct.unpack('>hhh', i2c.readfrom_mem(0x68, at, 6))")
    board.ask("i2c.writeto_mem(0x68, 0x6B, b'\\x80')")
    assert board.ask("print(i2c.readfrom_mem(0x68, 0x75, 1), six(0x3B))") == "b'h' (0, 0, 0)"
    board.ask("i2c.writeto_mem(0x68, 0x6B, b'\\x00'); x, y, z = six(0x3B)")
    assert 0.97 < float(board.ask("print((x * x + y * y + z * z) ** .5 / 16384)")) < 1.03
    board.ask("i2c.writeto_mem(0x68, 0x1C, b'\\x18'); x, y, z = six(0x3B)")  # 16 g: an eighth of the numbers
    assert 0.97 < float(board.ask("print((x * x + y * y + z * z) ** .5 / 2048)")) < 1.03


def test_an_ssd1306_holds_what_a_driver_draws_by_either_bus(board):
    board.ask("from _virtualboard import memory, world; i2c = machine.I2C(0); D = world.DISPLAY_DATA")
    board.ask("[i2c.writeto(0x3C, bytes((0x80, c))) for c in (0xAE, 0x20, 0, 0x21, 0, 127, 0x22, 0, 7, 0x81, 99, 0xAF)]")
    board.ask("i2c.writevto(0x3C, [b'\\x40', bytes([n & 255 for n in range(1024)])])")
    assert board.ask(
        "print(memory[D], memory[D + 127], memory[D + 1023], memory[world.DISPLAY], memory[world.DISPLAY + 2])"
    ) == ("0 127 255 1 99")
    board.ask(
        "spi = machine.SPI(1); dc = machine.Pin(16, machine.Pin.OUT, value=0); cs = machine.Pin(5, machine.Pin.OUT, value=0)"
    )
    board.ask("spi.write(b'\\x21\\x03\\x04\\x22\\x01\\x02'); dc(1); spi.write(b'wxyz'); cs(1); spi.write(b'lost')")
    assert board.ask("print(bytes([memory[D + at] for at in (131, 132, 259, 260)]))") == "b'wxyz'"


def test_the_devices_do_what_the_page_about_boards_shows(board):
    sensors, display = re.findall(r"```python\n%%ucore\n(.*?)```", BOARDS_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    board.ask("machine.I2C(0).writeto_mem(0x68, 0x6B, b'\\x80')")  # as it is after power on
    said = board.ask(f"page = {{}}; exec({sensors!r}, page)").splitlines()
    assert said[0] == "['0x3c', '0x68', '0x76']" and 20 < float(said[1]) < 22
    x, y, z = (float(part) for part in said[2].strip("()").split(","))
    assert 0.97 < (x * x + y * y + z * z) ** 0.5 < 1.03
    if board.board.python == "cpython":
        pytest.skip("CPython has no framebuf")
    board.ask(f"exec({display!r}, page)")
    assert (
        board.ask(
            "from _virtualboard import memory, world; D = world.DISPLAY_DATA; print(memory[world.DISPLAY], any(memory[D:D + 48]))"
        )
        == "1 True"
    )


def test_spi_reads_what_it_writes(board):
    board.ask("spi = machine.SPI(1); got = bytearray(3); spi.write_readinto(b'abc', got)")
    assert board.ask("print(got, spi.read(2, 7))") == "bytearray(b'abc') b'\\x07\\x07'"


def test_pixels_get_their_colours_in_red_green_blue(board):
    board.ask("import neopixel; from _virtualboard import memory, world; pixels = neopixel.NeoPixel(machine.Pin(48), 3)")
    board.ask("pixels.fill((1, 2, 3)); pixels[1] = (255, 0, 9); pixels.write(); P = world.PIXEL_DATA")
    assert board.ask("print(list(memory[P:P + 9]), memory[world.PIXELS], pixels[-1], len(pixels))") == (
        "[1, 2, 3, 255, 0, 9, 1, 2, 3] 3 (1, 2, 3) 3"
    )


def test_a_uart_gets_back_what_it_sends_at_its_rate(board):
    board.ask("uart = machine.UART(1, baudrate=1200, timeout=500)")
    # A byte takes 8333 us; how long the board itself takes is nobody's business.
    assert board.ask("print(uart.read(0)); began = time.ticks_us(); print(uart.write(b'hello\\nyou'))") == "None\n9"
    board.ask("come = uart.any(); done = uart.txdone(); took = time.ticks_diff(time.ticks_us(), began)")
    assert board.ask("print(come * 8333 <= took, took >= 9 * 8333 or not done)") == "True True"
    assert board.ask("uart.flush(); print(time.ticks_diff(time.ticks_us(), began) >= 9 * 8333)") == "True"
    assert board.ask("print(uart.readline(), uart.any(), uart.read())") == "b'hello\\n' 3 b'you'"
    with pytest.raises(RuntimeError, match="UART"):
        board.ask("machine.UART(7)")


def test_a_text_is_bytes_to_a_bus(board):
    board.ask("uart = machine.UART(1, baudrate=9600, timeout=500); i2c = machine.I2C(0); rtc = machine.RTC()")
    assert (
        board.ask("print(uart.write('5 µA'), uart.flush(), uart.read(), i2c.writeto(0x3C, 'µ'))") == "5 None b'5 \\xc2\\xb5A' 2"
    )
    assert board.ask("rtc.memory('µ'); print(rtc.memory(), machine.SPI(1).write('text'))") == "b'\\xc2\\xb5' None"


def test_a_uart_can_be_polled(board):
    if board.board.python == "cpython":
        pytest.skip("CPython polls files only")
    board.ask("import select; uart = machine.UART(2); poll = select.poll(); poll.register(uart, select.POLLIN)")
    assert board.ask("before = len(poll.poll(0)); uart.write(b'x'); uart.flush(); print(before, len(poll.poll(1000)))") == "0 1"


def test_the_clock_can_be_set_and_keeps_bytes(board):
    board.ask("rtc = machine.RTC(); rtc.datetime((2030, 5, 17, 4, 12, 30, 15, 0)); rtc.memory(b'kept')")
    assert board.ask("now = rtc.datetime(); print(now[:6], rtc.memory())") == "(2030, 5, 17, 4, 12, 30) b'kept'"


def test_a_wlan_connects_within_half_a_second_and_says_what_is_wrong(board):
    board.ask("import network; wlan = network.WLAN(network.STA_IF)")
    with pytest.raises(RuntimeError, match="Wifi Not Started"):
        board.ask("wlan.scan()")
    board.ask("wlan.active(True); began = time.ticks_ms(); wlan.connect('ucore', 'password')")
    board.ask("begun = wlan.status() == network.STAT_CONNECTING and not wlan.isconnected()")
    assert board.ask("print(begun or time.ticks_diff(time.ticks_ms(), began) >= 500)") == "True"  # it may have been held up
    board.ask("exec('while not wlan.isconnected(): time.sleep_ms(10)')")
    assert board.ask("print(wlan.ifconfig()[0], wlan.status('rssi'), wlan.config('ssid'))") == "192.168.4.42 -48 ucore"
    board.ask("wlan.connect('ucore', 'short'); time.sleep_ms(600)")
    assert board.ask("print(wlan.isconnected(), wlan.status() == network.STAT_WRONG_PASSWORD)") == "False True"
    board.ask("wlan.connect('elsewhere'); time.sleep_ms(600)")
    assert board.ask("print(wlan.status() == network.STAT_NO_AP_FOUND, len(wlan.config('mac')))") == "True 6"


def test_the_world_drives_inputs_converters_and_sensors(board):
    board.ask("from _virtualboard import memory, store, world; pin = machine.Pin(14, machine.Pin.IN); seen = []")
    board.ask("pin.irq(lambda p: seen.append(p()), machine.Pin.IRQ_RISING | machine.Pin.IRQ_FALLING)")
    board.ask("memory[world.DRIVEN + 14] = 1; exec('while len(seen) < 1: time.sleep_ms(1)')")
    board.ask("memory[world.DRIVEN + 14] = 0; exec('while len(seen) < 2: time.sleep_ms(1)'); pin.irq(None)")
    assert board.ask("print(seen)") == "[1, 0]"
    board.ask("store(world.VOLTAGES + 4 * 33, '<i', 1234567)")
    assert abs(int(board.ask("print(machine.ADC(machine.Pin(33)).read_uv())")) - 1_234_567) <= 6000
    board.ask(f"store(world.SENSORS, '<f', 37.5); i2c = machine.I2C(0); exec({BME280!r})")
    assert 37.4 < float(board.ask("print(bme280(i2c)[0])")) < 37.6


def test_a_watchdog_that_is_not_fed_resets_the_board(board):
    board.ask("dog = machine.WDT(timeout=1500); exec('for i in range(5):\\n time.sleep_ms(400)\\n dog.feed()')")
    board.read_until("READY\r?\n")
    assert board.ask("print(machine.reset_cause() == machine.WDT_RESET)") == "True"


def test_a_deep_sleep_starts_the_board_afresh_when_it_is_over(board):
    board.send("machine.RTC().memory(b'woken'); machine.deepsleep(50)")
    board.read_until("READY\r?\n")
    assert board.ask("print(machine.reset_cause() == machine.DEEPSLEEP_RESET, machine.wake_reason())") == "True 4"
    assert board.ask("print(machine.RTC().memory())") == "b'woken'"
