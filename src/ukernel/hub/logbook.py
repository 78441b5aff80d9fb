"""The last lines of the hub's log, in memory, for `ucore logs`: a hub logs to a file only where UCORE_HUB_LOG names one."""

import itertools
import logging
import time
from collections import deque
from typing import Any

__all__ = ["keep", "lines"]

MAX_LINES = 1000
MAX_CHARACTERS = 2000  # of a line: a traceback of ours is shorter

_lines: deque[dict[str, Any]] = deque(maxlen=MAX_LINES)
_numbers = itertools.count(1)


class _Logbook(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)[:MAX_CHARACTERS]
        _lines.append({"number": next(_numbers), "time": time.time(), "level": record.levelname.lower(), "text": text})


def keep() -> None:
    """Keep what the hub logs from now on."""
    log = logging.getLogger("ukernel.hub")
    log.setLevel(logging.INFO)
    log.addHandler(_Logbook())


def lines(since: int = 0) -> list[dict[str, Any]]:
    """Return the lines after that of this number, oldest first: {"number", "time", "level", "text"}."""
    return [line for line in _lines if line["number"] > since]
