"""Constants that are texts on the wire, and have names in the code."""

from enum import Enum

__all__ = ["TextEnum"]


class TextEnum(str, Enum):
    """Each member is a str too: what JSON and messages say of it is its value."""

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]  # a str's, which Python 3.12 would not take from it
