"""A serial line that misbehaves on demand, between a board and the host: for tests and benchmarks.

with BoardUart(baudrate=921600) as uart:  # optional: the chip's own FIFO and input ring
    with VirtualBoard(env=uart.env) as board:
        faults = Faults(bit_error_rate=1e-5)
        with LineEmulator(board.port, baudrate=921600, uart=uart, to_host=faults) as line:
            hub.open(line.port)
"""

from .faults import Faults, Noise
from .line import LineEmulator
from .uart import BoardUart, has_compiler

__all__ = ["BoardUart", "Faults", "LineEmulator", "Noise", "has_compiler"]
