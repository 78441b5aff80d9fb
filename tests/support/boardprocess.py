"""A virtual board's process, seen from outside: signs that need no line."""

from pathlib import Path

import psutil
from patience import wait_until

from ukernel.virtual.launcher import VirtualBoard


def board_process(board: VirtualBoard) -> psutil.Process:
    """Return the process of the board itself, once it is its own program: one that is stopped while it is still a copy of its
    owner, who waits for that, stops both."""
    owner = psutil.Process(board._process.pid)

    def started() -> "list[psutil.Process]":
        return [child for child in owner.children() if child.cmdline() != owner.cmdline()]

    wait_until(started, "the board's process")
    return started()[0]


def wait_for_loop(board: VirtualBoard) -> None:
    """Wait until the board computes without a pause: what it was sent is read, compiled and begun by then."""
    process = board_process(board)
    wait_until(lambda: process.cpu_percent(0.1) > 50, "the loop")


def has_written(board: VirtualBoard, text: str) -> bool:
    """Whether the text is in a file of the board's: on its flash (MicroPython), or in its folder (CPython)."""
    process = board_process(board)
    flash = process.environ().get("UCORE_VIRTUAL_FLASH")
    files = [Path(flash)] if board.python == "micropython" else list(Path(process.cwd()).iterdir())
    return any(text.encode() in path.read_bytes() for path in files if path.is_file())
