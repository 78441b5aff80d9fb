"""The axis of values: its limits, and how numbers are written beside it. The same rules as in canvas/src/numbers.js; a test holds
them together (canvas/tests/numbers.json)."""

import math

__all__ = ["SHRINK_AFTER_S", "Limits", "Scale", "format_seconds"]

TINY = 1e-30  # less room than this is none: what an axis divides by must not vanish
SHRINK_AFTER_S = 2.0  # limits shrink once values have needed less room for this long: one that comes and goes must not pump
AIR = 0.05  # of the values' span, above and below them
LEAST_AIR = 0.02  # that is left of it before the limits move
PIXELS = 300  # of a usual axis: what is smaller than one of them it does not resolve
MAX_DIGITS = 15  # that a float has
LONG = 1e12  # larger ones are written with a power of ten
NONE = "–"  # where there is no value
MINUS = "−"
# Units that take a prefix. Others do not: °C, %, counts, units that have one already, and those that mean several things (g).
PREFIXABLE = frozenset("V A W Ω Ohm ohm Hz F H S Pa N J C T Wb m s VA var Wh Ah bit/s bps B/s".split())  # noqa: SIM905
PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
PLAIN = (1e-3, 1e7)  # without a prefix these sizes are written as they are
_HIGH = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Limits:
    """Limits of an axis that keep their place while the values fit them: with a little air."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self._small_since = math.inf  # since when the values have needed less than a third

    def fit(self, low: float, high: float, now: float) -> tuple[float, float]:
        """Return limits for values from `low` to `high` at this time (monotonic seconds)."""
        least = LEAST_AIR * (high - low)
        fits = self.low <= low - least and high + least <= self.high
        small = high - low < (self.high - self.low) / 3
        self._small_since = min(self._small_since, now) if small else math.inf
        if not fits or now - self._small_since >= SHRINK_AFTER_S:
            span, largest = high - low, max(abs(low), abs(high))
            room = AIR * span if span > 1e-9 * largest else 0.1 * largest
            room = room if room > TINY else 1.0
            self.low, self.high = low - room, high + room
            self._small_since = math.inf
        return self.low, self.high


class Scale:
    """How the values of an axis are written: as many digits as it resolves, with a prefix where the unit takes one.

    `units`: as they stand above the axis, prefix included. `factor`: what is 1 there, in the units given.
    """

    def __init__(self, low: float, high: float, units: str):
        largest = max(abs(low), abs(high), TINY)
        exponent = 3 * math.floor((math.log10(largest) + 1e-9) / 3)
        prefix = PREFIXES.get(min(exponent, 0) if units == "s" else exponent) if units in PREFIXABLE else None
        if prefix is not None:
            exponent = min(exponent, 0) if units == "s" else exponent
            self.units = prefix + units
        elif PLAIN[0] <= largest < PLAIN[1]:
            exponent, self.units = 0, units
        else:
            self.units = f"×10{str(exponent).translate(_HIGH)} {units}".rstrip()
        self.factor = 10.0**exponent
        resolved = max(high - low, TINY) / self.factor / PIXELS
        room = MAX_DIGITS - 1 - math.floor(math.log10(largest / self.factor) + 1e-9)
        self._decimals = max(0, min(math.ceil(-math.log10(resolved) - 1e-9), room))

    def number(self, value: float, decimals: int | None = None) -> str:
        """A value without its units."""
        if value != value:
            return NONE
        value /= self.factor
        if math.isinf(value):
            return "∞" if value > 0 else f"{MINUS}∞"
        if abs(value) >= LONG:
            mantissa, power = f"{value:.3e}".split("e")
            return f"{mantissa}×10{str(int(power)).translate(_HIGH)}".replace("-", MINUS)
        text = f"{value:,.{self._decimals if decimals is None else decimals}f}"
        return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", MINUS)

    def text(self, value: float) -> str:
        """A value with its units."""
        return f"{self.number(value)} {self.units}" if self.units and value == value else self.number(value)

    def tick(self, value: float, step: float) -> str:
        """A value at the axis, whose labels lie `step` apart."""
        step /= self.factor
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        while decimals < MAX_DIGITS and abs(round(step, decimals) - step) > 1e-6 * step:
            decimals += 1
        return self.number(value, decimals)


def format_seconds(seconds: float) -> str:
    """A duration, for people."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"
