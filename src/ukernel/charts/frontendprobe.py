"""Whether a front end shows the chart's widget: by what it says, and by its silence while the kernel was free to hear it."""

import time
from collections.abc import Callable

__all__ = ["FrontendProbe"]

SILENCE_S = 6.0  # a front end that says nothing for this long, although we listen, shows no widgets
PROBE_S = 0.25  # between two looks whether we do listen: a running cell keeps us from it


class FrontendProbe:
    """Whether a page shows the widget. Until it has spoken one cannot know; its silence counts only while we listen."""

    def __init__(self) -> None:
        from IPython import get_ipython

        # What comes from the page is heard in this loop, also where a thread has made the chart, or a cell in a subshell.
        loop = getattr(getattr(get_ipython(), "kernel", None), "io_loop", None)
        self._loop = getattr(loop, "asyncio_loop", None)
        self.is_sure = False
        self._silence_s = 0.0
        self._asked_at = time.monotonic()
        self._is_answered = True
        self._is_free = self._loop is None  # the last answer came at once

    @property
    def is_doubted(self) -> bool:
        """Whether nobody has spoken for so long that nobody is there."""
        return not self.is_sure and self._silence_s >= SILENCE_S

    def is_due(self, now: float) -> bool:
        """Whether it is time for another probe."""
        return not self.is_sure and self._is_answered and now - self._asked_at >= PROBE_S

    def call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        """Have the main thread call this, between two cells; at once, where it has no loop."""
        if self._loop is None:
            call()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.call_later, delay_s, call)

    def probe(self, now: float) -> None:
        """See whether the loop is free: only then could the page have been heard."""
        if self.is_due(now):
            passed_s, self._asked_at = now - self._asked_at, now
            if self._loop is None or self._loop.is_closed():
                self._silence_s += passed_s
            else:
                self._is_answered = False
                self._loop.call_soon_threadsafe(self._answer, passed_s)

    def _answer(self, passed_s: float) -> None:
        was_free, self._is_free = self._is_free, time.monotonic() - self._asked_at < PROBE_S
        if was_free and self._is_free:
            self._silence_s += passed_s
        self._is_answered = True
