"""µcore on the host: the Jupyter kernel, the board hub, and pipes into your notebook.

Start with `ukernel.pipes` (`subscribe`, `collect`, `live_plot`, `stop_live`) in a notebook, or with the ``ucore`` command.
"""

from ucore.wire import BUILD as __version__

__all__ = ["__version__"]
