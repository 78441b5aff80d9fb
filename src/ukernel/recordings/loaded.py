"""A recording as arrays and times, read when they are asked for."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ukernel.errors import RecordingError, UsageError
from ukernel.tables import format_table

from . import format as fmt
from .partreader import PartReader
from .recordedpipe import RecordedPipe
from .source import Source, as_times
from .tables import import_for
from .timeline import Note, read_openings
from .times import as_datetimes, as_text_time, as_time

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from .alignment import Column

__all__ = ["LoadedRecording", "open_files"]


def open_files(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> LoadedRecording:
    """See `load`."""
    if isinstance(path, str | os.PathLike):
        first = PartReader(Path(path).expanduser())
        return LoadedRecording([first, *_following(first)])
    readers = [PartReader(Path(part).expanduser()) for part in path]
    if not readers:
        raise UsageError("load needs a file.")
    if len({reader.about(fmt.RECORDING).get("recording") for reader in readers}) > 1:
        raise RecordingError("These files are of different recordings: load each of them by itself.")
    return LoadedRecording(readers)


def _following(first: PartReader) -> Iterator[PartReader]:
    """Yield the parts after the first one that is there of a recording (`keep` removes old ones), as far as they are there."""
    about = first.about(fmt.RECORDING)
    is_first, suffix = about.get("part") == "1", first.path.suffix
    stem = first.path.stem if is_first else first.path.stem.rpartition(".")[0]
    if not stem:
        return
    found = [] if is_first else [(1, first.path.with_name(f"{stem}{suffix}"))]
    for path in first.path.parent.glob(f"{_escape(stem)}.*{_escape(suffix)}"):
        number = path.name[len(stem) + 1 : len(path.name) - len(suffix)]
        if number.isdecimal():
            found.append((int(number), path))
    is_met = is_first
    for _, path in sorted(found):
        if path == first.path:
            is_met = True
            continue
        try:
            part = PartReader(path)
        except RecordingError:
            continue  # it only has such a name, or is not there
        if part.about(fmt.RECORDING).get("recording") == about.get("recording"):
            if not is_met:
                return  # an earlier one is there: this one is wanted by itself
            yield part


def _escape(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


class LoadedRecording:
    """A recording: `rec["adc"]` is a `RecordedPipe`, `rec["kitchen/adc"]` the one of that board; iterating gives all of them.

    `rec[10:20]` is the same from its 10th to its 20th second, `between(start, stop)` by the clock. Attributes:

    files: paths of its parts. pipes: the `RecordedPipe`s. began, ended: times of its first and its last frame, seconds since 1970 (those of the recorder where there is no
    frame). bounds: of a piece, in the same way. openings: all of them, as `RecordedOpening`s, losses and ends included. notes: what the recorder wrote down, and that the next file is not here, where that is so. boards: what each board said of itself. about:
    what the file says of itself. why_torn: a sentence where a file has no proper end, else empty.
    """

    def __init__(self, readers: Sequence[PartReader]):
        self._readers = list(readers)
        self.files = [reader.path for reader in readers]
        self.about = dict(readers[0].about(fmt.RECORDING))
        self.end = dict(readers[-1].about(fmt.END))
        self.boards: dict[str, dict[str, Any]] = {}
        for reader in readers:
            for name, content in reader.metadata:
                if name == fmt.BOARD:
                    self.boards[content.get("name", "")] = {
                        "port": content.get("port", ""),
                        **_as_dict(content.get("facts", "")),
                    }
        self.bounds = -math.inf, math.inf
        self.openings, self.notes = read_openings(self._events())
        self.source = Source(self._readers, self.openings)
        if self.end.get("next"):
            self.notes.append(Note(_as_float(self.end.get("ended")), f"It goes on in {self.end['next']}, which is not loaded."))
        self.pipes = [RecordedPipe(self.source, board, name) for board, name in sorted(self.source.channels)]

    @property
    def why_torn(self) -> str:
        return " ".join(reader.why_torn for reader in self._readers if reader.why_torn)

    @property
    def notebook(self) -> str:
        """In which it was recorded; empty for none."""
        return self.about.get("notebook", "")

    @property
    def began(self) -> float:
        return min((pipe.began for pipe in self.pipes if pipe.began), default=_as_float(self.about.get("started")))

    @property
    def ended(self) -> float:
        return max((pipe.ended for pipe in self.pipes), default=_as_float(self.end.get("ended")))

    def __iter__(self) -> Iterator[RecordedPipe]:
        return iter(self.pipes)

    def __len__(self) -> int:
        return len(self.pipes)

    def __contains__(self, name: object) -> bool:
        return any(name in (pipe.name, f"{pipe.board}/{pipe.name}") for pipe in self.pipes)

    def __getitem__(self, key: str | slice) -> Any:
        if isinstance(key, slice):
            start, stop = as_times(key, self.began)
            return self.between(start, stop)
        return self.pipe(key)

    def pipe(self, name: str, board: str | None = None) -> RecordedPipe:
        """Return a pipe. Raises RecordingError where there is none, or where several boards have one and `board` does not say which."""
        found = [
            pipe for pipe in self.pipes if name in (pipe.name, f"{pipe.board}/{pipe.name}") and board in (None, pipe.board)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(f"{pipe.board}/{pipe.name}" for pipe in found)
            raise RecordingError(f"The pipe {name!r} is of several boards here: say which one, {names}.")
        there = ", ".join(sorted(f"{pipe.board}/{pipe.name}" for pipe in self.pipes)) or "none"
        raise RecordingError(f"No pipe {name!r} is in {self.files[0].name}; there is {there}.")

    def between(self, start: float | datetime | None = None, stop: float | datetime | None = None) -> LoadedRecording:
        """Return what was written from `start` on and before `stop`: seconds since 1970, or a datetime."""
        narrowed = object.__new__(LoadedRecording)
        narrowed.__dict__.update(self.__dict__)
        narrowed.pipes = [pipe.between(start, stop) for pipe in self.pipes]
        narrowed.bounds = max(self.bounds[0], as_time(start, -math.inf)), min(self.bounds[1], as_time(stop, math.inf))
        return narrowed

    # For other libraries

    def to_pandas(self, *, on: str | None = None, tolerance: float | None = None) -> pandas.DataFrame:
        """Return one DataFrame of all pipes, on the times of one of them: `on`, or the one with most frames.

        Of every other pipe a row has the nearest value that is at most `tolerance` seconds away (half of the usual time between two rows), else none. `rec["adc"].to_pandas()` has all
        values of a pipe at its own times.
        """
        library = import_for("pandas", "to_pandas()")
        table = self._as_arrays(on, tolerance)
        columns = {}
        for column, values, present in table.columns:
            native = values.astype(values.dtype.newbyteorder("="), copy=False)
            columns[column.name] = native if present.all() else library.Series(native).where(present)
        index = library.DatetimeIndex(as_datetimes(table.times), name="time").tz_localize("UTC")
        frame: pandas.DataFrame = library.DataFrame(
            {name: getattr(values, "array", values) for name, values in columns.items()}, index=index
        )
        frame.attrs["units"] = {column.name: column.unit for column, *_ in table.columns if column.unit}
        return frame

    def to_arrow(self, *, on: str | None = None, tolerance: float | None = None) -> pyarrow.Table:
        """Return one Arrow table of all pipes, as `to_pandas` does."""
        from .alignment import Alignment
        from .arrowfile import as_schema, as_table, load_pyarrow

        library = load_pyarrow()
        alignment = Alignment(self.pipes, on, tolerance)
        schema = as_schema(alignment)
        found: pyarrow.Table = library.concat_tables(
            [schema.empty_table(), *(as_table(rows, schema) for rows in alignment.rows())]
        )
        return found

    def to_polars(self, *, on: str | None = None, tolerance: float | None = None) -> polars.DataFrame:
        """Return one polars DataFrame of all pipes, as `to_pandas` does. It takes pyarrow, too."""
        library = import_for("polars", "to_polars()")
        found: polars.DataFrame = library.from_arrow(self.to_arrow(on=on, tolerance=tolerance))
        return found

    def _as_arrays(self, on: str | None, tolerance: float | None) -> _Table:
        import numpy as np

        from .alignment import Alignment

        alignment = Alignment(self.pipes, on, tolerance)
        rows = list(alignment.rows())
        times = np.concatenate([np.empty(0), *(one.times for one in rows)])
        columns = []
        for index, column in enumerate(alignment.columns):
            values = np.concatenate([np.empty(0, column.dtype), *(one.values[index] for one in rows)])
            present = np.concatenate([np.empty(0, bool), *(_all(one.present[index], one.times) for one in rows)])
            columns.append((column, values, present))
        return _Table(times, columns)

    # As a table

    COLUMNS = ("pipe", "board", "frames", "lost", "from", "seconds", "per second", "format", "")

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows as text, in the order of `COLUMNS`."""
        found: list[tuple[str, ...]] = []
        for pipe in self.pipes:
            seconds = pipe.ended - pipe.began if pipe.began else 0.0
            frames = pipe.frames_about
            rate = f"{(frames - 1) / seconds:,.4g}" if seconds > 0 and frames > 1 else ""
            units = f" {', '.join(pipe.units)}" if pipe.units else ""
            losses = ", ".join(f"{count:,} ({cause})" for cause, count in pipe.losses.items()) or "none"
            when = as_text_time(pipe.began)[:19].replace("T", " ") if pipe.began else ""
            found.append(
                (
                    pipe.name,
                    pipe.board,
                    f"{frames:,}",
                    losses,
                    when,
                    f"{seconds:,.3f}",
                    rate,
                    (pipe.format or "bytes") + units,
                    pipe.sparkline(),
                )
            )
        return found

    def __repr__(self) -> str:
        parts = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        head = f"{self.files[0].name}{parts}: {len(self.pipes)} {'pipe' if len(self.pipes) == 1 else 'pipes'}"
        lines = (
            [head, format_table(self.COLUMNS, self.rows())]
            if self.pipes
            else [f"{head}: nothing was written while it was recorded."]
        )
        lines += [self.why_torn] if self.why_torn else []
        lines += [f"{as_text_time(note.time)}: {note.text}" for note in self.notes[:5]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in self.COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in self.rows())
        torn = f"<p>{html.escape(self.why_torn)}</p>" if self.why_torn else ""
        names = html.escape(", ".join(path.name for path in self.files))
        return f"<p>{names}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{torn}"

    def _events(self) -> Iterator[dict[str, Any]]:
        for reader in self._readers:
            ids = [channel.id for channel in reader.channels.values() if channel.topic == fmt.EVENTS_TOPIC]
            for message in reader.messages(reader.chunks, ids):
                try:
                    yield fmt.decode_event(message.data)
                except ValueError:
                    continue


class _Table(NamedTuple):
    """Times, and of each column what it is, its values, and which of them there are."""

    times: Any
    columns: list[tuple[Column, Any, Any]]


def _all(present: Any, times: Any) -> Any:
    import numpy as np

    return np.ones(len(times), bool) if present is None else present


def _as_dict(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _as_float(text: str | None) -> float:
    try:
        found = float(text or 0.0)
    except ValueError:
        return 0.0
    return found if math.isfinite(found) else 0.0
