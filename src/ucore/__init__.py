"""µcore on the board: named byte channels from a program on the microcontroller to the notebook's host.

In a ``%%ucore`` cell ``ucore`` is bound without an import. The functions work once the agent serves (`ucore.agent.serve`);
elsewhere, as in a plain notebook cell, every call says where it belongs.
"""


def _not_here(*args, **kwargs):
    raise RuntimeError("ucore runs on the board: put %%ucore on the first line of the cell")


open_pipe = close_pipe = is_pipe_open = Pipe = _not_here
