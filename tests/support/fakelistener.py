"""A pipe listener that says exactly what a test wants, byte for byte, after an honest handshake."""

import itertools
import json
import math
import os
import queue
import socket
import struct
import threading
import time

from ukernel.protocol import handshake, statefile

WAIT_S = 10.0


# What a hub says of a pipe, but for its name.
PIPE_STATE = {
    "board": "fake",
    "frames": 0,
    "readers": 0,
    "lost": {},
    "open": True,
    "held": 0,
    "ended": "",
    "frames_per_s": 0.0,
    "bytes_per_s": 0.0,
}


class Feed:
    """One reader's connection, as the hub sees it."""

    def __init__(self, connection: socket.socket, request: dict):
        self.connection = connection
        self.request = request

    def raw(self, data: bytes) -> None:
        self.connection.sendall(data)

    def frame(self, *chunks: bytes) -> None:
        self.raw(b"".join(struct.pack("<I", len(chunk)) + chunk for chunk in chunks))

    def floats(self, *values: float) -> None:
        self.frame(*floats(*values))

    def batch(self, *chunks: bytes, number: int = 0, size: "int | None" = None) -> None:
        self.raw(batch(*chunks, number=number, size=size))

    def timed(self, *chunks: bytes, times: "tuple[float, float, float]", number: int = 0) -> None:
        """A batch with the times of its first and its last frame, and their error."""
        body = struct.pack("<HIddd", len(chunks[0]), number, *times) + b"".join(chunks)
        self.raw(struct.pack("<I", 0x8300_0000 | len(body)) + body)

    def notice(self, **content) -> None:
        self.raw(notice(**content))

    def opened(self) -> None:
        self.notice(open={"name": self.request["pipe"], "board": "fake", "generation": 1, "number": 0})

    def end(self, reason: str = "closed") -> None:
        self.notice(end=reason, frames=0)
        self.hang_up()

    def hang_up(self) -> None:
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.connection.close()


def batch(*chunks: bytes, number: int = 0, size: "int | None" = None) -> bytes:
    """A batch of chunks of one size; with `size` they may come joined."""
    body = struct.pack("<HI", size or len(chunks[0]), number) + b"".join(chunks)
    return struct.pack("<I", 0x8200_0000 | len(body)) + body


def floats(*values: float) -> "list[bytes]":
    """These values as chunks, one each."""
    return [struct.pack("<f", value) for value in values]


def notice(**content) -> bytes:
    body = json.dumps(content).encode()
    return struct.pack("<I", 0x8100_0000 | len(body)) + body


class FakeListener:
    """Listens, and advertises itself as a hub in `state_path`.

    `script(feed)` serves each reader, in a thread of its own; without a script readers wait in `feeds`.
    """

    def __init__(self, state_path):
        self.script = None
        self.feeds: queue.Queue = queue.Queue()
        self.pipes: list = []
        self.token = os.urandom(32).hex()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open: list = []
        self._state_file = statefile.StateFile(state_path)
        assert self._state_file.acquire()
        self._state_file.write(statefile.HubInfo(os.getpid(), "127.0.0.1", self.port, self.token, "fake"))
        threading.Thread(target=self._accept, daemon=True).start()

    def feed(self) -> Feed:
        return self.feeds.get(timeout=WAIT_S)

    def serve(self, *values: float, end: "str | None" = "closed") -> None:
        """Let every reader have these floats, then the end."""

        def script(feed: Feed) -> None:
            feed.opened()
            feed.floats(*values)
            if end:
                feed.end(end)

        self.script = script

    def hang_up(self) -> None:
        """Forget the script, and end every connection."""
        self.script = None
        while self._open:
            self._open.pop().close()

    def close(self) -> None:
        self._socket.close()
        self.hang_up()
        self._state_file.remove()
        self._state_file.release()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        nonce = os.urandom(16).hex()
        connection.sendall(f"{handshake.GREETING}{nonce}\n".encode())
        with connection.makefile("rb") as lines:
            try:
                request = json.loads(lines.readline().decode())
            except ValueError:
                connection.close()  # a stranger's: a ZMQ client comes back to a port that once was its kernel's
                return
            proof = handshake.peer_proof(self.token, nonce, request["nonce"], request["role"], request.get("pipe") or "")
            assert handshake.is_same(request["proof"], proof)
            answer = {"ok": True, "proof": handshake.hub_proof(self.token, nonce, request["nonce"])}
            connection.sendall(json.dumps(answer).encode() + b"\n")
            if request["role"] == "client":
                self._answer(connection, lines)
                return
        feed = Feed(connection, request)
        try:
            if self.script:
                self.script(feed)
            else:
                self.feeds.put(feed)
        except OSError:
            pass  # the reader has left: its right

    def _answer(self, connection: socket.socket, lines) -> None:
        for line in lines:
            message = json.loads(line)
            content = {"pipes": self.pipes}
            if message["type"] != "pipes_request":
                content = {"status": "error", "ename": "UcoreError", "evalue": f"a fake has no answer to {message['type']}"}
            reply = {"type": f"{message['type']}_reply", "parent": message["id"], "content": content}
            connection.sendall(json.dumps(reply).encode() + b"\n")


def sine(feed):
    """A producer that never ends: 1 kHz, a slow sine."""
    feed.opened()
    for i in itertools.count(step=10):
        feed.floats(*(math.sin(j / 30) for j in range(i, i + 10)))
        time.sleep(0.01)


def constant(*values, end=None, opened=True):
    """A producer of a few values."""

    def script(feed):
        if opened:
            feed.opened()
        feed.floats(*values)
        if end:
            feed.end(end)

    return script
