"""The Python sub-kernel: an unmodified ipykernel as a child process. Starting, stopping, interrupting it.

It listens on Unix sockets in a folder that only this user can enter; on Windows, which has none, on loopback TCP. The folder
is removed as soon as everything is connected, so whatever is killed afterwards leaves no file behind; and see `tempfolder`.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ukernel.tempfolder import TempFolder

if TYPE_CHECKING:  # the child is started before ZeroMQ is loaded
    import zmq

__all__ = ["CHANNELS", "Subkernel", "describe_exit"]

CHANNELS = ("shell", "iopub", "stdin", "control")
# A Unix socket's path ends at about 100 characters; ours adds 26 to the folder for temporary files.
MAX_FOLDER = 70
# Between two attempts to reach a socket that is not there yet: short beside the half second a Python kernel takes to start.
_RECONNECT_MS = 10
_WINDOWS = sys.platform == "win32"


class Subkernel:
    """One ipykernel process and the sockets to it. Everything but `on_exit` happens on the switchboard's thread."""

    def __init__(self, connection: dict[str, Any], connection_file: str, kernel_id: str = ""):
        """Start it. Raises OSError if that cannot be done.

        ``connection`` is what the front end's connection file says: the child signs with the same key.

        ``connection_file`` is its path: what the child tells users who ask how to connect. ``kernel_id`` is what the hub knows
        the kernel by: the child's readers of pipes say whose they are.
        """
        self.sockets: dict[str, zmq.Socket[bytes]] = {}  # by channel
        self._started = time.monotonic()
        self._temporary = _make_folder()
        self._folder = self._temporary.path
        self._parent_fd = -1
        self._monitors: dict[str, zmq.Socket[bytes]] = {}  # by channel, until it is connected
        info: dict[str, Any] = {
            name: connection[name] for name in ("key", "signature_scheme", "kernel_name") if name in connection
        }
        ports = _free_ports(5) if _WINDOWS else [1, 2, 3, 4, 5]
        info |= dict(zip(("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"), ports, strict=True))
        info |= {"transport": "tcp", "ip": "127.0.0.1"} if _WINDOWS else {"transport": "ipc", "ip": f"{self._folder}/s"}
        self._info = info
        path = os.path.join(self._folder, "connection.json")
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(info, file)
            self._process = self._launch(path, connection_file, kernel_id)
        except OSError:
            self._remove_folder()
            raise

    def _launch(self, path: str, connection_file: str, kernel_id: str) -> subprocess.Popen[bytes]:
        # The private function that `multiprocessing` uses too: -X and -W options of the kernelspec hold for the child.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # private, see above
        command = [sys.executable, *flags, "-m", "ukernel.kernel.subkernel_main", "-f", path]
        env = os.environ | {"UCORE_OUTER_CONNECTION_FILE": connection_file, "UCORE_KERNEL_ID": kernel_id}
        if _WINDOWS:
            from jupyter_client.launcher import (
                launch_kernel,  # makes the interrupt event, hands on our process handle
            )

            return launch_kernel(command, env=env, independent=False)
        # The child holds the reading end: however we end, it reads the end of file and ends too.
        child_fd, self._parent_fd = os.pipe()
        env |= {"JPY_PARENT_PID": str(os.getpid()), "UCORE_PARENT_FD": str(child_fd), "UCORE_INNER_FOLDER": self._folder}
        try:
            # A session of its own, as under a Jupyter server: an interrupt goes to the programs that a cell started as well.
            return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[child_fd])
        finally:
            os.close(child_fd)

    def on_exit(self, callback: Callable[["Subkernel"], None]) -> None:
        """Call ``callback(self)`` from another thread when the process has ended."""

        def wait() -> None:
            self._process.wait()
            callback(self)

        threading.Thread(target=wait, name="subkernel-watch", daemon=True).start()

    def connect(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        """Open the sockets. The child need not listen yet; what is sent meanwhile waits."""
        import zmq

        # The same id on shell and stdin: that is how an input request finds its way back.
        routing_id = os.urandom(8).hex().encode()
        for channel in CHANNELS:
            sock = context.socket(zmq.SUB if channel == "iopub" else zmq.DEALER)
            # The switchboard must never wait in a send, nor the child drop output because we were slow.
            sock.sndhwm = sock.rcvhwm = 0
            sock.linger = 0
            sock.reconnect_ivl = _RECONNECT_MS
            if channel == "iopub":
                sock.subscribe(b"")
            else:
                sock.routing_id = routing_id
            self._monitors[channel] = sock.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            sock.connect(self._endpoint(channel))
            self.sockets[channel] = sock

    def _endpoint(self, channel: str) -> str:
        separator = ":" if self._info["transport"] == "tcp" else "-"
        return f"{self._info['transport']}://{self._info['ip']}{separator}{self._info[channel + '_port']}"

    def unlink_sockets(self) -> bool:
        """Remove the folder if every socket is connected; tell whether that is done. To be called once the child answers."""
        for channel in [channel for channel, monitor in self._monitors.items() if monitor.poll(0)]:
            self._monitors.pop(channel).close()
            self.sockets[channel].disable_monitor()
        if not self._monitors:
            self._remove_folder()
        return not self._monitors

    def send(self, channel: str, frames: list[bytes]) -> None:
        self.sockets[channel].send_multipart(frames)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the running cell; nothing happens if none runs."""
        if _WINDOWS:
            from jupyter_client.win_interrupt import send_interrupt

            send_interrupt(self._process.win32_interrupt_event)  # type: ignore[attr-defined] # `launch_kernel` adds it
            return
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End the process, and what its cells started, at once."""
        if _WINDOWS:
            self._process.kill()
        else:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # Before the wait has reaped it, the id cannot have become somebody else's.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    @property
    def age_s(self) -> float:
        """How long ago the process was started, in seconds."""
        return time.monotonic() - self._started

    @property
    def exit_status(self) -> int | None:
        """The process's exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def close(self) -> None:
        """Kill the process if it still runs, close the sockets, and remove what is left on disk."""
        self.kill()
        self._process.wait()
        for sock in [*self._monitors.values(), *self.sockets.values()]:
            sock.close()
        self._monitors.clear()
        self.sockets.clear()
        if self._parent_fd >= 0:
            os.close(self._parent_fd)
            self._parent_fd = -1
        self._remove_folder()

    def _remove_folder(self) -> None:
        self._temporary.remove()


def describe_exit(status: int) -> str:
    """Return in words how a process ended: "with exit code 3", "by signal SIGSEGV"."""
    if status >= 0:
        return f"with exit code {status}"
    try:
        return f"by signal {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"


def _make_folder() -> TempFolder:
    parent = tempfile.gettempdir()
    if len(parent) > MAX_FOLDER and not _WINDOWS:
        parent = "/tmp"
    return TempFolder("python", parent)


def _free_ports(count: int) -> list[int]:
    """Return TCP ports that were free a moment ago: all that Windows lets us know before the child binds them."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
