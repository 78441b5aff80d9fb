"""`ucore virtual`: a virtual board in a terminal of its own."""

from typing import NoReturn

import click

from ukernel.errors import UsageError

__all__ = ["virtual"]


# Its options are those of `python -m ukernel.virtual.process`, which is argparse's.
@click.command("virtual", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def virtual(options: tuple[str, ...]) -> None:
    """Run a virtual board until Ctrl-C."""
    import argparse

    from ukernel.virtual import process
    from ukernel.virtual.line import HAS_TERMINALS

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(f"{message}. `ucore virtual --help` says what can be written.")

    parser = Parser(prog="ucore virtual", description="Run a virtual board until Ctrl-C.")
    process.add_arguments(parser)
    parsed = parser.parse_args(list(options))

    def announce(about: process.Announcement) -> None:
        print(f"A {about['banner']}, on {about['port']}")
        if about["python"] == "cpython" and HAS_TERMINALS and not parsed.socket:
            print("It runs the board's agent on CPython: the same cells, but not MicroPython's own behaviour.")
        print(f"Use it from another terminal: UCORE_BOARD={about['port']} jupyter lab")
        print("Ctrl-C stops it.", flush=True)

    process.run(parsed, announce)
