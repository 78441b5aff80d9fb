"""What a board in the hub knows of who uses it, and of what drives it."""

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Client", "Driver", "DriverFactory"]


class Client(Protocol):
    """Who uses a board: a kernel, a program, a command.

    ``label``: what others are told of it. ``kernel``: where it is a kernel, an id that survives a restart, and ``instance`` one that
    does not. A program that a kernel's notebook runs has the first alone; else both are empty. ``follows``: it only reads the board's pipes,
    with their times, as a recorder: the board stays for it, but is reset without asking it.
    """

    label: str
    kernel: str
    instance: str
    follows: bool

    def send(self, type: str, parent: int, content: dict[str, Any]) -> None:
        """Send a message, the answer to the request ``parent``, 0 for none."""

    def close(self) -> None:
        """Close the connection, once all is sent."""

    @property
    def is_detached(self) -> bool:
        """Whether its board has ended for good."""

    def detach(self, error: Exception, given_back: bool = False) -> None:
        """Tell that its board has ended for good, or was given back for another program to have its port."""


class Driver(Protocol):
    """The board itself: `ukernel.hub.driver.BoardDriver`, or what stands in for it in tests."""

    port: str
    name: str
    facts: dict[str, Any]

    @property
    def is_virtual(self) -> bool: ...
    def start(self) -> None: ...
    def send(self, type: int, parent: int, content: bytes) -> None: ...
    def interrupt(self) -> None: ...
    def press_reset(self) -> None: ...
    def set_timestamps(self, wanted: bool) -> None: ...
    def close(self) -> None: ...


DriverFactory = Callable[[str, Callable[[Any, object], None]], Driver]
