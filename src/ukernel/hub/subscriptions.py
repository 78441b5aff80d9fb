"""Who reads which pipe: readers find the opening that they mean, or wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ukernel.errors import PipeEndedError, PipeNameError
from ukernel.protocol.reasons import EndReason

from .opening import Opening
from .replay import ReplayBuffers
from .sharedboard import SharedBoard
from .subscriber import Subscriber

__all__ = ["Subscriptions"]


class Subscriptions:
    """All readers of a hub.

    ``boards()`` are the hub's; ``boards_of(kernel)`` those that a kernel uses, None where it is no client of the hub; ``on_change()`` is
    called when readers come and go.
    """

    def __init__(
        self,
        boards: Callable[[], Iterable[SharedBoard]],
        boards_of: Callable[[str], list[SharedBoard] | None],
        on_change: Callable[[], None],
    ):
        self.readers: set[Subscriber] = set()
        self.waiting: list[Subscriber] = []  # of a pipe that no board has opened yet
        self.replay_buffers: ReplayBuffers[Opening] = ReplayBuffers()
        self._boards = boards
        self._boards_of = boards_of
        self._on_change = on_change

    def add(self, reader: Subscriber) -> None:
        """Bind a reader to the opening it means, or let it wait for one.

        Raises PipeNameError if it means several, PipeEndedError if it wants one that the hub holds no more.
        """
        openings = [opening for board in self._boards() for opening in board.pipes if self._is_for(reader, opening)]
        if len(openings) > 1:
            names = " and ".join(sorted(opening.board for opening in openings))
            raise PipeNameError(f"The pipe {reader.pipe!r} is open on {names}: say which one you mean, with board=")
        if not openings and reader.replay:
            ended = [opening for opening in self.replay_buffers.ended if _matches(reader, opening)]
            # A notebook's own first; but its board may have gone since, and perhaps there is another in its place.
            openings = ([opening for opening in ended if self._is_for(reader, opening)] or ended)[-1:]
        if not openings and reader.wanted is not None:
            raise PipeEndedError(
                f"This opening of the pipe {reader.pipe!r} has ended, and the hub holds nothing of it any more."
            )
        reader.on_lost = self._on_lost
        self.readers.add(reader)
        if openings:
            openings[0].join(reader)
        else:
            self.waiting.append(reader)
        self._on_change()

    def on_opened(self, opening: Opening) -> None:
        """A board opened a pipe: bind who waits for it."""
        for reader in [reader for reader in self.waiting if self._is_for(reader, opening)]:
            self.waiting.remove(reader)
            opening.join(reader)
        self._on_change()

    def wants_timestamps(self, board: SharedBoard) -> bool:
        """Whether a reader wants the times of that board's frames."""
        return any(reader.timestamps for reader in self.readers if _reads_from(reader, board))

    def end_waiting(self) -> None:
        """The hub leaves: what they wait for will not come."""
        for reader in self.waiting:
            reader.end(EndReason.HUB_STOPPED, 0)

    def _on_lost(self, reader: Subscriber) -> None:
        self.readers.discard(reader)
        if reader in self.waiting:
            self.waiting.remove(reader)
        if reader.opening is not None:
            reader.opening.leave(reader)
        self._on_change()

    def _is_for(self, reader: Subscriber, opening: Opening) -> bool:
        """Whether a reader that names no board, and is a notebook's that has boards, means this one: its own boards only.

        Thirty notebooks may run the same cells, each with a board of its own.
        """
        if not _matches(reader, opening) or reader.board is not None or reader.wanted is not None:
            return _matches(reader, opening)
        mine = self._boards_of(reader.kernel)
        return mine is None or any(board.has_opening(opening) for board in mine)


def _matches(reader: Subscriber, opening: Opening) -> bool:
    if reader.wanted is not None:
        return reader.wanted == opening.id
    return reader.pipe == opening.name and reader.board in (None, opening.board, *opening.ports)


def _reads_from(reader: Subscriber, board: SharedBoard) -> bool:
    """Whether a reader reads from that board, or waits for a pipe that it may open."""
    if reader.opening is not None:
        return any(opening is reader.opening for opening in board.pipes)
    return reader.board in (None, board.name, board.port, board.driver.port)
