"""``python -m ukernel.recordings ID``: a recorder's process. Its order comes on its standard input, as JSON."""

import os
import sys

from ukernel.errors import UcoreError

from .order import Order
from .recorder import Recorder


def main() -> None:
    """Record what the standard input says. The standard error is let go of once that has begun: who has started this reads it until then."""
    recorder = Recorder(Order.of(sys.stdin.buffer.read()), sys.argv[1])
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    os.close(null)
    recorder.run()


if __name__ == "__main__":
    try:
        main()
    except UcoreError as error:
        sys.exit(str(error))
