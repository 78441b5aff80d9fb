"""How other processes talk to the hub: connect to it, starting it where there is none, and exchange messages with it.

Blocking sockets and nothing heavy: this is imported into notebooks, and a kernel's start waits for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from ucore.wire import BUILD
from ukernel import settings
from ukernel.errors import HubDeniedError, HubError, HubUnreachableError, NoAnswerError, by_name
from ukernel.protocol import handshake, statefile

from .discovery import with_hub

__all__ = ["HubClient", "connect", "connect_to_pipes", "open_reader"]

_LOOPBACK = "127.0.0.1"
_HANDSHAKE_TIMEOUT_S = 5.0  # as long as the hub gives its peers, which may be reached through a forwarded port
_RECEIVE_BYTES = 1 << 16
_MAX_ANSWER = 4096  # bytes of the hub's answer to the handshake
# select breaks above descriptor 1023, and notebooks open many; epoll would need a descriptor of its own.
_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


def connect(*, start: bool = True, timeout_s: float = 15.0) -> HubClient:
    """Connect to this user's hub, starting one if there is none and ``start`` is true.

    Raises HubUnreachableError if none answers within ``timeout_s`` seconds, HubDeniedError if the two cannot prove to each
    other that they know the token, HubError if a hub of another build is in use by others.
    """
    return with_hub(
        lambda here, left_s: HubClient(_handshake(here.host, here.port, here.token, {"role": "client"}, left_s)),
        _stop_old_hub,
        start=start,
        any_build=not start,
        timeout_s=timeout_s,
    )


def connect_to_pipes() -> HubClient:
    """Connect to the hub that `open_reader` would use, also through a forwarded port; starts none. Raises what it raises."""
    return HubClient(_connect({"role": "client"}, start=False, timeout_s=2.0))


def open_reader(
    name: str,
    board: str | None = None,
    options: Iterable[str] = (),
    *,
    timeout_s: float = 15.0,
    start: bool = True,
    opening: int | None = None,
    first: int = 0,
) -> socket.socket:
    """Subscribe to the pipe ``name`` and return the connected socket; its first bytes are the first frame (or notice).

    ``opening``: the id of the only opening to read, as the hub tells those who watch. ``first``: with the option "replay", the number of the
    frame to begin with.

    Where there is no hub it starts one if ``start`` is true. With UCORE_PIPE_PORT set, connects there and starts no hub; the token is UCORE_PIPE_TOKEN or the state file's.
    Raises HubUnreachableError, HubDeniedError, PipeNameError for a name that is none or that several boards use, and PipeEndedError for an
    opening that the hub holds no more.
    """
    request: dict[str, Any] = {"role": "reader", "pipe": name, "board": board, "options": list(options)}
    request["kernel"] = settings.kernel_id()
    if opening is not None:
        request.update(opening=opening, first=first)
    return _connect(request, start=start, timeout_s=timeout_s)


def _connect(request: dict[str, Any], start: bool, timeout_s: float) -> socket.socket:
    """Return a connection on which the handshake is over, to the port that UCORE_PIPE_PORT names or to this user's hub."""
    port = settings.pipe_port()
    if port is None:
        return with_hub(
            lambda here, left_s: _handshake(here.host, here.port, here.token, request, left_s),
            _stop_old_hub,
            start=start,
            any_build=True,
            timeout_s=timeout_s,
        )
    token = settings.pipe_token()
    if token is None:
        here = statefile.find()
        if here is None:
            raise HubDeniedError(
                f"UCORE_PIPE_PORT is {port}, but no hub runs on this machine whose token could be used. If the port is "
                "forwarded from another machine, set UCORE_PIPE_TOKEN to what `ucore token` prints over there."
            )
        token = here.token
    try:
        return _handshake(_LOOPBACK, port, token, request, timeout_s)
    except HubDeniedError as error:
        raise HubDeniedError(
            f"{error} UCORE_PIPE_PORT is {port}: is it the right hub's? UCORE_PIPE_TOKEN must be its token."
        ) from None
    except OSError as error:
        raise HubUnreachableError(
            f"Nothing answers on port {port} of this machine, where UCORE_PIPE_PORT says that a pipe listener is ({error}). "
            "Start the µcore kernel with the same UCORE_PIPE_PORT, or the port forwarding, or unset it."
        ) from error


def _stop_old_hub(here: statefile.HubInfo) -> None:
    """Ask a hub of another build to leave. Raises HubError, which names who uses it, if it is not idle."""
    with HubClient(_handshake(here.host, here.port, here.token, {"role": "client"})) as old:
        try:
            old.request("stop_request", {"only_if_idle": True}, timeout_s=5.0)
        except HubUnreachableError:
            return  # gone before its answer was
        except HubError as error:
            raise HubError(f"{error} This is build {BUILD}: close those, or run `ucore stop`, and try again.") from None


def _handshake(
    host: str, port: int, token: str, request: dict[str, Any], timeout_s: float = _HANDSHAKE_TIMEOUT_S
) -> socket.socket:
    """Connect and prove the token both ways. Raises OSError if nobody is there, HubDeniedError, or what the hub says."""
    # A tenth of a second at least: on one that lives it takes a millisecond.
    sock = socket.create_connection((host, port), timeout=min(max(timeout_s, 0.1), _HANDSHAKE_TIMEOUT_S))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greeting = _read_line(sock)
        hub_nonce = greeting[len(handshake.GREETING) :]
        if not greeting.startswith(handshake.GREETING) or len(hub_nonce) != 32:
            raise HubDeniedError(f"What answers on port {port} is no board hub of this version.")
        nonce = os.urandom(16).hex()
        proof = handshake.peer_proof(token, hub_nonce, nonce, request["role"], request.get("pipe", ""))
        sock.sendall(json.dumps({**request, "nonce": nonce, "proof": proof}).encode() + b"\n")
        try:
            answer = json.loads(_read_line(sock))
            ok, proof, ename, error = (answer.get(key) for key in ("ok", "proof", "ename", "error"))
        except (ValueError, AttributeError):
            raise HubDeniedError(f"What answers on port {port} is no board hub.") from None
        if ok is not True:
            raise by_name(ename or "HubDeniedError", f"The board hub refused the connection: {str(error).rstrip('.')}.")
        if not handshake.is_same(str(proof), handshake.hub_proof(token, hub_nonce, nonce)):
            raise HubDeniedError(f"What answers on port {port} does not know the hub's token: it only poses as the hub.")
        sock.settimeout(None)
        return sock
    except BaseException:
        sock.close()
        raise


def _read_line(sock: socket.socket) -> str:
    """Read one line and not a byte beyond it: what follows belongs to the caller."""
    line = b""
    while not line.endswith(b"\n"):
        part = sock.recv(_MAX_ANSWER, socket.MSG_PEEK)
        if not part:
            raise ConnectionResetError("the connection was closed during the handshake")
        line += sock.recv(part.find(b"\n") + 1 or len(part))
        if len(line) > _MAX_ANSWER:
            raise HubDeniedError("What answers there is no board hub: its first line does not end.")
    return line[:-1].decode("utf-8", "replace")


class HubClient:
    """A connection to the hub. One thread receives; any thread may send. A context manager."""

    def __init__(self, sock: socket.socket):
        self._socket = sock
        sock.setblocking(False)
        self._fd = sock.fileno()
        self._send_lock = threading.Lock()
        self._last_id = 0
        self._buffer = bytearray()
        self._messages: deque[dict[str, Any]] = deque()

    def __enter__(self) -> HubClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the socket's descriptor, for a poller. `drain` before waiting on it: messages may be here already."""
        return self._fd

    def send(self, type: str, content: dict[str, Any]) -> int:
        """Send a message and return its id, which the answers carry as ``parent``. Raises HubUnreachableError."""
        with self._send_lock:
            self._last_id += 1
            message = {"type": type, "id": self._last_id, "content": content}
            view = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            try:
                while view:
                    try:
                        view = view[self._socket.send(view) :]
                    except BlockingIOError:
                        _wait(self._fd, None, writing=True)
            except (OSError, ValueError) as error:
                raise _lost() from error
            return self._last_id

    def receive(self, timeout_s: float | None) -> dict[str, Any] | None:
        """Return the next message ``{"type", "parent", "content"}``, None after ``timeout_s`` seconds (None: wait for ever).

        Raises HubUnreachableError once the hub is gone and its last message was read.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._messages:
            self._fill()
            if self._messages:
                break
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            _wait(self._fd, left)
        return self._messages.popleft()

    def drain(self) -> list[dict[str, Any]]:
        """Return every message that is here, without waiting. Raises HubUnreachableError once there are no more to come."""
        self._fill()
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def request(self, type: str, content: dict[str, Any] | None = None, timeout_s: float | None = 10.0) -> dict[str, Any]:
        """Send a request, wait for its reply and return the content; other messages are kept for `receive` and `drain`.

        Raises what the reply says (see errors.py), NoAnswerError after ``timeout_s`` seconds, HubUnreachableError.
        """
        request = self.send(type, content or {})
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        others = []
        try:
            while True:
                message = self.receive(None if deadline is None else max(0.0, deadline - time.monotonic()))
                if message is None:
                    raise NoAnswerError(f"The board hub did not answer {type!r} within {timeout_s:g} s.")
                if message["parent"] == request and message["type"].endswith("_reply"):
                    break
                others.append(message)
        finally:
            self._messages.extendleft(reversed(others))
        answer: dict[str, Any] = message["content"]
        if answer.get("status") == "error":
            raise by_name(answer.get("ename", "UcoreError"), answer.get("evalue", ""))
        return answer

    def close(self) -> None:
        """Leave. A cell that runs goes on, its output is dropped. May be called twice, and while another thread waits in `receive`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who waits
        self._socket.close()

    def _fill(self) -> None:
        """Take what the socket holds, without waiting."""
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except (OSError, ValueError):
                data = b""
            if not data:
                if self._messages:
                    return  # the last words first; the next call finds the end again
                raise _lost()
            searched = len(self._buffer)
            self._buffer += data
            if data.find(b"\n") >= 0:
                end = self._buffer.rfind(b"\n", searched)
                lines = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._messages.extend(map(json.loads, lines.split(b"\n")))
            if len(data) < _RECEIVE_BYTES:
                return


def _lost() -> HubUnreachableError:
    return HubUnreachableError(
        "The connection to the board hub is lost: it stopped, or was killed. Run the cell again to start another one."
    )


def _wait(fd: int, timeout_s: float | None, writing: bool = False) -> None:
    """Wait until a socket can be read or written, or for ``timeout_s`` seconds."""
    if fd < 0:
        raise _lost()
    with _Selector() as selector:
        selector.register(fd, selectors.EVENT_WRITE if writing else selectors.EVENT_READ)
        selector.select(timeout_s)
