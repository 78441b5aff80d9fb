"""``python -m ukernel.hub``: the hub's process.

``--detach-stderr``: a client has started it, which reads in its standard error why it did not come up; it lets go of that once it is up.
"""

import sys

from ukernel.errors import UcoreError

from .server import main

if __name__ == "__main__":
    try:
        sys.exit(main(detach_stderr="--detach-stderr" in sys.argv[1:]))
    except UcoreError as error:
        sys.exit(str(error))
