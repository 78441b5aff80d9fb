"""How a result that was too large for the line says so: the link ends a message with it that it had to cut off, the board's side looks for it."""

__all__ = ["CUT"]

CUT = " ... [cut off: too large to be sent whole]"  # ends a result of which more than a line takes at once was there
