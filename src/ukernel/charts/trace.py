"""One pipe in a chart: a thread that reads it, decodes it and keeps the latest samples."""

import contextvars
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ukernel.pipes.decoders import CallableDecoder, FormatDecoder
from ukernel.pipes.listing import did_you_mean
from ukernel.pipes.reader import HINT_AFTER_S, End, PipeReader
from ukernel.pipes.reasons import CLOSED, HUB_ENDS, LEFT, LOSS_SENTENCES, describe_end, describe_losses
from ukernel.protocol.pipestream import Batch

from .axis import format_seconds
from .window import Floats, Window

__all__ = ["Note", "Trace"]

NEWS_S = 0.25  # how often a reader without frames looks whether there is something else to tell
READ_S = 0.01  # pause between two reads: many samples at a time cost a tenth of the same ones by and by
SLICE_S = 0.02  # how long a slow decoder works before its samples are shown
RATE_S = 2.0  # the rate is measured over this long
STOP_S = 5.0  # how long to wait for a reader that was told to stop: far longer than any decoder should take


class Note(NamedTuple):
    """Something to be said on the chart. `kind`: "info" or "warning"."""

    text: str
    kind: str = "info"


class _Block(NamedTuple):
    """Samples that were read in one go.

    times: when each was taken; where that is not known, when they arrived: one number. losses, ends: what the pipe has gone through
    before them: what was lost, all together by cause, and its ends.
    """

    samples: Floats
    times: Floats | float
    losses: dict[str, int]
    ends: list[End]


class Trace:
    """Follows one pipe into a `Window`, in a thread of its own.

    name: of the pipe. reader: of it; closed at the end. window: its latest samples, `size` of them, or those of `span_s`
        seconds. ended: why it ended, as part of a sentence; None while it goes on. ended_at: when (monotonic seconds); inf while
        it goes on.
    """

    def __init__(self, reader: PipeReader, decoder: FormatDecoder | CallableDecoder, size: int, span_s: float | None = None):
        self.name = reader.name
        self.reader = reader
        self.window = Window(size, span_s)
        self.ended: Note | None = None
        self.ended_at = math.inf
        self._began_at: float | None = None  # with the first sample
        self._ended_clock = ""  # the time of day
        self._losses: dict[str, int] = {}  # of the pipe, as far as they have their gap in the window
        self._ends: list[End] = []  # the same of its ends
        self._decoder = decoder
        self._left_because = ""
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])  # time and samples seen, for the rate
        self._rate: float | None = None
        self._tell: Callable[[], None] = lambda: None
        self._meant = ""  # another pipe that may be meant
        self._ask_at = time.monotonic() + HINT_AFTER_S
        # In the context of this cell, so that what a decoder prints belongs to the cell.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name=f"live_plot {self.name}", daemon=True)

    def start(self, tell: Callable[[], None]) -> None:
        """Begin. `tell()` is called, in the thread, whenever there may be news."""
        self._tell = tell
        self._thread.start()

    def stop(self, because: str = "stopped") -> None:
        """Leave the pipe and wait for the thread. Does nothing if it has ended."""
        self._left_because = self._left_because or because
        self.reader.close()
        if self._thread.is_alive() and not self.is_current:
            self._thread.join(STOP_S)
        if self._thread.is_alive() and self.ended is None:
            self._end(Note(f"{because}; its decoder has not returned", "warning"))

    @property
    def is_current(self) -> bool:
        """Whether it is this thread that calls, by its decoder."""
        return threading.current_thread() is self._thread

    @property
    def news(self) -> tuple[object, ...]:
        """What there is to show: another value, another picture."""
        reader = self.reader
        waits = reader.opening is None, reader.awaits, reader.obstacle
        return self.window.seen, reader.lost, self._decoder.bad, waits, self._meant, self.ended

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for the pipe to be opened, for the first time or again."""
        return self.reader.opening is None or self.reader.awaits is not None

    @property
    def bad(self) -> int:
        """Frames that could not be decoded."""
        return self._decoder.bad

    @property
    def channels(self) -> int:
        """Values a sample, as far as that is known; 0 until then."""
        shape = self._decoder.shape
        return self.window.channels or (0 if shape is None else math.prod(shape))

    def rate(self, now: float) -> float | None:
        """Samples a second, lately; another figure twice a second, so that it can be read. None until it is known."""
        since, before = self._marks[0]
        if now - self._marks[-1][0] >= RATE_S / 4:
            seen = self.window.seen
            self._marks.append((now, seen))
            while len(self._marks) > 2 and now - self._marks[1][0] >= RATE_S:
                self._marks.popleft()
            self._rate = (seen - before) / (now - since)
        return self._rate

    def notes(self) -> list[Note]:
        """What should be said beside the samples."""
        notes = []
        if self.ended:
            notes.append(self._closing_note(self.ended))
        elif (reason := self.reader.awaits) is not None:
            why = describe_end(reason)
            text = f"{why}; waiting for the board to open pipe {self.name!r} again{self._meant}"
            if self.reader.opening is not None and reason in HUB_ENDS:  # it may be open there: nobody knows
                text = f"{why}; waiting for the next hub, which a %%ucore cell starts"
            if self.reader.obstacle:
                text = f"{why}; pipe {self.name!r} cannot be read again: {self.reader.obstacle}"
            notes.append(Note(text, "info" if reason == CLOSED else "warning"))
        elif self.reader.opening is None:
            notes.append(Note(f"waiting for the board to open pipe {self.name!r}{self._meant}"))
        if self.reader.lost:
            notes.append(Note(describe_losses(self.reader.losses), "warning"))
        if self.bad:
            frames = "1 frame" if self.bad == 1 else f"{self.bad:,} frames, the first"
            notes.append(Note(f"not decoded: {frames}: {self._decoder.first_error}", "warning"))
        return notes

    def _run(self) -> None:
        try:
            self._follow()
            self._end(self._why_ended())
        except BaseException as error:  # a decoder may say sys.exit(); a thread has nobody to raise to: the chart tells
            self._end(Note(f"stopped by {type(error).__name__}: {error}", "warning"))
        finally:
            self.reader.close()
            self._tell()

    def _end(self, why: Note) -> None:
        self.ended_at = time.monotonic()
        self._ended_clock = time.strftime("%H:%M:%S")
        self.ended = why

    def _closing_note(self, ended: Note) -> Note:
        """Why it ended, after how many samples and how long, and when."""
        why = ended.text.removeprefix("the ")
        seen = self.window.seen
        samples = "no samples" if not seen else "1 sample" if seen == 1 else f"{seen:,} samples"
        lasted = [] if self._began_at is None else [format_seconds(self.ended_at - self._began_at)]
        return Note(", ".join([why[:1].upper() + why[1:], samples, *lasted, self._ended_clock]), ended.kind)

    def _follow(self) -> None:
        while True:
            frames = self.reader.wait_frames(time.monotonic() + NEWS_S)
            blocks, ends_at = [], time.monotonic() + SLICE_S
            while frames is not None and frames.count and (now := time.monotonic()) < ends_at:
                blocks.append(self._decode(frames, ends_at))
                frames = self.reader.wait_frames(now)  # what else is at hand
            self._add(blocks)
            if frames is None:
                return
            if self.reader.opening is not None:
                self._meant = ""
            elif time.monotonic() >= self._ask_at:
                self._meant = did_you_mean(self.name)
                self._ask_at = time.monotonic() + HINT_AFTER_S
            self._tell()
            if blocks and not frames.count:
                time.sleep(READ_S)

    def _decode(self, frames: Batch, ends_at: float) -> _Block:
        losses, ends = self.reader.losses, self.reader.ends  # before the frames are taken
        return _Block(*self._decode_timed(frames, ends_at), losses, ends)

    def _decode_timed(self, frames: Batch, ends_at: float) -> tuple[Floats, Floats | float]:
        before, (first, step, error) = frames.count, frames.pace
        samples = np.asarray(self._decoder.decode(frames, before, ends_at), np.float64)
        taken = before - frames.count
        if not frames.is_timed:
            return samples, time.time()
        if error == math.inf:  # of the hub's clock, like the times that are known
            return samples, first + step * (taken - 1)
        times: Floats = first + step * np.arange(taken, dtype=np.float64)
        if self._decoder.left_out:
            times = np.delete(times, list(self._decoder.left_out))
        return samples, times

    def _add(self, blocks: list[_Block]) -> None:
        """Add what was read in one go. Where times are those of arrival it is one arrival, over which they are spread."""
        group: list[_Block] = []
        for block in blocks:
            if len(block.samples):
                if group and np.ndim(block.times) != np.ndim(group[0].times):
                    self._add_group(group)
                    group = []
                group.append(block)
        if group:
            self._add_group(group)

    def _add_group(self, group: list[_Block]) -> None:
        """Add blocks of samples, and the gaps between them."""
        gaps, place = [], 0
        for samples, _, losses, ends in group:
            if ends is not self._ends:
                gaps += [(place, 0, describe_end(end.reason)) for end in _ends_since(self._ends, ends)]
                self._ends = ends
            for cause, count in losses.items() if losses != self._losses else ():
                lost = count - self._losses.get(cause, 0)
                if lost:
                    gaps.append((place, lost, LOSS_SENTENCES.get(cause, cause)))
            self._losses = losses
            place += len(samples)
        known = [block.times for block in group if isinstance(block.times, np.ndarray)]
        times = np.concatenate(known) if known else group[-1].times
        if self._began_at is None:
            self._began_at = time.monotonic()
        self.window.add(np.concatenate([block.samples for block in group]), times, gaps)

    def _why_ended(self) -> Note:
        reason = self.reader.end_reason
        if reason == LEFT:
            return Note(self._left_because or "stopped")
        if reason == CLOSED:
            return Note("the producer closed the pipe")
        return Note(self.reader.why_ended(), "warning")


def _ends_since(known: list[End], ends: list[End]) -> list[End]:
    """Return those of the ends that are later than the last known one: the oldest may have been forgotten."""
    new: list[End] = []
    for end in reversed(ends):
        if known and end is known[-1]:
            break
        new.append(end)
    return new[::-1]
