"""µcore on the board: named byte channels from a program on the microcontroller to the notebook's host, and rich output.

In a ``%%ucore`` cell ``ucore`` is bound without an import. The functions work while the agent serves (`ucore.agent.serve`);
elsewhere, as in a plain notebook cell, every call says where it belongs.
"""

try:  # a program has cleared sys.modules, and loads this again: it is the agent's all the same, which is found among the builtins
    _link = ucore._link
    _real = ucore._real
except NameError:
    _link = None  # the agent's
    # The modules for which this one stands in while the agent serves: _thread, for a thread belongs to a cell; sys, whose stdin is
    # the host's line.
    _real = ()


def __getattr__(name):
    # One text takes less memory than its words as names, of which most boards need few.
    if " %s " % name in " open_pipe close_pipe is_pipe_open Pipe display stdin every producers start_new_thread getpass ":
        if _link is None:
            raise RuntimeError("ucore serves board cells: put %%ucore on the first line (boot.py and main.py run before it)")
        return _link.get(name)
    for module in _real:
        if hasattr(module, name):
            return getattr(module, name)
    try:  # MicroPython's `from ucore import wire` comes by here, too
        __import__("ucore." + name)
        return globals()[name]
    except ImportError:
        raise AttributeError(name)
