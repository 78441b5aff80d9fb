"""The public door for programs: `connect` gives a `Board`, `boards` lists what is there.

    from ukernel.boards import connect

    with connect() as board:
        board.run("print('hello')")
        freq = board.eval("machine.freq()")

And what a host knows of a board's program text, for the kernel: `rewrite` makes what is run for a cell, `syntax` reads MicroPython's
grammar, `tracebacks` shows a board's errors, `firmwaremodules` says what a firmware has.
"""

from ukernel.errors import BoardCodeError, BoardTimeoutError, BoardValueError

from .board import Board, connect
from .info import BoardInfo, boards

__all__ = ["Board", "BoardCodeError", "BoardInfo", "BoardTimeoutError", "BoardValueError", "boards", "connect"]
