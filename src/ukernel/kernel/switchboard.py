"""The switchboard: a loop that passes Jupyter messages between front ends, the sub-kernel and the board hub.

Whatever it need not understand goes through as it came, frame by frame: comms, debugger, subshells, buffers, and what Jupyter
will invent. For itself it takes execute requests (they run one at a time, on whichever side), questions about board cells,
interrupts and the shutdown.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import zmq

from ukernel.errors import UsageError, describe

from . import cellmagic, introspection, magicmessages
from .boardconnection import BoardConnections
from .boardexecution import BoardExecution
from .executequeue import ExecuteQueue, Execution
from .frontend import Frontend
from .history import CellHistory
from .hostexecution import HostExecution
from .kernelcontext import KernelContext
from .loop import Loop
from .magicrequests import MagicRequests
from .messages import Message, MessageSigner
from .subkernel import Subkernel, describe_exit
from .subkernelconnection import SubkernelConnection, SubkernelState

__all__ = ["Switchboard"]

# A sub-kernel that was asked to shut down is given this long to end, less than half of what a Jupyter server waits.
SHUTDOWN_S = 2.0
# A cell may go on for this long before the request goes in all the same: ipykernel then ends what the cell has started.
LAST_CELL_S = 1.5
# So many sub-kernels in a row that ended at once, and before any cell: Python cannot start here, and another attempt changes nothing.
MAX_QUICK_ENDS = 3


class Switchboard:
    """One kernel. `run` returns when it has been shut down."""

    def __init__(
        self, connection: dict[str, Any], connection_file: str, subkernel: Subkernel, board_connections: BoardConnections
    ):
        """``connection``: what the connection file says, whose path is ``connection_file``. ``subkernel``: started already."""
        self._connection, self._connection_file = connection, connection_file
        self._signer = MessageSigner(connection.get("key", ""), connection.get("signature_scheme", "hmac-sha256"))
        self._zmq_context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._loop = Loop()
        self._frontend = Frontend(self._zmq_context, connection, self._signer)
        self._board_connections = board_connections
        self._subkernel = SubkernelConnection(subkernel, self._loop, self._signer, self._zmq_context)
        self._context = KernelContext(self._frontend, self._loop, board_connections, self._subkernel, CellHistory())
        self._magic_requests = MagicRequests(self._context)
        self._queues: dict[str | None, ExecuteQueue] = {None: ExecuteQueue(self._context, self._make_execution)}
        self._subshells: set[str] = set()
        self._has_restarted = False
        self._quick_ends = 0
        self._exit_notice = ""  # of a sub-kernel that ended between two cells: the next one says so
        self._shutdown: Message | None = None
        self._shutdown_passed = self._shutdown_answered = False
        self._exit_code: int | None = None

    def run(self) -> int:
        """Pass messages until the kernel is shut down. Returns the process's exit code."""
        self._listen_to_signals()
        frontend = self._frontend
        self._listen(frontend.control, self._from_control)
        self._listen(frontend.shell, self._from_shell)
        self._listen(frontend.stdin, self._from_stdin)
        self._loop.add_socket(frontend.heartbeat, frontend.heartbeat.send_multipart)
        self._loop.add_socket(frontend.iopub, lambda frames: frontend.welcome(frames[0]))
        receivers = {"iopub": self._to_iopub, "shell": self._to_shell, "control": self._to_control, "stdin": self._to_stdin}
        self._subkernel.connect(receivers, self._on_subkernel_exit)
        self._board_connections.start(self._loop)
        parent_pid = os.getppid() if os.environ.get("JPY_PARENT_PID") == str(os.getppid()) else 0
        try:
            while self._exit_code is None:
                self._loop.run_once()
                if parent_pid and os.getppid() != parent_pid:
                    self._exit_code = 1  # the server that started us is gone
        finally:
            self._close()
        return self._exit_code

    def _close(self) -> None:
        self._subkernel.close()  # and with it its readers of pipes: what is left on the board then is others' business
        restart = self._shutdown is not None and self._shutdown.content.get("restart", False)
        self._board_connections.close(restart)
        self._frontend.close()
        self._zmq_context.term()
        self._loop.close()

    def _listen(self, sock: zmq.Socket[bytes], receive: Callable[[Message], None]) -> None:
        self._loop.add_socket(sock, lambda frames: receive(Message(frames)))

    def _listen_to_signals(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._loop.call_soon_threadsafe(lambda: self._end(0)))
        # A front end that sends the signal although the kernelspec asks for a message, or Ctrl-C in a terminal.
        signal.signal(signal.SIGINT, lambda *_: self._loop.call_soon_threadsafe(self._interrupt))
        if sys.platform == "win32" and os.environ.get("JPY_PARENT_PID"):
            from ipykernel.parentpoller import ParentPollerWindows

            ParentPollerWindows(0, int(os.environ["JPY_PARENT_PID"])).start()

    def _end(self, exit_code: int) -> None:
        self._exit_code = exit_code

    # --- from the front end ---------------------------------------------------------------------------

    def _from_shell(self, message: Message) -> None:
        if not self._signer.accepts(message):
            print(f"ukernel.kernel.switchboard: dropped a {message.type} with a bad signature", file=sys.stderr)
            return
        subshell = message.subshell
        if subshell is not None and subshell not in self._subshells:
            self._refuse_subshell(message)
        elif message.type == "execute_request":
            self._queue(subshell).add(message)
        elif message.type in introspection.HANDLERS and cellmagic.is_board_cell(_code(message)):
            introspection.HANDLERS[message.type](self._context, message)
        else:
            self._subkernel.send("shell", message)

    def _from_control(self, message: Message) -> None:
        if not self._signer.accepts(message):
            print(f"ukernel.kernel.switchboard: dropped a {message.type} with a bad signature", file=sys.stderr)
            return
        if message.type == "interrupt_request":
            self._interrupt()
            self._frontend.reply_with_status(message, {"status": "ok"}, control=True)
        elif message.type == "shutdown_request":
            self._shut_down(message)
        else:
            self._subkernel.send("control", message)

    def _from_stdin(self, message: Message) -> None:
        waiter = self._context.input_waiter
        if waiter is None:
            self._subkernel.send("stdin", message)
        elif self._signer.accepts(message):
            waiter.answer_input(message.content.get("value", ""))

    def _queue(self, subshell: str | None) -> ExecuteQueue:
        return self._queues.setdefault(subshell, ExecuteQueue(self._context, self._make_execution))

    def _make_execution(self, request: Message, queue: ExecuteQueue) -> Execution:
        try:
            cell = cellmagic.parse(_code(request))
        except UsageError:
            cell = None  # the magic says in the sub-kernel what is wrong with its line
        if cell is None:
            return HostExecution(self._context, request, queue)
        return BoardExecution(self._context, request, queue, cell)

    def _executions(self) -> list[Execution]:
        """Return what runs, of all shells."""
        return [queue.running for queue in self._queues.values() if queue.running is not None]

    def _refuse_subshell(self, message: Message) -> None:
        text = f"There is no subshell {message.subshell!r}: it was deleted, or it ended with the Python process it belonged to."
        content = {"status": "error", "ename": "UnknownSubshellError", "evalue": text, "traceback": []}
        if message.type.startswith("comm_") and not message.type.endswith("_request"):
            self._frontend.status("busy", message)
            self._frontend.status("idle", message)
        else:
            self._frontend.reply_with_status(message, content)

    def _interrupt(self) -> None:
        self._magic_requests.interrupt()
        running = self._executions()
        for execution in running:
            execution.interrupt()
        # Perhaps a comm message or a completion hangs; when it is idle, it ignores the signal, which is for the programs that cells
        # have started, then. But if it is just putting a board cell away, it would log the signal as an error.
        if not running and not self._subkernel.has_only_ignored:
            self._subkernel.interrupt()

    def _shut_down(self, request: Message) -> None:
        self._shutdown = request
        if (
            self._subkernel.state is not SubkernelState.SERVING
        ):  # half made, it stumbles over a request; and it has nothing to lose
            self._subkernel.kill()
            return
        for queue in self._queues.values():
            queue.abort_waiting()
        self._loop.call_later(LAST_CELL_S, self._pass_shutdown)
        self._loop.call_later(SHUTDOWN_S, self._subkernel.kill)
        if self._subkernel.is_idle:
            self._pass_shutdown()

    def _pass_shutdown(self) -> None:
        """Ask the sub-kernel to end, once: between two cells, for in mid cell ipykernel closes the sockets that it replies on."""
        if self._shutdown is not None and not self._shutdown_passed:
            self._shutdown_passed = True
            self._subkernel.request_shutdown(self._shutdown)

    # --- from the sub-kernel ----------------------------------------------------------------------------

    def _to_iopub(self, message: Message) -> None:
        kind = message.type
        if kind == "status":
            self._pass_status(message)
        elif kind == "execute_input" and (execution := self._find_execution(message)) is not None:
            self._publish_exit_notice(message)  # first: a board cell may be over with its input
            execution.take_input(message)
        elif kind != "iopub_welcome":  # that one was for us; the front end gets its own
            self._frontend.iopub.send_multipart(message.frames)

    def _publish_exit_notice(self, cell: Message) -> None:
        if self._exit_notice:
            content = {"name": "stderr", "text": self._exit_notice + "\n"}
            self._exit_notice = ""
            self._frontend.publish("stream", content, cell.signed[1])

    def _pass_status(self, message: Message) -> None:
        state = message.content.get("execution_state", "")
        if state == "idle" and self._shutdown is not None and self._subkernel.is_idle:
            self._pass_shutdown()
        if state == "starting" and self._has_restarted:
            return  # for the front end, the kernel never stopped
        if self._subkernel.take_ignored(message, state):
            return
        execution = self._find_execution(message)
        if execution is not None:
            execution.take_status(message)
            return
        self._frontend.iopub.send_multipart(message.frames)
        if state == "idle" and message.parent.get("subshell_id") is None:
            # The end of a comm message in mid board cell; the kernel's indicator is to go on saying busy.
            running = self._queues[None].running
            if isinstance(running, BoardExecution):
                self._frontend.status("busy", running.request)

    def _find_execution(self, message: Message) -> Execution | None:
        """Return the execution that the sub-kernel speaks of."""
        return next((one for one in self._executions() if one.request.id == message.parent_id), None)

    def _to_shell(self, message: Message) -> None:
        if message.type != "execute_reply":
            self._subkernel.take_pending(message)
            self._frontend.shell.send_multipart(self._with_banner(message))
        elif not self._subkernel.take_hidden(message):
            execution = self._find_execution(message)
            if execution is not None:
                execution.take_reply(message)
            elif not self._subkernel.take_ignored(message, "reply"):
                self._frontend.shell.send_multipart(message.frames)

    def _to_control(self, message: Message) -> None:
        request = self._subkernel.take_pending(message)
        if message.type == "create_subshell_reply" and message.content.get("subshell_id"):
            self._subshells.add(message.content["subshell_id"])
        elif message.type == "delete_subshell_reply" and request and message.content.get("status") == "ok":
            self._subshells.discard(request.content.get("subshell_id", ""))
        elif message.type == "shutdown_reply":
            self._shutdown_answered = True
        self._frontend.control.send_multipart(self._with_banner(message))

    def _to_stdin(self, message: Message) -> None:
        if message.type in magicmessages.TYPES:
            self._magic_requests.start(message)
            return
        self._context.input_waiter = None
        self._frontend.stdin.send_multipart(message.frames)

    def _with_banner(self, message: Message) -> list[bytes]:
        if message.type != "kernel_info_reply" or "banner" not in message.content:
            return message.frames
        banner = f"{self._board_connections.banner}\n{message.content['banner']}"
        return self._signer.with_content(message, {**message.content, "banner": banner})

    # --- the sub-kernel's end -------------------------------------------------------------------------------

    def _on_subkernel_exit(self, status: int) -> None:
        if self._shutdown is not None:
            if not self._shutdown_answered:
                content = {"status": "ok", "restart": self._shutdown.content.get("restart", False)}
                self._frontend.reply(self._shutdown, content, control=True)
            self._end(0)
            return
        if not self._subkernel.has_spoken:
            print(f"ukernel: the Python process ended {describe_exit(status)} before it was ready.", file=sys.stderr)
            self._end(1)
            return
        is_quick = self._subkernel.has_ended_quickly
        self._quick_ends = self._quick_ends + 1 if is_quick else 0
        self._subkernel.close_ended()
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
        self._subkernel.give_up()
        self._fail_what_waits(error)
        for queue in self._queues.values():  # each end begins what waits behind it
            while isinstance(queue.running, HostExecution):
                queue.running.lose_subkernel(error)
        self._end(1)

    def _replace_subkernel(self, status: int, is_quick: bool) -> None:
        self._has_restarted = True
        self._magic_requests.forget()
        self._subshells.clear()
        try:
            subkernel = Subkernel(self._connection, self._connection_file, self._board_connections.identity["kernel"])
        except OSError as error:
            how = f"ended {describe_exit(status)}, and no other one can be started: {describe(error)}"
            self._give_up(f"The Python process of this notebook {how}.")
            return
        self._subkernel.replace(subkernel)
        if is_quick:  # it has begun with nothing, so the next one is asked the same
            self._subkernel.ask_again([execution.request for execution in self._executions()])
            return
        text = (
            f"The Python process of this notebook ended {describe_exit(status)}. "
            "A new one has been started: its variables are gone. The board was not touched."
        )
        self._fail_what_waits(_python_exited(text))

    def _fail_what_waits(self, error: dict[str, Any]) -> None:
        for channel, request in self._subkernel.drop_requests():
            self._frontend.reply(request, {"status": "error", **error}, control=channel == "control")
            self._frontend.status("idle", request)
        self._subkernel.end_hidden()
        self._exit_notice = "" if self._executions() else error["evalue"]
        for subshell, queue in list(self._queues.items()):
            if queue.running is not None:
                queue.running.lose_subkernel(error)
            if subshell is not None and queue.running is None:
                del self._queues[subshell]


def _python_exited(text: str) -> dict[str, Any]:
    return {"ename": "PythonExited", "evalue": text, "traceback": [f"\x1b[0;31mPythonExited\x1b[0m: {text}"]}


def _code(request: Message) -> str:
    """Return a request's code; what has none, or an odd one, is the sub-kernel's to answer."""
    code = request.content.get("code")
    return code if isinstance(code, str) else ""
