"""Why a pipe ends, and why frames of it are missing, as the hub tells its readers (docs/protocol.md)."""

from .textenum import TextEnum

__all__ = ["EndReason", "LossCause"]


class EndReason(TextEnum):
    """Its value is what goes over the wire."""

    CLOSED = "closed"  # by the board's program
    BOARD_GONE = "board gone"  # unplugged, ended, or let go because nobody used it
    BOARD_RESTARTED = "board restarted"
    HUB_STOPPED = "hub stopped"


class LossCause(TextEnum):
    """Its value is what goes over the wire."""

    BOARD = "board"  # it had no room for them, and their producer does not wait
    NO_LISTENER = "no_listener"  # no hub was connected to the board
    READER = "reader"  # which was too slow
    REPLAY = "replay"  # written before the reader came, and the hub holds them no more
