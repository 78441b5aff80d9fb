"""A client's connection: JSON lines both ways, bounded."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, cast

__all__ = ["ClientConnection"]

MAX_LINE_BYTES = 16 << 20  # of one message from a client
MAX_PENDING_BYTES = 8 << 20  # output held for a client that does not read; what is beyond it is dropped and counted
MAX_REPLIES_BYTES = 64 << 20  # a client that has not even read its replies by then is cut off

_log = logging.getLogger("ukernel.hub")


class ClientConnection(asyncio.Protocol):
    """``on_message(type, id, content)`` gets what is a message, ``on_lost()`` is called at the end. ``label``: what the log calls it."""

    def __init__(self) -> None:
        self.label = "a client"
        self.on_message: Callable[[str, int, dict[str, Any]], None] = lambda type, id, content: None
        self.on_lost: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._dropped = 0  # characters of output

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # of a socket
        self._transport.set_write_buffer_limits(high=MAX_PENDING_BYTES, low=MAX_PENDING_BYTES // 2)

    def connection_lost(self, error: Exception | None) -> None:
        self.on_lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\n", self._searched)
        start = 0
        while end >= 0:
            self._receive(bytes(self._buffer[start:end]))
            start = end + 1
            end = self._buffer.find(b"\n", start)
        del self._buffer[:start]
        self._searched = len(self._buffer)
        if self._searched > MAX_LINE_BYTES:
            _log.warning("%s sent a message of more than %d bytes", self.label, MAX_LINE_BYTES)
            self.abort()

    def _receive(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            type_, id_, content = message["type"], message["id"], message.get("content") or {}
            if not isinstance(type_, str) or not isinstance(id_, int) or not isinstance(content, dict):
                raise TypeError("type, id or content")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            _log.warning("%s sent no message: %r", self.label, error)
            return
        self.on_message(type_, id_, content)

    def send(self, type: str, parent: int, content: dict[str, Any]) -> None:
        """Send a message. Output is dropped, and the loss counted, while the client does not read."""
        if self._transport is None or self._transport.is_closing():
            return
        pending = self._transport.get_write_buffer_size()
        if type == "stream":
            if pending > MAX_PENDING_BYTES:
                self._dropped += len(content["text"])
                return
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                content = {
                    "name": "stderr",
                    "text": f"\n[{dropped:,} characters of output dropped: not read in time]\n" + content["text"],
                }
        elif pending > MAX_REPLIES_BYTES:
            _log.warning("%s does not read: cut off", self.label)
            self.abort()
            return
        message = {"type": type, "parent": parent, "content": content}
        self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
