"""The sub-kernel's process: ipykernel as it is, plus the two magics. Started by `ukernel.kernel.subkernel`, by nobody else."""

import sys

if __name__ == "__main__" and sys.path and not getattr(sys.flags, "safe_path", False):
    # A notebook's folder may hold a `queue.py`; while we import, it is not ours. IPython puts it back.
    del sys.path[0]

import os
import shutil
import signal
import threading

__all__ = ["main"]


def _end_with_parent() -> None:
    """End this process and the programs it started when the switchboard is gone, however that happened."""
    folder = os.environ.pop("UCORE_INNER_FOLDER", "")
    fd = int(os.environ.pop("UCORE_PARENT_FD", "-1"))
    if fd < 0:
        return  # Windows: ipykernel waits on the switchboard's process handle
    os.set_inheritable(fd, False)

    def wait() -> None:
        os.read(fd, 1)
        shutil.rmtree(folder, ignore_errors=True)  # where it ended before it could
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, name="ucore-parent-pipe", daemon=True).start()


def main() -> None:
    """Run the kernel until it is shut down."""
    # As ipykernel does between cells. It must hold from the start: a user may interrupt a kernel that is just starting.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    outer = os.environ.pop("UCORE_OUTER_CONNECTION_FILE", "")
    # The debugger would warn in every cell that it cannot step into frozen modules of the standard library.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    from ipykernel.kernelapp import IPKernelApp

    from . import magics

    app = IPKernelApp.instance()
    app.initialize()  # type: ignore[no-untyped-call] # ipykernel's has no annotations
    # An interrupt can always come as its cell has just ended; ipykernel goes on, and calls that an error in the server's log.
    app.log.addFilter(lambda record: not str(record.msg).startswith("KeyboardInterrupt caught in kernel"))
    magics.load_ipython_extension(app.shell)
    # What %connect_info and get_connection_file() tell people is the notebook's connection, not the inner one.
    app.connection_file = outer
    app.start()  # type: ignore[no-untyped-call] # ipykernel's has no annotations


if __name__ == "__main__":
    main()
