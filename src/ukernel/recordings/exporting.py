"""`export`: a recording as a file that other programs open."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ukernel.errors import RecordingError, UsageError, describe

from .loading import load

if TYPE_CHECKING:
    from .alignment import Alignment
    from .loaded import LoadedRecording
    from .recordedpipe import RecordedPipe

__all__ = ["FORMATS", "Exported", "export"]

FORMATS = ".csv", ".parquet", ".arrow", ".wav", ".mcap"


class Exported(NamedTuple):
    """What was written. rows: of the table, or messages of an MCAP file, or samples of a sound. notes: what the reader of the file should know."""

    path: Path
    rows: int
    size_bytes: int
    notes: tuple[str, ...]

    def describe(self) -> str:
        """Return it as a sentence."""
        return " ".join(
            (f"{self.path}: {self.rows:,} {'row' if self.rows == 1 else 'rows'}, {self.size_bytes:,} bytes.", *self.notes)
        )


def export(
    recording: str | os.PathLike[str] | LoadedRecording,
    to: str | os.PathLike[str],
    *,
    pipes: str | Iterable[str] | None = None,
    start: float | datetime | None = None,
    stop: float | datetime | None = None,
    on: str | None = None,
    tolerance: float | None = None,
    formats: dict[str, str] | str | None = None,
    separator: str = ",",
    rate: float | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a recording, or pipes of it, as a file of the kind that its name says: .csv, .parquet, .arrow, .wav, or .mcap with a message a sample.

    recording: a path, or what `load` has returned, or a piece of that. pipes: names or patterns; None for all. start, stop: seconds from the beginning of the
    recording, or datetimes. on, tolerance: where several pipes make one table: whose times are its rows, and by how many seconds a value of another pipe may be off its row (half
    of the usual time between two rows); where there is none so near the place is empty. formats: struct formats of pipes that were recorded without,
    by name, or one for all. separator: of a CSV file; with ";" numbers have a decimal comma, as Excel wants it in many countries. rate: samples a second of a sound;
    None for what was measured. overwrite: replace a file that is there.

    The file appears when it is whole. Memory holds a piece of it. Raises RecordingError for what cannot be read or written, and UsageError for what cannot be meant, or where a library is missing.
    """
    from .loaded import LoadedRecording

    path = Path(to).expanduser()
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path.name}: what kind of file is to be written is told by its ending, one of {' '.join(FORMATS)}.")
    loaded = recording if isinstance(recording, LoadedRecording) else load(recording)
    if path.exists() and any(path.samefile(part) for part in loaded.files):
        raise UsageError(f"{path} is the recording itself: choose another name.")
    if path.exists() and not overwrite:
        raise RecordingError(
            f"{path} is there already: choose another name, or say overwrite=True (--overwrite) to replace it."
        )
    chosen = _choose(loaded, pipes, formats)
    first, last = (_from_beginning(loaded, bound) for bound in (start, stop))
    if first is not None or last is not None:
        chosen = [pipe.between(first, last) for pipe in chosen]
    write = _writer(path.suffix.lower(), chosen, on, tolerance, separator, rate)
    return _write(path, write, tuple(_notes(loaded, chosen)))


def _write(path: Path, write: Callable[[Path], tuple[int, tuple[str, ...]]], notes: tuple[str, ...]) -> Exported:
    """Write beside the file, and rename."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        rows, more = write(draft)
        os.replace(draft, path)
    except OSError as error:
        error.filename = None  # that of the draft, which nobody has heard of
        why = describe(error) if path.parent.is_dir() else f"there is no folder {path.parent}. Make it first"
        raise RecordingError(f"{path} cannot be written: {why}.") from error
    finally:
        draft.unlink(missing_ok=True)
    return Exported(path, rows, path.stat().st_size, (*more, *notes))


def _writer(
    suffix: str, pipes: list[RecordedPipe], on: str | None, tolerance: float | None, separator: str, rate: float | None
) -> Callable[[Path], tuple[int, tuple[str, ...]]]:
    """Return what writes the file: a function of its path that returns how many rows it has and what is to be said of them."""
    from .alignment import Alignment

    if suffix == ".wav":
        from .wavfile import write_wav

        return lambda path: write_wav(path, pipes, rate)
    if suffix == ".mcap":
        from .samplefile import write_samples

        return lambda path: write_samples(path, pipes)
    table: Alignment = Alignment(pipes, on, tolerance)
    if suffix == ".csv":
        from .csvfile import check_separator, write_csv

        check_separator(separator)
        return lambda path: write_csv(path, table, separator)
    from .arrowfile import load_pyarrow, write_arrow

    load_pyarrow()
    return lambda path: write_arrow(path, table, parquet=suffix == ".parquet")


def _choose(
    loaded: LoadedRecording, pipes: str | Iterable[str] | None, formats: dict[str, str] | str | None
) -> list[RecordedPipe]:
    from fnmatch import fnmatchcase

    wanted = ["*"] if pipes is None else [pipes] if isinstance(pipes, str) else list(pipes)
    chosen: list[RecordedPipe] = []
    for pattern in wanted:
        found = [
            pipe
            for pipe in loaded.pipes
            if any(fnmatchcase(name, pattern) for name in (pipe.name, f"{pipe.board}/{pipe.name}"))
        ]
        if not found and pipes is not None:
            loaded.pipe(pattern)  # raises, and says what there is
        chosen += [pipe for pipe in found if pipe not in chosen]
    by_name = {"*": formats} if isinstance(formats, str) else formats or {}
    return [
        next((pipe.as_format(format) for name, format in by_name.items() if fnmatchcase(pipe.name, name)), pipe)
        for pipe in chosen
    ]


def _from_beginning(loaded: LoadedRecording, bound: float | datetime | None) -> float | datetime | None:
    if bound is None or isinstance(bound, datetime):
        return bound
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
        raise UsageError(f"start and stop are seconds from the beginning of the recording, or datetimes, not {bound!r}.")
    return loaded.began + bound


def _notes(loaded: LoadedRecording, pipes: list[RecordedPipe]) -> Iterable[str]:
    if loaded.why_torn:
        yield loaded.why_torn
    for pipe in pipes:
        if pipe.lost:
            losses = ", ".join(f"{count:,} ({cause})" for cause, count in pipe.losses.items())
            yield f"Of {pipe.board}/{pipe.name} {losses} were lost when it was recorded."
