"""The µcore kernel: ``python -m ukernel.kernel -f {connection_file} [--virtual]``.

The process is a switchboard between a Jupyter front end, an ipykernel and the board hub. This module only starts it: the
child first, because a Python kernel takes half a second to start, then everything that has to be imported.
"""

import sys

if __name__ == "__main__" and sys.path and not getattr(sys.flags, "safe_path", False):
    # A notebook's folder may hold a `queue.py`: it must not stand in for the library's. The sub-kernel has the folder.
    del sys.path[0]

import argparse
import hashlib
import json

__all__ = ["main"]


def main(argv: "list[str] | None" = None) -> int:
    """Run a kernel until it is shut down; return the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m ukernel.kernel", description="The µcore Jupyter kernel.")
    parser.add_argument("-f", dest="connection_file", required=True, metavar="FILE", help="Jupyter's connection file")
    parser.add_argument("--virtual", action="store_true", help="bring a virtual board of its own")
    options, _ = parser.parse_known_args(argv)  # front ends may add options meant for ipykernel
    try:
        with open(options.connection_file, encoding="utf-8") as file:
            connection = json.load(file)
    except (OSError, ValueError) as error:
        parser.error(f"cannot read the connection file: {error}")

    from ukernel.errors import describe

    from .subkernel import Subkernel

    # Jupyter restarts a kernel with the same connection, and makes a new key for another one.
    kernel_id = hashlib.sha256(f"{connection.get('key', '')} {options.connection_file}".encode()).hexdigest()[:32]
    try:
        subkernel = Subkernel(connection, options.connection_file, kernel_id)
    except OSError as error:
        print(f"ukernel: the Python process of the notebook cannot be started: {describe(error)}.", file=sys.stderr)
        return 1

    from ukernel.boards import syntax

    from .boardconnection import BoardConnections
    from .switchboard import Switchboard

    syntax.prepare()

    board_connections = BoardConnections(virtual=options.virtual, kernel_id=kernel_id)
    return Switchboard(connection, options.connection_file, subkernel, board_connections).run()


if __name__ == "__main__":
    sys.exit(main())
