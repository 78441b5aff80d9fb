"""A pipe in a recording: values, times and frames, of all of it or of a piece, read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from ukernel.errors import UsageError
from ukernel.pipes.decoders import value_fields

from . import format as fmt
from .partreader import Chunk, PartReader
from .timeline import DAMAGED, TORN, Loss, RecordedOpening

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas
    import polars
    import pyarrow
    from matplotlib.axes import Axes

    Array = npt.NDArray[Any]

__all__ = ["Block", "RecordedPipe", "RecordedSamples", "Source", "as_text_time"]

FIRST_ROWS = 1 << 16  # of an answer, which grows with what comes
MAX_LONGEST_S = 60.0  # between the ends of a run, where the file does not say: far more than any that is ever joined
BARS = "▁▂▃▄▅▆▇█"
MAX_BARS = 24
MAX_DRAWN = 4000  # points of a plot: the least and the greatest of each of so many pieces


class RecordedSamples(NamedTuple):
    """Values and when each was written: a pair of arrays of the same length. values: shape (n,) or (n, columns). times: seconds since 1970."""

    values: Any
    times: Any


class Block(NamedTuple):
    """Frames in a row, as they lie in the file: those of a run that are wanted. opening: its key. layout: how its data lie."""

    opening: int
    layout: fmt.Layout
    run: fmt.Run


class _Channel(NamedTuple):
    reader: PartReader
    id: int
    about: fmt.About
    layout: fmt.Layout


class Source:
    """The parts of a recording and what is in their channels."""

    def __init__(self, readers: Sequence[PartReader], openings: list[RecordedOpening]):
        self.readers = readers
        self.openings = openings
        self.channels: dict[tuple[str, str], list[_Channel]] = {}  # by board and pipe
        known = {opening.key: opening for opening in openings}
        for reader in readers:
            for channel in reader.channels.values():
                if channel.topic == fmt.EVENTS_TOPIC:
                    continue
                try:
                    about = fmt.About.of(channel.metadata)
                    layout = fmt.Layout(about.format)
                except ValueError:
                    continue  # what another tool has put in
                opening = known.get(about.opening)
                if opening is None:  # its event is lost
                    opening = known[about.opening] = RecordedOpening(
                        about.opening, about.board, about.pipe, about.generation, 0, 0, 0.0
                    )
                    openings.append(opening)
                self.channels.setdefault((opening.board, opening.pipe), []).append(_Channel(reader, channel.id, about, layout))
        for opening in openings:
            self.channels.setdefault((opening.board, opening.pipe), [])
        self._settle()

    def pipes(self) -> list[RecordedPipe]:
        """Return a `RecordedPipe` for each pipe of each board."""
        return [RecordedPipe(self, board, name) for board, name in sorted(self.channels)]

    @property
    def is_damaged(self) -> bool:
        """Whether frames may be missing that no event tells of."""
        return any(reader.damaged or DAMAGED in reader.about(fmt.END).get("lost", "") for reader in self.readers)

    def as_times(self, piece: slice, began: float) -> tuple[float | None, float | None]:
        """Return the times that a slice of seconds means."""
        if piece.step is not None:
            raise UsageError("A piece of a recording has no step: rec[10:20] is from its 10th to its 20th second.")
        for bound in (piece.start, piece.stop):
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float) or bound < 0):
                raise UsageError(
                    f"A piece of a recording is in seconds from its beginning, rec[10:20], not {bound!r}: between() takes times."
                )
        return (
            None if piece.start is None else began + piece.start,
            None if piece.stop is None else began + piece.stop,
        )

    def _settle(self) -> None:
        """An opening whose end nobody has written ends with its last frame; where chunks are damaged, what they held is counted."""
        is_damaged = self.is_damaged
        for opening in self.openings:
            if opening.end_reason and not is_damaged:
                continue
            channels = [
                channel for channel in self.channels[opening.board, opening.pipe] if channel.about.opening == opening.key
            ]
            if not opening.end_reason:
                opening.end_reason = TORN
            if is_damaged:
                self._count_damaged(opening, channels)
            else:
                for run in self._last_runs(channels):
                    opening.frames = max(opening.frames, run.first + run.frames)
                    opening.ended = max(opening.ended, run.time_last)

    def _last_runs(self, channels: Sequence[_Channel]) -> Iterator[fmt.Run]:
        for channel in channels:
            run = self.last_run(channel)
            if run is not None:
                yield run

    def first_run(self, channel: _Channel) -> fmt.Run | None:
        """Return the first run in a channel."""
        return next((run for chunk in channel.reader.chunks for run in self._runs_of(channel, chunk)), None)

    def last_run(self, channel: _Channel) -> fmt.Run | None:
        """Return the last run in a channel."""
        for chunk in reversed(channel.reader.chunks):
            runs = list(self._runs_of(channel, chunk))
            if runs:
                return runs[-1]
        return None

    def _runs_of(self, channel: _Channel, chunk: Chunk) -> Iterator[fmt.Run]:
        for message in channel.reader.messages((chunk,), (channel.id,)):
            try:
                yield channel.layout.decode(message.data)
            except ValueError:
                continue

    def _count_damaged(self, opening: RecordedOpening, channels: Sequence[_Channel]) -> None:
        spans = [(loss.first, loss.first + loss.frames) for loss in opening.losses if loss.cause != DAMAGED]
        for channel in channels:
            for chunk in channel.reader.chunks:
                spans += [(run.first, run.first + run.frames) for run in self._runs_of(channel, chunk)]
        at = opening.first
        missing = []
        for first, stop in sorted(spans):
            if first > at:
                missing.append((at, first - at))
            at = max(at, stop)
        opening.frames = max(opening.frames, at)
        if opening.frames > at:
            missing.append((at, opening.frames - at))
        opening.losses = sorted(
            [loss for loss in opening.losses if loss.cause != DAMAGED]
            + [Loss(first, count, DAMAGED, opening.ended) for first, count in missing]
        )

    def blocks(self, channels: Sequence[_Channel], start: float, stop: float) -> Iterator[Block]:
        """Yield what was written from ``start`` on and before ``stop``, in the order of the file."""
        for reader in self.readers:
            here = {channel.id: channel for channel in channels if channel.reader is reader}
            if not here:
                continue
            for message in reader.messages(self._chunks(reader, start, stop), here):
                channel = here[message.channel]
                try:
                    run = channel.layout.decode(message.data)
                except ValueError:
                    continue  # no frame of ours
                clipped = _clip(run, channel.layout, start, stop)
                if clipped is not None:
                    yield Block(channel.about.opening, channel.layout, clipped)

    def _chunks(self, reader: PartReader, start: float, stop: float) -> list[Chunk]:
        if start == -math.inf and stop == math.inf:
            return reader.chunks
        try:
            longest_s = float(reader.about(fmt.END)["longest_s"])
        except (KeyError, ValueError):
            longest_s = MAX_LONGEST_S
        # A message has the time of its last frame; clocks are rounded.
        first = fmt.as_nanoseconds(max(start - 1e-3, 0.0))
        last = fmt.as_nanoseconds(max(stop + longest_s + 1e-3, 0.0)) if stop < math.inf else fmt.MAX_NS
        return [chunk for chunk in reader.chunks if chunk.last >= first and chunk.first <= last]


class RecordedPipe:
    """A pipe in a recording: `.values`, `.times`, `.frames`, `.to_pandas()` and so on read it.

    `pipe[10:20]` is its piece from the 10th to the 20th second after its first frame, `between(start, stop)` by the clock; pieces are pipes, and cost nothing
    until they are read. Attributes:

    name, board. format: the struct format of a frame, empty where it is not known. names, units: of its columns, as recorded. openings: its
    `RecordedOpening`s. losses: frames that are missing in the whole recording, per cause.
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

    def __repr__(self) -> str:
        return (
            f"<pipe {self.name!r} of {self.board}: {self.frames_about:,} frames, {self.format or 'bytes'}, {self.lost:,} lost>"
        )

    @property
    def losses(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for opening in self.openings:
            for loss in opening.losses:
                found[loss.cause] = found.get(loss.cause, 0) + loss.frames
        return found

    @property
    def lost(self) -> int:
        """Frames that are missing in the whole recording."""
        return sum(self.losses.values())

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
        return sum(opening.frames - opening.first - opening.lost for opening in self.openings)

    def __getitem__(self, piece: slice) -> RecordedPipe:
        if not isinstance(piece, slice):
            raise UsageError("A pipe of a recording is cut in seconds, pipe[10:20]; pipe.values has its values by their index.")
        return self.between(*self._source.as_times(piece, self.began))

    def between(self, start: float | datetime | None = None, stop: float | datetime | None = None) -> RecordedPipe:
        """Return the piece that was written from `start` on and before `stop`: seconds since 1970, or a datetime."""
        first, last = max(self._start, _as_time(start, -math.inf)), min(self._stop, _as_time(stop, math.inf))
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
        return [frame for block in self.blocks() for frame in _split(block.run)]

    @property
    def misfits(self) -> list[bytes]:
        """Frames that do not have the size of the format."""
        size = self._decoding()[1]
        return [frame for block in self.blocks() for frame in _split(block.run) if len(frame) != size] if size else []

    def samples(self) -> Iterator[RecordedSamples]:
        """Yield values and times in pieces of a run each, for what is too large for memory."""
        import numpy as np

        for block in self.blocks():
            values, chosen = self._decode(block)
            if len(values):
                times = _times_of(block.run)
                yield RecordedSamples(values, times if chosen is None else times[np.asarray(chosen)])

    # For other libraries

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns of a table of `values`: those that were recorded, else made of the pipe's."""
        _, size, columns, fields = self._decoding()
        count = len(fields) if fields else columns
        if len(self.names) == count:
            return self.names
        return (self.name,) if count == 1 or not size else tuple(f"{self.name}.{index}" for index in range(count))

    def columns(self) -> dict[str, Array]:
        """Return `values` as a dictionary of columns, after "time": nanoseconds since 1970 as datetime64."""
        values, times = self.read()
        return {"time": as_datetimes(times), **self.split(values)}

    def split(self, values: Array) -> dict[str, Array]:
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
        pandas = import_for("pandas", "to_pandas()")
        columns = self.columns()
        index = pandas.DatetimeIndex(columns.pop("time"), name="time").tz_localize("UTC")
        frame = pandas.DataFrame(columns, index=index)
        frame.attrs["units"] = dict(zip(self.column_names, self.units))
        return frame

    def to_polars(self) -> polars.DataFrame:
        """Return a polars DataFrame, "time" (UTC) being its first column."""
        polars = import_for("polars", "to_polars()")
        columns = self.columns()
        time = polars.Series("time", columns.pop("time")).dt.replace_time_zone("UTC")
        native = {name: array.tolist() if array.dtype == object else array for name, array in map(_native, columns.items())}
        return polars.DataFrame([time, *(polars.Series(name, values) for name, values in native.items())])

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table, "time" (UTC) being its first column; units are the fields' metadata."""
        pyarrow = import_for("pyarrow", "to_arrow()")
        columns = self.columns()
        time = pyarrow.array(columns.pop("time"), pyarrow.timestamp("ns", "UTC"))
        units = dict(zip(self.column_names, self.units))
        fields, arrays = [pyarrow.field("time", time.type)], [time]
        for name, values in map(_native, columns.items()):
            arrays.append(pyarrow.array(values.tolist(), pyarrow.binary()) if values.dtype == object else pyarrow.array(values))
            fields.append(pyarrow.field(name, arrays[-1].type, metadata={"unit": units[name]} if units.get(name) else None))
        return pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields))

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw it with matplotlib, over the seconds since its beginning; returns the axes. Of many values those are drawn that are seen."""
        import numpy as np

        plt = import_for("matplotlib.pyplot", "plot()")
        values, times = self.read()
        if values.dtype == object:
            raise UsageError(f"The pipe {self.name!r} was recorded as bytes: pipe.as_format('<f').plot() says what they are.")
        axes = plt.subplots()[1] if axes is None else axes
        units = dict(zip(self.column_names, self.units))
        for name, column in self.split(values).items():
            chosen = _extremes(column, np)
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
            for chunk in channel.reader.chunks
            if chunk.channels is None or channel.id in chunk.channels
        ]
        step = max(len(places) / MAX_BARS, 1.0)
        points: list[float] = []
        for channel, chunk in (places[int(index * step)] for index in range(min(len(places), MAX_BARS))):
            runs = [Block(channel.about.opening, channel.layout, run) for run in self._source._runs_of(channel, chunk)]
            clipped = [block for block in runs if block.run.time_last >= self._start and block.run.time_first < self._stop]
            means = [_mean(self._decode(block)[0]) for block in clipped]
            points += _thin(means, max(1, MAX_BARS // len(places)))
        finite = [point for point in points if math.isfinite(point)]
        if not finite:
            return ""
        low, high = min(finite), max(finite)
        scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
        return "".join(BARS[round((point - low) * scale)] if math.isfinite(point) else " " for point in points[: 2 * MAX_BARS])

    # Reading

    def _decoding(self) -> tuple[np.dtype[Any], int, int, tuple[str, ...]]:
        """Return the type of a value, the size of a frame (0: bytes), how many values are in it, and their names in a structured type."""
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
            values[:] = _split(run)
            return values, None
        chosen: list[int] | None = None
        data: bytes | memoryview = run.data
        if len(run.sizes) != 1 or run.sizes[0] != size:
            frames = _split(run)
            chosen = [index for index, frame in enumerate(frames) if len(frame) == size]
            data = b"".join(frames[index] for index in chosen)
        values = np.frombuffer(data, dtype)
        return (values.reshape(-1, columns) if columns > 1 else values), chosen

    def _read(
        self, *, values: bool = False, times: bool = False, errors: bool = False, numbers: bool = False
    ) -> tuple[Any, Any, Any, Any]:
        import numpy as np

        dtype, _, columns, _ = self._decoding()
        rows = min(self.frames_about, FIRST_ROWS) if self.is_whole else 1024
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
                arrays[1].add(_times_of(run)[pick])
            if arrays[2] is not None:
                arrays[2].add(np.full(run.frames, run.time_error)[pick])
            if arrays[3] is not None:
                arrays[3].add(np.arange(run.first, run.first + run.frames, dtype=np.uint64)[pick])
        return tuple(array.take() if array is not None else None for array in arrays)  # type: ignore[return-value]


class _Growing:
    """An array that grows in its place, so that nothing is in memory twice."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], rows: int):
        import numpy as np

        self._array = np.empty((max(rows, 1), *shape), dtype)
        self._count = 0

    def add(self, rows: Any) -> None:
        count = self._count + len(rows)
        if count > len(self._array):
            self._array.resize((max(count, 2 * len(self._array)), *self._array.shape[1:]), refcheck=False)
        self._array[self._count : count] = rows
        self._count = count

    def take(self) -> Array:
        self._array.resize((self._count, *self._array.shape[1:]), refcheck=False)
        return self._array


def _fits(run: fmt.Run, size: int) -> bool:
    return not size or (len(run.sizes) == 1 and run.sizes[0] == size)


def _split(run: fmt.Run) -> list[bytes]:
    """Return the frames of a run."""
    data = bytes(run.data)
    if len(run.sizes) == 1:
        size = run.sizes[0]
        return [data[at : at + size] for at in range(0, len(data), size)] if size else [b""] * run.frames
    frames, at = [], 0
    for size in run.sizes:
        frames.append(data[at : at + size])
        at += size
    return frames


def _times_of(run: fmt.Run) -> Array:
    import numpy as np

    if run.frames < 2:
        return np.full(run.frames, run.time_first)
    times = np.arange(run.frames, dtype=np.float64)
    times *= (run.time_last - run.time_first) / (run.frames - 1)
    times += run.time_first
    return times


def _clip(run: fmt.Run, layout: fmt.Layout, start: float, stop: float) -> fmt.Run | None:
    """Return of a run what was written from ``start`` on and before ``stop``; None where that is nothing."""
    if start <= run.time_first and run.time_last < stop:
        return run
    if run.time_last < start or run.time_first >= stop:
        return None
    import numpy as np

    times = _times_of(run)
    found = np.flatnonzero((times >= start) & (times < stop))
    if not len(found):
        return None
    first, end = int(found[0]), int(found[-1]) + 1
    if len(run.sizes) == 1:
        size = run.sizes[0]
        sizes: Sequence[int] = run.sizes
        data = run.data[first * size : end * size]
    else:
        sizes = run.sizes[first:end]
        at = sum(run.sizes[:first])
        data = run.data[at : at + sum(sizes)]
    return fmt.Run(run.first + first, end - first, float(times[first]), float(times[end - 1]), run.time_error, sizes, data)


def _as_time(time: float | datetime | None, default: float) -> float:
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


def import_for(name: str, what: str) -> Any:
    """Import a library that is there only where somebody has asked for it. Raises UsageError where it is not."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UsageError(f"{what} needs {package}, and there is none here: pip install {package}") from error


def _native(item: tuple[str, Array]) -> tuple[str, Array]:
    """Other libraries know numbers in this computer's byte order only."""
    name, array = item
    return name, array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _mean(values: Array) -> float:
    if not len(values):
        return math.nan
    first = values[values.dtype.names[0]] if values.dtype.names else values[:, 0] if values.ndim > 1 else values
    return float(first.astype(float).mean())


def _thin(points: list[float], count: int) -> list[float]:
    step = max(len(points) / count, 1.0)
    return [points[int(index * step)] for index in range(min(len(points), count))]


def _extremes(column: Array, np: Any) -> Any:
    """Return which values to draw so that it looks as if all were."""
    if len(column) <= 2 * MAX_DRAWN:
        return slice(None)
    size = len(column) // MAX_DRAWN
    table = column[: size * MAX_DRAWN].reshape(MAX_DRAWN, size)
    base = np.arange(MAX_DRAWN) * size
    both = np.sort(np.stack([base + table.argmin(1), base + table.argmax(1)], axis=1), axis=1).ravel()
    return np.concatenate([both, np.arange(size * MAX_DRAWN, len(column))])
