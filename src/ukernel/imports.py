"""What other threads may just be importing: which modules are there whole, and matplotlib, which is imported in one place.

A module that another thread is importing is in `sys.modules` before it has its names. And two threads that import parts of one
package from two ends may each get the other's half: Python would rather do that than have them wait for each other. Programs in
cells import in the main thread; so matplotlib is imported there, between two cells, and never by the threads of charts.
"""

import importlib
import sys
import threading
import types
from importlib.util import find_spec

__all__ = ["find_imported", "is_matplotlib_loaded", "is_matplotlib_to_come", "load", "load_matplotlib"]

# What pictures are drawn with. The package first and alone: whoever imports it meanwhile waits for it.
MATPLOTLIB = ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg")

_lock = threading.RLock()  # one import of ours at a time
_is_broken = False  # it is installed, but cannot be imported


def find_imported(name: str) -> types.ModuleType | None:
    """Return a module that has been imported, and whole; else None. Never waits."""
    module = sys.modules.get(name)
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module


def load(*names: str) -> None:
    """Import these modules, in this order; waits while another of our threads imports. Raises ImportError."""
    with _lock:
        for name in names:
            importlib.import_module(name)


def load_matplotlib() -> bool:
    """Return whether what pictures are drawn with is there. In the main thread it is imported for that, where it is installed: half a
    second of a core."""
    global _is_broken
    if threading.current_thread() is threading.main_thread() and is_matplotlib_to_come():
        try:
            load(*MATPLOTLIB)
        except Exception:  # also what a bad matplotlibrc raises: there are pictures without it
            _is_broken = True
    return is_matplotlib_loaded()


def is_matplotlib_loaded() -> bool:
    """Whether it has been imported, and whole. Never waits."""
    return all(map(find_imported, MATPLOTLIB))


def is_matplotlib_to_come() -> bool:
    """Whether it is installed and has not been imported yet."""
    return not _is_broken and not is_matplotlib_loaded() and find_spec("matplotlib") is not None
