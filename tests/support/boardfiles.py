"""What a virtual board's program has put into files, seen from outside: a sign that needs no line."""

from pathlib import Path

import psutil

from ukernel.virtual.launcher import VirtualBoard


def has_written(board: VirtualBoard, text: str) -> bool:
    """Whether the text is in a file of the board's: on its flash (MicroPython), or in its folder (CPython)."""
    process = psutil.Process(board._process.pid).children()[0]
    flash = process.environ().get("UCORE_VIRTUAL_FLASH")
    files = [Path(flash)] if board.python == "micropython" else list(Path(process.cwd()).iterdir())
    return any(text.encode() in path.read_bytes() for path in files if path.is_file())
