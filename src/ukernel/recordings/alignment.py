"""Several pipes on one time axis: the times of one of them, and beside each the nearest value of every other one, if it is near enough. No value is invented."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ukernel.errors import RecordingError, UsageError

from .recordedpipe import RecordedPipe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["Alignment", "Column", "Rows"]

ROWS = 1 << 18  # at once
MEASURED_STEPS = 100_000  # of which the usual one is found


class Column(NamedTuple):
    """A column of a table: its name, unit (empty for none) and NumPy type."""

    name: str
    unit: str
    dtype: np.dtype[Any]


class Rows(NamedTuple):
    """Rows of a table. times: seconds since 1970. values: an array a column. present: for each of them which rows have a value; None for all."""

    times: Array
    values: list[Array]
    present: list[Array | None]


class Alignment:
    """Pipes as one table, read row by row in bounded memory.

    on: the name of the pipe whose times are the axis; None for the one with most frames. tolerance: by how many seconds a value of another pipe may be off its row; None: by
    half of the usual time between two rows, and each value stands in the row that is nearest to it only.
    columns: of the table, beside the time. Raises RecordingError where there is nothing to align.
    """

    def __init__(self, pipes: Sequence[RecordedPipe], on: str | None = None, tolerance: float | None = None):
        if not pipes:
            raise RecordingError("There is no pipe in this recording.")
        if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance >= 0):
            raise UsageError(f"tolerance is in seconds, from 0 on, not {tolerance!r}.")
        self.axis = self._find_axis(pipes, on)
        self.others = [pipe for pipe in pipes if pipe is not self.axis]
        self._tolerance_s = tolerance
        self._once = tolerance is None
        order = list(pipes)
        self._places = [order.index(self.axis), *(order.index(pipe) for pipe in self.others)]
        several_boards = len({pipe.board for pipe in pipes}) > 1
        self.columns: list[Column] = []
        self._rows_of: list[list[int]] = [[] for _ in order]
        for index, pipe in enumerate(order):
            for column in self._columns_of(pipe, several_boards, len(order) > 1):
                self._rows_of[index].append(len(self.columns))
                self.columns.append(column)

    @property
    def tolerance_s(self) -> float:
        """By how much a value may be off its row."""
        if self._tolerance_s is None:
            self._tolerance_s = self._half_step()
        return self._tolerance_s

    def rows(self) -> Iterator[Rows]:
        """Yield all rows, in the order in which the axis was written."""
        import numpy as np

        for times, values in self._pieces():
            rows = Rows(times, [np.empty(0)] * len(self.columns), [None] * len(self.columns))
            self._fill(rows, self._places[0], self.axis, values, None)
            for pipe, place in zip(self.others, self._places[1:]):
                low, high = float(times.min()) - self.tolerance_s, float(times.max()) + self.tolerance_s
                near = pipe.between(low, float(np.nextafter(high, np.inf))).read()
                chosen, present = _nearest(times, near.times, self.tolerance_s, once=self._once)
                found = (
                    near.values[chosen]
                    if len(near.values)
                    else np.zeros((len(times), *near.values.shape[1:]), near.values.dtype)
                )
                self._fill(rows, place, pipe, found, present)
            yield rows

    def _fill(self, rows: Rows, place: int, pipe: RecordedPipe, values: Array, present: Array | None) -> None:
        for index, column in zip(self._rows_of[place], pipe.as_columns(values).values()):
            rows.values[index] = column
            rows.present[index] = present

    def _pieces(self) -> Iterator[tuple[Array, Array]]:
        """Yield times and values of the axis, many at once."""
        import numpy as np

        held: list[Any] = []
        count = 0
        for samples in self.axis.samples():
            held.append(samples)
            count += len(samples.times)
            if count >= ROWS:
                yield np.concatenate([one.times for one in held]), np.concatenate([one.values for one in held])
                held, count = [], 0
        if held:
            yield np.concatenate([one.times for one in held]), np.concatenate([one.values for one in held])

    def _half_step(self) -> float:
        import numpy as np

        times: list[Array] = []
        for samples in self.axis.whole.samples():
            times.append(samples.times)
            if sum(map(len, times)) >= MEASURED_STEPS:
                break
        steps = np.diff(np.concatenate(times)) if times else np.empty(0)
        steps = steps[steps > 0]
        return float(np.median(steps)) / 2 if len(steps) else 0.0

    @staticmethod
    def _find_axis(pipes: Sequence[RecordedPipe], on: str | None) -> RecordedPipe:
        if on is None:
            return max(pipes, key=lambda pipe: pipe.frames_about)
        found = [pipe for pipe in pipes if on in (pipe.name, f"{pipe.board}/{pipe.name}")]
        if len(found) != 1:
            names = ", ".join(f"{pipe.board}/{pipe.name}" for pipe in pipes)
            raise RecordingError(f"{on!r} is {'no pipe' if not found else 'a pipe of several boards'} here; there is {names}.")
        return found[0]

    @staticmethod
    def _columns_of(pipe: RecordedPipe, several_boards: bool, several: bool) -> Iterator[Column]:
        import numpy as np

        dtype = pipe.dtype
        units = pipe.units if len(pipe.units) == len(pipe.column_names) else ("",) * len(pipe.column_names)
        before = f"{pipe.board}/" if several_boards else ""
        for index, name in enumerate(pipe.column_names):
            kind = dtype[index] if dtype.names else np.dtype(dtype)
            full = f"{pipe.name}.{name}" if several and pipe.column_names == pipe.names else name
            yield Column(before + full, units[index], kind)


def _nothing(count: int, values: Array) -> Array:
    """Return so many of no value, of this kind."""
    import numpy as np

    return np.full((count, *values.shape[1:]), b"" if values.dtype.kind == "O" else np.zeros((), values.dtype), values.dtype)


def _nearest(axis: Array, times: Array, tolerance_s: float, *, once: bool) -> tuple[Array, Array]:
    """Return for each time of the axis the place of the nearest of ``times``, and whether it is near enough. ``once``: only where it is the nearest to that, too."""
    import numpy as np

    if not len(times):
        return np.zeros(len(axis), int), np.zeros(len(axis), bool)
    chosen = _places(times, axis)
    present = np.abs(times[chosen] - axis) <= tolerance_s
    if once:
        present &= _places(axis, times)[chosen] == np.arange(len(axis))
    return chosen, present


def _places(times: Array, wanted: Array) -> Array:
    """Return the places of the nearest of ``times``; of two that are as near, the first."""
    import numpy as np

    order = np.argsort(times, kind="stable")  # where a clock was set they do not rise
    rising = times[order]
    after = np.clip(np.searchsorted(rising, wanted), 0, len(rising) - 1)
    before = np.maximum(after - 1, 0)
    found = np.where(np.abs(rising[before] - wanted) <= np.abs(rising[after] - wanted), before, after)
    return order[found]
