"""µcore on the board: named byte channels from a program on the microcontroller to the notebook's host, and rich output.

In a ``%%ucore`` cell ``ucore`` is bound without an import. The functions work while the agent serves (`ucore.agent.serve`);
elsewhere, as in a plain notebook cell, every call says where it belongs.
"""

_link = None  # the agent's
_sys = None  # the module sys, for which this one stands in while the agent serves: its stdin is the host's line


def __getattr__(name):
    # A program asks for this for the first time: the module that has it is loaded, and makes it an attribute like any other.
    if name in ("open_pipe", "close_pipe", "is_pipe_open", "Pipe", "display", "stdin"):
        if _link is None:
            raise RuntimeError("ucore is the board's: put %%ucore on the first line")
        module = __getattr__("rich" if name == "display" else "typed" if name == "stdin" else "pipes")
        module.start(_link)
        return getattr(module, name)
    if hasattr(_sys, name):
        return getattr(_sys, name)
    try:  # MicroPython's `from ucore import wire` comes by here, too
        __import__("ucore." + name)
        return globals()[name]
    except ImportError:
        raise AttributeError(name)
