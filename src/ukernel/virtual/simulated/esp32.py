"""The `esp32` module of a virtual board: the chip's temperature.

It drifts slowly around 42 degrees Celsius: a sine of 3 degrees with a period of ten minutes.
"""

import math
import time


def mcu_temperature():
    """Return the chip's temperature in whole degrees Celsius, as ESP32-S2, S3, C3 and C6 do."""
    return int(_celsius() + 0.5)


def raw_temperature():
    """Return the chip's temperature in whole degrees Fahrenheit, as the classic ESP32 does."""
    return int(_celsius() * 9 / 5 + 32.5)


def _celsius():
    return 42 + 3 * math.sin(2 * math.pi * (time.ticks_ms() % 600_000) / 600_000)
