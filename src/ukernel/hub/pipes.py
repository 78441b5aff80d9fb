"""The pipes that one board has open: what it says about them, and what a new session leaves in doubt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from ukernel.link import session
from ukernel.protocol.reasons import EndReason, LossCause

from .opening import Opening
from .replay import ReplayBuffers

__all__ = ["BoardPipes"]

_log = logging.getLogger("ukernel.hub")


class BoardPipes:
    """The openings of one board's pipes; iterates over them. All in the hub's event loop.

    ``address()`` is the board's name and the names of its port; ``on_opened`` gets each new opening, ``on_change`` is called when one has
    ended; ``set_timestamps`` tells the board whether the times of frames are wanted.
    """

    def __init__(
        self,
        address: Callable[[], tuple[str, tuple[str, ...]]],
        replay_buffers: ReplayBuffers[Opening],
        on_opened: Callable[[Opening], None],
        on_change: Callable[[], None],
        set_timestamps: Callable[[bool], None],
    ):
        self._address = address
        self._replay_buffers = replay_buffers
        self._on_opened = on_opened
        self._on_change = on_change
        self._set_timestamps = set_timestamps
        self._openings: dict[int, Opening] = {}  # by the board's number for them
        self._unconfirmed: set[int] = set()  # those that a new session has not announced (yet)
        self._timestamps = False

    def __iter__(self) -> Iterator[Opening]:
        return iter(self._openings.values())

    def __len__(self) -> int:
        return len(self._openings)

    def receive(self, event: object) -> bool:
        """Take in what the board says about a pipe; False for anything else."""
        if isinstance(event, session.PipeBatch):
            opening = self._openings.get(event.id)
            if opening is None:
                _log.warning("%s: frames for pipe %d, which is not open", self._address()[0], event.id)
            else:
                opening.append(event.number, event.size, event.data, event.times)
        elif isinstance(event, session.PipeOpened):
            self._opened(event)
        elif isinstance(event, session.PipeClosed):
            if event.id in self._openings:
                self._openings[event.id].catch_up(event.frames)
                self._end(event.id, EndReason.CLOSED)
        else:
            return False
        return True

    def expect_reannouncement(self) -> None:
        """Another session with the same program on the board: it announces first which pipes are still open."""
        self._unconfirmed = set(self._openings)

    def end_unannounced(self) -> None:
        """What has not been announced by now has ended meanwhile."""
        if self._unconfirmed:
            for pipe_id in self._unconfirmed & set(self._openings):
                self._end(pipe_id, EndReason.CLOSED)
            self._unconfirmed = set()

    def disconnect_readers(self) -> None:
        """Tell the readers only: the pipes may go on, and where nothing was lost, the board does not announce them again."""
        for opening in self:
            opening.end(EndReason.BOARD_GONE)

    def end(self, reason: EndReason) -> None:
        """Let the pipes go, with the reason."""
        for pipe_id in list(self._openings):
            self._end(pipe_id, reason)

    def set_timestamps(self, wanted: bool) -> None:
        """Tell the board whether the times of its pipes' frames are wanted."""
        if wanted != self._timestamps:
            self._timestamps = wanted
            self._set_timestamps(wanted)

    def open(self, event: session.PipeOpened, unread: int = 0, cell: tuple[str, str] | None = None) -> Opening:
        """Take in what the board says of a pipe that opens, and return the opening. ``unread``, ``cell``: what is known of it already."""
        self._opened(event, unread, cell)
        return self._openings[event.id]

    def close(self, pipe_id: int, reason: str) -> None:
        """A pipe has ended, with the reason."""
        if pipe_id in self._openings:
            self._end(pipe_id, reason)

    def _opened(self, event: session.PipeOpened, unread: int = 0, cell: tuple[str, str] | None = None) -> None:
        known = self._openings.get(event.id)
        if known is not None:
            self._unconfirmed.discard(event.id)
            if (known.name, known.generation) == (event.name, event.generation):
                known.catch_up(event.number, LossCause.NO_LISTENER)  # written while there was no session
                return
            self._end(event.id, EndReason.CLOSED)
        board, ports = self._address()
        opening = self._openings[event.id] = Opening(
            board,
            event.name,
            event.generation,
            event.number,
            drops=event.drops,
            ports=ports,
            replay_buffers=self._replay_buffers,
        )
        opening.unread, opening.cell = unread, cell
        self._on_opened(opening)

    def _end(self, pipe_id: int, reason: str) -> None:
        self._openings.pop(pipe_id).close(reason)
        self._on_change()
