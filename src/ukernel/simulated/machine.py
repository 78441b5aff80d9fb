"""The `machine` module of a virtual board, on MicroPython and on CPython: pins, converters, timers, identity, reset.

Signals, so that a plot shows something and a test knows what to expect:

- ``ADC(Pin(n))`` sees a sine of 1.65 V +- 1.0 V with 2 mV of noise (standard deviation) on top. It runs at
  ``1 + n / 10`` Hz for pin n, so pin 4 gives 1.4 Hz; ADC(0) or ``ADC(Pin(0))`` gives 1 Hz. All start at 1.65 V, rising, at
  `time.ticks_us` 0.
- ``Pin(n)`` remembers what was written to it; an input reads its pull (0 without one) until something is written.
- `freq` remembers what was set; nothing runs faster or slower.
- ``UART(0)`` is the line to the host. Its rate has a meaning only where the environment variable UCORE_VIRTUAL_UART names a file: its
  first eight bytes are the rate in bytes a second, a little-endian double (for programs that stand in for the line).
"""

import _thread
import math
import os
import random
import struct
import time

import _virtualchip
import micropython

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_MAX_PIN = 48

# Exit codes by which the virtual board's process knows why the chip stopped; ukernel.virtualboard has the same.
_EXIT_HARD = 82
_EXIT_SOFT = 83


def _identity():
    text = os.getenv("UCORE_VIRTUAL_ID") or "02005e10c0de"
    return bytes([int(text[i : i + 2], 16) for i in range(0, len(text) - 1, 2)])


_unique_id = _identity()
_reset_cause = int(os.getenv("UCORE_VIRTUAL_RESET_CAUSE") or PWRON_RESET)
_freq_hz = 240_000_000


def unique_id():
    """The board's serial number, 6 bytes, as long as the virtual board runs."""
    return _unique_id


def freq(hz=None):
    """Return the CPU's frequency in Hz, or set it (80, 160 or 240 MHz; ValueError for others)."""
    global _freq_hz
    if hz is None:
        return _freq_hz
    if hz not in (80_000_000, 160_000_000, 240_000_000):
        raise ValueError("frequency must be 80MHz, 160MHz or 240MHz")
    _freq_hz = hz
    return None


def reset():
    """Restart the board, from any thread; never returns."""
    _virtualchip.reset(_EXIT_HARD)


def soft_reset():
    """Restart the interpreter, from any thread; never returns. A virtual board boots anew for this too."""
    _virtualchip.reset(_EXIT_SOFT)


def reset_cause():
    """Return why the board booted: PWRON_RESET, HARD_RESET, WDT_RESET (it crashed) or SOFT_RESET."""
    return _reset_cause


def idle():
    """Let other threads run."""
    time.sleep_ms(1)


class Pin:
    """A pin that remembers. ``Pin(2, Pin.OUT)``; all objects of one number share the level."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2

    _pins = {}

    def __new__(cls, id, *args, **kwargs):
        if isinstance(id, Pin):
            id = id._number
        if not isinstance(id, int) or not 0 <= id <= _MAX_PIN:
            raise ValueError("invalid pin")
        pin = cls._pins.get(id)
        if pin is None:
            pin = object.__new__(cls)
            pin._number = id
            pin._level = None
            pin._mode = cls.IN
            pin._pull = None
            pin._handler = None
            pin._trigger = 0
            cls._pins[id] = pin
        return pin

    def __init__(self, id, mode=-1, pull=-1, *, value=None, **options):
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None, **options):
        """Set direction, pull and level; -1 and None leave them as they are."""
        if mode != -1:
            if mode not in (self.IN, self.OUT, self.OPEN_DRAIN):
                raise ValueError("invalid pin mode")
            self._mode = mode
        if pull != -1:
            self._pull = pull
        if value is not None:
            self.value(value)

    def value(self, level=None):
        """Return the level, 0 or 1, or set it. Setting an input plays the outside world: useful in tests."""
        if level is None:
            if self._level is None:
                return 1 if self._pull == self.PULL_UP else 0
            return self._level
        before = self.value()
        self._level = after = 1 if level else 0
        edge = 0 if before == after else self.IRQ_RISING if after else self.IRQ_FALLING
        if self._handler and edge & self._trigger:
            micropython.schedule(self._handler, self)
        return None

    __call__ = value

    def on(self):
        """Set the level to 1."""
        self.value(1)

    def off(self):
        """Set the level to 0."""
        self.value(0)

    def toggle(self):
        """Set the other level."""
        self.value(not self.value())

    def irq(self, handler=None, trigger=3, **options):
        """Call ``handler(pin)`` in the main thread when the level changes as ``trigger`` says; None: no more."""
        self._handler = handler
        self._trigger = trigger

    def __repr__(self):
        return "Pin(%d)" % self._number


class ADC:
    """A converter with a sine on it; see the module's text for the signal."""

    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3
    WIDTH_9BIT = 9
    WIDTH_10BIT = 10
    WIDTH_11BIT = 11
    WIDTH_12BIT = 12

    def __init__(self, pin, *, atten=0, **options):
        number = pin._number if isinstance(pin, Pin) else Pin(pin)._number
        self._number = number
        self._hz = 1 + number / 10

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
        noise = 4000 * (random.random() + random.random() + random.random() - 1.5)
        phase = (time.ticks_us() % 10_000_000) * 1e-6 * self._hz
        return int(1_650_000 + 1_000_000 * math.sin(2 * math.pi * phase) + noise)

    def read_u16(self):
        """Return the voltage as 0 to 65535, where 65535 is 3.3 V."""
        return max(0, min(65535, self.read_uv() * 65535 // 3_300_000))

    def read(self):
        """Return the voltage as 0 to 4095, where 4095 is 3.3 V."""
        return self.read_u16() >> 4

    def __repr__(self):
        return "ADC(Pin(%d))" % self._number


class UART:
    """The line to the host, as far as its rate goes: ``UART(0, baudrate=115200)``, in baud. Others are not there (ValueError)."""

    def __init__(self, id, baudrate=115200, **options):
        if id != 0:
            raise ValueError("UART(%d) does not exist" % id)
        self.init(baudrate)

    def init(self, baudrate=115200, **options):
        """Set the rate."""
        path = os.getenv("UCORE_VIRTUAL_UART")
        if path:
            with open(path, "r+b") as file:
                file.write(struct.pack("<d", baudrate / 10))


class Timer:
    """A timer that calls ``callback(timer)`` between two bytecodes of whatever runs (the main thread, as a rule).

    ``Timer(-1)``, ``Timer(0)`` to ``Timer(3)``; ``init(mode=Timer.PERIODIC, period=100, callback=f)``, period in milliseconds,
    or ``freq=`` in Hz. A callback that is still waiting to be called is not scheduled a second time.
    """

    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, id=-1, **options):
        # Shared with the ticking thread: the number of this run (a thread that finds another one ends), and whether a
        # call is already scheduled.
        self._state = bytearray(2)
        if options:
            self.init(**options)

    def init(self, *, mode=PERIODIC, period=-1, freq=None, callback=None, **options):
        """Start, or start again with other settings. Raises ValueError without a period."""
        period_us = int(1_000_000 / freq) if freq else period * 1000
        if period_us <= 0:
            raise ValueError("period must be positive")
        self.deinit()
        self._state[1] = 0
        self._callback = callback
        once = mode == self.ONE_SHOT
        _thread.start_new_thread(_virtualchip.tick, (self._fire, self._state[0], period_us, once, self._state))

    def deinit(self):
        """Stop; a call that is already scheduled is dropped."""
        self._state[0] = (self._state[0] + 1) & 255

    def _fire(self, run):
        if run == self._state[0]:
            self._state[1] = 0
            if self._callback:
                self._callback(self)
