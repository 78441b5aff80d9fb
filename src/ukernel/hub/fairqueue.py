"""The cells that wait for a board: clients take turns, and each one's cells keep their order."""

from collections import OrderedDict, deque
from collections.abc import Iterator

from ukernel.errors import UsageError

from .execution import Execution

__all__ = ["FairQueue"]

MAX_QUEUED = 1000  # cells one client may have in line


class FairQueue:
    """Cells, first those of the client whose turn it is next. True while any wait."""

    def __init__(self) -> None:
        self._queues: OrderedDict[object, deque[Execution]] = OrderedDict()  # by client, in turn

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[Execution]:
        return iter([cell for queue in self._queues.values() for cell in queue])

    def add(self, cell: Execution) -> None:
        """Put a cell at the end of its client's. Raises UsageError for one too many."""
        queue = self._queues.setdefault(cell.client, deque())
        if len(queue) >= MAX_QUEUED:
            raise UsageError(f"{MAX_QUEUED} cells wait for this board already.")
        queue.append(cell)

    def next(self) -> Execution:
        """Take out the cell whose turn it is; its client goes to the end of the line. Raises KeyError if there is none."""
        client, queue = self._queues.popitem(last=False)
        cell = queue.popleft()
        if queue:
            self._queues[client] = queue
        return cell

    def take(self, client: object, request: "int | None" = None) -> list[Execution]:
        """Take out a client's cells, or its cell with this request id."""
        queue = self._queues.get(client, deque())
        taken = [cell for cell in queue if request in (None, cell.request)]
        for cell in taken:
            queue.remove(cell)
        if not queue:
            self._queues.pop(client, None)
        return taken

    def clear(self) -> list[Execution]:
        """Take out all."""
        cells = list(self)
        self._queues.clear()
        return cells
