"""One cell on its way through a board, as the hub sees it."""

import codecs
import time

__all__ = ["Cell", "failure"]


class Cell:
    """``client`` is None once nobody waits for it."""

    def __init__(self, client, request: int, code: bytes, parent: int = 0):
        self.client = client
        self.request = request
        self.code = code
        self.parent = parent  # its number on the line; 0 while it waits
        self.replied = False
        self.asking = False
        self.since = time.time()
        self.label = client.label if client is not None else "an earlier session"
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def send(self, type: str, content: dict) -> None:
        if self.client is not None:
            self.client.send(type, self.request, content)

    def reply(self, content: dict) -> None:
        """Send the one reply; what the board answers after its cell was given up is nobody's."""
        if not self.replied:
            self.replied = True
            self.print(b"", final=True)
            self.send("execute_reply", content)

    def print(self, data: bytes, final: bool = False) -> None:
        """Send on printed bytes, which may end inside a character."""
        text = self._decoder.decode(data, final)
        if text:
            self.send("stream", {"name": "stdout", "text": text})


def failure(error: Exception) -> dict:
    """Return the reply content that tells a client of ``error``."""
    return {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}
