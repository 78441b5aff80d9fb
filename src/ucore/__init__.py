"""µcore on the board: named byte channels from a program on the microcontroller to the notebook's host.

In a ``%%ucore`` cell ``ucore`` is bound without an import. The functions work while the agent serves (`ucore.agent.serve`);
elsewhere, as in a plain notebook cell, every call says where it belongs.
"""

_link = None  # the agent's


def _later(name):
    # The module of pipes is loaded, and replaces these functions, when a program first asks for one of them.
    def call(*args, **kwargs):
        if _link is None:
            raise RuntimeError("ucore runs on the board: put %%ucore on the first line of the cell")
        from ucore import pipes

        pipes.start(_link)
        return getattr(pipes, name)(*args, **kwargs)

    return call


open_pipe = _later("open_pipe")
close_pipe = _later("close_pipe")
is_pipe_open = _later("is_pipe_open")
Pipe = _later("Pipe")
