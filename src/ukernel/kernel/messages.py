"""Jupyter messages as frames on a socket: take apart, check, sign, make.

A message that is only passed on keeps its frames as they came, so its signature stays valid. jupyter_client's Session would
do all this too, but importing it takes longer than starting the rest of the switchboard.
"""

import hashlib
import hmac
import json
import os
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

__all__ = ["Message", "MessageSigner"]

DELIMITER = b"<IDS|MSG>"
PROTOCOL_VERSION = "5.4"
# As many signatures as ipykernel remembers: a request it would drop as a repetition must not be waited for.
MAX_REMEMBERED = 65536


class Message:
    """One message as it came: its frames untouched, its header parsed, the rest parsed when asked for.

    Raises ValueError if the frames are not a Jupyter message.
    """

    __slots__ = ("_at", "_content", "_parent", "frames", "header")

    def __init__(self, frames: list[bytes]):
        self.frames = frames
        self._at = frames.index(DELIMITER) + 1
        if len(frames) < self._at + 5:
            raise ValueError("not a Jupyter message: too few frames")
        self.header: dict[str, Any] = json.loads(frames[self._at + 1])
        self._content: dict[str, Any] | None = None
        self._parent: dict[str, Any] | None = None

    @property
    def idents(self) -> list[bytes]:
        """What stands before the delimiter: the sender's routing ids, or a topic."""
        return self.frames[: self._at - 1]

    @property
    def signature(self) -> bytes:
        return self.frames[self._at]

    @property
    def signed(self) -> list[bytes]:
        """The four frames that the signature covers: header, parent header, metadata, content."""
        return self.frames[self._at + 1 : self._at + 5]

    @property
    def header_frame(self) -> bytes:
        """The header as it came: the parent header of every answer."""
        return self.frames[self._at + 1]

    @property
    def type(self) -> str:
        msg_type: str = self.header.get("msg_type", "")
        return msg_type

    @property
    def id(self) -> str:
        msg_id: str = self.header.get("msg_id", "")
        return msg_id

    @property
    def subshell(self) -> str | None:
        return self.header.get("subshell_id")

    @property
    def parent(self) -> dict[str, Any]:
        if self._parent is None:
            self._parent = json.loads(self.frames[self._at + 2])
        return self._parent

    @property
    def parent_id(self) -> str:
        """The id of the request that this answers; empty where it answers none."""
        msg_id: str = self.parent.get("msg_id", "")
        return msg_id

    @property
    def content(self) -> dict[str, Any]:
        if self._content is None:
            self._content = json.loads(self.frames[self._at + 4])
        return self._content


class MessageSigner:
    """Signs with a connection's key, and knows what was signed with it."""

    def __init__(self, key: str, scheme: str = "hmac-sha256"):
        digest = scheme.partition("-")[2]
        self._auth = hmac.new(key.encode(), digestmod=getattr(hashlib, digest)) if key else None
        self._session = uuid.uuid4().hex
        self._count = 0
        self._seen: set[bytes] = set()
        self._oldest: deque[bytes] = deque()

    @property
    def session(self) -> str:
        """The session id of what this signer makes."""
        return self._session

    def accepts(self, message: Message) -> bool:
        """Tell whether the message is signed with the key, and for the first time."""
        if self._auth is None:
            return True
        signature = message.signature
        if signature in self._seen or not hmac.compare_digest(self._sign(message.signed), signature):
            return False
        self._seen.add(signature)
        self._oldest.append(signature)
        if len(self._oldest) > MAX_REMEMBERED:
            self._seen.discard(self._oldest.popleft())
        return True

    def make(
        self,
        msg_type: str,
        content: dict[str, Any],
        *,
        parent: bytes = b"{}",
        idents: Sequence[bytes] = (),
        metadata: dict[str, Any] | None = None,
    ) -> list[bytes]:
        """Return the frames of a new message; ``parent`` is the header frame of what it answers."""
        self._count += 1
        header = {
            "msg_id": f"{self._session}_{os.getpid()}_{self._count}",
            "msg_type": msg_type,
            "username": "ucore",
            "session": self._session,
            "date": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
            "version": PROTOCOL_VERSION,
        }
        signed = [_pack(header), parent, _pack(metadata or {}), _pack(content)]
        return [*idents, DELIMITER, self._sign(signed), *signed]

    def with_content(self, message: Message, content: dict[str, Any]) -> list[bytes]:
        """Return the frames of the message with another content, signed anew."""
        signed = [*message.signed[:3], _pack(content)]
        return [*message.idents, DELIMITER, self._sign(signed), *signed]

    def _sign(self, signed: list[bytes]) -> bytes:
        if self._auth is None:
            return b""
        auth = self._auth.copy()
        for frame in signed:
            auth.update(frame)
        return auth.hexdigest().encode()


def _pack(value: dict[str, Any]) -> bytes:
    # Lone surrogates can come from a board's bytes; escaped, they are valid JSON and break no front end.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
