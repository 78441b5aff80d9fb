"""What may be asked of a board, as the hub tells its clients."""

from enum import Enum

__all__ = ["BoardState"]


class BoardState(str, Enum):
    """What may be asked of a board. Each is a str too, which is what clients are told."""

    CONNECTING = "connecting"
    READY = "ready"
    GONE = "gone"  # it is looked for
    REVIVING = "reviving"  # it is there and silent, and somebody wants it back
    RESETTING = "resetting"
    REFUSED = "refused"  # it cannot be served, and the hub lets it go

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]  # a str's, which Python 3.12 would not take from it
