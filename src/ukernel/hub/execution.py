"""One cell on its way through a board, as the hub sees it."""

import codecs
import re
import time
from typing import Any

from ukernel.protocol.cellnames import CellNames

from .interfaces import Client

__all__ = ["MAX_SOURCE", "Execution"]

MAX_SOURCE = 4000  # characters

# The end of a text in which a traceback's frame may have begun. A rest of a line that is none is not held back.
_BEGUN = re.compile(
    r' (?:F|Fi|Fil|File|File |File "|File "<|File "<c|File "<ce|File "<cel|File "<cell|File "<cell .{0,3}|File "<cell .>",[^\n]*)\Z'
)


class Execution:
    """``client`` is None once nobody waits for it. ``key``: its client's word for it; ``names``: those of its board."""

    def __init__(
        self,
        client: Client | None,
        request: int,
        code: bytes,
        parent: int = 0,
        key: object = None,
        names: CellNames | None = None,
    ):
        self.client = client
        self.request = request
        self.code = code
        self.parent = parent  # its number on the line; 0 while it waits
        self.key = key
        self.source = ""  # the beginning of it, once it runs: for who wants to know what has opened a pipe
        self.instance = (client.instance or str(id(client))) if client is not None else ""
        self.replied = False
        self.asking = False
        self.since = time.time()
        self.label = client.label if client is not None else "an earlier session"
        self._names = names
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""  # a frame's line that has not come whole

    @property
    def text(self) -> str:
        """Its source; empty for an order to the agent (docs/protocol.md, 1.6), which runs none."""
        return "" if self.code[:1] == b"\0" else self.code.decode("utf-8", "replace")

    def send(self, type: str, content: dict[str, Any]) -> None:
        if self.client is not None:
            self.client.send(type, self.request, content)

    def reply(self, content: dict[str, Any]) -> None:
        """Send the one reply; what the board answers after its cell was given up is nobody's."""
        if not self.replied:
            self.replied = True
            self.print(b"", final=True)
            self.send("execute_reply", content)

    def print(self, data: bytes, final: bool = False) -> None:
        """Send on printed bytes, which may end inside a character."""
        self.tell(self._decoder.decode(data, final), final)

    def tell(self, text: str, final: bool = False) -> None:
        """Send on printed text, with word of whose cells the frames of tracebacks in it are."""
        text = self._begun + text
        begun = None if final else _BEGUN.search(text)
        self._begun = begun[0] if begun else ""
        text = text[: len(text) - len(self._begun)]
        if text:
            content: dict[str, Any] = {"name": "stdout", "text": text}
            if self._names is not None and '"<cell ' in text:
                content["cells"] = self._names.find(text, self.instance)
            self.send("stream", content)
