"""What people are told where a board's memory is full: what was lost for that, and what can be done."""

from typing import Any

__all__ = ["explain", "restarted", "variables_dropped"]

_ADVICE = "Free some with `del`, or start the board afresh with `%ucore reset`."


def variables_dropped(board: str) -> str:
    """Return the sentence for a cell before which a board had to drop the variables."""
    return (
        f"The memory of the board {board} was full, so that it could not even be talked to: it has dropped the variables of its "
        "cells. Run the cells again that make what you need; `%ucore reset` starts the board afresh.\n"
    )


def restarted(board: str) -> str:
    """Return the sentence for a board that has restarted itself for that."""
    return (
        f"The board {board} restarted itself: its memory was full, and what filled it were not the variables of cells, which "
        "it can drop, but a thread, a task or a module. What it ran and remembered is lost."
    )


def explain(board: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a cell, with what can be done where the memory did not suffice to run it, or to say where it failed."""
    ename, evalue = content.get("ename", "MemoryError"), content.get("evalue", "")
    lines = content.get("traceback") or []
    if ename != "MemoryError" or 'File "' in "".join(lines):
        return content
    if "ename" not in content:
        evalue = f"The board {board}'s memory is full, so it cannot say where this was. {_ADVICE}"
    else:
        evalue += f". No cell fits into the free memory of the board {board}, or not this one. {_ADVICE}"
    return {**content, "ename": ename, "evalue": evalue, "traceback": [*lines[:-1], f"{ename}: {evalue}"] if lines else []}
