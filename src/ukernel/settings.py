"""What the environment says, read anew at every call, and the paths that follow from it."""

import os
from pathlib import Path

from .errors import SettingError

__all__ = [
    "board",
    "cache_dir",
    "data_dir",
    "hub_linger_s",
    "hub_log",
    "kernel_id",
    "max_baud",
    "pipe_port",
    "pipe_token",
    "state_path",
]


def board() -> str | None:
    """Return the board to use (UCORE_BOARD): a port, a pyserial URL or a board name; None for the only one found."""
    return os.environ.get("UCORE_BOARD") or None


def max_baud() -> int:
    """Return the highest baud rate that a UART's line is raised to (UCORE_MAX_BAUD, 921600 if not set).

    Raises SettingError for anything but a number.
    """
    text = os.environ.get("UCORE_MAX_BAUD")
    if not text:
        return 921600
    if not (text.isascii() and text.isdigit()):
        raise SettingError(f"UCORE_MAX_BAUD is {text!r}: it must be a number of baud, 0 to leave the line as it is, or unset.")
    return int(text)


def pipe_port() -> int | None:
    """Return the fixed TCP port of the pipe listener (UCORE_PIPE_PORT), None for an automatic one.

    Raises SettingError for anything but a port number.
    """
    text = os.environ.get("UCORE_PIPE_PORT")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise SettingError(f"UCORE_PIPE_PORT is {text!r}: it must be a port number, 1 to 65535, or unset.")
    return int(text)


def kernel_id() -> str | None:
    """Return what the hub knows this notebook's kernel by (UCORE_KERNEL_ID, set by the kernel); None outside of notebooks."""
    return os.environ.get("UCORE_KERNEL_ID") or None


def pipe_token() -> str | None:
    """Return the token of a hub whose state file is out of reach (UCORE_PIPE_TOKEN), for a forwarded port."""
    return os.environ.get("UCORE_PIPE_TOKEN") or None


def state_path() -> Path:
    """Return the path of the hub's state file (UCORE_STATE_PATH), one per user and host if not set."""
    text = os.environ.get("UCORE_STATE_PATH")
    if text:
        return Path(text).expanduser().absolute()
    # Imported here: neither is needed where the variable is set, and each costs a fifth of a client's start.
    import socket

    from jupyter_core.paths import jupyter_runtime_dir

    # Home folders travel over networks, hubs do not.
    host = "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname()) or "localhost"
    return Path(jupyter_runtime_dir()) / f"ucore-hub-{host}.json"


def cache_dir() -> Path:
    """Return the folder for what can be built or fetched again (UCORE_CACHE_DIR)."""
    text = os.environ.get("UCORE_CACHE_DIR")
    if text:
        return Path(text).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ucore", appauthor=False))


def data_dir() -> Path:
    """Return the folder for what is kept: the flash of virtual boards that have a name (UCORE_DATA_DIR)."""
    text = os.environ.get("UCORE_DATA_DIR")
    if text:
        return Path(text).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("ucore", appauthor=False))


def hub_linger_s() -> float:
    """Return how many seconds an unused hub stays (UCORE_HUB_LINGER_S, 10 if not set).

    Raises SettingError for anything but a number of seconds.
    """
    text = os.environ.get("UCORE_HUB_LINGER_S")
    if not text:
        return 10.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise SettingError(f"UCORE_HUB_LINGER_S is {text!r}: it must be a number of seconds, 0 or more, or unset.")
    return seconds


def hub_log() -> Path | None:
    """Return the file that the hub appends its log to (UCORE_HUB_LOG), None for no log."""
    text = os.environ.get("UCORE_HUB_LOG")
    return Path(text).expanduser().absolute() if text else None
