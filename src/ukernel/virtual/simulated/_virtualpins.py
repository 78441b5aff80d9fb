"""`machine.Pin` and `machine.Signal` of a virtual board: pins that remember, and that the world may drive."""

import _virtualchip
import micropython
from _virtualboard import memory, world

_MAX_PIN = 48
_LED = 2  # where most ESP32 boards have it
_WATCH_US = 5000  # how often the world's levels are looked at while a pin has a handler


class Pin:
    """A pin that remembers. ``Pin(2, Pin.OUT)``, ``Pin("LED")`` (which is pin 2); all objects of one number share the level."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2

    _pins = {}
    _watching = None  # the state of the thread that looks at the world's levels

    def __new__(cls, id, *args, **kwargs):
        if isinstance(id, Pin):
            id = id._number
        elif id == "LED":
            id = _LED
        if not isinstance(id, int) or not 0 <= id <= _MAX_PIN:
            raise ValueError("invalid pin")
        pin = cls._pins.get(id)
        if pin is None:
            pin = object.__new__(cls)
            pin._number = id
            pin._pull = None
            pin._handler = None
            pin._trigger = 0
            pin._seen = 0
            memory[world.LEVELS + id] = world.UNUSED
            memory[world.MODES + id] = cls.IN
            cls._pins[id] = pin
        return pin

    def __init__(self, id, mode=-1, pull=-1, *, value=None, **options):
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None, **options):
        """Set direction, pull and level; -1 and None leave them as they are."""
        if mode != -1:
            if mode not in (self.IN, self.OUT, self.OPEN_DRAIN):
                raise ValueError("invalid pin mode")
            memory[world.MODES + self._number] = mode
        if pull != -1:
            self._pull = pull
            at = world.LEVELS + self._number
            if memory[at] in (world.PULLED_UP, world.UNUSED):
                memory[at] = world.PULLED_UP if pull == self.PULL_UP else world.UNUSED
        if value is not None:
            self.value(value)

    def value(self, level=None):
        """Return the level, 0 or 1, or set it. Setting an input plays the outside world: useful in tests."""
        at = world.LEVELS + self._number
        if level is None:
            driven = memory[world.DRIVEN + self._number]
            if driven != world.UNUSED and memory[world.MODES + self._number] != self.OUT:
                return driven
            known = memory[at]
            return 0 if known == world.UNUSED else known & 1
        before = self.value()
        memory[at] = 1 if level else 0
        self._note_edge(before)
        return None

    __call__ = value

    def _note_edge(self, before):
        after = self._seen = self.value()
        edge = 0 if before == after else self.IRQ_RISING if after else self.IRQ_FALLING
        if self._handler and edge & self._trigger:
            try:
                micropython.schedule(self._handler, self)
            except RuntimeError:
                pass  # too many wait; a chip loses this one, too

    def on(self):
        """Set the level to 1."""
        self.value(1)

    def off(self):
        """Set the level to 0."""
        self.value(0)

    high = on
    low = off

    def toggle(self):
        """Set the other level."""
        self.value(not self.value())

    def mode(self, mode=None):
        """Return the direction, or set it."""
        if mode is None:
            return memory[world.MODES + self._number]
        return self.init(mode)

    def pull(self, pull=-1):
        """Return the pull, or set it."""
        if pull == -1:
            return self._pull
        return self.init(pull=pull)

    def irq(self, handler=None, trigger=3, **options):
        """Call ``handler(pin)`` in the main thread when the level changes as ``trigger`` says; None: no more."""
        self._handler = handler
        self._trigger = trigger
        self._seen = self.value()
        if handler and Pin._watching is None:
            import _thread

            Pin._watching = bytearray(2)
            _thread.start_new_thread(_virtualchip.tick, (_look, 0, _WATCH_US, False, Pin._watching))

    def __repr__(self):
        return "Pin(%d)" % self._number


def _look(_):
    # Called by the thread that ticks: what the world has done to inputs since.
    Pin._watching[1] = 0
    watched = False
    for pin in list(Pin._pins.values()):
        if pin._handler:
            watched = True
            if pin.value() != pin._seen:
                pin._note_edge(pin._seen)
    if not watched:
        Pin._watching[0] += 1  # ends the thread
        Pin._watching = None


class Signal:
    """A pin that may be inverted: ``Signal(Pin(2, Pin.OUT), invert=True)``."""

    def __init__(self, pin, *arguments, invert=False, **options):
        self._pin = pin if isinstance(pin, Pin) else Pin(pin, *arguments, **options)
        self._invert = invert

    def value(self, level=None):
        """Return whether it is on, or set it."""
        if level is None:
            return self._pin.value() ^ self._invert
        return self._pin.value(bool(level) ^ self._invert)

    __call__ = value

    def on(self):
        """Make it active."""
        self.value(1)

    def off(self):
        """Make it inactive."""
        self.value(0)
