"""What a virtual board and the world around it share: levels, signals, pixels, a display, 8 kB of memory.

The board writes what it does, `%ucore board` on the host shows it, and writes what its sliders say. The memory is a file that both map
(environment variable UCORE_VIRTUAL_WORLD); without one the board has it for itself. Imported by both sides; numbers are little-endian.
"""

SIZE = 8192
PINS = 64
PULLED_UP = 3
ANALOG = 9
UNUSED = 255  # a pin that no program has touched; an input that the world leaves alone

# Where things are
LEVELS = 64  # a byte a pin: 0, 1, PULLED_UP or UNUSED where nothing was written yet
MODES = LEVELS + PINS  # a byte a pin: machine.Pin.IN, OUT, OPEN_DRAIN, ANALOG for a converter's, or UNUSED
DRIVEN = MODES + PINS  # a byte a pin: the level that the world gives an input, or UNUSED
DUTIES = DRIVEN + PINS  # 2 bytes a pin: PWM's share of 65535
FREQUENCIES = DUTIES + 2 * PINS  # 4 bytes a pin: PWM's Hz, 0 for none
VOLTAGES = FREQUENCIES + 4 * PINS  # 4 bytes a pin: microvolts that the world gives a converter, or -1
SENSORS = VOLTAGES + 4 * PINS  # floats that the world gives sensors, in the order of QUANTITIES, or NaN
PIXELS = 1024  # how many (2 bytes), their pin (1); from PIXEL_DATA on red, green, blue of each
PIXEL_DATA = PIXELS + 4
MAX_PIXELS = 256
DISPLAY = 1800  # on (1), inverted (1), contrast (1), rows (1); from DISPLAY_DATA on the display's memory: columns of 8 rows, a page after the other
DISPLAY_DATA = DISPLAY + 4
DISPLAY_COLUMNS = 128
DISPLAY_BYTES = DISPLAY_COLUMNS * 8
RTC = 4096  # how many bytes machine.RTC().memory() holds (2), and from RTC_DATA on they
RTC_DATA = RTC + 2
MAX_RTC = 2048

QUANTITIES = (
    "temperature",
    "pressure",
    "humidity",
    "ax",
    "ay",
    "az",
    "gx",
    "gy",
    "gz",
)  # in °C, Pa, %, g (3), degrees a second (3)


def blank():
    """Return the memory of a board that nothing has happened to yet: a bytearray."""
    memory = bytearray(SIZE)
    for start, end in ((LEVELS, DUTIES), (VOLTAGES, SENSORS)):
        for at in range(start, end):
            memory[at] = 255
    for at in range(len(QUANTITIES)):
        memory[SENSORS + 4 * at : SENSORS + 4 * at + 4] = b"\0\0\xc0\x7f"  # NaN
    return memory
