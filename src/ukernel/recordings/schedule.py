"""A recording in the order in which it is played: frames, losses, openings and ends, each with the time at which it is due.

A file has the runs of one flush one after the other, pipe by pipe: within a chunk they are put in order of time. Of one opening the order of the file holds, whatever
its times say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from . import format as fmt
from .source import Source, clip
from .timeline import RecordedOpening

__all__ = ["ClockSet", "Ended", "Frames", "Item", "Lost", "Opened", "read_items"]

CLOCK_SET = "This computer's clock was set"  # how a recorder's note of it begins


class Opened(NamedTuple):
    """An opening begins, or goes on, with this number."""

    due: float
    opening: RecordedOpening
    number: int
    unread: int


class Frames(NamedTuple):
    """Frames of one size, end to end. ends: the times of the first and of the last one, and their error."""

    due: float
    opening: RecordedOpening
    first: int
    size: int
    ends: tuple[float, float, float]
    data: bytes | memoryview


class Lost(NamedTuple):
    """Frames are missing."""

    due: float
    opening: RecordedOpening
    first: int
    frames: int
    cause: str


class Ended(NamedTuple):
    """An opening ends, or is out of reach; the next frame would have this number."""

    due: float
    opening: RecordedOpening
    number: int
    reason: str


class ClockSet(NamedTuple):
    """The clock was set: what comes next is due at once, whatever its time says."""

    due: float


Item: TypeAlias = Opened | Frames | Lost | Ended | ClockSet


def read_items(source: Source, start: float, stop: float, piece_s: float) -> Iterator[Item]:
    """Yield what was written and what happened from ``start`` on and before ``stop``. Frames come in pieces of at most ``piece_s`` seconds (inf: as they lie in the file)."""
    openings = {opening.key: opening for opening in source.openings}
    latest: dict[int, float] = {}  # by opening
    begun: set[int] | None = (
        set() if start > -math.inf else None
    )  # openings of which frames have come; None: from the very beginning
    for reader in source.readers:
        channels = {channel.id: channel for row in source.channels.values() for channel in row if channel.reader is reader}
        events = {channel.id for channel in reader.channels.values() if channel.topic == fmt.EVENTS_TOPIC}
        wanted = channels.keys() | events
        for chunk in source.chunks(reader, start, stop):
            items: list[Item] = []
            for message in reader.messages((chunk,), wanted):
                if message.channel in events:
                    item = _of_event(message.data, openings, (start, stop))
                    # In the middle an opening begins with the first of its frames, whatever was noticed then of those before.
                    if item is not None and (begun is None or isinstance(item, ClockSet) or item.opening.key in begun):
                        items.append(item)
                    continue
                channel = channels[message.channel]
                try:
                    run = clip(channel.layout.decode(message.data), start, stop)
                except ValueError:
                    continue
                if run is not None:
                    items += _of_run(run, openings[channel.about.opening], piece_s)
                    if begun is not None:
                        begun.add(channel.about.opening)
            yield from _in_order(items, latest)


def _in_order(items: list[Item], latest: dict[int, float]) -> list[Item]:
    """Sort what one chunk has by time. ``latest``: of each opening what was due last.

    What happened was noticed a little later than it happened: it is due no later than the frames that come after it.
    """
    due = [item.due for item in items]
    following: dict[int, float] = {}
    for index in range(len(items) - 1, -1, -1):
        item = items[index]
        if isinstance(item, Frames):
            following[item.opening.key] = item.ends[0]
        elif not isinstance(item, ClockSet):
            due[index] = min(item.due, following.get(item.opening.key, math.inf))
    for index, item in enumerate(items):
        if not isinstance(item, ClockSet):
            due[index] = latest[item.opening.key] = max(due[index], latest.get(item.opening.key, -math.inf))
    return [items[index]._replace(due=at) for at, index in sorted(zip(due, range(len(due))))]


def _of_run(run: fmt.Run, opening: RecordedOpening, piece_s: float) -> Iterator[Frames]:
    sizes = run.sizes
    if len(sizes) == 1 and sizes[0]:
        length_s = run.time_last - run.time_first
        count = run.frames if length_s <= piece_s else max(int(run.frames * piece_s / length_s), 1)
        for first in range(0, run.frames, count):
            yield _piece(run, opening, first, min(count, run.frames - first), sizes[0], first * sizes[0])
        return
    each = sizes if len(sizes) > 1 else [sizes[0]] * run.frames
    at = 0
    for index, size in enumerate(each):
        yield _piece(run, opening, index, 1, size, at)
        at += size


def _piece(run: fmt.Run, opening: RecordedOpening, index: int, count: int, size: int, at: int) -> Frames:
    step = (run.time_last - run.time_first) / max(run.frames - 1, 1)
    first, last = run.time_first + index * step, run.time_first + (index + count - 1) * step
    return Frames(last, opening, run.first + index, size, (first, last, run.time_error), run.data[at : at + count * size])


def _of_event(data: bytes | memoryview, openings: dict[int, RecordedOpening], bounds: tuple[float, float]) -> Item | None:
    """Return what an event asks for; None for one that makes no sense, or was at another time."""
    try:
        event = fmt.decode_event(data)
        due = float(event["time"])
        if not bounds[0] <= due < bounds[1]:
            return None
        if event["event"] == "note":
            return ClockSet(due) if str(event["text"]).startswith(CLOCK_SET) else None
        opening = openings[int(event["opening"])]
        return _as_item(event, due, opening)
    except (KeyError, TypeError, ValueError):
        return None


def _as_item(event: dict[str, Any], due: float, opening: RecordedOpening) -> Item:
    kind = event["event"]
    if kind == "open":
        return Opened(due, opening, int(event["number"]), int(event["unread"]))
    if kind == "lost":
        return Lost(due, opening, int(event["first"]), int(event["count"]), str(event["cause"]))
    if kind == "end":
        return Ended(due, opening, int(event["frames"]), str(event["reason"]))
    raise ValueError(kind)
