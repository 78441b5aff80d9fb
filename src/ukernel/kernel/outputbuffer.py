"""What a board cell puts out, in order, at a pace that front ends can take."""

import time
from collections.abc import Callable
from typing import Any

from .loop import Loop

__all__ = ["OutputBuffer", "waiting_text"]

# Text is sent at once after a pause, and gathered for this long while more comes: Jupyter servers drop what exceeds 1,000
# messages a second, and a person sees no difference. ipykernel gathers for 0.2 s.
GATHER_S = 0.05


class OutputBuffer:
    """The outputs of one cell. Kept back until `open`; text that follows text of the same stream is joined to it."""

    def __init__(self, loop: Loop, publish: Callable[[str, dict[str, Any]], None]):
        self._loop = loop
        self._publish = publish
        self._is_open = False
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._last_s = -GATHER_S
        self._timer_runs = False

    def add(self, msg_type: str, content: dict[str, Any]) -> None:
        """Take an output message."""
        last = self._waiting[-1] if self._waiting else None
        if last and msg_type == last[0] == "stream" and content["name"] == last[1]["name"]:
            last[1]["text"] += content["text"]
            if "cells" in content:
                last[1]["cells"] = [*last[1].get("cells", ()), *content["cells"]]
        else:
            self._waiting.append((msg_type, dict(content)))
        if msg_type != "stream":
            self.flush()
        elif self._is_open and not self._timer_runs:
            pause_s = time.monotonic() - self._last_s
            if pause_s >= GATHER_S:
                self.flush()
            else:
                self._timer_runs = True
                self._loop.call_later(GATHER_S - pause_s, self._on_flush_timer)

    def open(self) -> None:
        """From now on the front end may see them."""
        self._is_open = True
        self.flush()

    def flush(self) -> None:
        """Publish what was gathered."""
        if self._is_open and self._waiting:
            waiting, self._waiting = self._waiting, []
            self._last_s = time.monotonic()
            for msg_type, content in waiting:
                self._publish(msg_type, content)

    def _on_flush_timer(self) -> None:
        self._timer_runs = False
        self.flush()


def waiting_text(status: dict[str, Any]) -> str:
    """Return what people are told about a cell that waits for the board; ``status`` is the hub's word for it."""
    text = f"Waiting for the board: {status.get('holder') or 'another cell'} is using it."
    if status.get("left"):
        text += " Nobody waits for that cell any more: to stop it, stop this one, and run `%ucore interrupt`."
    return text + "\n"
