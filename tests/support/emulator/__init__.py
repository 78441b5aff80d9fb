"""A serial line that misbehaves on demand, between a board and the host: for tests and benchmarks.

`LineEmulator` is the line; `Faults` say what goes wrong on it; `BoardUart` is the chip's own transmit FIFO
and input ring, and is optional. All three at once, in a test:

    with BoardUart(baudrate=921600) as uart:
        for name, value in uart.env.items():
            monkeypatch.setenv(name, value)
        with VirtualBoard() as board:
            faults = Faults(bit_error_rate=1e-5)
            with LineEmulator(board.port, baudrate=921600, uart=uart, to_host=faults) as line:
                ...  # give line.port to whoever would open board.port
"""

from .faults import Faults, Noise
from .line import LineEmulator
from .uart import BoardUart, has_compiler

__all__ = ["BoardUart", "Faults", "LineEmulator", "Noise", "has_compiler"]
