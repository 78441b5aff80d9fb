"""`machine.RTC`, `machine.WDT` and the sleep modes of a virtual board."""

import _thread
import time

import _virtualchip
from _virtualboard import as_bytes, memory, number16, store, world

EXIT_WATCHDOG = (
    84  # exit codes by which the virtual board's process knows why the chip stopped; ukernel.virtual.process has the same
)
EXIT_DEEPSLEEP = 85


class RTC:
    """The clock: starts as the computer's. ``datetime()`` is (year, month, day, weekday, hour, minute, second, microsecond)."""

    _ahead_s = 0

    def __init__(self, id=0, datetime=None):
        if datetime is not None:
            self.datetime(datetime)

    def datetime(self, when=None):
        """Return the time, or set what this class says from now on."""
        if when is None:
            year, month, day, hour, minute, second, weekday = time.localtime(int(time.time()) + RTC._ahead_s)[:7]
            return (year, month, day, weekday, hour, minute, second, time.ticks_us() % 1_000_000)
        year, month, day, _, hour, minute, second = when[:7]
        RTC._ahead_s = int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1))) - int(time.time())
        return None

    def init(self, when):
        """Set the time: (year, month, day, weekday, hour, minute, second, microsecond)."""
        self.datetime(when)

    def memory(self, data=None):
        """Return the bytes that a deep sleep does not forget, or set them: 2,048 at most (ValueError for more)."""
        if data is None:
            return bytes(memory[world.RTC_DATA : world.RTC_DATA + number16(world.RTC)])
        data = as_bytes(data)
        if len(data) > world.MAX_RTC:
            raise ValueError("buffer too long")
        memory[world.RTC_DATA : world.RTC_DATA + len(data)] = data
        store(world.RTC, "<H", len(data))
        return None


class WDT:
    """A watchdog: resets the board ``timeout`` ms after the last `feed`. It cannot be stopped."""

    _fed = None
    _timeout_ms = 0

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError("WDT(%s) doesn't exist" % id)
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        started = WDT._fed is not None
        WDT._timeout_ms = timeout
        self.feed()
        if not started:
            _thread.start_new_thread(_watch, ())

    def feed(self):
        """Start the time anew."""
        WDT._fed = time.ticks_ms()


def _watch():
    while time.ticks_diff(time.ticks_ms(), WDT._fed) <= WDT._timeout_ms:
        time.sleep_ms(max(1, min(50, WDT._timeout_ms // 4)))
    _virtualchip.reset(EXIT_WATCHDOG, False)


def lightsleep(time_ms=None):
    """Sleep, with everything remembered; without a time it would be for ever, so it is a millisecond."""
    time.sleep_ms(1 if time_ms is None else time_ms)


def deepsleep(time_ms=None):
    """Sleep, and start afresh after that, as from a reset; without a time until somebody resets the board."""
    while time_ms is None:
        time.sleep_ms(1000)
    time.sleep_ms(time_ms)
    _virtualchip.reset(EXIT_DEEPSLEEP, False)
