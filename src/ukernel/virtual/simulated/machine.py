"""The `machine` module of a virtual board, on MicroPython and on CPython.

Signals, so that a plot shows something and a test knows what to expect:

- ``ADC(Pin(n))`` sees a sine of 1.65 V +- 1.0 V with 2 mV of noise (standard deviation) on top. It runs at
  ``1 + n / 10`` Hz for pin n, so pin 4 gives 1.4 Hz; ADC(0) or ``ADC(Pin(0))`` gives 1 Hz. All start at 1.65 V, rising, at
  `time.ticks_us` 0.
- ``Pin(n)`` remembers what was written to it; an input reads its pull (0 without one) until something is written.
- `freq` remembers what was set; nothing runs faster or slower.
- What is wired to the buses is in `_virtualdevices`; on UART 1 and 2, TX is wired to RX.

What the world does to inputs and sensors instead is `_virtualworld`.
"""

# A star import brings what has no underscore: the machine's own, and nothing of this file's.
import _thread
import time as _time

import _virtualchip
from _virtualanalog import ADC, DAC, PWM  # noqa: F401 (they are the module's, as all that comes from `_virtual…` below)
from _virtualboard import memory as _memory
from _virtualboard import store as _store
from _virtualboard import world as _world
from _virtualbuses import I2C, SPI, SoftI2C, SoftSPI  # noqa: F401
from _virtualclocks import RTC, WDT, deepsleep, lightsleep  # noqa: F401
from _virtualpins import Pin, Signal  # noqa: F401
from _virtualuart import UART  # noqa: F401

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5
PIN_WAKE = 2
TIMER_WAKE = 4

# Exit codes by which the virtual board's process knows why the chip stopped; ukernel.virtual.process has the same.
_EXIT_HARD = 82
_EXIT_SOFT = 83


def _identity():
    text = _virtualchip.setting("UCORE_VIRTUAL_ID") or "02005e10c0de"
    return bytes([int(text[i : i + 2], 16) for i in range(0, len(text) - 1, 2)])


_unique_id = _identity()
_reset_cause = int(_virtualchip.setting("UCORE_VIRTUAL_RESET_CAUSE") or PWRON_RESET)
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
    _virtualchip.reset(_EXIT_HARD, False)


def soft_reset():
    """Restart the interpreter, from any thread; never returns. A virtual board boots anew for this too."""
    _virtualchip.reset(_EXIT_SOFT, True)


def reset_cause():
    """Return why the board booted: PWRON_RESET, HARD_RESET, WDT_RESET (or it crashed), DEEPSLEEP_RESET or SOFT_RESET."""
    return _reset_cause


def wake_reason():
    """Return what has ended a deep sleep: TIMER_WAKE, or 0."""
    return TIMER_WAKE if _reset_cause == DEEPSLEEP_RESET else 0


def idle():
    """Let other threads run."""
    _time.sleep_ms(1)


def disable_irq():
    """Return the state that `enable_irq` takes; callbacks come between two bytecodes all the same."""
    return 0


def enable_irq(state=0):
    """The end of `disable_irq`."""


def time_pulse_us(pin, pulse_level, timeout_us=1_000_000):
    """Return how long the pin stays at a level, in microseconds; -2 where it does not come to it in time, -1 where it does not leave it."""
    for level, late in ((pulse_level, -2), (1 - pulse_level, -1)):
        began = _time.ticks_us()
        while pin.value() != level:
            if _time.ticks_diff(_time.ticks_us(), began) > timeout_us:
                return late
            _time.sleep_us(10)
    return _time.ticks_diff(_time.ticks_us(), began)


def bitstream(pin, encoding, timing, data):
    """Send bits to the pixels on a pin: green, red, blue of each, a byte each."""
    count = min(len(data) // 3, _world.MAX_PIXELS)
    _store(_world.PIXELS, "<HB", count, pin._number)
    for start in range(0, 3 * count, 3):
        at = _world.PIXEL_DATA + start
        _memory[at], _memory[at + 1], _memory[at + 2] = data[start + 1], data[start], data[start + 2]


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
