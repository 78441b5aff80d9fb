"""What may be asked of a board, as the hub tells its clients."""

from .textenum import TextEnum

__all__ = ["BoardState"]


class BoardState(TextEnum):
    """Its value is what clients are told."""

    CONNECTING = "connecting"
    READY = "ready"
    GONE = "gone"  # it is looked for
    REVIVING = "reviving"  # it is there and silent, and somebody wants it back
    RESETTING = "resetting"
    REFUSED = "refused"  # it cannot be served, and the hub lets it go
