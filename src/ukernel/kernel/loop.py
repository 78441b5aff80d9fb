"""The switchboard's loop: sockets and descriptors to read, timers, and calls from other threads.

One thread with a poller, not asyncio: a message passes twice as fast.
"""

import heapq
import itertools
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import ParamSpec, TypeAlias

import zmq

__all__ = ["Loop", "run_logged"]

_Arguments = ParamSpec("_Arguments")
Source: TypeAlias = "zmq.Socket[bytes] | int"  # what can be waited for: a socket or a file descriptor

# A turn takes this many messages from one socket, so that a flood on one does not starve the others.
MAX_BURST = 200
# How long a turn waits when there is nothing to do: so soon it is noticed that the server which started the kernel is gone.
IDLE_S = 1.0


class Loop:
    """Runs one thing after the other on the thread that calls `run_once`."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._readers: dict[Source, Callable[[], object]] = {}  # what to do when it can be read
        self._ready: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []  # a heap: when, its number, what to do
        self._timer_numbers = itertools.count()  # timers of the same moment run in the order they were set
        self._wakeup_w, self._wakeup_r = socket.socketpair()
        self._wakeup_w.setblocking(False)
        self.add_reader(self._wakeup_r.fileno(), self._read_wakeup)

    def run_once(self) -> None:
        """Wait for something to do, at most `IDLE_S` seconds, and do it."""
        wait_s = IDLE_S
        if self._timers:
            wait_s = min(IDLE_S, max(0.0, self._timers[0][0] - time.monotonic()))
        for source, _ in self._poller.poll(int(wait_s * 1000)):
            if source in self._readers:  # an earlier one may have removed it
                run_logged(self._readers[source])
        while self._timers and self._timers[0][0] <= time.monotonic():
            run_logged(heapq.heappop(self._timers)[2])

    def add_reader(self, source: Source, read: Callable[[], object]) -> None:
        """Call ``read()`` whenever the socket or descriptor can be read."""
        self._readers[source] = read
        self._poller.register(source, zmq.POLLIN)

    def add_socket(self, sock: zmq.Socket[bytes], receive: Callable[[list[bytes]], object]) -> None:
        """Call ``receive(frames)`` for every message that comes on the socket."""

        def read() -> bool:
            for _ in range(MAX_BURST):
                try:
                    frames = sock.recv_multipart(zmq.NOBLOCK)
                except zmq.ZMQError:
                    return False  # nothing more; or closed meanwhile
                run_logged(receive, frames)
            return True

        self.add_reader(sock, read)

    def remove_reader(self, source: Source) -> None:
        """Read it no more."""
        if self._readers.pop(source, None) is not None:
            self._poller.unregister(source)

    def drain(self, sock: zmq.Socket[bytes]) -> None:
        """Take every message that is there, without waiting for the next turn."""
        while self._readers[sock]():
            pass

    def call_later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action()`` after that time."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._timer_numbers), action))

    def call_soon_threadsafe(self, action: Callable[[], None]) -> None:
        """Call ``action()`` in the next turn. For other threads and for signal handlers. Once the loop is closed nothing is called."""
        self._ready.append(action)
        try:
            self._wakeup_w.send(b"!")
        except OSError:
            pass  # full: it is to wake up already; closed: a thread has outlived the kernel's end

    def _read_wakeup(self) -> None:
        self._wakeup_r.recv(4096)
        while self._ready:
            run_logged(self._ready.popleft())

    def close(self) -> None:
        self._wakeup_w.close()
        self._wakeup_r.close()


def run_logged(action: Callable[_Arguments, object], /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
    """Call; a mistake in handling one message must not end the kernel."""
    try:
        action(*args, **kwargs)
    except Exception:
        print("ukernel: a message could not be handled", file=sys.stderr)
        traceback.print_exc()
