"""How a recording is played: what comes when, at which speed, from where on."""

from __future__ import annotations

import asyncio
import math

from .loaded import LoadedRecording
from .playerhub import PlayerHub
from .schedule import ClockSet, Ended, Frames, Opened, read_items

__all__ = ["ENDED", "PAUSED", "PLAYING", "WAITING", "Playback"]

WAITING, PLAYING, PAUSED, ENDED = "waiting for a reader", "playing", "paused", "ended"
PIECE_S = 0.02  # between two batches, as a board sends them: a chart moves by that much
MAX_PIECES_SPEED = 50.0  # above it frames come as they lie in the file
LAG_BYTES = 1 << 20  # that a reader may be behind where it is played as fast as they read
ALL_LAG_BYTES = 16 << 20  # and those of all pipes together: a hub holds 64 MiB
LOOK_S = 0.001  # between two looks whether those who are behind have read
TURN_S = 0.01  # of playing, before those who are served in the same loop have their turn


class Playback:
    """Plays a recording into a hub until it is cancelled. Only in its loop; `state`, `position` and `passes` can be looked at from anywhere.

    speed: 1.0 is that of the recording, inf as fast as they read. position: seconds since its beginning. passes: how often it has come to its end.
    """

    def __init__(self, recording: LoadedRecording, speed: float, loop: bool, paused: bool):
        self.state = PAUSED if paused else WAITING
        self.position = 0.0
        self.passes = 0
        self.speed = speed
        self._loops = loop
        self._paused = paused
        self._recording = recording
        self._began = recording.began
        self._changed = asyncio.Event()  # readers, speed, pause or place
        self._seek: float | None = None  # where to go on, seconds since the beginning
        self._base: tuple[float, float] | None = None  # a time of the recording, and the loop's when that is due
        self._turn = 0.0
        self.hub = PlayerHub(recording, self._changed.set)

    def set_speed(self, speed: float) -> None:
        """Go on at another speed."""
        self.speed, self._base = speed, None
        self._changed.set()

    def set_paused(self, paused: bool) -> None:
        """Stop, or go on."""
        self._paused, self._base = paused, None
        if self.state in (PAUSED, PLAYING):
            self.state = PAUSED if paused else PLAYING if self.hub.has_readers else WAITING
        self._changed.set()

    def seek(self, seconds: float) -> None:
        """Go on at another place: pipes end, and are open again there."""
        self._seek = self.position = seconds
        self.state = PAUSED if self._paused else WAITING
        self._changed.set()

    async def run(self) -> None:
        """Play."""
        recording = self._recording
        while True:
            start = recording.bounds[0] if self._seek is None else self._began + self._seek
            self._seek, self._base = None, None
            had_frames = await self._play_from(start)
            await self._give_turn(0)
            self.hub.end_all()
            if self._is_to_seek():
                continue
            self.passes += 1
            if not self._loops or not had_frames:
                self.state = ENDED
                while self._seek is None:
                    await self._wait()

    def _is_to_seek(self) -> bool:
        return self._seek is not None

    async def _play_from(self, start: float) -> bool:
        """Play to the end, or until another place is wanted; whether there were frames."""
        piece_s = PIECE_S * self.speed if self.speed <= MAX_PIECES_SPEED else math.inf
        begun = had_frames = False
        for item in read_items(self._recording.source, start, self._recording.bounds[1], piece_s):
            begun = begun or not isinstance(item, Opened)  # pipes are open before the first reader comes
            if begun and not await self._is_due(item.due):
                break
            if isinstance(item, ClockSet):
                self._base = None
                continue
            if isinstance(item, Ended):
                await self._give_turn(0)  # of what has ended, a hub drops first where it has no room
            self.hub.put(item)
            if isinstance(item, Frames):
                had_frames = True
                self.position = max(item.due - self._began, 0.0)
            await self._give_turn(min(LAG_BYTES, ALL_LAG_BYTES // max(self.hub.open_pipes, 1)))
            if self._seek is not None:
                break
        return had_frames

    async def _is_due(self, due: float) -> bool:
        """Return when something that has this time is to be played; False where another place is wanted.

        Nothing is played to nobody: not before the first reader has come, nor, where it goes as fast as they read, while there is none.
        """
        while self._seek is None:
            is_alone = not self.hub.has_readers and (self.state == WAITING or self.speed == math.inf)
            if self._paused or is_alone:
                self.state, self._base = PAUSED if self._paused else WAITING, None
                await self._wait()
                continue
            if self.state == PAUSED and not self.hub.has_readers:
                self.state = WAITING
                continue
            self.state = PLAYING
            if self.speed == math.inf:
                return True
            now = asyncio.get_running_loop().time()
            base, began = self._base = self._base or (due, now)
            left_s = began + (due - base) / self.speed - now
            if left_s <= 0:
                return True
            await self._wait(left_s)
        return False

    async def _give_turn(self, lag_bytes: int) -> None:
        """Let readers be served, and where it goes as fast as they read wait for those who are behind by more than that."""
        while self.speed == math.inf and self._seek is None and self.hub.lags_by(lag_bytes):
            await asyncio.sleep(LOOK_S)
        now = asyncio.get_running_loop().time()
        if now - self._turn >= TURN_S:
            await asyncio.sleep(0)
            self._turn = now

    async def _wait(self, timeout_s: float | None = None) -> None:
        """Wait until something has changed, or so long."""
        self._changed.clear()
        # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes together with the event.
        timer = None if timeout_s is None else asyncio.get_running_loop().call_later(timeout_s, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()
