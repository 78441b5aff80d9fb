"""What a notebook must be told when its kernel comes back: what the one before has left on the board."""

from collections import OrderedDict

__all__ = ["RestartWarnings"]

MAX_WARNINGS = 100  # of kernels that never come back; the oldest go


class RestartWarnings:
    """One sentence a kernel and board. A kernel is known by an id that outlives its process, which is its ``instance``.

    A board is known by a text that changes when it restarts: what is said of it is not true any more then.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()

    def keep(self, kernel: str, instance: str, board: str, sentence: str) -> None:
        """Keep a sentence for the next process of this kernel."""
        self._kept[kernel, board] = instance, sentence
        self._kept.move_to_end((kernel, board))
        if len(self._kept) > MAX_WARNINGS:
            self._kept.popitem(last=False)

    def take(self, kernel: str, instance: str, board: str) -> str:
        """Return the sentence for this kernel, once; empty where there is none, or where it is the same process still."""
        left_by, sentence = self._kept.pop((kernel, board), (instance, ""))
        return sentence if left_by != instance else ""
