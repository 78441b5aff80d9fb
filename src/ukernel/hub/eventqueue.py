"""The way of a board's events from its thread into the hub's loop: bounded, in order, batches joined on the way."""

import asyncio
import threading
from collections.abc import Callable, Iterator

from ukernel.link.session import PipeBatch
from ukernel.protocol.pipestream import NUMBERS

__all__ = ["EventQueue"]

MAX_BYTES = 4 << 20  # events the loop has not seen yet; beyond it the board's thread waits, and the line holds back
MAX_JOINED_BYTES = 1 << 18  # of batches passed on as one
_EVENT_BYTES = 256  # what an event costs beside its data


class EventQueue:
    """Events put in by one thread, handed to ``receive`` in the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[object], None]):
        self._loop = loop
        self._receive = receive
        self._room = threading.Condition()
        self._events: list[object] = []
        self._held = 0
        self._closed = False

    def put(self, event: object) -> None:
        """Pass on an event; waits while the loop is too far behind. Not in the loop's thread. Does nothing once closed."""
        size = _EVENT_BYTES + len(getattr(event, "data", None) or getattr(event, "content", None) or b"")
        with self._room:
            while self._held > MAX_BYTES and not self._closed:
                self._room.wait()
            if self._closed:
                return
            self._events.append(event)
            self._held += size
            if len(self._events) > 1:
                return  # the loop has been called and has not come yet
        try:
            self._loop.call_soon_threadsafe(self._take)
        except RuntimeError:
            pass  # the hub has left

    def close(self) -> None:
        """Take nothing more, and let a waiting `put` go."""
        with self._room:
            self._closed = True
            self._room.notify_all()

    def _take(self) -> None:
        with self._room:
            events, self._events = self._events, []
            self._held = 0
            self._room.notify_all()
        for event in _joined(events):
            self._receive(event)


def _joined(events: list[object]) -> Iterator[object]:
    """Yield the events, batches that follow each other as one: fewer and larger sends for the same frames."""
    first: PipeBatch | None = None
    parts: list[bytes] = []
    size = 0
    for event in events:
        if first is not None:
            if (
                isinstance(event, PipeBatch)
                and event.id == first.id
                and event.size == first.size
                and event.size
                and event.number == (first.number + size // first.size) & NUMBERS
                and event.times is None
                and size < MAX_JOINED_BYTES
            ):
                parts.append(event.data)
                size += len(event.data)
                continue
            yield first if len(parts) == 1 else PipeBatch(first.id, first.number, first.size, b"".join(parts))
            first = None
        if isinstance(event, PipeBatch) and event.times is None:
            first, parts, size = event, [event.data], len(event.data)
        else:
            yield event
    if first is not None:
        yield first if len(parts) == 1 else PipeBatch(first.id, first.number, first.size, b"".join(parts))
