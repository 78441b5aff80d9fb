"""What of many values is drawn: a line of bars in a text, and a plot that looks as if all were in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["as_bars", "extremes", "mean", "thin"]

BARS = "▁▂▃▄▅▆▇█"
MAX_DRAWN = 4000  # points of a plot: the least and the greatest of each of so many pieces


def as_bars(points: list[float]) -> str:
    """Return a bar for each point, a blank for what is no number; empty where none is one."""
    finite = [point for point in points if math.isfinite(point)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((point - low) * scale)] if math.isfinite(point) else " " for point in points)


def mean(values: Array) -> float:
    """Return the mean of the first column."""
    if not len(values):
        return math.nan
    first = values[values.dtype.names[0]] if values.dtype.names else values[:, 0] if values.ndim > 1 else values
    return float(first.astype(float).mean())


def thin(points: list[float], count: int) -> list[float]:
    """Return so many of them at most."""
    step = max(len(points) / count, 1.0)
    return [points[int(index * step)] for index in range(min(len(points), count))]


def extremes(column: Array) -> Any:
    """Return which values to draw so that it looks as if all were."""
    import numpy as np

    if len(column) <= 2 * MAX_DRAWN:
        return slice(None)
    size = len(column) // MAX_DRAWN
    table = column[: size * MAX_DRAWN].reshape(MAX_DRAWN, size)
    base = np.arange(MAX_DRAWN) * size
    both = np.sort(np.stack([base + table.argmin(1), base + table.argmax(1)], axis=1), axis=1).ravel()
    return np.concatenate([both, np.arange(size * MAX_DRAWN, len(column))])
