"""Data from the board in Python.

    from ukernel.pipes import subscribe, collect, live_plot, stop_live

    samples = collect("adc", n=200)             # a NumPy array

    with subscribe("adc") as pipe:              # one bytes object per pipe.write on the board
        for chunk in pipe:
            ...

Importing this module is quick: NumPy, matplotlib and the board come in when they are needed. Other parts use `reader` (charts read by it),
`decoders`, `listing` and `reasons`.
"""

from ukernel.protocol.pipestream import Stamp

from .collection import collect
from .decoders import TimedSamples
from .listing import PipeState, pipes
from .pipe import Pipe
from .plotting import live_plot, stop_live
from .subscription import subscribe

__all__ = ["Pipe", "PipeState", "Stamp", "TimedSamples", "collect", "live_plot", "pipes", "stop_live", "subscribe"]

for _function in (collect, live_plot, stop_live, subscribe):
    _function.__module__ = __name__  # where people find them, and what Python shows of them
