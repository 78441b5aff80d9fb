"""What is to be recorded, and how: as one says it, checked, and as one process tells another."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ukernel.errors import RecordingError

from .format import About, Layout
from .selection import as_patterns, find
from .sink import Opening

__all__ = ["EVERY_S", "PAUSE_S", "Meaning", "Order", "Rotation", "make_order"]

# A frame is safe a quarter of a second after it came, unless somebody wants another time: what has come is read five times a second, which costs less
# than reading it as it comes, and is made safe at once.
EVERY_S, PAUSE_S = 0.25, 0.2
MB = 1_000_000
LEAST_EVERY_S, MAX_EVERY_S = 0.05, 3600.0
MIN_ROTATE_BYTES, MIN_ROTATE_S = MB // 10, 1.0
LONGEST_S = 10 * 366 * 86_400.0


class Meaning(NamedTuple):
    """What is said of the frames of pipes, by name or pattern: struct formats, and names and units of their columns."""

    formats: Mapping[str, str]
    names: Mapping[str, Sequence[str]]
    units: Mapping[str, Sequence[str]]

    def of(self, opening: Opening) -> About:
        """Return what a channel says of an opening."""
        return About(
            opening.board,
            opening.pipe,
            opening.generation,
            opening.key,
            find(self.formats, opening.pipe, ""),
            tuple(find(self.names, opening.pipe, ())),
            tuple(find(self.units, opening.pipe, ())),
        )


class Rotation(NamedTuple):
    """When another part is begun, None for never, and how many parts are kept, None for all."""

    size_bytes: int | None = None
    seconds: float | None = None
    keep: int | None = None


class Order(NamedTuple):
    """path: absolute. patterns, board, kernel: as of a `Selection`. formats, names, units: as of a `Meaning`. every_s: what a kill takes at most.
    rotate_bytes, rotate_s, keep: as of a `Rotation`. seconds: after which it ends by itself; None for never. notebook: in which it was
    asked for; empty for none.
    """

    path: str
    patterns: tuple[str, ...]
    board: str | None
    kernel: str
    formats: dict[str, str]
    names: dict[str, tuple[str, ...]]
    units: dict[str, tuple[str, ...]]
    every_s: float
    rotate_bytes: int | None
    rotate_s: float | None
    keep: int | None
    overwrite: bool
    replay: bool
    seconds: float | None
    notebook: str

    def as_json(self) -> bytes:
        return json.dumps(self._asdict()).encode()

    @classmethod
    def of(cls, text: bytes) -> Order:
        """Read what `as_json` has written."""
        content = json.loads(text)
        content["patterns"] = tuple(content["patterns"])
        return cls(**content)

    @property
    def pause_s(self) -> float:
        """How long frames may wait to be read."""
        return min(PAUSE_S, PAUSE_S / EVERY_S * self.every_s)

    @property
    def meaning(self) -> Meaning:
        return Meaning(self.formats, self.names, self.units)

    @property
    def rotation(self) -> Rotation:
        return Rotation(self.rotate_bytes, self.rotate_s, self.keep)


def make_order(
    pipes: object,
    path: str | os.PathLike[str],
    *,
    board: str | None = None,
    kernel: str = "",
    formats: object = None,
    names: object = None,
    units: object = None,
    every: float | None = None,
    rotate_mb: float | None = None,
    rotate_s: float | None = None,
    keep: int | None = None,
    overwrite: bool = False,
    replay: bool = False,
    seconds: float | None = None,
    notebook: str = "",
) -> Order:
    """Return the order, checked; arguments as of `record`. Raises RecordingError where one makes no sense."""
    patterns = as_patterns(pipes)
    if board is not None and not isinstance(board, str):
        raise RecordingError(f"board must be a board's name or port, not {board!r}.")
    found_formats = _by_pipe(formats, patterns)
    for pipe, format in found_formats.items():
        if not isinstance(format, str):
            raise RecordingError(f"The format of {pipe!r} must be a struct format such as '<f', not {format!r}.")
        try:
            Layout(format)
        except (ValueError, struct.error) as error:
            raise RecordingError(f"The format of {pipe!r} cannot be used: {error}.") from None
    found_names, found_units = _rows(names, "names", patterns, found_formats), _rows(units, "units", patterns, found_formats)
    rotate_bytes = None if rotate_mb is None else round(_between(rotate_mb, "rotate_mb", MIN_ROTATE_BYTES / MB, 1e9) * MB)
    if rotate_s is not None:
        rotate_s = _between(rotate_s, "rotate_s", MIN_ROTATE_S, LONGEST_S)
    if keep is not None:
        if type(keep) is not int or keep < 1:
            raise RecordingError(f"keep must be how many files are kept, 1 or more, not {keep!r}.")
        if rotate_bytes is None and rotate_s is None:
            raise RecordingError("keep says how many files are kept: say when another one begins, with rotate_mb or rotate_s.")
    return Order(
        str(Path(path).expanduser().absolute()),
        patterns,
        board,
        kernel,
        found_formats,
        found_names,
        found_units,
        EVERY_S if every is None else _between(every, "every", LEAST_EVERY_S, MAX_EVERY_S),
        rotate_bytes,
        rotate_s,
        keep,
        bool(overwrite),
        bool(replay),
        None if seconds is None else _between(seconds, "seconds", 0.0, LONGEST_S),
        notebook,
    )


def _by_pipe(values: object, patterns: tuple[str, ...]) -> dict[str, Any]:
    """Return what is said for each pipe, or the same for all of them."""
    if values is None:
        return {}
    if isinstance(values, Mapping):
        return {as_patterns(pipe)[0]: value for pipe, value in values.items()}
    return dict.fromkeys(patterns, values)


def _rows(values: object, what: str, patterns: tuple[str, ...], formats: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    rows = {}
    for pipe, row in _by_pipe(values, patterns).items():
        found = (row,) if isinstance(row, str) else tuple(row) if isinstance(row, Sequence) else (None,)
        if not all(isinstance(text, str) for text in found):
            raise RecordingError(f"{what} of {pipe!r} must be a list of str, one a column, not {row!r}.")
        layout = find(formats, pipe, "")
        columns = len(struct.unpack(layout, bytes(struct.calcsize(layout)))) if layout else None
        if columns not in (None, len(found)):
            raise RecordingError(
                f"{what} of {pipe!r} are {len(found)}, but a frame of the format {layout!r} has {columns} values."
            )
        rows[pipe] = found
    return rows


def _between(value: object, what: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not least <= value <= most:
        raise RecordingError(f"{what} must be a number from {least:g} to {most:g}, not {value!r}.")
    return float(value)
