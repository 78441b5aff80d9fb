"""One file of a recording: its channels, the runs that grow in them, and what the file says of itself in the end."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from ucore.wire import BUILD

from . import format as fmt
from .mcapfile import MAX_CHANNELS, McapFile, Mode
from .runs import RunJoiner
from .sink import Opening

__all__ = ["Part"]

# Chunks of a file, whose index is in memory: three days of four a second.
MAX_CHUNKS = 1_000_000
MAX_BYTES = 4_000_000_000  # FAT32, which cards and sticks have, takes 4 GiB; the rest is for the summary
FREE_CHANNELS = 4000  # for the openings until the next flush: two each


class _Channel:
    """Frames of one opening in one layout, and the run that grows. ``id``: the file's for it."""

    __slots__ = ("id", "layout", "runs", "size")

    def __init__(self, id: int, layout: fmt.Layout):
        self.id = id
        self.layout = layout
        self.size = layout.size if layout.is_typed else 0  # that frames must have; 0 for any
        self.runs = RunJoiner()


class Part:
    """Made, it is a file with what ``about`` says of the recording; `end` finishes it.

    frames, size_bytes, losses: so far. Raises RecordingError where there can be no such file; `flush` and `end` raise OSError where the disk takes no
    more, and nothing else does.
    """

    def __init__(self, path: Path, about: Mapping[str, str], overwrite: bool):
        self.path = path
        self.began = time.monotonic()
        self.frames = self.size_bytes = 0
        self.losses: Counter[str] = Counter()
        self._longest_s = 0.0
        self._file = McapFile(path, Mode.REPLACED if overwrite else Mode.NEW)
        self._file.begin(fmt.PROFILE, f"ukernel {BUILD}")
        self._file.add_metadata(fmt.RECORDING, {"format": str(fmt.FORMAT), "ucore": BUILD, **about})
        self._schemas: dict[str, int] = {}
        self._events = self._file.add_channel(
            fmt.EVENTS_TOPIC, fmt.JSON, self._file.add_schema(fmt.EVENTS_SCHEMA, fmt.JSON_SCHEMA, fmt.event_schema()), {}
        )
        self._boards: dict[str, dict[str, str]] = {}
        self._untold: list[dict[str, str]] = []  # of them, to be written down
        # By the opening's key: as its format says, and as bytes, where its frames do not fit that.
        self._typed: dict[int, _Channel] = {}
        self._plain: dict[int, _Channel] = {}

    @property
    def file_bytes(self) -> int:
        """How large the file is."""
        return self._file.size_bytes

    @property
    def is_removed(self) -> bool:
        """Whether somebody has removed the file."""
        return self._file.is_removed

    @property
    def has_room(self) -> bool:
        """Whether another opening can have its channels here, another chunk its index, and the file its end."""
        file = self._file
        return file.channels + FREE_CHANNELS <= MAX_CHANNELS and file.chunks < MAX_CHUNKS and file.size_bytes < MAX_BYTES

    def describe_board(self, opening: Opening) -> None:
        """Write down what the board is, where that is new."""
        facts = {name: value for name, value in opening.facts.items() if name != "nonce"}
        board = {"name": opening.board, "port": opening.port, "facts": json.dumps(facts, ensure_ascii=False, default=str)}
        if self._boards.get(opening.board) != board:
            self._boards[opening.board] = board
            self._untold.append(board)

    def put_event(self, event: str, **content: object) -> None:
        """Put an event in."""
        now = time.time()
        at = fmt.as_nanoseconds(now)
        self._file.add_message(self._events, at, at, fmt.encode_event({"event": event, "time": now, **content}))

    def put_frames(
        self,
        opening: Opening,
        meaning: Callable[[Opening], fmt.About],
        frames: int,
        size: int,
        ends: tuple[float, float, float],
        data: memoryview,
    ) -> None:
        """Put frames of one size in, the first one's number being that of the opening. ``meaning``: says what they are."""
        channel = self._typed.get(opening.key)
        if channel is None:
            channel = self._typed[opening.key] = self._add_channel(opening, meaning(opening))
        if channel.size and channel.size != size:
            self._put_run(channel)
            channel = self._plain.get(opening.key) or self._plain.setdefault(
                opening.key, self._add_channel(opening, meaning(opening)._replace(format="", names=(), units=()))
            )
        elif self._plain and opening.key in self._plain:
            self._put_run(self._plain[opening.key])  # so that runs come in the order of their numbers
        self.frames += frames
        self.size_bytes += len(data)
        run = channel.runs.add(opening.number, frames, size, ends, data)
        if run is not None:
            self._write_run(channel, run)

    def put_runs(self, opening: Opening) -> None:
        """Write the runs of an opening as they are: something else comes next."""
        for channels in (self._typed, self._plain):
            if opening.key in channels:
                self._put_run(channels[opening.key])

    def forget(self, opening: Opening) -> None:
        """It has ended."""
        self._typed.pop(opening.key, None)
        self._plain.pop(opening.key, None)

    def flush(self) -> None:
        """Make all safe that is here. Raises OSError: the file is then whole, and nothing is forgotten."""
        for channels in (self._typed, self._plain):
            for channel in channels.values():
                self._put_run(channel)
        while self._untold:
            self._file.add_metadata(fmt.BOARD, self._untold[0])
            del self._untold[0]
        self._file.flush()

    def free_reserve(self) -> None:
        """Make room to `end` on a disk that is full."""
        self._file.free_reserve()

    def end(self, reason: str, next_name: str = "") -> None:
        """Finish the file. Raises OSError."""
        try:
            self.flush()
        except OSError:
            self._file.free_reserve()
            self.flush()
        end = {
            "reason": reason,
            "ended": repr(time.time()),
            "frames": str(self.frames),
            "size_bytes": str(self.size_bytes),
            "lost": json.dumps(self.losses),
            "longest_s": repr(self._longest_s),
            "next": next_name,
        }
        self._file.free_reserve()
        self._file.add_metadata(fmt.END, end)
        self._file.finish()

    def abandon(self) -> None:
        """Close the file as it is: torn, but for what was flushed."""
        self._file.abandon()

    def _add_channel(self, opening: Opening, about: fmt.About) -> _Channel:
        layout = fmt.Layout(about.format)
        schema = self._schemas.get(layout.schema)
        if schema is None:
            schema = self._schemas[layout.schema] = self._file.add_schema(
                layout.schema, fmt.SCHEMA_ENCODING, layout.fields.encode()
            )
        return _Channel(self._file.add_channel(about.topic, fmt.MESSAGE_ENCODING, schema, about.as_metadata()), layout)

    def _put_run(self, channel: _Channel) -> None:
        run = channel.runs.take()
        if run is not None:
            self._write_run(channel, run)

    def _write_run(self, channel: _Channel, run: fmt.Run) -> None:
        log_time, publish_time = fmt.as_nanoseconds(run.time_last), fmt.as_nanoseconds(run.time_first)
        if run.time_last - run.time_first > self._longest_s:
            self._longest_s = run.time_last - run.time_first
        self._file.add_message(channel.id, log_time, publish_time, channel.layout.encode(run))
        if self._file.is_full:
            with contextlib.suppress(OSError):  # the chunk is still here, and the next flush says so
                self._file.flush()
