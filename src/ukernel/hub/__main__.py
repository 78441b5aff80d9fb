"""``python -m ukernel.hub``: the hub's process."""

import sys

from ukernel.errors import UcoreError

from .server import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except UcoreError as error:
        sys.exit(str(error))
