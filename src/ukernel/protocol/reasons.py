"""Why a pipe ends, as the hub tells its readers (docs/protocol.md)."""

from .textenum import TextEnum

__all__ = ["EndReason"]


class EndReason(TextEnum):
    """Its value is what goes over the wire."""

    CLOSED = "closed"  # by the board's program
    BOARD_GONE = "board gone"  # unplugged, ended, or let go because nobody used it
    BOARD_RESTARTED = "board restarted"
    HUB_STOPPED = "hub stopped"
