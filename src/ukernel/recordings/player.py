"""`play`: a recording as pipes, for everything that reads pipes."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ukernel.errors import RecordingError, UsageError

from .loading import load

if TYPE_CHECKING:
    import asyncio

    from .loaded import LoadedRecording
    from .playback import Playback

__all__ = ["Player", "play"]

STOP_S = 10.0  # to end: readers have a second to take what is on the way
_VARIABLES = "UCORE_PIPE_PORT", "UCORE_PIPE_TOKEN"  # how everything that reads pipes is told where they are
_players: list[Player] = []  # the latest is last: its pipes are those that are read
_before: dict[str, str | None] = {}  # what these variables were before the first of them
_lock = threading.Lock()


def play(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | LoadedRecording,
    *,
    speed: float = 1.0,
    loop: bool = False,
    paused: bool = False,
) -> Player:
    """Play a recording: until the player is closed its pipes are those that `subscribe`, `collect`, `live_plot`, `pipes` and `record` find in this program,
    in place of the boards'.

    path: as for `load`, or what it has returned. speed: 1.0 is the recording's own, 10 ten times as fast; `math.inf`: as fast as they are read. It begins when the first
    reader has come. loop: begin again at its end, with pipes that are opened anew. paused: begin at `resume()`, so that several readers miss nothing.

    Frames have the numbers and times of the recording, and so do losses, openings and ends. Where the recorder was stopped, pipes end as if they were closed.
    Returns at once, with a `Player`, a context manager. Raises what `load` raises, and UsageError for a bad speed.
    """
    from .loaded import LoadedRecording

    speed = _as_speed(speed)
    return Player(path if isinstance(path, LoadedRecording) else load(path), speed, loop, paused)


class Player:
    """A recording that is played, as `play` returns it. In a `with` it is closed at the end of the block.

    recording: what is played. port, token: for programs on this computer that are not started by this one: UCORE_PIPE_PORT and UCORE_PIPE_TOKEN.
    """

    def __init__(self, recording: LoadedRecording, speed: float, loop: bool, paused: bool):
        self.recording = recording
        self.port = 0
        self.token = ""
        self._options = speed, loop, paused
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._playback: Playback | None = None
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        _enter(self)

    def __repr__(self) -> str:
        speed = "as fast as they read" if self.speed == math.inf else f"{self.speed:g}x"
        total = self.recording.ended - self.recording.began
        return f"<player of {self.recording.files[0].name}: {self.state}, {self.position:,.1f} of {total:,.1f} s, {speed}>"

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def state(self) -> str:
        """ "waiting for a reader", "playing", "paused", "ended" or "closed"."""
        return self._playing.state if self._thread.is_alive() else "closed"

    @property
    def position(self) -> float:
        """Where it is: seconds since the beginning of the recording. To set it is to `seek`."""
        return self._playing.position

    @position.setter
    def position(self, seconds: float) -> None:
        self.seek(seconds)

    @property
    def passes(self) -> int:
        """How often it has come to its end."""
        return self._playing.passes

    @property
    def speed(self) -> float:
        """As for `play`; it can be set."""
        return self._playing.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._call("set_speed", _as_speed(speed))

    def pause(self) -> None:
        """Hold it where it is; pipes stay open."""
        self._call("set_paused", True)

    def resume(self) -> None:
        """Go on."""
        self._call("set_paused", False)

    def seek(self, seconds: float) -> None:
        """Go on there, so many seconds after the beginning of the recording. Pipes end, and are opened again there: `follow=True` reads on."""
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise UsageError(f"seek takes seconds from the beginning of the recording, not {seconds!r}.")
        self._call("seek", float(seconds))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has come to its end once more, or for so many seconds; whether it has. Raises RecordingError where the file could not be read on."""
        passes = self.passes
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while self._thread.is_alive() and self.state != "ended" and self.passes == passes:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        if self._failure is not None:
            raise self._failure
        return True

    def close(self) -> None:
        """End it: pipes that are read end, and boards are read again. Safe to call again."""
        _leave(self)
        if self._thread.is_alive() and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)

    # Its thread

    @property
    def _playing(self) -> Playback:
        assert self._playback is not None  # a player that could not begin was never there
        return self._playback

    def _call(self, method: str, *arguments: object) -> None:
        """Have something done in the player's loop, and wait until it is. Raises RecordingError where it is closed."""
        done = threading.Event()

        def call() -> None:
            getattr(self._playing, method)(*arguments)
            done.set()

        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            raise self._why_closed() from None
        while not done.wait(0.1):
            if not self._thread.is_alive():
                raise self._why_closed()

    def _why_closed(self) -> BaseException:
        return self._failure or RecordingError("This player is closed: play the recording again.")

    def _run(self) -> None:
        import asyncio  # here, because it takes longer to import than all the rest

        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        import asyncio

        from .playback import Playback

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        playback = self._playback = Playback(self.recording, *self._options)
        await playback.hub.start()
        self.port, self.token = playback.hub.port, playback.hub.token
        self._ready.set()
        playing = asyncio.ensure_future(playback.run())
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((playing, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            playing.cancel()
            await asyncio.wait((playing, stopping))
            await playback.hub.finish()
            if not playing.cancelled():
                playing.result()  # raises what has ended it


def _enter(player: Player) -> None:
    with _lock:
        if not _players:
            _before.update({name: os.environ.get(name) for name in _VARIABLES})
        _players.append(player)
        _tell(player)


def _leave(player: Player) -> None:
    with _lock:
        if player not in _players:
            return
        was_last = _players[-1] is player
        _players.remove(player)
        if _players and was_last:
            _tell(_players[-1])
        elif not _players:
            for name, value in _before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _tell(player: Player) -> None:
    os.environ.update(zip(_VARIABLES, (str(player.port), player.token)))


def _as_speed(speed: float) -> float:
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not speed > 0:
        raise UsageError(f"speed must be above 0, or math.inf for as fast as they read, not {speed!r}.")
    return float(speed)
