"""What `--out NAME` keeps of a board cell. Pure: outputs in, the host's statement out."""

import base64
from typing import Any

from ukernel.protocol import values
from ukernel.protocol.truncation import CUT

__all__ = ["Capture"]


class Capture:
    """The last expression's value, or else the printed text, for a host variable of this name."""

    def __init__(self, name: str):
        self._name = name
        self._printed = ""
        self._received = values.ReceivedValue()

    def take(self, msg_type: str, content: dict[str, Any]) -> bool:
        """Look at an output; tell whether it is not to be shown."""
        if msg_type == "stream" and content["name"] == "stdout":
            self._printed += content["text"]
        return msg_type == "execute_result" and self._received.take(content)

    @property
    def problem(self) -> str:
        """Why nothing can be kept, if so."""
        stuck = self._received.stuck
        if self._received.is_too_large or (stuck and stuck[2].endswith(CUT)):
            return "The value is too large for --out. Take slices of it, or use a pipe."
        return f"The value is too much for --out: it is {stuck[1]}." if stuck and not stuck[2] else ""

    @property
    def source(self) -> str:
        """The host's assignment. A last expression that is None, as a call of print, has no value."""
        stuck, data = self._received.stuck, self._received.data
        if stuck:
            return f"{self._name} = {stuck[2]!r}"
        if data in (b"", values.NONE):
            return f"{self._name} = {self._printed!r}"
        text = base64.b64encode(data).decode()
        return f"{self._name} = __import__('ukernel.protocol.values').protocol.values.decode_text({text!r})"
