"""A pipe in a recording: values, times and frames, of all of it or of a piece, read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ukernel.errors import PipeDataLostWarning, UsageError
from ukernel.pipes.decoders import value_fields
from ukernel.pipes.reasons import describe_losses, warn

from . import format as fmt
from .drawing import as_bars, extremes, mean, thin
from .source import Block, Source, as_times, split, times_of
from .tables import as_native, import_for, make_arrow, make_pandas, make_polars
from .times import as_datetimes, as_text_time, as_time

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas
    import polars
    import pyarrow
    from matplotlib.axes import Axes

    Array = npt.NDArray[Any]

__all__ = ["RecordedPipe", "RecordedSamples"]

MAX_RATIO = 100  # of frames to bytes of the file, up to which it is believed how many there are
MAX_BARS = 24


class RecordedSamples(NamedTuple):
    """Values and when each was written: a pair of arrays of the same length. values: shape (n,) or (n, columns). times: seconds since 1970."""

    values: Any
    times: Any


class RecordedPipe:
    """A pipe in a recording: `.values`, `.times`, `.frames`, `.to_pandas()` and so on read it.

    `pipe[10:20]` is its piece from the 10th to the 20th second after its first frame, `between(start, stop)` by the clock; pieces are pipes, and cost nothing
    until they are read. Attributes:

    name, board. format: the struct format of a frame, empty where it is not known. names, units: of its columns, as recorded. openings: its
    `RecordedOpening`s. losses: frames that are missing in the piece, per cause, by when that was noticed.
    """

    def __init__(
        self, source: Source, board: str, name: str, start: float = -math.inf, stop: float = math.inf, format: str | None = None
    ):
        self.name = name
        self.board = board
        self._source = source
        self._channels = source.channels[board, name]
        self._start, self._stop = start, stop
        typed = next((channel for channel in self._channels if channel.about.format), None)
        self._given = format
        self.format = format if format is not None else typed.about.format if typed else ""
        self.names = typed.about.names if typed and format is None else ()
        self.units = typed.about.units if typed and format is None else ()
        self.openings = [opening for opening in source.openings if (opening.board, opening.pipe) == (board, name)]
        self._count: int | None = None
        self._decoded: tuple[np.dtype[Any], int, int, tuple[str, ...]] | None = None

    def __repr__(self) -> str:
        return (
            f"<pipe {self.name!r} of {self.board}: {self.frames_about:,} frames, {self.format or 'bytes'}, {self.lost:,} lost>"
        )

    @property
    def losses(self) -> dict[str, int]:
        """Frames that are missing in the piece, per cause, by when that was noticed. A chunk is known to be damaged when it has been read."""
        self._source.account()
        found: dict[str, int] = {}
        for opening in self.openings:
            for loss in opening.losses:
                if not self.is_whole and not self._start <= loss.time < self._stop:
                    continue
                found[loss.cause] = found.get(loss.cause, 0) + loss.frames
        return found

    @property
    def lost(self) -> int:
        """Frames that are missing in the piece."""
        return sum(self.losses.values())

    @property
    def whole(self) -> RecordedPipe:
        """All that was recorded of it."""
        return RecordedPipe(self._source, self.board, self.name, format=self._given)

    @property
    def is_whole(self) -> bool:
        """Whether this is all that was recorded of the pipe, not a piece."""
        return self._start == -math.inf and self._stop == math.inf

    @property
    def began(self) -> float:
        """When the first frame of the piece was written, seconds since 1970; 0.0 where there is none."""
        if self.is_whole:
            runs = filter(None, map(self._source.first_run, self._channels))
            return min((run.time_first for run in runs), default=0.0)
        return next((block.run.time_first for block in self.blocks()), 0.0)

    @property
    def ended(self) -> float:
        """When the last frame of the piece was written, seconds since 1970; 0.0 where there is none."""
        if self.is_whole:
            runs = filter(None, map(self._source.last_run, self._channels))
            return max((run.time_last for run in runs), default=0.0)
        return max((block.run.time_last for block in self.blocks()), default=0.0)

    def __len__(self) -> int:
        """How many frames the piece has."""
        if self._count is None:
            if self.is_whole and not self._source.is_damaged:
                self._count = self.frames_about
            else:
                self._count = sum(block.run.frames for block in self.blocks())
        return self._count

    @property
    def frames_about(self) -> int:
        """How many frames there are: of a whole pipe as its events say, without reading it."""
        if not self.is_whole:
            return len(self)
        self._source.account()
        return sum(opening.frames - opening.first - opening.lost for opening in self.openings)

    def __getitem__(self, piece: slice) -> RecordedPipe:
        if not isinstance(piece, slice):
            raise UsageError("A pipe of a recording is cut in seconds, pipe[10:20]; pipe.values has its values by their index.")
        return self.between(*as_times(piece, self.began))

    def between(self, start: float | datetime | None = None, stop: float | datetime | None = None) -> RecordedPipe:
        """Return the piece that was written from `start` on and before `stop`: seconds since 1970, or a datetime."""
        first, last = max(self._start, as_time(start, -math.inf)), min(self._stop, as_time(stop, math.inf))
        return RecordedPipe(self._source, self.board, self.name, first, last, self._given)

    def as_format(self, format: str) -> RecordedPipe:
        """Return the pipe with another struct format of its frames: where none was recorded, or a wrong one. Raises ValueError for what is none."""
        value_fields(format)
        return RecordedPipe(self._source, self.board, self.name, self._start, self._stop, format)

    # What was written

    def blocks(self) -> Iterator[Block]:
        """Yield the frames as they lie in the file, a run at a time: exact, and in bounded memory."""
        return self._source.blocks(self._channels, self._start, self._stop)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of a value: of a number, or a structured one where a frame has several types, or `object` for bytes."""
        return self._decoding()[0]

    @property
    def values(self) -> Array:
        """All values of the piece: shape (n,), or (n, columns). Of frames without a format, an array of bytes objects; frames that do not have the
        format's size are left out (`misfits` has them)."""
        found: Array = self._read(values=True)[0]
        return found

    @property
    def times(self) -> Array:
        """When each of `values` was written: seconds since 1970."""
        found: Array = self._read(times=True)[1]
        return found

    @property
    def errors(self) -> Array:
        """By how many seconds each of `times` may be off; infinite: it is that of the arrival."""
        found: Array = self._read(errors=True)[2]
        return found

    @property
    def numbers(self) -> Array:
        """The number of each of the frames of `values` in its opening: where some are missing, it jumps."""
        found: Array = self._read(numbers=True)[3]
        return found

    def read(self) -> RecordedSamples:
        """Return values and times, read at once: `values, times = pipe.read()`."""
        values, times, *_ = self._read(values=True, times=True)
        return RecordedSamples(values, times)

    @property
    def frames(self) -> list[bytes]:
        """All frames of the piece as bytes, those included that do not fit the format."""
        return [frame for block in self.blocks() for frame in split(block.run)]

    @property
    def misfits(self) -> list[bytes]:
        """Frames that do not have the size of the format."""
        size = self._decoding()[1]
        return [frame for block in self.blocks() for frame in split(block.run) if len(frame) != size] if size else []

    def samples(self) -> Iterator[RecordedSamples]:
        """Yield values and times in pieces of a run each, for what is too large for memory."""
        import numpy as np

        for block in self.blocks():
            values, chosen = self._decode(block)
            if len(values):
                times = times_of(block.run)
                yield RecordedSamples(values, times if chosen is None else times[np.asarray(chosen)])

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns of a table of `values`: those that were recorded, else made of the pipe's."""
        _, size, columns, fields = self._decoding()
        count = len(fields) if fields else columns
        if len(self.names) == len(set(self.names)) == count:
            return self.names
        return (self.name,) if count == 1 or not size else tuple(f"{self.name}.{index}" for index in range(count))

    def columns(self) -> dict[str, Array]:
        """Return `values` as a dictionary of columns, after "time": nanoseconds since 1970 as datetime64."""
        values, times = self.read()
        return {"time": as_datetimes(times), **{name: as_native(column) for name, column in self.as_columns(values).items()}}

    def as_columns(self, values: Array) -> dict[str, Array]:
        """Return values as a dictionary of columns by name."""
        fields = values.dtype.names
        names = self.column_names
        if fields:
            return {name: values[field] for name, field in zip(names, fields, strict=True)}
        if values.ndim == 1:
            return {names[0]: values}
        return {name: values[:, index] for index, name in enumerate(names)}

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame: a column for each value of a frame, the index being the time (UTC). `attrs["units"]` has the units."""
        return make_pandas(self.columns(), self._units())

    def to_polars(self) -> polars.DataFrame:
        """Return a polars DataFrame, "time" (UTC) being its first column."""
        return make_polars(self.columns())

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table, "time" (UTC) being its first column; units are the fields' metadata."""
        return make_arrow(self.columns(), self._units())

    def _units(self) -> dict[str, str]:
        return dict(zip(self.column_names, self.units))

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw it with matplotlib, over the seconds since its beginning; returns the axes. Of many values those are drawn that are seen."""

        plt = import_for("matplotlib.pyplot", "plot()")
        values, times = self.read()
        if values.dtype.kind == "O":
            raise UsageError(f"The pipe {self.name!r} was recorded as bytes: pipe.as_format('<f').plot() says what they are.")
        axes = plt.subplots()[1] if axes is None else axes
        units = self._units()
        for name, column in self.as_columns(values).items():
            chosen = extremes(column)
            axes.plot(
                times[chosen] - (times[0] if len(times) else 0.0),
                column[chosen],
                label=f"{name} [{units[name]}]" if units.get(name) else name,
            )
        axes.set_xlabel(f"seconds since {as_text_time(float(times[0]))}" if len(times) else "seconds")
        axes.set_title(f"{self.board}/{self.name}")
        axes.legend()
        return axes

    def sparkline(self) -> str:
        """Return a line of bars: the first column, here and there; empty for bytes."""
        if not self._decoding()[1]:
            return ""
        places = [
            (channel, chunk)
            for channel in self._channels
            for chunk in self._source.chunks(channel.reader, self._start, self._stop)
            if chunk.channels is None or channel.id in chunk.channels
        ]
        step = max(len(places) / MAX_BARS, 1.0)
        points: list[float] = []
        for channel, chunk in (places[int(index * step)] for index in range(min(len(places), MAX_BARS))):
            runs = [Block(channel.about.opening, channel.layout, run) for run in self._source.runs_of(channel, chunk)]
            clipped = [block for block in runs if block.run.time_last >= self._start and block.run.time_first < self._stop]
            means = [mean(self._decode(block)[0]) for block in clipped]
            points += thin(means, max(1, MAX_BARS // max(len(places), 1)))
        return as_bars(points[: 2 * MAX_BARS])

    def _decoding(self) -> tuple[np.dtype[Any], int, int, tuple[str, ...]]:
        """Return the type of a value, the size of a frame (0: bytes), how many values are in it, and their names in a structured type."""
        if self._decoded is None:
            self._decoded = self._find_decoding()
        return self._decoded

    def _find_decoding(self) -> tuple[np.dtype[Any], int, int, tuple[str, ...]]:
        import numpy as np

        if not self.format:
            return np.dtype(object), 0, 1, ()
        layout = fmt.Layout(self.format)
        if layout.is_typed:
            return np.dtype(layout.dtype), layout.size, layout.columns, ()
        try:
            found = value_fields(self.format)
        except ValueError:
            return np.dtype(object), 0, 1, ()  # of bytes: not numbers
        kinds = {kind for _, kind in found}
        if len(kinds) == 1 and len(found) * np.dtype(found[0][1]).itemsize == layout.size:
            return np.dtype(found[0][1]), layout.size, len(found), ()
        fields = tuple(f"f{index}" for index in range(len(found)))
        names = list(self.names) if len(self.names) == len(found) == len(set(self.names)) else list(fields)
        dtype = np.dtype(
            {
                "names": names,
                "formats": [kind for _, kind in found],
                "offsets": [offset for offset, _ in found],
                "itemsize": layout.size,
            }
        )
        return dtype, layout.size, 1, tuple(names)

    def _decode(self, block: Block) -> tuple[Array, list[int] | None]:
        """Return the values in a block, and which of its frames these are; None for all."""
        import numpy as np

        dtype, size, columns, _ = self._decoding()
        run = block.run
        if not size:
            values = np.empty(run.frames, object)
            values[:] = split(run)
            return values, None
        chosen: list[int] | None = None
        data: bytes | memoryview = run.data
        if len(run.sizes) != 1 or run.sizes[0] != size:
            frames = split(run)
            chosen = [index for index, frame in enumerate(frames) if len(frame) == size]
            data = b"".join(frames[index] for index in chosen)
        values = np.frombuffer(data, dtype)
        return (values.reshape(-1, columns) if columns > 1 else values), chosen

    def _read(
        self, *, values: bool = False, times: bool = False, errors: bool = False, numbers: bool = False
    ) -> tuple[Any, Any, Any, Any]:
        import numpy as np

        dtype, _, columns, _ = self._decoding()
        rows = min(self.frames_about, self._source.size_bytes * MAX_RATIO) if self.is_whole else 1024
        arrays = (
            _Growing((columns,) if columns > 1 else (), dtype, rows) if values else None,
            _Growing((), np.dtype(np.float64), rows) if times else None,
            _Growing((), np.dtype(np.float64), rows) if errors else None,
            _Growing((), np.dtype(np.uint64), rows) if numbers else None,
        )
        for block in self.blocks():
            run = block.run
            found, chosen = self._decode(block) if values or not _fits(run, self._decoding()[1]) else (None, None)
            pick: Any = slice(None) if chosen is None else np.asarray(chosen, int)
            if arrays[0] is not None:
                arrays[0].add(found)
            if arrays[1] is not None:
                arrays[1].add(times_of(run)[pick])
            if arrays[2] is not None:
                arrays[2].add(np.full(run.frames, run.time_error)[pick])
            if arrays[3] is not None:
                arrays[3].add(np.arange(run.first, run.first + run.frames, dtype=np.uint64)[pick])
        if self._source.account():
            self._count = None
            warn(
                PipeDataLostWarning, f"Pipe {self.name!r} of {self.board}: the file is damaged, {describe_losses(self.losses)}."
            )
        return tuple(array.take() if array is not None else None for array in arrays)  # type: ignore[return-value]


class _Growing:
    """An array that grows in its place, where it was not known how large it becomes: nothing is in memory twice."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], rows: int):
        import numpy as np

        self._array = np.empty((max(rows, 1), *shape), dtype)
        self._count = 0

    def add(self, rows: Any) -> None:
        count = self._count + len(rows)
        if count > len(self._array):
            self._array.resize((max(count, len(self._array) * 9 // 8), *self._array.shape[1:]), refcheck=False)
        self._array[self._count : count] = rows
        self._count = count

    def take(self) -> Array:
        self._array.resize((self._count, *self._array.shape[1:]), refcheck=False)
        return self._array


def _fits(run: fmt.Run, size: int) -> bool:
    return not size or (len(run.sizes) == 1 and run.sizes[0] == size)
