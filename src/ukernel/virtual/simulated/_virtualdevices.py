"""What is wired to a virtual board's buses: a BME280, an MPU6050, an SSD1306, each as its data sheet describes its registers.

A device takes what the master writes (`receive`) and gives what it reads (`send`). The BME280's calibration is chosen so that the data
sheet's formulas, in floats or in integers, are straight lines: what a driver computes is what the world says, to a digit or so.
"""

import math
import random
import struct
import time

from _virtualboard import memory, sensed, world


class Registers:
    """A device with registers of a byte: the first byte written is the register, which then counts up."""

    def __init__(self):
        self._at = 0

    def receive(self, data):
        """Take what the master has written in one go."""
        if data:
            self._at = data[0]
            for byte in data[1:]:
                self.write(self._at, byte)
                self._at = (self._at + 1) & 255

    def send(self, count):
        """Return what the master reads in one go."""
        values = self.read_all()
        found = bytearray(count)
        for place in range(count):
            found[place] = values[(self._at + place) & 255]
        self._at = (self._at + count) & 255
        return found


class BME280(Registers):
    """Temperature, pressure and humidity: 21 °C, 1013.25 hPa and 45 %, drifting a little."""

    _T1, _T2, _P1, _H2 = 27504, 26435, 36477, 100

    def __init__(self):
        super().__init__()
        self._registers = bytearray(256)
        self._reset()

    def _reset(self):
        registers = self._registers
        for at in range(256):
            registers[at] = 0
        registers[0xD0] = 0x60
        struct.pack_into("<HhhH", registers, 0x88, self._T1, self._T2, 0, self._P1)
        struct.pack_into("<h", registers, 0xE1, self._H2)
        # Until it has measured for the first time.
        registers[0xF7] = registers[0xFA] = registers[0xFD] = 0x80

    def write(self, at, byte):
        """Take a byte for a register."""
        if at == 0xE0 and byte == 0xB6:
            self._reset()
        elif at in (0xF2, 0xF4, 0xF5):
            self._registers[at] = byte
            if at == 0xF4 and byte & 3 in (1, 2):
                self._measure()
                self._registers[at] = byte & 0xFC  # a forced measurement ends in sleep

    def read_all(self):
        """Return all registers, measured anew where it measures by itself."""
        if self._registers[0xF4] & 3 == 3:
            self._measure()
        return self._registers

    def _measure(self):
        slow = math.sin(2 * math.pi * (time.ticks_ms() % 60_000) / 60_000)
        celsius = sensed("temperature", 21.0 + 0.8 * slow + 0.02 * (random.random() - 0.5))
        pascal = sensed("pressure", 101_325 + 40 * slow + 3 * (random.random() - 0.5))
        percent = sensed("humidity", 45.0 - 2.0 * slow + 0.1 * (random.random() - 0.5))
        temperature = int((celsius * 5120 / self._T2 + self._T1 / 1024) * 16384 + 0.5)
        pressure = int(1_048_576 - pascal * self._P1 / 6250 + 0.5)
        humidity = int(percent * 65536 / self._H2 + 0.5)
        registers = self._registers
        for at, value in ((0xF7, pressure), (0xFA, temperature)):
            value = max(0, min(0xFFFFF, value))
            registers[at] = value >> 12
            registers[at + 1] = value >> 4 & 255
            registers[at + 2] = value << 4 & 255
        struct.pack_into(">H", registers, 0xFD, max(0, min(65535, humidity)))


class MPU6050(Registers):
    """Acceleration and rotation of a board that is tilted to and fro by 20 degrees in 8 s; asleep until it is woken, as a real one."""

    _PERIOD_MS = 8000
    _TILT = math.radians(20)

    def __init__(self):
        super().__init__()
        self._registers = bytearray(256)
        self._reset()

    def _reset(self):
        for at in range(256):
            self._registers[at] = 0
        self._registers[0x75] = 0x68
        self._registers[0x6B] = 0x40

    def write(self, at, byte):
        """Take a byte for a register."""
        if at == 0x6B and byte & 0x80:
            self._reset()
        elif at != 0x75 and not 0x3B <= at <= 0x60:
            self._registers[at] = byte

    def read_all(self):
        """Return all registers, measured anew unless it sleeps."""
        if not self._registers[0x6B] & 0x40:
            self._measure()
        return self._registers

    def _measure(self):
        phase = 2 * math.pi * (time.ticks_ms() % self._PERIOD_MS) / self._PERIOD_MS
        tilt = self._TILT * math.sin(phase)
        speed = math.degrees(self._TILT * math.cos(phase)) * 2 * math.pi * 1000 / self._PERIOD_MS
        registers = self._registers
        per_g = 16384 >> (registers[0x1C] >> 3 & 3)
        per_degree = 131 / (1 << (registers[0x1B] >> 3 & 3))
        moves = (("ax", math.sin(tilt)), ("ay", 0.0), ("az", math.cos(tilt)))
        turns = (("gx", 0.0), ("gy", speed), ("gz", 0.0))
        at = 0x3B
        for quantity, own in moves:
            struct.pack_into(">h", registers, at, _word(sensed(quantity, own + 0.004 * (random.random() - 0.5)) * per_g))
            at += 2
        celsius = sensed("temperature", 25.0)
        struct.pack_into(">h", registers, at, _word((celsius - 36.53) * 340))
        at += 2
        for quantity, own in turns:
            struct.pack_into(">h", registers, at, _word(sensed(quantity, own + 0.2 * (random.random() - 0.5)) * per_degree))
            at += 2


def _word(value):
    return max(-32768, min(32767, int(value + (0.5 if value >= 0 else -0.5))))


class SSD1306:
    """A display of 128 by 64 dots. Its memory is in the world's: what it shows is seen on the host."""

    # Commands that are followed by bytes of their own, and by how many.
    _FOLLOWED = {0x20: 1, 0x21: 2, 0x22: 2, 0x26: 6, 0x27: 6, 0x29: 5, 0x2A: 5, 0x81: 1, 0x8D: 1, 0xA3: 2, 0xA8: 1}
    _FOLLOWED.update({0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1, 0xAD: 1})

    def __init__(self):
        self._command = []
        self._mode = 2  # by pages, as after power on
        self._columns = 0, 127
        self._pages = 0, 7
        self._column = self._page = 0
        memory[world.DISPLAY + 2] = 0x7F
        memory[world.DISPLAY + 3] = 64

    def receive(self, data):
        """Take what is written on the two-wire bus: control bytes, each with what it announces."""
        at = 0
        while at < len(data):
            control = data[at]
            end = at + 2 if control & 0x80 else len(data)
            self.take(data[at + 1 : end], control & 0x40)
            at = end

    def send(self, count):
        """Return its status."""
        return bytes((0 if memory[world.DISPLAY] else 0x40,)) * count

    def take(self, data, is_data):
        """Take bytes for the display's memory, or commands."""
        for byte in data:
            if is_data:
                self._put(byte)
            else:
                self._command.append(byte)
                if len(self._command) > self._FOLLOWED.get(self._command[0], 0):
                    self._obey(*self._command)
                    self._command = []

    def _put(self, byte):
        memory[world.DISPLAY_DATA + self._page * world.DISPLAY_COLUMNS + self._column] = byte
        if self._mode == 1:  # downwards first
            self._page = self._page + 1 if self._page < self._pages[1] else self._pages[0]
            step = self._page == self._pages[0]
        else:
            step = True
        if step:
            last = self._columns[1] if self._mode != 2 else world.DISPLAY_COLUMNS - 1
            first = self._columns[0] if self._mode != 2 else 0
            wraps = self._column >= last
            self._column = first if wraps else self._column + 1
            if wraps and self._mode == 0:
                self._page = self._page + 1 if self._page < self._pages[1] else self._pages[0]

    def _obey(self, command, *values):
        if command in (0xAE, 0xAF):
            memory[world.DISPLAY] = command & 1
        elif command in (0xA6, 0xA7):
            memory[world.DISPLAY + 1] = command & 1
        elif command == 0x81:
            memory[world.DISPLAY + 2] = values[0]
        elif command == 0xA8:
            memory[world.DISPLAY + 3] = (values[0] & 63) + 1
        elif command == 0x20:
            self._mode = values[0] & 3
        elif command == 0x21:
            self._columns = values[0] & 127, values[1] & 127
            self._column = self._columns[0]
        elif command == 0x22:
            self._pages = values[0] & 7, values[1] & 7
            self._page = self._pages[0]
        elif command < 0x10:
            self._column = self._column & 0x70 | command
        elif command < 0x20:
            self._column = self._column & 0x0F | command << 4 & 0x70
        elif 0xB0 <= command <= 0xB7:
            self._page = command & 7


_made = {}


def device(kind):
    """Return the board's one device of a class, made when it is first spoken to."""
    found = _made.get(kind)
    if found is None:
        found = _made[kind] = kind()
    return found


ON_I2C = {0x3C: SSD1306, 0x68: MPU6050, 0x76: BME280}
