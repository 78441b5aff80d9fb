"""The way back of a board that hangs: what is waited for, for how long, and who must be told of it."""

import asyncio
from collections.abc import Callable, Iterable

from .interfaces import Client

__all__ = ["Revival"]

# What a board that hung may need until it answers: a virtual one, whose button is pressed; another, if its user has pressed it.
REVIVAL_S = 15.0
BUTTON_S = 4.0
REVIVED = "The virtual board did not answer any more and has been restarted: what it remembered is lost."


class Revival:
    """One board's. It goes on from `begin` to `stop`, or until it calls ``give_up``.

    is_pressed: whether the last one pressed the board's reset button.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, give_up: Callable[[], None]):
        self.is_pressed = False
        self._loop = loop
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self._untold: set[Client] = set()  # clients that do not know yet that the board was restarted for a cell

    def begin(self, is_pressed: bool) -> None:
        """Wait for a board whose button was pressed, or may have been."""
        self.is_pressed = is_pressed
        self._timer = self._loop.call_later(REVIVAL_S if is_pressed else BUTTON_S, self._give_up)

    def stop(self) -> None:
        """The board is back, or is not waited for any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tell_later(self, clients: Iterable[Client]) -> None:
        """These are to be told of the restart, each with its next cell."""
        self._untold = set(clients)

    def forget(self, client: Client) -> None:
        """This one knows, or has left."""
        self._untold.discard(client)

    def take_warning(self, client: Client) -> str:
        """Return what a client must be told, once."""
        if client not in self._untold:
            return ""
        self._untold.discard(client)
        return REVIVED
