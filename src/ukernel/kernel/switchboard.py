"""The switchboard: a loop that passes Jupyter messages between front ends, the sub-kernel and the board hub.

Whatever it need not understand goes through as it came, frame by frame: comms, debugger, subshells, buffers, and what Jupyter
will invent. For itself it takes execute requests (they run one at a time, on whichever side), questions about board cells,
interrupts and the shutdown.
"""

import os
import signal
import sys
from collections.abc import Callable

import zmq

from ukernel.errors import UsageError, describe

from . import cellmagic, introspection
from .boardconnection import BoardConnections
from .boardexecution import BoardExecution
from .executequeue import ExecuteQueue, HostExecution
from .frontend import Frontend
from .history import CellHistory
from .loop import Loop
from .magicrequests import REQUEST, MagicRequests
from .messages import Message, MessageSigner
from .subkernel import CHANNELS, Subkernel, describe_exit

__all__ = ["Switchboard"]

# A sub-kernel that was asked to shut down is given this long to end, less than half of what a Jupyter server waits.
SHUTDOWN_S = 2.0
# A cell may go on for this long before the request goes in all the same: ipykernel then ends what the cell has started.
LAST_CELL_S = 1.5
# The sub-kernel normally speaks first. One that has not after this long is asked whether its iopub reaches us.
PROBE_S = 1.0
# So many sub-kernels in a row that ended so soon, and before any cell: Python cannot start here, and another attempt changes nothing.
MAX_QUICK_ENDS = 3
QUICK_S = 5.0


class Switchboard:
    """One kernel. `run` returns when it has been shut down."""

    def __init__(self, connection: dict, connection_file: str, subkernel: Subkernel, board_connections: BoardConnections):
        self.board_connections = board_connections
        self.subkernel = subkernel
        self.history = CellHistory()
        self.input_waiter: BoardExecution | None = None  # the board cell that waits for the user's input
        self.loop = Loop()
        self.signer = MessageSigner(connection.get("key", ""), connection.get("signature_scheme", "hmac-sha256"))
        self._connection, self._connection_file = connection, connection_file
        self._context = zmq.Context()
        self.frontend = Frontend(self._context, connection, self.signer)
        self._magic_requests = MagicRequests(self)
        self._queues: dict[str | None, ExecuteQueue] = {None: ExecuteQueue(self, self._make_execution)}
        self._subshells: set[str] = set()
        # Requests that the sub-kernel has not answered yet, with their channel.
        self._pending: dict[str, tuple[str, Message]] = {}
        self._open: set[str] = set()  # what the sub-kernel is at, or will be: it has not been idle after these messages yet
        self._ignored: dict[str, set[str]] = {}  # by request: what the sub-kernel says about it that nobody wants
        self._hidden: dict[str, Callable[[], None]] = {}  # by request of our own: what to do when it is answered
        self._heard = False  # of the first sub-kernel: it got so far as to have a voice
        self._held: list | None = []  # messages for a sub-kernel that is not ready; None: it is
        self._served = False  # it has answered on its shell channel
        self._restarted = False
        self._quick_ends = 0
        self._got_cell = False  # whether this sub-kernel has
        self._exit_notice = ""  # of a sub-kernel that ended between two cells: the next one says so
        self._shutdown: Message | None = None
        self._shutdown_passed = self._shutdown_answered = False
        self._exit_code: int | None = None

    def run(self) -> int:
        """Pass messages until the kernel is shut down. Returns the process's exit code."""
        self._listen_to_signals()
        frontend = self.frontend
        self._listen(frontend.control, self._from_control)
        self._listen(frontend.shell, self._from_shell)
        self._listen(frontend.stdin, self._from_stdin)
        self.loop.add_socket(frontend.heartbeat, frontend.heartbeat.send_multipart)
        self.loop.add_socket(frontend.iopub, lambda frames: frontend.welcome(frames[0]))
        self._connect_subkernel()
        self.board_connections.start(self.loop)
        parent_pid = os.getppid() if os.environ.get("JPY_PARENT_PID") == str(os.getppid()) else 0
        try:
            while self._exit_code is None:
                self.loop.run_once()
                if parent_pid and os.getppid() != parent_pid:
                    self._exit_code = 1  # the server that started us is gone
        finally:
            self._close()
        return self._exit_code

    def _close(self) -> None:
        self.subkernel.close()  # and with it its readers of pipes: what is left on the board then is others' business
        restart = self._shutdown is not None and self._shutdown.content.get("restart", False)
        self.board_connections.close(restart)
        self.frontend.close()
        self._context.term()
        self.loop.close()

    def _listen(self, sock: zmq.Socket, receive) -> None:
        self.loop.add_socket(sock, lambda frames: receive(Message(frames)))

    def _listen_to_signals(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.loop.call_soon_threadsafe(lambda: self._end(0)))
        # A front end that sends the signal although the kernelspec asks for a message, or Ctrl-C in a terminal.
        signal.signal(signal.SIGINT, lambda *_: self.loop.call_soon_threadsafe(self._interrupt))
        if sys.platform == "win32" and os.environ.get("JPY_PARENT_PID"):
            from ipykernel.parentpoller import ParentPollerWindows

            ParentPollerWindows(0, int(os.environ["JPY_PARENT_PID"])).start()

    def _end(self, exit_code: int) -> None:
        self._exit_code = exit_code

    # --- from the front end ---------------------------------------------------------------------------

    def receive_requests(self) -> None:
        """Take in what front ends have sent on the shell channel up to now."""
        self.loop.drain(self.frontend.shell)

    def _from_shell(self, message: Message) -> None:
        if not self.signer.accepts(message):
            print(f"ukernel.kernel.switchboard: dropped a {message.type} with a bad signature", file=sys.stderr)
            return
        subshell = message.subshell
        if subshell is not None and subshell not in self._subshells:
            self._refuse_subshell(message)
        elif message.type == "execute_request":
            self._queue(subshell).add(message)
        elif message.type in introspection.HANDLERS and cellmagic.is_board_cell(_code(message)):
            introspection.HANDLERS[message.type](self, message)
        else:
            self.send_to_subkernel("shell", message)

    def _from_control(self, message: Message) -> None:
        if not self.signer.accepts(message):
            print(f"ukernel.kernel.switchboard: dropped a {message.type} with a bad signature", file=sys.stderr)
            return
        if message.type == "interrupt_request":
            self._interrupt()
            self.frontend.reply_with_status(message, {"status": "ok"}, control=True)
        elif message.type == "shutdown_request":
            self._shut_down(message)
        else:
            self.send_to_subkernel("control", message)

    def _from_stdin(self, message: Message) -> None:
        if self.input_waiter is None:
            self.send_to_subkernel("stdin", message)
        elif self.signer.accepts(message):
            self.input_waiter.answer_input(message.content.get("value", ""))

    def _queue(self, subshell: "str | None") -> ExecuteQueue:
        return self._queues.setdefault(subshell, ExecuteQueue(self, self._make_execution))

    def _make_execution(self, request: Message, queue: ExecuteQueue) -> "HostExecution | BoardExecution":
        try:
            cell = cellmagic.parse(_code(request))
        except UsageError:
            cell = None  # the magic says in the sub-kernel what is wrong with its line
        return HostExecution(self, request, queue) if cell is None else BoardExecution(self, request, queue, cell)

    def _refuse_subshell(self, message: Message) -> None:
        text = f"There is no subshell {message.subshell!r}: it was deleted, or it ended with the Python process it belonged to."
        content = {"status": "error", "ename": "UnknownSubshellError", "evalue": text, "traceback": []}
        if message.type.startswith("comm_") and not message.type.endswith("_request"):
            self.frontend.status("busy", message)
            self.frontend.status("idle", message)
        else:
            self.frontend.reply_with_status(message, content)

    def _interrupt(self) -> None:
        self._magic_requests.interrupt()
        runs = [queue.running for queue in self._queues.values() if queue.running is not None]
        for run in runs:
            run.interrupt()
        # Perhaps a comm message or a completion hangs; when it is idle, it ignores the signal, which is for the programs that cells
        # have started, then. But if it is just putting a board cell away, it would log the signal as an error.
        if not runs and not (self._open and all("idle" in self._ignored.get(message, ()) for message in self._open)):
            self.interrupt_subkernel()

    def interrupt_subkernel(self) -> None:
        if self._held is None:
            self.subkernel.interrupt()

    def _shut_down(self, request: Message) -> None:
        self._shutdown = request
        if self._held is not None or not self._served:  # half made, it stumbles over a request; and it has nothing to lose
            self.subkernel.kill()
            return
        for queue in self._queues.values():
            queue.abort_waiting()
        self.loop.call_later(LAST_CELL_S, self._pass_shutdown)
        self.loop.call_later(SHUTDOWN_S, self.subkernel.kill)
        if not self._open:
            self._pass_shutdown()

    def _pass_shutdown(self) -> None:
        """Ask the sub-kernel to end, once: between two cells, for in mid cell ipykernel closes the sockets that it replies on."""
        if not self._shutdown_passed:
            self._shutdown_passed = True
            self.subkernel.send("control", self._shutdown.frames)

    # --- to and from the sub-kernel -----------------------------------------------------------------------

    def send_to_subkernel(self, channel: str, message: Message) -> None:
        """Pass a message on as it is; one that comes before the sub-kernel is ready waits."""
        if message.type.endswith("_request"):
            if channel == "shell":
                self._open.add(message.id)
            if message.type != "execute_request":
                self._pending[message.id] = channel, message
        if self._held is None:
            self._pass_on(channel, message)
        else:
            self._held.append((channel, message))

    def _pass_on(self, channel: str, message: Message) -> None:
        # From here on its end is the cell's doing: a process that ends at once has no time to say that it is busy.
        self._got_cell = self._got_cell or message.type == "execute_request"
        self.subkernel.send(channel, message.frames)

    def run_hidden(self, code: str, callback: Callable[[], None]) -> None:
        """Run a statement of our own in the sub-kernel, unseen; ``callback()`` when it is done, or can never be."""
        content = {"code": code, "silent": True, "store_history": False, "allow_stdin": False}
        request = Message(self.signer.make("execute_request", content, idents=[b"ucore"]))
        self._hidden[request.id] = callback
        self.send_to_subkernel("shell", request)

    def _connect_subkernel(self) -> None:
        subkernel = self.subkernel
        subkernel.connect(self._context)
        sockets = subkernel.sockets
        self._listen(sockets["iopub"], self._from_iopub)
        self._listen(sockets["shell"], self._to_shell)
        self._listen(sockets["control"], self._to_control)
        self._listen(sockets["stdin"], self._to_stdin)
        subkernel.on_exit(lambda ended: self.loop.call_soon_threadsafe(lambda: self._on_subkernel_exit(ended)))
        self.loop.call_later(PROBE_S, lambda: self._probe(subkernel))

    def _probe(self, subkernel: Subkernel) -> None:
        if subkernel is self.subkernel and self._held is not None:
            subkernel.send("control", self.signer.make("kernel_info_request", {}, idents=[b"probe"]))
            self.loop.call_later(PROBE_S, lambda: self._probe(subkernel))

    def _from_iopub(self, message: Message) -> None:
        kind = message.type
        self._heard = True
        if self._held is not None and kind == "status":  # it has started, where else it may still run the user's startup files
            held, self._held = self._held, None
            for channel, waiting in held:
                self._pass_on(channel, waiting)
        if kind == "status":
            self._pass_status(message)
        elif kind == "execute_input":
            run = self._find_execution(message)
            if run is not None:
                self._publish_exit_notice(message)  # first: a board cell may be over with its input
                run.take_input(message)
            else:
                self.frontend.iopub.send_multipart(message.frames)
        elif kind != "iopub_welcome":  # that one was for us; the front end gets its own
            self.frontend.iopub.send_multipart(message.frames)

    def _publish_exit_notice(self, cell: Message) -> None:
        if self._exit_notice:
            content = {"name": "stderr", "text": self._exit_notice + "\n"}
            self._exit_notice = ""
            self.frontend.publish("stream", content, cell.signed[1])

    def _pass_status(self, message: Message) -> None:
        state = message.content.get("execution_state")
        self._note_status(message.parent.get("msg_id"), state)
        if state == "starting":
            self._unlink_sockets(self.subkernel)
            if self._restarted:
                return  # for the front end, the kernel never stopped
        if message.parent.get("session") == self.signer.session or self._is_ignored(message, state):
            return
        run = self._find_execution(message)
        if run is not None:
            run.take_status(message)
            return
        self.frontend.iopub.send_multipart(message.frames)
        if state == "idle" and message.parent.get("subshell_id") is None:
            # The end of a comm message in mid board cell; the kernel's indicator is to go on saying busy.
            running = self._queues[None].running
            if isinstance(running, BoardExecution):
                self.frontend.status("busy", running.request)

    def _note_status(self, request_id: "str | None", state: "str | None") -> None:
        if state == "busy":
            self._open.add(request_id)
        elif state == "idle":
            self._open.discard(request_id)
            if self._shutdown is not None and not self._open:
                self._pass_shutdown()

    def _unlink_sockets(self, subkernel: Subkernel) -> None:
        if subkernel is self.subkernel and not subkernel.unlink_sockets():
            self.loop.call_later(0.1, lambda: self._unlink_sockets(subkernel))

    def _find_execution(self, message: Message):
        request_id = message.parent.get("msg_id")
        for queue in self._queues.values():
            if queue.running is not None and queue.running.request.id == request_id:
                return queue.running
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
        self._served = True
        if message.type == "execute_reply":
            run = self._find_execution(message)
            if message.parent.get("msg_id") in self._hidden:
                self._hidden.pop(message.parent["msg_id"])()
            elif run is not None:
                run.take_reply(message)
            elif not self._is_ignored(message, "reply"):
                self.frontend.shell.send_multipart(message.frames)
            return
        self._pending.pop(message.parent.get("msg_id"), None)
        self.frontend.shell.send_multipart(self._with_banner(message))

    def _to_control(self, message: Message) -> None:
        _, request = self._pending.pop(message.parent.get("msg_id"), ("", None))
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
        if message.type == REQUEST:
            self._magic_requests.start(message)
            return
        self.input_waiter = None
        self.frontend.stdin.send_multipart(message.frames)

    def answer_subkernel(self, question: Message, content: dict) -> None:
        """Answer what the sub-kernel itself has asked."""
        if self._held is None:
            self.subkernel.send("stdin", self.signer.make("ucore_reply", content, parent=question.header_frame))

    def _with_banner(self, message: Message) -> list[bytes]:
        if message.type != "kernel_info_reply" or "banner" not in message.content:
            return message.frames
        banner = f"{self.board_connections.banner}\n{message.content['banner']}"
        return self.signer.with_content(message, {**message.content, "banner": banner})

    # --- the sub-kernel's end -------------------------------------------------------------------------------

    def _on_subkernel_exit(self, ended: Subkernel) -> None:
        if ended is not self.subkernel:
            return
        for channel in CHANNELS:
            self.loop.drain(ended.sockets[channel])  # its last words
        status = ended.exit_status or 0
        if self._shutdown is not None:
            if not self._shutdown_answered:
                content = {"status": "ok", "restart": self._shutdown.content.get("restart", False)}
                self.frontend.reply(self._shutdown, content, control=True)
            self._end(0)
            return
        if not self._heard and not self._restarted:
            print(
                f"ukernel: the Python process ended {describe_exit(status)} before it was ready.",
                file=sys.stderr,
            )
            self._end(1)
            return
        for sock in ended.sockets.values():
            self.loop.remove_reader(sock)
        ended.close()
        is_quick = not self._got_cell and ended.age_s < QUICK_S
        self._quick_ends = self._quick_ends + 1 if is_quick else 0
        if self._quick_ends == MAX_QUICK_ENDS:
            how = f"ended {describe_exit(status)} as soon as it was started, {MAX_QUICK_ENDS} times in a row"
            self._give_up(
                f"The Python process of this notebook {how}. What it printed in the terminal, or in the server's log, says why."
            )
        else:
            self._replace_subkernel(status, is_quick)

    def _give_up(self, text: str) -> None:
        """There will be no other sub-kernel: say so in what waits for it, and end."""
        print(f"ukernel: {text}", file=sys.stderr)
        error = _python_exited(text)
        self._held = []  # what is begun now meets no sub-kernel
        self._fail_what_waits(error)
        for queue in self._queues.values():  # each end begins what waits behind it
            while isinstance(queue.running, HostExecution):
                queue.running.lose_subkernel(error)
        self._end(1)

    def _replace_subkernel(self, status: int, is_quick: bool) -> None:
        held = self._held or []
        self._held, self._served, self._restarted, self._got_cell = [], False, True, False
        self._magic_requests.forget()
        self._subshells.clear()
        self._ignored.clear()
        self._open.clear()
        try:
            self.subkernel = Subkernel(self._connection, self._connection_file, self.board_connections.identity["kernel"])
        except OSError as error:
            how = f"ended {describe_exit(status)}, and no other one can be started: {describe(error)}"
            self._give_up(f"The Python process of this notebook {how}.")
            return
        self._connect_subkernel()
        if is_quick:  # it has begun with nothing, so the next one is asked the same
            runs = [queue.running for queue in self._queues.values() if queue.running is not None]
            asked = [("shell", run.request) for run in runs] + list(self._pending.values())
            self._held = asked + [(channel, message) for channel, message in held if (channel, message) not in asked]
            self._open.update(message.id for channel, message in self._held if channel == "shell")
            self._fail_hidden()
            return
        for channel, request in self._pending.values():  # a reply without what it is about breaks clients
            if request.type == "kernel_info_request":
                self._held.append((channel, request))
        text = (
            f"The Python process of this notebook ended {describe_exit(status)}. "
            "A new one has been started: its variables are gone. The board was not touched."
        )
        self._fail_what_waits(_python_exited(text))

    def _fail_what_waits(self, error: dict) -> None:
        pending, self._pending = self._pending, {}
        for channel, request in pending.values():
            if request.type == "kernel_info_request":
                self._pending[request.id] = channel, request
                continue
            self.frontend.reply(request, {"status": "error", **error}, control=channel == "control")
            self.frontend.status("idle", request)
        self._fail_hidden()
        self._exit_notice = "" if any(queue.running for queue in self._queues.values()) else error["evalue"]
        for subshell, queue in list(self._queues.items()):
            if queue.running is not None:
                queue.running.lose_subkernel(error)
            if subshell is not None and queue.running is None:
                del self._queues[subshell]

    def _fail_hidden(self) -> None:
        hidden, self._hidden = self._hidden, {}
        for callback in hidden.values():
            callback()


def _python_exited(text: str) -> dict:
    return {"ename": "PythonExited", "evalue": text, "traceback": [f"\x1b[0;31mPythonExited\x1b[0m: {text}"]}


def _code(request: Message) -> str:
    """Return a request's code; what has none, or an odd one, is the sub-kernel's to answer."""
    code = request.content.get("code")
    return code if isinstance(code, str) else ""
