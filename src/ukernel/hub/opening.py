"""One opening of a pipe, fanned out to all who read it.

Everything here runs in the hub's event loop. Frames go from the board into the opening's replay buffer, and on from there: at once to a
subscriber that has everything before them, later to one that is behind.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from typing import Any

from ukernel.link.clock import Times
from ukernel.protocol import pipestream
from ukernel.protocol.reasons import LossCause

from .replay import Batch, Gap, ReplayBuffers
from .subscriber import Encoder, Subscriber

__all__ = ["Opening"]

_RATE_S = 2.0  # the time over which frames a second are counted
_MARK_S = 0.02  # between two marks: a hundred of them span that time
_ids = itertools.count(int.from_bytes(os.urandom(6), "little"))  # from anywhere on: not those of the hub before


class Opening:
    """One opening of a pipe on one board, and its subscribers. A pipe opened again is another opening.

    ``id`` tells it from all others, of other hubs too. ``number`` is that of its next frame, above 0 where another hub had the ones before; ``drops``: its producer does not wait where the
    board has no room; ``ports``: the names of the board's port. What is missing within a session was dropped for that reason, or because
    no host listened.
    """

    def __init__(
        self,
        board: str,
        name: str,
        generation: int,
        number: int = 0,
        *,
        drops: bool = False,
        ports: tuple[str, ...] = (),
        replay_buffers: ReplayBuffers[Opening] | None = None,
    ):
        self.id = next(_ids)
        self.board = board
        self.ports = ports
        self.name = name
        self.generation = generation
        self.frames = number  # written by the board so far, lost ones included: the number of the next frame
        # Those that never reached the hub: no room on the board, no hub to send to.
        self.lost: dict[str, int] = {LossCause.BOARD: 0, LossCause.NO_LISTENER: 0}
        self.cell: tuple[str, str] | None = None  # whose cell ran when it was opened, and its source
        self.unread = 0  # reached the hub, and nobody read
        self.ended: str | None = None
        self.subscribers: list[Subscriber] = []
        self._cause = LossCause.BOARD if drops else LossCause.NO_LISTENER
        self._replay_buffers = replay_buffers if replay_buffers is not None else ReplayBuffers[Opening]()
        self.buffer = self._replay_buffers.open(self, number)
        self._rate = _Rate()

    def join(self, subscriber: Subscriber) -> None:
        """Feed ``subscriber`` from now on."""
        subscriber.join(self)
        if self.ended:
            subscriber.end(self.ended, self.frames)
        else:
            self.subscribers.append(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget ``subscriber``."""
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)

    @property
    def lag(self) -> int:
        """By how many frames the slowest of those who read it is behind."""
        return max((self.frames - subscriber.next_number for subscriber in self.subscribers), default=0)

    def append(self, number: int, size: int, data: bytes, times: Times | None = None) -> None:
        """Pass on equal-sized frames: ``data`` holds them end to end, ``number`` is the first one's.

        What is missing before it was lost on the board; what has been seen, after a broken session, is left out.
        """
        count = len(data) // size if size else 1
        now = time.time()
        batch = Batch(self.frames, count, size, data, times or Times(now, now, float("inf")))
        ahead = self.catch_up(number)
        if ahead < 0:
            if -ahead >= count:
                return
            batch = batch.part(self.frames - ahead, self.frames + count)
        batch.number = self.frames
        self._rate.add(batch.count, len(batch.data))
        if not self.subscribers:
            self.unread += batch.count
        self._put(batch)

    def catch_up(self, number: int, cause: str | None = None) -> int:
        """Count as lost what is missing before frame ``number``; return how far ahead it was, negative for the past."""
        ahead = (number - self.frames) & pipestream.NUMBERS
        if ahead > pipestream.NUMBERS // 2:
            return ahead - pipestream.NUMBERS - 1
        if ahead:
            cause = cause or self._cause
            self.lost[cause] = self.lost.get(cause, 0) + ahead
            self._put(Gap(self.frames, ahead, cause))
        return ahead

    def end(self, reason: str) -> None:
        """Let the readers go, with the reason; they have what came until now."""
        subscribers, self.subscribers = self.subscribers, []
        for subscriber in subscribers:
            subscriber.end(reason, self.frames)

    def close(self, reason: str) -> None:
        """End for good. It is kept for a while, for a replay."""
        self.ended = reason
        self.end(reason)
        self._replay_buffers.end(self)

    def as_dict(self, is_open: bool = True) -> dict[str, Any]:
        """Return what `pipes_reply` says about it."""
        frames_per_s, bytes_per_s = self._rate.per_s() if is_open else (0.0, 0.0)
        return {
            "name": self.name,
            "board": self.board,
            "generation": self.generation,
            "frames": self.frames,
            "lost": dict(self.lost),
            "unread": self.unread,
            "readers": len(self.subscribers),
            "open": is_open,
            "ended": self.ended or "",
            "held": self.frames - self.buffer.start,
            "frames_per_s": frames_per_s,
            "bytes_per_s": bytes_per_s,
        }

    def _put(self, batch: Batch | Gap) -> None:
        self.frames += batch.count
        encoded: dict[Encoder, bytes] = {}
        for subscriber in tuple(self.subscribers):  # a subscriber that is cut off leaves the list
            subscriber.offer(batch, encoded)
        self._replay_buffers.add(self.buffer, batch)


class _Rate:
    """How much came in a second, lately."""

    def __init__(self) -> None:
        self._frames = self._bytes = 0
        self._began = time.monotonic()
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=int(_RATE_S / _MARK_S) + 1)  # when, and what had come before

    def add(self, frames: int, size_bytes: int) -> None:
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= _MARK_S:
            self._marks.append((now, self._frames, self._bytes))
        self._frames += frames
        self._bytes += size_bytes

    def per_s(self) -> tuple[float, float]:
        """Return frames and bytes a second."""
        now = time.monotonic()
        while self._marks and self._marks[0][0] < now - _RATE_S:
            self._marks.popleft()
        if not self._marks:
            return 0.0, 0.0
        _, frames, size_bytes = self._marks[0]
        seconds = min(max(now - self._began, _RATE_S / 4), _RATE_S)
        return (self._frames - frames) / seconds, (self._bytes - size_bytes) / seconds
