"""`ucore doctor`: what is wrong on this computer, and how to mend it."""

from typing import Any

from . import exitcodes, output
from .options import command

__all__ = ["doctor"]

MARKS = {"ok": "ok", "warning": "!", "problem": "PROBLEM"}


@command("doctor", board=True, json=True)
def doctor(board: str | None, as_json: bool) -> int:
    """Look at what µcore needs on this computer, and say how to mend what is wrong. No port is opened for it.

    It ends with 1 where there is a problem.
    """
    from . import checks

    found = checks.check_all(board)
    if as_json:
        output.print_json([check._asdict() for check in found])
    else:
        _print(found)
    return exitcodes.FAILED if any(check.state == "problem" for check in found) else exitcodes.OK


def _print(found: list[Any]) -> None:
    colours = {"ok": "\033[32m", "warning": "\033[33m", "problem": "\033[31m"}
    import sys

    coloured = output.has_colours(sys.stdout)
    for check in found:
        mark = f"{MARKS[check.state]:8}"
        print(f"{colours[check.state] + mark + chr(27) + '[0m' if coloured else mark}{check.name}: {check.text}")
        if check.mend:
            print(f"{'':8}-> {check.mend}")
