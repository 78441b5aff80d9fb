"""The recorder: a follower and a file, how they are told of elsewhere, and how they end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from ukernel.errors import RecordingError
from ukernel.pipes.listing import did_you_mean

from .follower import Follower
from .order import Order
from .registry import ENDED, Entry
from .selection import Selection
from .writer import DISK_FULL, NoRoomError, RecordingWriter

__all__ = ["RECORDING", "STOPPED", "WAITING", "Recorder"]

WAITING, RECORDING = "waiting", "recording"  # states; then `registry.ENDED`
STOPPED = "stopped"  # the one good reason for an end
FLUSHING_S = 0.05  # what that may take
PUBLISH_S = 0.5  # between two words on how it is
ASK_S = 5.0  # between two questions to the hub about pipes of nearly the same name
RATE_S = 2.0  # over which frames a second are counted
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP")


class Recorder:
    """Made, its file is open; `run` records until it is stopped. Raises RecordingError where there can be no such file.

    ``on_state(state)`` is called twice a second, with what `state` is. pause_s: how long frames may wait to be read, if not what the order says.
    """

    def __init__(
        self,
        order: Order,
        id: str = "",
        on_state: Callable[[dict[str, Any]], None] = lambda state: None,
        *,
        pause_s: float | None = None,
    ):
        self._order = order
        self._entry = Entry(id)
        self.id = self._entry.id
        self._on_state = on_state
        about = {
            "notebook": order.notebook,
            "pipes": json.dumps(order.patterns, ensure_ascii=False),
            "board": order.board or "",
        }
        pause_s = order.pause_s if pause_s is None else pause_s
        flush_s = max(order.every_s - order.pause_s - FLUSHING_S, 0.0)
        try:
            self._writer = RecordingWriter(
                Path(order.path), about, order.meaning, order.rotation, overwrite=order.overwrite, flush_s=flush_s
            )
        except BaseException:
            self._entry.release()
            raise
        label = f"the recorder of {Path(order.path).name}"
        selection = Selection(order.patterns, order.board, order.kernel)
        self._follower = Follower(selection, self._writer, label, replay=order.replay, pause_s=pause_s)
        self._started, self._began = time.time(), time.monotonic()
        self._publish_at = 0.0
        self._marks: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])  # when, and how many frames and bytes
        self._state, self._reason, self._error = WAITING, "", ""
        self._hint, self._ask_at = "", 0.0

    def stop(self, reason: str = STOPPED) -> None:
        """End soon; may be called from a signal's handler, or from another thread."""
        self._follower.stop(reason)

    def run(self, *, signals: bool = True) -> dict[str, Any]:
        """Record until `stop`, until a signal comes, or the disk is full; returns the last state.

        signals: whether signals that end programs end the recording, as `stop` does. Raises RecordingError where the file cannot be finished.
        """
        reason = ""
        try:
            with _ending_on_signals(self.stop) if signals else nullcontext():
                self._follower.run(self._step)
                reason = STOPPED
        except NoRoomError as error:
            reason, self._error = DISK_FULL if "disk is full" in str(error) else str(error), str(error)
        except RecordingError as error:
            reason = self._error = str(error)
        except BaseException as error:
            reason = self._error = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._finish(reason)
        return self.state()

    def _finish(self, reason: str) -> None:
        try:
            self._writer.finish(reason)
        except RecordingError as error:
            self._error = str(error)
            raise
        finally:
            self._state, self._reason = ENDED, reason
            self._publish()
            self._entry.release()

    def _step(self) -> None:
        now = time.monotonic()
        self._writer.flush_if_due(now)
        if self._order.seconds is not None and now - self._began >= self._order.seconds:
            self.stop()
        if now >= self._publish_at and self._follower.is_ready:
            self._publish_at = now + PUBLISH_S
            self._marks.append((now, self._writer.frames, self._writer.size_bytes))
            while len(self._marks) > 2 and self._marks[1][0] <= now - RATE_S:
                self._marks.popleft()
            self._state = RECORDING if self._follower.is_reading else WAITING
            self._publish()
        if self._entry.is_stop_asked:
            self.stop()

    def _why_waiting(self) -> str:
        """What there is to say of a recording of nothing, a sentence."""
        if self._follower.obstacle or not self._follower.is_ready or self._follower.is_reading:
            return self._follower.obstacle
        if time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + ASK_S
            names = " or ".join(map(repr, self._order.patterns))
            self._hint = f"No pipe {names} is open yet{did_you_mean(self._order.patterns[0])}."
        return self._hint

    def _publish(self) -> None:
        state = self.state()
        self._entry.write(state)
        self._on_state(state)

    def state(self) -> dict[str, Any]:
        """Return how it is: what `RecordingState` has, by name."""
        writer, openings = self._writer, self._follower.openings
        then, frames, size_bytes = self._marks[0]
        seconds = max(time.monotonic() - then, 1e-3)
        return {
            "id": self.id,
            "pid": os.getpid(),
            "state": self._state,
            "path": self._order.path,
            "file": str(writer.path),
            "asked": list(self._order.patterns),
            "pipes": sorted({opening.pipe for opening in openings}),
            "boards": sorted({opening.board for opening in openings}),
            "frames": writer.frames,
            "size_bytes": writer.size_bytes,
            "file_bytes": writer.file_bytes,
            "free_bytes": writer.free_bytes,
            "frames_per_s": (writer.frames - frames) / seconds if self._state != ENDED else 0.0,
            "bytes_per_s": (writer.size_bytes - size_bytes) / seconds if self._state != ENDED else 0.0,
            "losses": dict(writer.losses),
            "started": self._started,
            "seen": time.time(),
            "reason": self._reason,
            "error": self._error,
            "obstacle": self._why_waiting() if self._state == WAITING else "",
            "notes": list(writer.notes),
        }


@contextmanager
def _ending_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    before = {}
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
