"""What a notebook keeps of a chart that moves on a canvas: a picture in an output of its own, which the chart hides."""

import time
from typing import Any, Protocol

from .picture import COLUMNS, Painter, mime_bundle
from .scene import Scene
from .trace import Note

__all__ = ["MOVING", "DisplayHandle", "StaticOutput", "display"]

# Between pictures, at first and then: soon there is one, and a picture takes a while, of a notebook that is seldom saved.
INTERVALS_S = (3.0, 20.0)
MOVING = Note("the picture is from while the chart moved")


class DisplayHandle(Protocol):
    """What IPython's `display` returns for an output that changes."""

    def update(self, what: object, *, raw: bool = False) -> None: ...


def display(what: object, *, raw: bool = False) -> DisplayHandle:
    """Add an output that can be changed to the cell that runs; `raw`: it is a MIME bundle."""
    from IPython.display import display as show

    handle: DisplayHandle = show(what, raw=raw, display_id=True)  # type: ignore[no-untyped-call]  # IPython has no types
    return handle


class StaticOutput:
    """A picture for whoever opens the notebook when there is no kernel any more.

    It is a display of its own: if the one that has the widget were changed, the page would build the chart anew.
    """

    def __init__(self, chart: str):
        """chart: by which the page knows the chart that hides this."""
        self._chart = chart
        self._display = display(self._empty(), raw=True)
        self._painter: Painter | None = None
        self._due_at = time.monotonic() + INTERVALS_S[0]

    def is_due(self, now: float) -> bool:
        """Whether it is time for another picture."""
        return now >= self._due_at

    def show(self, shown: Scene) -> None:
        """Put a picture of this scene, as it is now, into the notebook."""
        self._due_at = time.monotonic() + INTERVALS_S[1]
        painter = self._painter
        if painter is None:
            scene = Scene(shown.traces, shown.options, COLUMNS)
            scene.extra_note = MOVING
            painter = Painter(scene, scale=1)
        elif painter.is_outdone():
            painter = Painter(painter.scene, scale=1)
        self._painter = painter
        painter.scene.update()
        painter.scene.x, painter.scene.y = shown.x, shown.y
        self._display.update(mime_bundle(painter.scene, painter, static_output=self._chart), raw=True)

    def clear(self) -> None:
        """Take the picture away."""
        if self._painter is not None:
            self._painter = None
            self._display.update(self._empty(), raw=True)

    def _empty(self) -> dict[str, Any]:
        return {"text/html": f'<div data-ucore-static-output="{self._chart}"></div>', "text/plain": ""}
