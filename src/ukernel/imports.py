"""What other threads may just be importing: which modules are there whole, and matplotlib, which is imported in one place.

A module that another thread is importing is in `sys.modules` before it has its names. And two threads that import parts of one
package from two ends may each get the other's half: Python would rather do that than have them wait for each other.
"""

import atexit
import importlib
import sys
import threading
from importlib.util import find_spec

__all__ = ["find_imported", "is_matplotlib_loaded", "load", "load_matplotlib", "prepare_matplotlib"]

# What pictures are drawn with. The package first and alone: whoever imports it meanwhile waits for it.
MATPLOTLIB = ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg")
LAST_IMPORT_S = 5.0  # at Python's end; far longer than importing takes

_lock = threading.RLock()  # one import of ours at a time
_preparing_lock = threading.Lock()
_preparing: "threading.Thread | None" = None


def find_imported(name: str):
    """Return a module that has been imported, and whole; else None. Never waits."""
    module = sys.modules.get(name)
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module


def load(*names: str) -> None:
    """Import these modules, in this order; waits while another of our threads imports. Raises ImportError."""
    with _lock:
        for name in names:
            importlib.import_module(name)


def load_matplotlib() -> bool:
    """Import what pictures are drawn with, which takes half a second of a core; False where it is not installed, or broken."""
    try:
        load(*MATPLOTLIB)
    except Exception:  # also what a bad matplotlibrc raises: there are pictures without it
        return False
    return True


def is_matplotlib_loaded() -> bool:
    """Whether `load_matplotlib` would take no time."""
    return all(map(find_imported, MATPLOTLIB))


def prepare_matplotlib() -> bool:
    """Have it imported in the background, where it is installed; returns whether that is over."""
    global _preparing
    with _preparing_lock:
        if _preparing is None:
            if is_matplotlib_loaded() or find_spec("matplotlib") is None:
                return True
            _preparing = threading.Thread(target=load_matplotlib, name="import matplotlib", daemon=True)
            try:
                _preparing.start()
            except RuntimeError:  # there are no more threads to be had
                _preparing = None
                return True
    return not _preparing.is_alive()


@atexit.register
def _leave() -> None:
    if _preparing is not None:
        _preparing.join(LAST_IMPORT_S)  # one that imports while Python takes itself apart would crash
