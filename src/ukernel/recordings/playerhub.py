"""The hub of a recording: it serves readers as the board hub does, with the same modules, and its boards are those of a recording.

So what reads a board reads a recording: nothing on the readers' side knows the difference, and neither does the protocol.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from ukernel.errors import UsageError
from ukernel.hub.boards import Boards
from ukernel.hub.connection import ClientConnection
from ukernel.hub.listener import Listener
from ukernel.hub.opening import Opening
from ukernel.hub.requests import ClientRequests
from ukernel.hub.sharedboard import SharedBoard
from ukernel.link.clock import Times
from ukernel.link.events import PipeOpened, Ready
from ukernel.protocol.reasons import EndReason

from .loaded import LoadedRecording
from .schedule import Ended, Frames, Item, Lost, Opened
from .timeline import DAMAGED, MISSING_FILE, NEXT_PART, STOPPED, RecordedOpening

__all__ = ["PlayerHub"]

FOR_EVER_S = 1e9  # its boards stay, whether somebody uses them or not
LAST_WORDS_S = 1.0  # for readers to take what is on the way
LOOK_S = 0.01


class RecordedBoard:
    """Stands for a board that is not there: it says what it was, and runs nothing. A `ukernel.hub.interfaces.Driver`."""

    is_virtual = False

    def __init__(self, name: str, port: str, facts: dict[str, Any], deliver: Callable[[Any, object], None]):
        self.name = name
        self.port = port
        self.facts = facts
        self._deliver = deliver

    def start(self) -> None:
        """Say that it is there."""
        self._deliver(self, Ready(self.facts, False, False, 0))

    def send(self, type: int, parent: int, content: bytes) -> None: ...
    def interrupt(self) -> None: ...
    def press_reset(self) -> None: ...
    def set_timestamps(self, wanted: bool) -> None: ...
    def close(self) -> None: ...


class PlayerHub:
    """Serves what is `put` to whoever connects to `port` with `token`. Made in the loop that it runs in; ``on_change()`` is called when readers come and go."""

    def __init__(self, recording: LoadedRecording, on_change: Callable[[], None]):
        self.port = 0
        self.token = os.urandom(32).hex()
        self._recording = recording
        self._boards = Boards(self._make_driver, FOR_EVER_S, on_change)
        self._listener = Listener(self.token, self._make_client, self._boards.subscriptions.add)
        self._names: dict[str, str] = {}  # of the boards, by port
        self._by_name: dict[str, SharedBoard] = {}
        self._open: dict[int, tuple[SharedBoard, Opening]] = {}  # by the recording's key
        self._sizes: dict[int, int] = {}  # of the frames that came last

    async def start(self) -> None:
        """Listen, with all boards of the recording there. Raises HubError."""
        self.port = await self._listener.listen()
        for name in sorted({opening.board for opening in self._recording.openings}):
            port = str(self._recording.boards.get(name, {}).get("port") or name)
            port = f"{port} ({name})" if port in self._names else port
            self._names[port] = name
            board = self._by_name[name] = self._boards.by_port[port] = SharedBoard(port, self._make_driver, self._boards)
            board.driver.start()
            await board.attached()

    async def finish(self) -> None:
        """End all pipes as those of a hub that stops, and let everybody go who has not gone by then."""
        loop = asyncio.get_running_loop()
        boards = self._boards
        self._listener.close()
        boards.watchers.end()
        boards.end(EndReason.HUB_STOPPED)
        boards.subscriptions.end_waiting()
        for client in list(boards.clients):
            client.close()
        if boards.closing:
            await asyncio.wait(boards.closing)
        deadline = loop.time() + LAST_WORDS_S
        while (boards.clients or boards.subscriptions.readers) and loop.time() < deadline:
            await asyncio.sleep(LOOK_S)
        for reader in list(boards.subscriptions.readers):
            reader.cut()
        await asyncio.sleep(0)  # for the sockets to close

    @property
    def has_readers(self) -> bool:
        """Whether anybody reads, or waits for a pipe; a recorder reads what opens next."""
        return bool(self._boards.watchers) or any(not reader.is_ended for reader in self._boards.subscriptions.readers)

    @property
    def open_pipes(self) -> int:
        """How many there are."""
        return len(self._open)

    def lags_by(self, size_bytes: int) -> bool:
        """Whether a reader is behind by more than that."""
        return any(opening.lag * self._sizes.get(key, 1) > size_bytes for key, (_, opening) in self._open.items())

    def put(self, item: Item) -> None:
        """Do what the recording says next."""
        if isinstance(item, Opened):
            if item.opening.key not in self._open:
                self._begin(item.opening, item.number, item.unread)
            else:  # in the next part, before which one may be missing
                self._find(item.opening, item.number).catch_up(item.number, MISSING_FILE)
        elif isinstance(item, Frames):
            opening = self._find(item.opening, item.first)
            opening.catch_up(item.first, DAMAGED)
            opening.append(item.first, item.size, bytes(item.data), Times(*item.ends))
            self._sizes[item.opening.key] = max(item.size, 1)
        elif isinstance(item, Lost):
            self._find(item.opening, item.first).catch_up(item.first + item.frames, item.cause)
        elif isinstance(item, Ended) and item.reason != NEXT_PART and item.opening.key in self._open:
            self._find(item.opening, item.number).catch_up(item.number, DAMAGED)
            # Where the recorder was stopped the pipe went on, of which nobody knows more: for readers that is a good end.
            self._end(item.opening.key, EndReason.CLOSED if item.reason == STOPPED else item.reason)

    def end_all(self) -> None:
        """Close what is open: the recording is over, or goes on at another place."""
        for key in list(self._open):
            self._end(key, EndReason.CLOSED)

    def _find(self, recorded: RecordedOpening, number: int) -> Opening:
        """Return the opening; where it was begun before what is played, it begins here."""
        found = self._open.get(recorded.key)
        return found[1] if found is not None else self._begin(recorded, number)

    def _begin(self, recorded: RecordedOpening, number: int, unread: int = 0) -> Opening:
        board = self._by_name[recorded.board]
        cell = (recorded.cell, recorded.code) if recorded.cell else None
        opening = board.pipes.open(PipeOpened(recorded.key, recorded.generation, recorded.pipe, number), unread, cell)
        self._open[recorded.key] = board, opening
        return opening

    def _end(self, key: int, reason: str) -> None:
        board, _ = self._open.pop(key)
        board.pipes.close(key, reason)

    def _make_driver(self, port: str, deliver: Callable[[Any, object], None]) -> RecordedBoard:
        facts = {name: value for name, value in self._recording.boards.get(self._names[port], {}).items() if name != "port"}
        return RecordedBoard(self._names[port], port, facts, deliver)

    def _make_client(self) -> ClientConnection:
        connection = ClientConnection()
        ClientRequests(self._boards, self, connection)
        return connection

    # What a client may ask of a hub itself

    async def listen(self, port: int) -> int:
        """Raises UsageError: it has its own port."""
        raise UsageError("A recording that is played has a port of its own.")

    def stop(self) -> None:
        """Who plays it ends it."""
