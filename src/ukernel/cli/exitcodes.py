"""How a command ends: a number for each kind of error, so that scripts can tell them apart. docs/workbench.md has the table."""

from ukernel.errors import (
    BoardBusyError,
    BoardCodeError,
    BoardError,
    BoardGoneError,
    BoardNotFoundError,
    BoardRestartedError,
    BoardTimeoutError,
    HubError,
    NoAnswerError,
    PipeError,
    RecordingError,
    SettingError,
    UsageError,
)

__all__ = ["FAILED", "INTERNAL", "INTERRUPTED", "NO_BOARD", "OK", "TIMEOUT", "USAGE", "of"]

OK = 0
FAILED = 1  # the board's code failed, or what was asked for cannot be done
USAGE = 2
NO_BOARD = 3
BUSY = 4
NO_ANSWER = 5
FILE = 6
HUB = 7
PIPE = 8
TIMEOUT = 124  # as timeout(1) has it
INTERRUPTED = 130  # as shells have it: 128 and SIGINT
INTERNAL = 70  # a fault of ours, as sysexits.h has it

# The first that fits counts: a class before those that it is derived from.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (BoardNotFoundError, NO_BOARD),
    (BoardBusyError, BUSY),
    (NoAnswerError, NO_ANSWER),
    (BoardGoneError, NO_ANSWER),
    (BoardRestartedError, NO_ANSWER),
    (BoardTimeoutError, TIMEOUT),
    (BoardCodeError, FAILED),
    (PipeError, PIPE),
    (RecordingError, FILE),
    (HubError, HUB),
    (UsageError, USAGE),
    (SettingError, USAGE),
    (BoardError, FAILED),
    (TimeoutError, TIMEOUT),
    (OSError, FILE),
)


def of(error: BaseException) -> int:
    """Return the exit code of an error; 1 for one that has no code of its own."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
