"""``python -m ukernel.cli`` is ``ucore``."""

import sys

from . import main

if __name__ == "__main__":
    sys.argv[0] = "ucore"  # what others are told who wait for a board that it uses
    main()
