"""The sockets that Jupyter front ends talk to, bound as the connection file says, and what the kernel itself says on them."""

import contextlib
import os
from typing import Any

import zmq

from .messages import Message, MessageSigner

__all__ = ["Frontend"]

# What waits for a slow subscriber. Beyond it libzmq drops the newest, as it does for every kernel (ipykernel: 1,000).
MAX_IOPUB_WAITING = 20_000
# How long a last reply may take to leave after the kernel has ended.
LINGER_MS = 1000


class Frontend:
    """Five bound sockets. CurveZMQ, where the connection file has keys for it, ends here."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], connection: dict[str, Any], signer: MessageSigner):
        self._signer = signer
        self._topic = f"kernel.{signer.session}.".encode()
        self._connection = connection
        self._paths: list[str] = []  # of Unix sockets
        self.shell = self._bind(context, zmq.ROUTER, "shell")
        self.control = self._bind(context, zmq.ROUTER, "control")
        self.stdin = self._bind(context, zmq.ROUTER, "stdin")
        self.heartbeat = self._bind(context, zmq.ROUTER, "hb")
        self.iopub = self._bind(context, zmq.XPUB, "iopub")

    def _bind(self, context: zmq.Context[zmq.Socket[bytes]], kind: int, channel: str) -> zmq.Socket[bytes]:
        info = self._connection
        sock = context.socket(kind)
        sock.linger = LINGER_MS
        if kind == zmq.XPUB:
            sock.xpub_verbose = True  # a second subscriber is welcomed as the first one is
            sock.sndhwm = MAX_IOPUB_WAITING
        else:
            sock.sndhwm = sock.rcvhwm = 0  # a reply is never dropped
            sock.router_handover = True  # a front end that reconnects under its old id gets its replies
        if info.get("curve_secretkey"):
            sock.curve_secretkey = info["curve_secretkey"].encode()
            sock.curve_publickey = info["curve_publickey"].encode()
            sock.curve_server = True
        separator = "-" if info.get("transport") == "ipc" else ":"
        address = f"{info['ip']}{separator}{info[channel + '_port']}"
        sock.bind(f"{info.get('transport', 'tcp')}://{address}")
        if separator == "-":
            self._paths.append(address)
        return sock

    def publish(self, msg_type: str, content: dict[str, Any], parent: bytes = b"{}") -> None:
        """Publish on iopub; ``parent`` is the header frame of the request that this belongs to."""
        topic = b"stream." + content["name"].encode() if msg_type == "stream" else self._topic + msg_type.encode()
        self.iopub.send_multipart(self._signer.make(msg_type, content, parent=parent, idents=[topic]))

    def status(self, state: str, request: Message) -> None:
        self.publish("status", {"execution_state": state}, request.header_frame)

    def reply(
        self, request: Message, content: dict[str, Any], *, control: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        """Answer a request on the channel it came from."""
        msg_type = request.type.removesuffix("_request") + "_reply"
        frames = self._signer.make(
            msg_type, content, parent=request.header_frame, idents=request.idents, metadata=metadata or {}
        )
        (self.control if control else self.shell).send_multipart(frames)

    def reply_with_status(self, request: Message, content: dict[str, Any], *, control: bool = False) -> None:
        """Answer a request of which nothing was said before: busy, the reply, idle."""
        self.status("busy", request)
        self.reply(request, content, control=control)
        self.status("idle", request)

    def ask(self, request: Message, prompt: str, password: bool) -> None:
        """Ask the front end that sent the request for a line of input."""
        content = {"prompt": prompt, "password": password}
        frames = self._signer.make("input_request", content, parent=request.header_frame, idents=request.idents)
        self.stdin.send_multipart(frames)

    def welcome(self, subscription: bytes) -> None:
        """Answer what the iopub socket received: a subscription is greeted, the end of one is not."""
        if subscription[:1] != b"\x01":
            return
        topic = subscription[1:]
        content = {"subscription": topic.decode("utf-8", "replace")}
        self.iopub.send_multipart(self._signer.make("iopub_welcome", content, idents=[topic] if topic else []))

    def close(self) -> None:
        for sock in (self.shell, self.control, self.stdin, self.heartbeat, self.iopub):
            sock.close()
        for path in self._paths:  # ZeroMQ leaves a Unix socket's file there
            with contextlib.suppress(OSError):
                os.unlink(path)
