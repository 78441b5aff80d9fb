"""Why a pipe ends, as the hub tells its readers (docs/protocol.md)."""

from enum import Enum

__all__ = ["EndReason"]


class EndReason(str, Enum):
    """Each is a str too: its value is what goes over the wire."""

    CLOSED = "closed"  # by the board's program
    BOARD_GONE = "board gone"  # unplugged, ended, or let go because nobody used it
    BOARD_RESTARTED = "board restarted"
    HUB_STOPPED = "hub stopped"

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]  # a str's, which Python 3.12 would not take from it
