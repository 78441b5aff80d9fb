"""How far something is that takes longer than a moment, below the cell that does it."""

import time
from typing import Any

__all__ = ["ProgressBar", "Text"]

SHOWN_AFTER_S = 0.5  # what is done before needs no bar
AGAIN_S = 0.2  # between two pictures: people read no faster, and a page is spared
WIDTH = 30  # characters


class ProgressBar:
    """Called with a path, the bytes done and the bytes in all. A context manager, whose end leaves nothing of it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown_at = 0.0
        self._handle: Any = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._handle is not None:
            self._handle.update(Text(""))

    def __call__(self, path: str, done: int, size: int) -> None:
        now = time.monotonic()
        if now - self._began < SHOWN_AFTER_S or now - self._shown_at < AGAIN_S:
            return
        self._shown_at = now
        filled = WIDTH * done // size if size else WIDTH
        text = Text(f"{path}  [{'#' * filled}{'.' * (WIDTH - filled)}]  {done:,} of {size:,} bytes")
        if self._handle is None:
            from IPython.display import display

            self._handle = display(text, display_id=True)  # type: ignore[no-untyped-call] # IPython's has no annotations
        else:
            self._handle.update(text)


class Text(str):
    """What a notebook shows as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)
