"""`machine.ADC`, `machine.DAC` and `machine.PWM` of a virtual board."""

import math
import random
import time

from _virtualboard import memory, number16, number32, store, world
from _virtualpins import Pin

MAX_UV = 3_300_000


class ADC:
    """A converter with a sine on it; see the text of `machine` for the signal."""

    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3
    WIDTH_9BIT = 9
    WIDTH_10BIT = 10
    WIDTH_11BIT = 11
    WIDTH_12BIT = 12

    def __init__(self, pin, *, atten=0, **options):
        self._number = pin._number if isinstance(pin, Pin) else Pin(pin)._number
        memory[world.MODES + self._number] = world.ANALOG
        self._hz = 1 + self._number / 10

    def init(self, **options):
        """Accept the options of a real converter; none changes the signal."""

    def atten(self, attenuation=None):
        """Accept an attenuation; a virtual converter always measures 0 to 3.3 V."""

    def width(self, bits=None):
        """Accept a resolution; `read` always gives 12 bits."""

    def read_uv(self):
        """Return the voltage in microvolts."""
        # Noise: the sum of three uniform numbers is bell-shaped enough, and cheap. The phase is taken modulo 10 s,
        # a whole number of periods at every pin's frequency, to keep its digits.
        noise = int(4000 * (random.random() + random.random() + random.random() - 1.5))
        said = number32(world.VOLTAGES + 4 * self._number)
        if said >= 0:
            return max(0, min(MAX_UV, said + noise))
        phase = (time.ticks_us() % 10_000_000) * 1e-6 * self._hz
        return int(1_650_000 + 1_000_000 * math.sin(2 * math.pi * phase) + noise)

    def read_u16(self):
        """Return the voltage as 0 to 65535, where 65535 is 3.3 V."""
        return max(0, min(65535, self.read_uv() * 65535 // MAX_UV))

    def read(self):
        """Return the voltage as 0 to 4095, where 4095 is 3.3 V."""
        return self.read_u16() >> 4

    def __repr__(self):
        return "ADC(Pin(%d))" % self._number


class DAC:
    """``DAC(Pin(25)).write(0 to 255)``; the pin then shows whether that is more than half."""

    def __init__(self, pin, **options):
        self._pin = pin if isinstance(pin, Pin) else Pin(pin)
        self._pin.init(Pin.OUT)

    def write(self, value):
        """Set the voltage, 255 being 3.3 V. Raises ValueError beyond."""
        if not 0 <= value <= 255:
            raise ValueError("value out of range")
        store(world.DUTIES + 2 * self._pin._number, "<H", value * 257)
        self._pin.value(value > 127)


class PWM:
    """A pin that is on for a share of the time: ``PWM(Pin(2), freq=1000, duty_u16=32768)``; `%ucore board` shows it as brightness."""

    def __init__(self, pin, freq=None, duty=None, duty_u16=None, duty_ns=None, **options):
        self._pin = pin if isinstance(pin, Pin) else Pin(pin)
        self._number = self._pin._number
        if not number32(world.FREQUENCIES + 4 * self._number):
            store(world.FREQUENCIES + 4 * self._number, "<I", 5000)
            store(world.DUTIES + 2 * self._number, "<H", 32768)
        self._pin.init(Pin.OUT)
        self.init(freq=freq, duty=duty, duty_u16=duty_u16, duty_ns=duty_ns)

    def init(self, freq=None, duty=None, duty_u16=None, duty_ns=None, **options):
        """Set frequency and share; None leaves one as it is."""
        if freq is not None:
            self.freq(freq)
        if duty is not None:
            self.duty(duty)
        if duty_u16 is not None:
            self.duty_u16(duty_u16)
        if duty_ns is not None:
            self.duty_ns(duty_ns)

    def deinit(self):
        """Give the pin back: it is off."""
        store(world.FREQUENCIES + 4 * self._number, "<I", 0)
        store(world.DUTIES + 2 * self._number, "<H", 0)
        self._pin.value(0)

    def freq(self, hz=None):
        """Return the frequency in Hz, or set it: 1 Hz to 40 MHz (ValueError beyond)."""
        if hz is None:
            return number32(world.FREQUENCIES + 4 * self._number)
        if not 1 <= hz <= 40_000_000:
            raise ValueError("frequency should be from 1Hz to 40MHz")
        store(world.FREQUENCIES + 4 * self._number, "<I", int(hz))
        return None

    def duty_u16(self, value=None):
        """Return the share of 65535, or set it."""
        if value is None:
            return number16(world.DUTIES + 2 * self._number)
        if not 0 <= value <= 65535:
            raise ValueError("duty_u16 should be between 0 and 65535")
        store(world.DUTIES + 2 * self._number, "<H", int(value))
        memory[world.LEVELS + self._number] = value > 0
        return None

    def duty(self, value=None):
        """The same as a share of 1023."""
        if value is None:
            return self.duty_u16() >> 6
        if not 0 <= value <= 1023:
            raise ValueError("duty should be between 0 and 1023")
        return self.duty_u16(value * 65535 // 1023)

    def duty_ns(self, value=None):
        """The same as the nanoseconds of each period that the pin is on."""
        period_ns = 1_000_000_000 // self.freq()
        if value is None:
            return self.duty_u16() * period_ns // 65535
        return self.duty_u16(min(65535, value * 65535 // period_ns))

    def __repr__(self):
        return "PWM(Pin(%d), freq=%d, duty_u16=%d)" % (self._number, self.freq(), self.duty_u16())
