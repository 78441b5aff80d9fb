"""`ucore virtual`: a virtual board in a terminal of its own."""

import argparse

from ukernel.virtual import process
from ukernel.virtual.line import HAS_TERMINALS

__all__ = ["add_arguments", "run"]

add_arguments = process.add_arguments


def run(options: argparse.Namespace) -> None:
    """Run a virtual board until Ctrl-C."""

    def announce(about: process.Announcement) -> None:
        print(f"A {about['banner']}, on {about['port']}")
        if about["python"] == "cpython" and HAS_TERMINALS and not options.socket:
            print("It runs the board's agent on CPython: the same cells, but not MicroPython's own behaviour.")
        print(f"Use it from another terminal: UCORE_BOARD={about['port']} jupyter lab")
        print("Ctrl-C stops it.", flush=True)

    process.run(options, announce)
