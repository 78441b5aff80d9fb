"""The hub's door and its pipe readers: handshake, and one opening of a pipe fanned out to all who read it.

Everything here runs in the hub's event loop. A batch is encoded once for each way of reading and the bytes are shared;
nothing looks at single frames. Every queue has a bound, and what happens at the bound is told, never hidden.
"""

import asyncio
import json
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable

from ucore import wire

from . import advert
from .errors import HubDeniedError, HubError, PipeNameError, UcoreError, UsageError

__all__ = ["Listener", "Opening", "Reader"]

MAX_STRANGERS = 256  # connections that have proved nothing yet; beyond it the oldest makes room
HANDSHAKE_TIMEOUT_S = 5.0  # a peer on the same machine needs a millisecond, a forwarded port less than a second
MAX_QUEUE_BYTES = 8 << 20  # what the hub holds back for one reader: two minutes of a 921600 baud line
_ENTRY_BYTES = 64  # what a queue entry costs beside its bytes, so that tiny batches are bounded too
_TRANSPORT_BYTES = 1 << 16  # what asyncio may hold of one reader before our own, shared queue takes over
_OPTIONS = {"notices", "batches"}

_log = logging.getLogger("ukernel.hub")
_BATCH = struct.Struct("<IHI")
_NUMBERS = 0xFFFFFFFF  # frame numbers have 32 bits on the line; the hub's totals go on counting


class Listener:
    """Listening sockets on the loopback interface, and the handshake on whatever comes in.

    A client goes on with the protocol that ``make_client`` returns; a reader is handed to ``subscribe``, which may refuse
    it with a UcoreError.
    """

    def __init__(self, token: str, make_client: Callable[[], asyncio.Protocol], subscribe: "Callable[[Reader], None]"):
        self.token = token
        self.make_client = make_client
        self.subscribe = subscribe
        self.ports: dict[int, asyncio.Server] = {}
        self.strangers: dict[_Door, None] = {}  # in order of arrival

    async def listen(self, port: int = 0) -> int:
        """Listen on ``port`` (0: any) of 127.0.0.1 and return it. Raises HubError if it is taken."""
        if port in self.ports:
            return port
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if os.name == "nt":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                # Takes a port back that has old connections dying on it, never one that somebody listens on.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            server = await asyncio.get_running_loop().create_server(lambda: _Door(self), sock=sock, backlog=512)
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
        for door in list(self.strangers):
            door.transport.abort()


class _Door(asyncio.Protocol):
    """A connection until its peer has proved that it knows the token."""

    def __init__(self, listener: Listener):
        self._listener = listener
        self._line = bytearray()
        self._nonce = os.urandom(16).hex()

    def connection_made(self, transport):
        self.transport = transport
        strangers = self._listener.strangers
        if len(strangers) >= MAX_STRANGERS:
            # The oldest: honest peers stay strangers for a millisecond, so this never hits one.
            oldest = next(iter(strangers))
            oldest._leave()
            oldest.transport.abort()
        strangers[self] = None
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT_S, transport.abort)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.write(f"{advert.GREETING}{self._nonce}\n".encode())

    def connection_lost(self, error):
        self._leave()

    def _leave(self) -> None:
        self._listener.strangers.pop(self, None)
        self._timer.cancel()

    def data_received(self, data):
        if self.transport.is_closing():
            return None
        self._line += data
        line, newline, rest = self._line.partition(b"\n")
        if len(line) >= advert.MAX_LINE:
            return self._refuse(UsageError(f"the first line must be shorter than {advert.MAX_LINE} bytes"))
        if newline:
            try:
                request, peer = self._check(bytes(line))
            except UcoreError as error:
                return self._refuse(error)
            self._admit(request, peer, bytes(rest))
        return None

    def _check(self, line: bytes) -> "tuple[dict, asyncio.Protocol]":
        """Return the request and the protocol that takes over. Raises UcoreError with a sentence for the peer."""
        try:
            request = json.loads(line)
            role, nonce, proof, pipe = request["role"], request["nonce"], request["proof"], request.get("pipe") or ""
            if not all(isinstance(text, str) for text in (role, nonce, proof, pipe)) or len(nonce) != 32:
                raise TypeError
            expected = advert.peer_proof(self._listener.token, self._nonce, nonce, role, pipe)
            known = advert.is_same(proof, expected)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UsageError("the first line must be a JSON object with role, nonce and proof") from None
        if not known:
            raise HubDeniedError("the proof does not fit this hub's token")
        if role == "client":
            return request, self._listener.make_client()
        if role == "reader":
            return request, _reader(pipe, request.get("board"), request.get("options") or [])
        raise UsageError("role must be client or reader")

    def _refuse(self, error: UcoreError) -> None:
        _log.info("refused a connection: %s", error)
        answer = {"ok": False, "ename": type(error).__name__, "error": str(error)}
        self.transport.write(json.dumps(answer).encode() + b"\n")
        self.transport.close()

    def _admit(self, request: dict, peer: asyncio.Protocol, rest: bytes) -> None:
        try:
            if isinstance(peer, Reader):
                self._listener.subscribe(peer)  # before the answer, so that nothing is missed after it
        except UcoreError as error:
            return self._refuse(error)
        self._leave()
        proof = advert.hub_proof(self._listener.token, self._nonce, request["nonce"])
        self.transport.write(json.dumps({"ok": True, "proof": proof}).encode() + b"\n")
        self.transport.set_protocol(peer)
        peer.connection_made(self.transport)
        if rest:
            peer.data_received(rest)
        return None


def _reader(pipe: str, board: object, options: object) -> "Reader":
    try:
        wire.check_name(pipe)
    except ValueError as error:
        raise PipeNameError(f"{pipe!r} is no pipe name: {error}") from None
    if board is not None and not isinstance(board, str):
        raise UsageError("board must be a name, a port or null")
    if not isinstance(options, list) or not all(isinstance(option, str) and option in _OPTIONS for option in options):
        raise UsageError(f"this hub knows the options {', '.join(sorted(_OPTIONS))}, not {options}")
    return Reader(pipe, board, notices=bool(options), batches="batches" in options)


class Reader(asyncio.Protocol):
    """One peer that reads one opening of a pipe, at its own pace."""

    def __init__(self, pipe: str, board: "str | None", notices: bool, batches: bool):
        self.pipe = pipe
        self.board = board
        self.notices = notices
        self.batches = batches
        self.opening: Opening | None = None
        self.on_lost: Callable[[Reader], None] = lambda reader: None
        self._transport: asyncio.Transport | None = None
        self._queue: deque[bytes] = deque()
        self._queued = 0  # bytes, with what the entries cost
        self._missed = 0  # frames dropped since the queue was full, not told yet
        self._paused = True  # until the handshake is answered
        self._ending = False

    def connection_made(self, transport):
        self._transport = transport
        transport.set_write_buffer_limits(high=_TRANSPORT_BYTES)
        self.resume_writing()

    def connection_lost(self, error):
        self._queue.clear()
        self._transport = None
        self._ending = True
        self.on_lost(self)

    def pause_writing(self):
        self._paused = True

    def resume_writing(self):
        self._paused = False
        while self._queue and not self._paused:
            data = self._queue.popleft()
            self._queued -= len(data) + _ENTRY_BYTES
            self._transport.write(data)
        # Half empty before going on: one long gap with one notice instead of many short ones.
        if self._missed and self._queued <= MAX_QUEUE_BYTES // 2:
            self._tell_missed()
        if self._ending and not self._queue and not self._paused:
            self._transport.close()

    def feed(self, data: bytes, frames: int) -> None:
        """Send encoded frames, now or later; where there is no room, cut the reader off or count what it misses."""
        if self._ending:
            return
        if not self._paused:
            self._transport.write(data)
        elif not self._missed and self._queued + len(data) + _ENTRY_BYTES <= MAX_QUEUE_BYTES:
            self._put(data)
        elif self.notices:
            self._missed += frames
        else:
            self.cut()

    def notice(self, content: dict) -> None:
        """Tell a reader that asked for notices."""
        if self.notices and not self._ending:
            self._put(_notice(content))

    def end(self, reason: str, frames: int) -> None:
        """Say why the pipe ended, and close once everything before that is out."""
        if self._ending:
            return
        if self._missed:
            self._tell_missed()
        self.notice({"end": reason, "frames": frames})
        self._ending = True
        if self._transport is not None and not self._queue:
            self._transport.close()

    def cut(self) -> None:
        """Break the connection with a reset: a reader that cannot be told must not take a gap for a clean end."""
        self._ending = True
        self._queue.clear()
        if self._transport is not None:
            linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()

    def _tell_missed(self) -> None:
        missed, self._missed = self._missed, 0
        self.notice({"lost": missed, "cause": "reader"})

    def _put(self, data: bytes) -> None:
        # Notices pass the bound: they are few and small, and leaving one out would be a lie.
        if self._paused:
            self._queue.append(data)
            self._queued += len(data) + _ENTRY_BYTES
        else:
            self._transport.write(data)


class Opening:
    """One opening of a pipe on one board, and its readers. A pipe opened again is another opening."""

    def __init__(self, board: str, name: str, generation: int, number: int = 0):
        self.board = board
        self.name = name
        self.generation = generation
        self.frames = number  # written by the board so far, lost ones included: the number of the next frame
        self.lost = {"board": 0, "no_listener": 0}  # never reached the hub: no room on the board, no hub to send to
        self.unread = 0  # reached the hub, and nobody read
        self.readers: list[Reader] = []
        # A replay buffer has its place here: `batch` would also append to it, `join` feed it to the reader first.

    def join(self, reader: Reader) -> None:
        """Feed ``reader`` from here on."""
        self.readers.append(reader)
        reader.opening = self
        # What went by before is no loss of this reader's: it is told once, here, as `unread`.
        here = {"name": self.name, "board": self.board, "generation": self.generation, "number": self.frames & _NUMBERS}
        reader.notice({"open": {**here, "unread": self.unread}})

    def leave(self, reader: Reader) -> None:
        """Forget ``reader``."""
        if reader in self.readers:
            self.readers.remove(reader)

    def batch(self, number: int, size: int, data: bytes) -> None:
        """Pass on equal-sized frames: ``data`` holds them end to end, ``number`` is the first one's.

        What is missing before it was lost on the board; what has been seen, after a broken session, is left out.
        """
        ahead = self.catch_up(number)
        if ahead < 0:
            if not size or -ahead * size >= len(data):
                return
            data, number = data[-ahead * size :], (number - ahead) & _NUMBERS
        count = len(data) // size if size else 1
        self.frames += count
        if not self.readers:
            self.unread += count
            return
        plain = batch = None
        for reader in tuple(self.readers):  # a reader that is cut off leaves the list
            if reader.batches and size:
                batch = batch or encode_batch(number, size, data)
                reader.feed(batch, count)
            else:
                plain = plain or encode_plain(size, data)
                reader.feed(plain, count)

    def catch_up(self, number: int, cause: str = "board") -> int:
        """Count as lost what is missing before frame ``number``; return how far ahead it was, negative for the past."""
        ahead = (number - self.frames) & _NUMBERS
        if ahead > _NUMBERS // 2:
            return ahead - _NUMBERS - 1
        if ahead:
            self.frames += ahead
            self.lost[cause] += ahead
            for reader in self.readers:
                reader.notice({"lost": ahead, "cause": cause})
        return ahead

    def end(self, reason: str) -> None:
        """Let the readers go, with the reason."""
        readers, self.readers = self.readers, []
        for reader in readers:
            reader.end(reason, self.frames)

    def as_dict(self, is_open: bool = True) -> dict:
        """Return what `pipes_reply` says about it."""
        return {
            "name": self.name,
            "board": self.board,
            "generation": self.generation,
            "frames": self.frames,
            "lost": dict(self.lost),
            "unread": self.unread,
            "readers": len(self.readers),
            "open": is_open,
        }


def encode_plain(size: int, data: bytes) -> bytes:
    """Return equal-sized frames, each with its length in four bytes before it."""
    if not size or size == len(data):
        return size.to_bytes(4, "little") + data
    head, count, step = size.to_bytes(4, "little"), len(data) // size, size + 4
    if count < step:
        return b"".join([head + data[i : i + size] for i in range(0, len(data), size)])
    # Many small frames: a column of bytes at a time, so that the loop is over a frame's width, not over the frames.
    out = bytearray(count * step)
    for column in range(4):
        if head[column]:
            out[column::step] = head[column : column + 1] * count
    for column in range(size):
        out[column + 4 :: step] = data[column::size]
    return bytes(out)


def encode_batch(number: int, size: int, data: bytes) -> bytes:
    """Return a batch notice: the word, size of an item, number of the first frame, items."""
    return _BATCH.pack(0x82000000 | len(data) + 6, size, number) + data


def _notice(content: dict) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    return (0x81000000 | len(body)).to_bytes(4, "little") + body
