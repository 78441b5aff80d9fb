"""Times of recordings, in the ways in which people and libraries write them. They are seconds since 1970 otherwise."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ukernel.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["as_datetimes", "as_text_time", "as_time"]


def as_time(time: float | datetime | None, default: float) -> float:
    """Return a time as seconds since 1970; for None the default. Raises UsageError."""
    if time is None:
        return default
    if isinstance(time, datetime):
        return time.timestamp()
    try:
        return float(time)
    except (TypeError, ValueError):
        raise UsageError(f"A time is in seconds since 1970, or a datetime, not {time!r}.") from None


def as_datetimes(times: Array) -> Array:
    """Return times as NumPy's datetime64, in nanoseconds, UTC."""
    import numpy as np

    whole = np.floor(times)
    nanoseconds = whole.astype(np.int64) * 1_000_000_000 + np.rint((times - whole) * 1e9).astype(np.int64)
    return nanoseconds.view("datetime64[ns]")


def as_text_time(time: float) -> str:
    """Return a time as ISO 8601 has it, UTC."""
    try:
        return datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return f"{time:g} s"
