"""Puts back the builtins that the agent may need and a program has overwritten; and holds for a moment what `about.spread` fills in.

It imports nothing for which `ucore` stands in: that would need them.
"""

import builtins

from ucore.quirks import CPYTHON


def restore():
    """Show all builtins again that something else hides; print and input are the agent's own."""
    if not CPYTHON:  # there, what is overwritten is gone
        for name in builtins.__dict__:
            if name not in ("print", "input"):
                try:
                    delattr(builtins, name)
                except (AttributeError, KeyError):
                    pass
