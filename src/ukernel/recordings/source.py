"""The parts of a recording: which frames lie where, pipe by pipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ukernel.errors import UsageError

from . import format as fmt
from .partreader import Chunk, PartReader
from .timeline import DAMAGED, TORN, Loss, RecordedOpening

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Block", "Channel", "Source", "as_times", "clip", "split", "times_of"]

MAX_LONGEST_S = 60.0  # between the ends of a run, where the file does not say: far more than any that is ever joined


class Block(NamedTuple):
    """Frames in a row, as they lie in the file: those of a run that are wanted. opening: its key. layout: how its data lie."""

    opening: int
    layout: fmt.Layout
    run: fmt.Run


class Channel(NamedTuple):
    """A channel of one part."""

    reader: PartReader
    id: int
    about: fmt.About
    layout: fmt.Layout

    def chunks(self) -> list[Chunk]:
        """Return the chunks that may have something of it."""
        return [chunk for chunk in self.reader.chunks if chunk.channels is None or self.id in chunk.channels]


class Source:
    """The parts of a recording and what is in their channels."""

    def __init__(self, readers: Sequence[PartReader], openings: list[RecordedOpening]):
        self.readers = readers
        self.openings = openings
        self.channels: dict[tuple[str, str], list[Channel]] = {}  # by board and pipe
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
                self.channels.setdefault((opening.board, opening.pipe), []).append(Channel(reader, channel.id, about, layout))
        for opening in openings:
            self.channels.setdefault((opening.board, opening.pipe), [])
        self._damaged = 0  # what is accounted for
        self._settle(self.is_damaged)

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(reader.size_bytes for reader in self.readers)

    @property
    def is_damaged(self) -> bool:
        """Whether frames may be missing that no event tells of."""
        return any(reader.damaged or DAMAGED in reader.about(fmt.END).get("lost", "") for reader in self.readers)

    def account(self) -> bool:
        """Count what is missing in chunks that turned out to be damaged since; whether there were any."""
        damaged = sum(reader.damaged for reader in self.readers)
        if damaged == self._damaged:
            return False
        self._settle(True)
        return True

    def _settle(self, is_damaged: bool) -> None:
        """An opening whose end nobody has written ends with its last frame; where chunks are damaged, what they held is counted."""
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
        self._damaged = sum(reader.damaged for reader in self.readers)

    def _last_runs(self, channels: Sequence[Channel]) -> Iterator[fmt.Run]:
        for channel in channels:
            run = self.last_run(channel)
            if run is not None:
                yield run

    def first_run(self, channel: Channel) -> fmt.Run | None:
        """Return the first run in a channel."""
        return next((run for chunk in channel.chunks() for run in self.runs_of(channel, chunk)), None)

    def last_run(self, channel: Channel) -> fmt.Run | None:
        """Return the last run in a channel."""
        for chunk in reversed(channel.chunks()):
            runs = list(self.runs_of(channel, chunk))
            if runs:
                return runs[-1]
        return None

    def runs_of(self, channel: Channel, chunk: Chunk) -> Iterator[fmt.Run]:
        """Yield the runs that a chunk has of a channel."""
        for message in channel.reader.messages((chunk,), (channel.id,)):
            try:
                yield channel.layout.decode(message.data)
            except ValueError:
                continue

    def _count_damaged(self, opening: RecordedOpening, channels: Sequence[Channel]) -> None:
        kept = [loss for loss in opening.losses if loss.cause != DAMAGED]
        spans = [(loss.first, loss.first + loss.frames, loss.time) for loss in kept]
        for channel in channels:
            for chunk in channel.chunks():
                spans += [(run.first, run.first + run.frames, run.time_first) for run in self.runs_of(channel, chunk)]
        opening.frames = max(opening.frames, *(stop for _, stop, _ in spans)) if spans else opening.frames
        at = opening.first
        for first, stop, time in sorted([*spans, (opening.frames, opening.frames, opening.ended)]):
            if first > at:
                kept.append(Loss(at, first - at, DAMAGED, time))
            at = max(at, stop)
        opening.losses = sorted(kept)

    def blocks(self, channels: Sequence[Channel], start: float, stop: float) -> Iterator[Block]:
        """Yield what was written from ``start`` on and before ``stop``, in the order of the file."""
        for reader in self.readers:
            here = {channel.id: channel for channel in channels if channel.reader is reader}
            if not here:
                continue
            for message in reader.messages(self.chunks(reader, start, stop), here):
                channel = here[message.channel]
                try:
                    run = channel.layout.decode(message.data)
                except ValueError:
                    continue  # no frame of ours
                clipped = clip(run, start, stop)
                if clipped is not None:
                    yield Block(channel.about.opening, channel.layout, clipped)

    def chunks(self, reader: PartReader, start: float, stop: float) -> list[Chunk]:
        """Return the chunks of a part that may have something of this time."""
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


def split(run: fmt.Run) -> list[bytes]:
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


def times_of(run: fmt.Run) -> npt.NDArray[np.float64]:
    import numpy as np

    if run.frames < 2:
        return np.full(run.frames, run.time_first)
    times = np.arange(run.frames, dtype=np.float64)
    times *= (run.time_last - run.time_first) / (run.frames - 1)
    times += run.time_first
    return times


def clip(run: fmt.Run, start: float, stop: float) -> fmt.Run | None:
    """Return of a run what was written from ``start`` on and before ``stop``; None where that is nothing."""
    if start <= run.time_first and run.time_last < stop:
        return run
    if run.time_last < start or run.time_first >= stop:
        return None
    import numpy as np

    times = times_of(run)
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


def as_times(piece: slice, began: float) -> tuple[float | None, float | None]:
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
