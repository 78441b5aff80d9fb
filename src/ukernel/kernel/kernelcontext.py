"""What the executions and requests of one kernel work with: an object for each end that they talk to."""

from dataclasses import dataclass
from typing import Protocol

from .boardconnection import BoardConnections
from .frontend import Frontend
from .history import CellHistory
from .loop import Loop
from .subkernelconnection import SubkernelConnection

__all__ = ["InputWaiter", "KernelContext"]


class InputWaiter(Protocol):
    """Who waits for the user's input."""

    def answer_input(self, value: str) -> None:
        """Take the line that the user has typed."""


@dataclass
class KernelContext:
    """The ends of one kernel, and what its executions leave for each other."""

    frontend: Frontend
    loop: Loop
    board_connections: BoardConnections
    subkernel: SubkernelConnection
    history: CellHistory
    input_waiter: InputWaiter | None = None  # the board cell that waits for the user's input
