"""The switchboard: a loop that passes Jupyter messages between front ends, the sub-kernel and the board hub.

Whatever it need not understand goes through as it came, frame by frame: comms, debugger, subshells, buffers, and what Jupyter
will invent. For itself it takes execute requests (they run one at a time, on whichever side), questions about board cells,
interrupts and the shutdown. One thread with a poller, not asyncio: a message passes twice as fast.
"""

import heapq
import itertools
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable

import zmq

from . import cells, introspection
from .attachment import Attachments
from .boardcell import BoardRun
from .boardtrace import Sources
from .envelope import Message, Signer
from .errors import UsageError
from .frontend import Frontend
from .lane import HostRun, Lane
from .subkernel import Subkernel, describe_exit

__all__ = ["Switchboard"]

# A loop turn takes this many messages from one socket, so that a flood on one does not starve the others.
MAX_BURST = 200
# How often the loop wakes up with nothing to do: to notice that the process which started us is gone.
IDLE_S = 1.0
# A sub-kernel that has acknowledged its shutdown is given this long to end: half of what a Jupyter server waits.
SHUTDOWN_S = 2.0
# The sub-kernel normally speaks first. One that has not after this long is asked whether its iopub reaches us.
PROBE_S = 1.0


class Switchboard:
    """One kernel. `run` returns when it has been shut down."""

    def __init__(self, connection: dict, connection_file: str, subkernel: Subkernel, attachments: Attachments):
        self.attachments = attachments
        self.subkernel = subkernel
        self.sources = Sources()
        self.asker: BoardRun | None = None  # the board cell that waits for the user's input
        self._connection, self._connection_file = connection, connection_file
        self._context = zmq.Context()
        self.signer = Signer(connection.get("key", ""), connection.get("signature_scheme", "hmac-sha256"))
        self.frontend = Frontend(self._context, connection, self.signer)
        self._poller = zmq.Poller()
        self._readers: dict = {}  # socket or file descriptor -> what to do when it is readable
        self._posted: deque[Callable] = deque()
        self._timers: list = []
        self._timer_numbers = itertools.count()
        self._lanes: dict[str | None, Lane] = {None: Lane(self, self._make_run)}
        self._subshells: set[str] = set()
        self._pending: dict[str, Message] = {}  # requests passed on to the sub-kernel and not answered yet
        self._ignored: dict[str, set[str]] = {}  # request -> what the sub-kernel still says about it that nobody wants
        self._held: list | None = []  # messages for a sub-kernel that is not ready; None: it is
        self._restarted = False
        self._introduced = False
        self._shutdown: Message | None = None
        self._exit_code: int | None = None
        self._bell, self._ear = socket.socketpair()
        self._parent_pid = os.getppid() if os.environ.get("JPY_PARENT_PID", "") == str(os.getppid()) else 0

    # --- the loop -----------------------------------------------------------------------------------

    def run(self) -> int:
        """Pass messages until the kernel is shut down. Returns the process's exit code."""
        self._listen_to_signals()
        for sock, receive in (
            (self.frontend.control, self._from_control),
            (self.frontend.shell, self._from_shell),
            (self.frontend.stdin, self._from_stdin),
        ):
            self._add(sock, self._reader(sock, receive))
        self._add(self.frontend.heartbeat, self._raw_reader(self.frontend.heartbeat, self.frontend.heartbeat.send_multipart))
        self._add(self.frontend.iopub, self._raw_reader(self.frontend.iopub, lambda frames: self.frontend.welcome(frames[0])))
        self._add(self._ear.fileno(), self._hear_bell)
        self._connect_subkernel()
        self.attachments.start(self.post, self._add, self._remove)
        try:
            while self._exit_code is None:
                for source, _ in self._poller.poll(self._until_next_timer()):
                    self._readers.get(source, int)()
                self._run_timers()
                if self._parent_pid and os.getppid() != self._parent_pid:
                    self._exit_code = 1  # the server that started us is gone
        finally:
            self._close()
        return self._exit_code

    def _close(self) -> None:
        self.subkernel.close()
        self.attachments.close()
        self.frontend.close()
        self._context.term()

    def post(self, action: Callable) -> None:
        """Run ``action()`` in the loop. For other threads and signal handlers."""
        self._posted.append(action)
        self._ring()

    def _ring(self) -> None:
        try:
            self._bell.send(b"x", getattr(socket, "MSG_DONTWAIT", 0))
        except BlockingIOError:
            pass  # it is ringing already

    def _hear_bell(self) -> None:
        self._ear.recv(4096)
        while self._posted:
            self._guard(self._posted.popleft())

    def call_later(self, seconds: float, action: Callable) -> None:
        """Run ``action()`` in the loop after that time."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._timer_numbers), action))

    def _until_next_timer(self) -> float:
        """Return the milliseconds that the poller may wait."""
        if not self._timers:
            return IDLE_S * 1000
        return min(IDLE_S, max(0.0, self._timers[0][0] - time.monotonic())) * 1000

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._guard(heapq.heappop(self._timers)[2])

    def _add(self, source, read: Callable) -> None:
        self._readers[source] = read
        self._poller.register(source, zmq.POLLIN)

    def _remove(self, source) -> None:
        if self._readers.pop(source, None) is not None:
            self._poller.unregister(source)

    def _reader(self, sock: zmq.Socket, receive: Callable[[Message], None]) -> Callable:
        """Return what takes the waiting Jupyter messages from a socket."""
        return self._raw_reader(sock, lambda frames: receive(Message(frames)))

    def _raw_reader(self, sock: zmq.Socket, receive: Callable[[list], None]) -> Callable:
        def read() -> None:
            for _ in range(MAX_BURST):
                try:
                    frames = sock.recv_multipart(zmq.NOBLOCK)
                except zmq.ZMQError:
                    return  # nothing more; or closed meanwhile, with its sub-kernel
                self._guard(receive, frames)

        return read

    def _guard(self, action: Callable, *arguments) -> None:
        """Call; a mistake in handling one message must not end the kernel."""
        try:
            action(*arguments)
        except Exception:
            print("ukernel.switchboard: a message could not be handled", file=sys.stderr)
            traceback.print_exc()

    def _listen_to_signals(self) -> None:
        def end(*_) -> None:
            self._exit_code = 0
            self._ring()

        signal.signal(signal.SIGTERM, end)
        # A front end that sends the signal although the kernelspec asks for a message, or Ctrl-C in a terminal.
        signal.signal(signal.SIGINT, lambda *_: self.post(self._interrupt))
        if sys.platform == "win32" and os.environ.get("JPY_PARENT_PID"):
            from ipykernel.parentpoller import ParentPollerWindows

            ParentPollerWindows(0, int(os.environ["JPY_PARENT_PID"])).start()

    # --- from the front end ---------------------------------------------------------------------------

    def receive_requests(self) -> None:
        """Take in what front ends have sent on the shell channel up to now."""
        self._readers[self.frontend.shell]()

    def _from_shell(self, message: Message) -> None:
        if not self.signer.accepts(message):
            print(f"ukernel.switchboard: dropped a {message.type} with a bad signature", file=sys.stderr)
            return
        subshell = message.subshell
        if subshell is not None and subshell not in self._subshells:
            self._refuse_subshell(message)
        elif message.type == "execute_request":
            self._lane(subshell).add(message)
        elif message.type in introspection.ANSWERS and cells.is_board_cell(message.content.get("code", "")):
            introspection.ANSWERS[message.type](self, message)
        else:
            self.send_to_subkernel("shell", message)

    def _from_control(self, message: Message) -> None:
        if not self.signer.accepts(message):
            print(f"ukernel.switchboard: dropped a {message.type} with a bad signature", file=sys.stderr)
            return
        if message.type == "interrupt_request":
            self._interrupt()
            self.frontend.answer(message, {"status": "ok"}, control=True)
        elif message.type == "shutdown_request":
            self._shut_down(message)
        else:
            self.send_to_subkernel("control", message)

    def _from_stdin(self, message: Message) -> None:
        if self.asker is None:
            self.send_to_subkernel("stdin", message)
        elif self.signer.accepts(message):
            self.asker.answer_input(message.content.get("value", ""))

    def _lane(self, subshell: "str | None") -> Lane:
        return self._lanes.setdefault(subshell, Lane(self, self._make_run))

    def _make_run(self, request: Message, lane: Lane) -> "HostRun | BoardRun":
        try:
            cell = cells.parse(request.content.get("code", ""))
        except UsageError:
            cell = None  # the magic says in the sub-kernel what is wrong with its line
        return HostRun(self, request, lane) if cell is None else BoardRun(self, request, lane, cell)

    def _refuse_subshell(self, message: Message) -> None:
        text = f"There is no subshell {message.subshell!r}: it was deleted, or it ended with the Python process it belonged to."
        content = {"status": "error", "ename": "UnknownSubshellError", "evalue": text, "traceback": []}
        if message.type.startswith("comm_") and not message.type.endswith("_request"):
            self.frontend.status("busy", message)
            self.frontend.status("idle", message)
        else:
            self.frontend.answer(message, content)

    def _interrupt(self) -> None:
        runs = [lane.running for lane in self._lanes.values() if lane.running is not None]
        board_runs = [run for run in runs if isinstance(run, BoardRun)]
        for run in board_runs:
            run.interrupt()
        # With no cell at all it may still be busy with a comm message; when it is idle, it ignores the signal.
        if self._held is None and len(board_runs) == len(runs) == 0 or len(board_runs) < len(runs):
            self.subkernel.interrupt()

    def _shut_down(self, request: Message) -> None:
        self._shutdown = request
        if self._held is None:
            self.subkernel.send("control", request.frames)
            self.call_later(SHUTDOWN_S, self.subkernel.kill)
        else:
            self.subkernel.kill()

    # --- to and from the sub-kernel -----------------------------------------------------------------------

    def send_to_subkernel(self, channel: str, message: Message) -> None:
        """Pass a message on as it is; one that comes before the sub-kernel is ready waits."""
        if message.type.endswith("_request") and message.type != "execute_request":
            self._pending[message.id] = message
        if self._held is None:
            self.subkernel.send(channel, message.frames)
        else:
            self._held.append((channel, message))

    def _connect_subkernel(self) -> None:
        subkernel = self.subkernel
        subkernel.connect(self._context)
        for channel, receive in (
            ("iopub", self._from_iopub),
            ("shell", self._to_shell),
            ("control", self._to_control),
            ("stdin", self._to_stdin),
        ):
            self._add(subkernel.sockets[channel], self._reader(subkernel.sockets[channel], receive))
        subkernel.watch(lambda ended: self.post(lambda: self._lose_subkernel(ended)))
        self.call_later(PROBE_S, lambda: self._probe(subkernel))

    def _probe(self, subkernel: Subkernel) -> None:
        if subkernel is self.subkernel and self._held is not None:
            subkernel.send("control", self.signer.make("kernel_info_request", {}, idents=[b"probe"]))
            self.call_later(PROBE_S, lambda: self._probe(subkernel))

    def _from_iopub(self, message: Message) -> None:
        kind = message.type
        if self._held is not None:
            held, self._held = self._held, None
            for channel, waiting in held:
                self.subkernel.send(channel, waiting.frames)
        if kind == "status":
            self._pass_status(message)
        elif kind == "execute_input":
            run = self._find_run(message)
            if run is not None:
                run.take_input(message)
            else:
                self.frontend.iopub.send_multipart(message.frames)
        elif kind != "iopub_welcome":  # that one was for us; the front end gets its own
            self.frontend.iopub.send_multipart(message.frames)

    def _pass_status(self, message: Message) -> None:
        state = message.content.get("execution_state")
        if state == "starting":
            self._hide_subkernel(self.subkernel)
            if self._restarted:
                return  # for the front end, the kernel never stopped
        if message.parent.get("session") == self.signer.session or self._is_ignored(message, state):
            return
        run = self._find_run(message)
        if run is not None:
            run.take_status(message)
            return
        self.frontend.iopub.send_multipart(message.frames)
        if state == "idle" and message.parent.get("subshell_id") is None:
            # The end of a comm message in mid board cell; the kernel's indicator is to go on saying busy.
            running = self._lanes[None].running
            if isinstance(running, BoardRun):
                self.frontend.status("busy", running.request)

    def _hide_subkernel(self, subkernel: Subkernel) -> None:
        if subkernel is self.subkernel and not subkernel.hide():
            self.call_later(0.1, lambda: self._hide_subkernel(subkernel))

    def _find_run(self, message: Message):
        request_id = message.parent.get("msg_id")
        for lane in self._lanes.values():
            if lane.running is not None and lane.running.request.id == request_id:
                return lane.running
        return None

    def ignore_subkernel(self, request: Message, *, reply: bool, idle: bool) -> None:
        """Keep back what the sub-kernel still owes for a cell that is over: its reply, its idle status."""
        owed = {kind for kind, wanted in (("reply", reply), ("idle", idle)) if wanted}
        if owed:
            self._ignored[request.id] = owed

    def _is_ignored(self, message: Message, kind: "str | None") -> bool:
        request_id = message.parent.get("msg_id", "")
        owed = self._ignored.get(request_id)
        if not owed or kind not in owed:
            return False
        owed.discard(kind)
        if not owed:
            del self._ignored[request_id]
        return True

    def _to_shell(self, message: Message) -> None:
        if message.type == "execute_reply":
            run = self._find_run(message)
            if run is not None:
                run.take_reply(message)
            elif not self._is_ignored(message, "reply"):
                self.frontend.shell.send_multipart(message.frames)
            return
        self._pending.pop(message.parent.get("msg_id"), None)
        self.frontend.shell.send_multipart(self._with_banner(message))

    def _to_control(self, message: Message) -> None:
        request = self._pending.pop(message.parent.get("msg_id"), None)
        if message.parent.get("session") == self.signer.session:
            return  # the answer to our probe
        if message.type == "create_subshell_reply" and message.content.get("subshell_id"):
            self._subshells.add(message.content["subshell_id"])
        elif message.type == "delete_subshell_reply" and request and message.content.get("status") == "ok":
            self._subshells.discard(request.content.get("subshell_id"))
        elif message.type == "shutdown_reply":
            self._shutdown_answered = True
        self.frontend.control.send_multipart(self._with_banner(message))

    def _to_stdin(self, message: Message) -> None:
        self.asker = None
        self.frontend.stdin.send_multipart(message.frames)

    def _with_banner(self, message: Message) -> list[bytes]:
        if message.type != "kernel_info_reply" or "banner" not in message.content:
            return message.frames
        banner = f"{self.attachments.banner}\n{message.content['banner']}"
        return self.signer.with_content(message, {**message.content, "banner": banner})

    def introduce_board(self, run: BoardRun) -> None:
        """Say below the first board cell what runs it, if that is not a real MicroPython."""
        if not self._introduced:
            self._introduced = True
            notice = self.attachments.notice
            if notice:
                run.tell(notice + "\n")

    # --- the sub-kernel's end -------------------------------------------------------------------------------

    def _lose_subkernel(self, ended: Subkernel) -> None:
        if ended is not self.subkernel:
            return
        for channel in ("iopub", "shell", "control", "stdin"):
            self._readers[ended.sockets[channel]]()  # its last words
        status = ended.exit_status or 0
        if self._shutdown is not None:
            if not self._shutdown_answered:
                content = {"status": "ok", "restart": self._shutdown.content.get("restart", False)}
                self.frontend.reply(self._shutdown, content, control=True)
            self._exit_code = 0
            return
        if self._held is not None:
            print(f"ukernel: the Python process ended {describe_exit(status)} before it was ready.", file=sys.stderr)
            self._exit_code = 1
            return
        for channel in ended.sockets:
            self._remove(ended.sockets[channel])
        ended.close()
        self._replace_subkernel(status)

    def _replace_subkernel(self, status: int) -> None:
        self._held, self._restarted = [], True
        self._subshells.clear()
        self._ignored.clear()
        self.subkernel = Subkernel(self._connection, self._connection_file)
        self._connect_subkernel()
        text = (
            f"The Python process of this notebook ended {describe_exit(status)}. "
            "A new one has been started: its variables are gone. The board was not touched."
        )
        error = {"ename": "PythonExited", "evalue": text, "traceback": [f"\x1b[0;31mPythonExited\x1b[0m: {text}"]}
        pending, self._pending = self._pending, {}
        for request in pending.values():
            self.frontend.reply(request, {"status": "error", **error})
            self.frontend.status("idle", request)
        for subshell, lane in list(self._lanes.items()):
            if lane.running is not None:
                lane.running.lose_subkernel(error)
            if subshell is not None and lane.running is None:
                del self._lanes[subshell]

    _shutdown_answered = False
