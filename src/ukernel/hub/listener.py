"""The hub's ports: listening sockets on the loopback interface, and the handshake on whatever comes in."""

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, cast

from ucore import wire
from ukernel.errors import HubDeniedError, HubError, PipeNameError, UcoreError, UsageError
from ukernel.protocol import handshake

from .subscriber import Subscriber

__all__ = ["Listener"]

MAX_UNAUTHENTICATED = 256  # connections that have proved nothing yet; beyond it the oldest makes room
HANDSHAKE_TIMEOUT_S = 5.0  # a peer on the same machine needs a millisecond, a forwarded port less than a second
_OPTIONS = {"notices", "batches", "timestamps", "replay"}

_log = logging.getLogger("ukernel.hub")


class Listener:
    """Listening sockets on the loopback interface, and the handshake on whatever comes in.

    A client goes on with the protocol that ``make_client`` returns; a reader is handed to ``subscribe``, which may refuse
    it with a UcoreError.
    """

    def __init__(self, token: str, make_client: Callable[[], asyncio.Protocol], subscribe: Callable[[Subscriber], None]):
        self.token = token
        self.make_client = make_client
        self.subscribe = subscribe
        self.ports: dict[int, asyncio.Server] = {}
        self.unauthenticated: dict[Handshake, None] = {}  # in order of arrival

    async def listen(self, port: int = 0) -> int:
        """Listen on ``port`` (0: any) of 127.0.0.1 and return it. Raises HubError if it is taken."""
        if port in self.ports:
            return port
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if sys.platform == "win32":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                # Takes a port back that has old connections dying on it, never one that somebody listens on.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            server = await asyncio.get_running_loop().create_server(lambda: Handshake(self), sock=sock, backlog=512)
        except OSError as error:
            sock.close()
            raise HubError(
                f"The board hub cannot listen on port {port} of this machine: {error.strerror or error}. "
                "Free it, or set UCORE_PIPE_PORT to another one."
            ) from error
        port = sock.getsockname()[1]
        self.ports[port] = server
        return port

    def close(self) -> None:
        """Stop listening and drop everybody who has proved nothing yet."""
        for server in self.ports.values():
            server.close()
        for peer in list(self.unauthenticated):
            peer.transport.abort()


class Handshake(asyncio.Protocol):
    """A connection until its peer has proved that it knows the token."""

    def __init__(self, listener: Listener):
        self._listener = listener
        self._line = bytearray()
        self._nonce = os.urandom(16).hex()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # of a socket
        unauthenticated = self._listener.unauthenticated
        if len(unauthenticated) >= MAX_UNAUTHENTICATED:
            # The oldest: honest peers are done within a millisecond, so this never hits one.
            oldest = next(iter(unauthenticated))
            oldest._leave()
            oldest.transport.abort()
        unauthenticated[self] = None
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT_S, transport.abort)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.write(f"{handshake.GREETING}{self._nonce}\n".encode())

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def _leave(self) -> None:
        self._listener.unauthenticated.pop(self, None)
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._line += data
        line, newline, rest = self._line.partition(b"\n")
        if len(line) >= handshake.MAX_LINE_BYTES:
            self._refuse(UsageError(f"the first line must be shorter than {handshake.MAX_LINE_BYTES} bytes"))
        elif newline:
            try:
                request, peer = self._check(bytes(line))
            except UcoreError as error:
                self._refuse(error)
            else:
                self._admit(request, peer, bytes(rest))

    def _check(self, line: bytes) -> tuple[dict[str, Any], asyncio.Protocol]:
        """Return the request and the protocol that takes over. Raises UcoreError with a sentence for the peer."""
        try:
            request = json.loads(line)
            role, nonce, proof, pipe = request["role"], request["nonce"], request["proof"], request.get("pipe") or ""
            if not all(isinstance(text, str) for text in (role, nonce, proof, pipe)) or len(nonce) != 32:
                raise TypeError
            expected = handshake.peer_proof(self._listener.token, self._nonce, nonce, role, pipe)
            known = handshake.is_same(proof, expected)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UsageError("the first line must be a JSON object with role, nonce and proof") from None
        if not known:
            raise HubDeniedError("the proof does not fit this hub's token")
        if role == "client":
            return request, self._listener.make_client()
        if role == "reader":
            return request, _reader(pipe, request.get("board"), request.get("options") or [], request.get("kernel"))
        raise UsageError("role must be client or reader")

    def _refuse(self, error: UcoreError) -> None:
        _log.info("refused a connection: %s", error)
        answer = {"ok": False, "ename": type(error).__name__, "error": str(error)}
        self.transport.write(json.dumps(answer).encode() + b"\n")
        self.transport.close()

    def _admit(self, request: dict[str, Any], peer: asyncio.Protocol, rest: bytes) -> None:
        try:
            if isinstance(peer, Subscriber):
                self._listener.subscribe(peer)  # before the answer, so that nothing is missed after it
        except UcoreError as error:
            self._refuse(error)
            return
        self._leave()
        proof = handshake.hub_proof(self._listener.token, self._nonce, request["nonce"])
        self.transport.write(json.dumps({"ok": True, "proof": proof}).encode() + b"\n")
        self.transport.set_protocol(peer)
        peer.connection_made(self.transport)
        if rest:
            peer.data_received(rest)


def _reader(pipe: str, board: object, options: object, kernel: object) -> Subscriber:
    try:
        wire.check_name(pipe)
    except ValueError as error:
        raise PipeNameError(f"{pipe!r} is no pipe name: {error}") from None
    if board is not None and not isinstance(board, str):
        raise UsageError("board must be a name, a port or null")
    if kernel is not None and not isinstance(kernel, str):
        raise UsageError("kernel must be a str or null")
    if not isinstance(options, list) or not all(isinstance(option, str) and option in _OPTIONS for option in options):
        raise UsageError(f"this hub knows the options {', '.join(sorted(_OPTIONS))}, not {options}")
    return Subscriber(pipe, board, frozenset(options), kernel or "")
