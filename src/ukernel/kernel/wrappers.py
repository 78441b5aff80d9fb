"""What `%%time` and `%%capture` do around a board cell. Pure: outputs in, text and the host's statements out."""

import json
import time
from typing import Any

from .cellmagic import Above

__all__ = ["Captured", "Timed", "wrap"]

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_KINDS = {"execute_result": "display", "display_data": "display", "clear_output": "display"}
# Binds the name to what IPython's own %%capture gives it. `__import__` leaves no other name behind.
_ASSIGNMENT = (
    "{name} = __import__('IPython.utils.capture', fromlist=['*']).CapturedIO("
    "*map(__import__('io').StringIO, {texts!r}), __import__('json').loads({outputs!r}))"
)


class Timed:
    """`%%time`: says how long the board took."""

    source = ""  # the host has nothing to do for it

    def __init__(self) -> None:
        self._begun_s = time.monotonic()

    def begin(self) -> None:
        """Count from now on: what was waited for the board before is not the cell's."""
        self._begun_s = time.monotonic()

    def take(self, msg_type: str, content: dict[str, Any]) -> bool:
        return False

    def end(self) -> str:
        """Return what it prints when the cell has ended."""
        return f"Wall time: {_duration(time.monotonic() - self._begun_s)}\n"


class Captured:
    """`%%capture`: keeps outputs for a host variable instead of showing them."""

    def __init__(self, kinds: frozenset[str], name: str):
        self._kinds = kinds
        self._name = name
        self._texts: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._outputs: list[dict[str, Any]] = []

    def begin(self) -> None:
        pass

    def take(self, msg_type: str, content: dict[str, Any]) -> bool:
        """Look at an output; tell whether it is not to be shown."""
        kind = content.get("name", "") if msg_type == "stream" else _KINDS.get(msg_type, "")
        if kind not in self._kinds:
            return False
        if msg_type == "stream":
            self._texts[kind].append(content["text"])
        elif msg_type == "clear_output":
            self._outputs.clear()
        else:
            self._outputs.append({"data": content.get("data", {}), "metadata": content.get("metadata", {})})
        return True

    def end(self) -> str:
        return ""

    @property
    def source(self) -> str:
        """The host's assignment; empty where there is no name."""
        texts = tuple("".join(self._texts[name]) for name in ("stdout", "stderr"))
        return self._name and _ASSIGNMENT.format(name=self._name, texts=texts, outputs=json.dumps(self._outputs))


def wrap(above: tuple[Above, ...]) -> list[Timed | Captured]:
    """Return what the magics above a cell do, the innermost first."""
    return [Timed() if one.magic == "%%time" else Captured(one.kinds, one.name) for one in reversed(above)]


def _duration(seconds: float) -> str:
    if seconds >= 60:
        return f"{seconds // 60:.0f}min {seconds % 60:.0f}s"
    size, unit = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"
