"""What `subscribe`, `collect` and `live_plot` take: each argument as it is used, or a ValueError that says what it must be."""

import math
import numbers
import operator
import re
import time
from collections.abc import Iterable, Sequence

__all__ = [
    "as_choice",
    "as_count",
    "as_deadline",
    "as_height",
    "as_labels",
    "as_limits",
    "as_names",
    "as_positive",
    "as_text",
    "as_window",
    "one_each",
]

MAX_WINDOW = 10**9  # samples in a chart: more is a slip of the finger, and no memory holds it
SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
LEAST_SPAN_S, MAX_SPAN_S = 0.01, 366 * 86_400.0  # of a window in time
LEAST_HEIGHT, MAX_HEIGHT = 160, 2000  # of a chart, in pixels


def as_names(name: object) -> tuple[str, ...]:
    """Return the names of pipes, of which one may stand alone. What they are is not checked here."""
    return tuple(name) if isinstance(name, Sequence) and not isinstance(name, str) else (name,)  # type: ignore[return-value]  # checked by the caller


def as_count(value: object, what: str, least: int) -> int:
    """Return a number of samples. Raises ValueError for what is none, or is below `least`."""
    try:
        if isinstance(value, bool) or (count := operator.index(value)) < least:  # type: ignore[arg-type]  # TypeError if it is none
            raise TypeError
    except TypeError:
        raise ValueError(f"{what} must be a whole number of samples, {least} or more, not {value!r}.") from None
    return count


def as_positive(value: object, what: str, unit: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{what} must be a number of {unit} above 0, not {value!r}.")
    return float(value)


def as_deadline(timeout_s: float | None) -> float:
    """Return until when to wait (monotonic seconds): inf where there is no timeout."""
    if timeout_s is None:
        return math.inf
    if not timeout_s >= 0:  # also what is no number
        raise ValueError(f"timeout must be a number of seconds, 0 or more, or None, not {timeout_s!r}.")
    return time.monotonic() + timeout_s


def as_window(window: object) -> tuple[int, float | None]:
    """Return how many samples a window holds at most, and how many seconds it shows; None for one that counts samples."""
    if not isinstance(window, str):
        count = as_count(window, "window", 2)
        if count > MAX_WINDOW:
            raise ValueError(f"window must be at most {MAX_WINDOW:,} samples, not {count:,}.")
        return count, None
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]+)\s*", window)
    span_s = float(found[1]) * SECONDS.get(found[2], math.nan) if found else math.nan
    if not math.isfinite(span_s):
        raise ValueError(
            f'window must be a number of samples, such as 200, or a time in ms, s, min, h or d, such as "30 s", "5 min" or "2 h", '
            f"not {window!r}."
        )
    if not LEAST_SPAN_S <= span_s <= MAX_SPAN_S:
        raise ValueError(
            f'window must be a time from "{LEAST_SPAN_S * 1000:g} ms" to "{MAX_SPAN_S / 86_400:g} d", not {window!r}.'
        )
    return MAX_WINDOW, span_s


def as_limits(ylim: object) -> tuple[float, float]:
    try:
        low, high = map(float, () if isinstance(ylim, str) else ylim)  # type: ignore[call-overload]  # TypeError for what is no row
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(high - low) and low < high):
        raise ValueError(f"ylim must be two finite numbers, the lower one first, or None, not {ylim!r}.")
    return low, high


def as_height(height: object) -> int:
    if isinstance(height, bool) or not isinstance(height, int) or not LEAST_HEIGHT <= height <= MAX_HEIGHT:
        raise ValueError(f"height must be a whole number of pixels from {LEAST_HEIGHT} to {MAX_HEIGHT:,}, not {height!r}.")
    return height


def as_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a str, not {value!r}.")
    return value


def as_choice(value: str, what: str, *choices: str) -> str:
    if value not in choices:
        raise ValueError(f"{what} must be {' or '.join(map(repr, choices))}, not {value!r}.")
    return value


def as_labels(labels: object) -> tuple[str, ...]:
    found: tuple[object, ...] = (None,)
    if isinstance(labels, str):
        found = (labels,)
    elif labels is None or isinstance(labels, Iterable):
        found = tuple(labels or ())
    names = tuple(label for label in found if isinstance(label, str))
    if len(names) < len(found):
        raise ValueError(f"labels must be the names of the lines, a list of str, not {labels!r}.")
    return names


def one_each(decoder: object, names: Sequence[str]) -> list[object]:
    """Return a decoder for each pipe. What they are is not checked here."""
    if not isinstance(decoder, list | tuple):
        return [decoder] * len(names)
    if len(decoder) != len(names):
        raise ValueError(f"decoder must be one for all pipes, or a list of {len(names)}, not of {len(decoder)}.")
    return list(decoder)
