"""One `%%ucore` cell: the board runs it, the sub-kernel counts it, and the front end sees one cell.

The sub-kernel gets the same request and does nothing with it but give it a number and put it into the history. What
it says about that is taken from it: its busy status and its execute_input are the cell's, its idle status and its reply are
not waited for, because the board is done first.
"""

import base64
import enum
from collections.abc import Sequence
from typing import Any

from ukernel.boards import rewrite, tracebacks
from ukernel.errors import UcoreError, as_reply
from ukernel.protocol import values

from . import cellmagic, wrappers
from .capture import Capture
from .executequeue import REPLY_TIMEOUT_S, ExecuteQueue, aborts_queue, now, reply_metadata
from .history import HistoryEntry
from .introspection import explain
from .kernelcontext import KernelContext
from .messages import Message
from .outputbuffer import OutputBuffer, waiting_text

__all__ = ["BoardExecution"]

# A board that runs our agent is attached in a fraction of this; one that must be sent it first takes longer.
PATIENCE_S = 2.0
# An interrupted cell that still waits for the Python side after this long waits for something that hangs: a widget's handler.
PYTHON_S = 0.2
_UNREAD = (
    "The board ran the cell, but its syntax is not known to µcore, so its last expression's value cannot be told. "
    "Give it a name there, and fetch it with `%ucore pull NAME`."
)
_NO_INPUT = "input() was called or sys.stdin read, but this front end does not take input requests for this cell."


class _CellState(enum.Enum):
    """What the front end has seen of the cell."""

    PENDING = "pending"  # nothing: the sub-kernel has not begun with it, and output is held back
    OPEN = "open"  # busy and execute_input: output may follow
    FINISHED = "finished"  # the reply, and idle


class _BoardState(enum.Enum):
    """How far the board's part is."""

    CONNECTING = "connecting"  # the cell was not sent: the board is not attached yet
    SENT = "sent"  # the hub has it
    QUEUED = "queued"  # another cell has the board
    RUNNING = "running"
    OVER = "over"  # how it ended is in `_result`


class _StopReason(enum.IntEnum):
    """Why the cell was interrupted. What comes later here stands for what comes earlier."""

    NONE = 0
    USER = 1
    NO_INPUT = 2  # it wanted input, which the front end does not take
    TIMEOUT = 3


class BoardExecution:
    """The execution of one board cell."""

    def __init__(self, context: KernelContext, request: Message, queue: ExecuteQueue, cell: cellmagic.BoardCell):
        self.request = request
        self._context = context
        self._frontend = context.frontend
        self._queue = queue
        self._cell = cell
        self._silent = request.content.get("silent", False)
        self._connection = context.board_connections.get(cell.options.get("--board"))
        self._cell_state = _CellState.PENDING
        self._board_state = _BoardState.CONNECTING
        self._stop_reason = _StopReason.NONE
        self._asked = 0  # the hub's number for the request; 0: not sent
        self._entry: HistoryEntry | None = None  # its text, for tracebacks; once it is sent
        self._count: int | None = None  # the execution count, once the sub-kernel has given it
        self._outputs = OutputBuffer(context.loop, self._publish)
        self._capture = Capture(cell.options["--out"]) if "--out" in cell.options else None
        self._wrappers = wrappers.wrap(cell.above)
        self._is_read = True  # the cell's syntax is known: a last expression is shown
        self._is_result_out = False
        self._result: dict[str, Any] = {}  # the board's execute_reply
        self._help = ""  # the name that the cell's last line asks about
        self._payload: list[dict[str, Any]] = []  # what the reply asks of the front end: to page a text
        self._counted: dict[str, Any] | None = None  # the sub-kernel's
        self._subkernel_busy = True
        self._started = now()

    def start(self) -> None:
        self._context.subkernel.send("shell", self.request)
        self._connection.when_ready(self._send)
        if not self._asked:
            self._context.loop.call_later(PATIENCE_S, self._explain_wait)

    # --- the sub-kernel's part ----------------------------------------------------------------------

    def take_status(self, message: Message) -> None:
        if message.content["execution_state"] == "busy":
            self._frontend.iopub.send_multipart(message.frames)
            if self._silent:
                self._begin()
        else:
            self._subkernel_busy = False
            if self._needs_reply and self._counted is None:
                self._context.loop.call_later(REPLY_TIMEOUT_S, self._stop_counting)

    def take_input(self, message: Message) -> None:
        self._frontend.iopub.send_multipart(message.frames)
        self._count = self._queue.count = message.content["execution_count"]
        self._tell_count()
        self._begin()

    def take_reply(self, message: Message) -> None:
        self._counted = message.content
        if self._count is None:
            self._count = message.content.get("execution_count")
        self._finish_when_over()

    def lose_subkernel(self, error: dict[str, Any]) -> None:
        """The sub-kernel died: the board goes on, only the counting is over, and people are told."""
        self.tell(error["evalue"] + "\n")
        self._subkernel_busy = False
        if self._cell_state is _CellState.PENDING:
            self._frontend.status("busy", self.request)
            self._begin()
        self._stop_counting()

    def _stop_counting(self) -> None:
        """The sub-kernel's reply will not come."""
        nothing: dict[str, Any] = {"status": "ok", "execution_count": self._count, "user_expressions": {}, "payload": []}
        self._counted = self._counted or nothing
        self._finish_when_over()

    @property
    def _needs_reply(self) -> bool:
        """Whether the sub-kernel's reply says more than a number."""
        return bool(self._silent or self.request.content.get("user_expressions"))

    def _begin(self) -> None:
        if self._cell_state is _CellState.PENDING:
            self._cell_state = _CellState.OPEN
        self._outputs.open()
        self._finish_when_over()

    # --- the board's part -----------------------------------------------------------------------------

    def _send(self, error: Exception | None) -> None:
        if error is not None:
            self._settle(as_reply(error))
            return
        notice = self._connection.take_notice()
        if notice:
            self.tell(notice + "\n")
        asked = cellmagic.split_help(self._cell.body) if "--save" not in self._cell.options else None
        body, self._help = asked or (self._cell.body, "")
        try:
            if self._help and not body.strip():
                self._send_help()
            else:
                self._ask_hub("execute_request", self._make_request(body))
        except UcoreError as lost:
            self._settle(as_reply(lost))

    def _ask_hub(self, msg_type: str, content: dict[str, Any]) -> None:
        self._board_state = _BoardState.SENT  # before: an answer at once must not be forgotten
        self._asked = self._connection.send(msg_type, content, self._receive)

    def _make_request(self, body: str) -> dict[str, Any]:
        path = self._cell.options.get("--save")
        if path is not None:  # none of its lines run
            key = self._enter_history("")
            return {"order": base64.b64encode(values.saving(path, body.lstrip("\n"))).decode(), "key": key}
        program = rewrite.program(body, "--out" in self._cell.options)
        self._is_read = program.is_read
        return {"code": program.text, "key": self._enter_history(self.request.content["code"])}

    def _enter_history(self, code: str) -> int:
        """Return the key by which the hub is to speak of the cell."""
        key, self._entry = self._context.history.add(code)
        self._tell_count()
        self._begin_wrappers()
        return key

    def _tell_count(self) -> None:
        if self._entry is not None:
            self._entry.count = self._count

    def _begin_wrappers(self) -> None:
        for wrapper in self._wrappers:
            wrapper.begin()

    def _start_clock(self) -> None:
        """The board has begun: what the cell waited for it before is not its own time."""
        timeout_s = self._cell.options.get("--timeout")
        if timeout_s is not None:
            self._context.loop.call_later(timeout_s, self._time_out)

    def _send_help(self) -> None:
        question = {"code": self._help, "cursor_pos": len(self._help)}
        self._ask_hub("inspect_request", question)

    def _explain_wait(self) -> None:
        if self._board_state is _BoardState.CONNECTING:
            self.tell("Connecting to the board: it may have to be sent the µcore package first.\n")

    def _receive(self, msg_type: str, content: dict[str, Any]) -> None:
        """A message from the hub about this cell, which may come long after the cell has ended: its threads print."""
        if msg_type == "execute_reply":
            self._end_board_part(content)
        elif msg_type == "inspect_reply":
            content = explain(self._help, content, self._context.history.texts())
            if content["found"]:
                self._payload = [{"source": "page", "data": content["data"], "start": 0}]
            else:
                self.tell(f"Nothing is known of {self._help}: there is no such name, or the board is busy.\n")
            self._settle({"status": "ok"})
        elif msg_type == "status":
            self._take_board_status(content)
        else:
            self._is_result_out = self._is_result_out or msg_type == "execute_result"
            if self._capture is None or not self._capture.take(msg_type, content):
                self._show(msg_type, content, self._wrappers)

    def _take_board_status(self, content: dict[str, Any]) -> None:
        was_queued = self._board_state is _BoardState.QUEUED
        is_queued = content.get("execution_state") == "queued"
        if self._board_state is not _BoardState.OVER:
            self._board_state = _BoardState.QUEUED if is_queued else _BoardState.RUNNING
        if is_queued:
            self.tell(waiting_text(content))
            return
        if was_queued:
            self._begin_wrappers()
        self._start_clock()

    def _show(self, msg_type: str, content: dict[str, Any], around: Sequence[wrappers.Timed | wrappers.Captured]) -> None:
        """Show an output, unless one of these keeps it."""
        if not any(wrapper.take(msg_type, content) for wrapper in around):
            self._outputs.add(msg_type, content)

    def _end_board_part(self, content: dict[str, Any]) -> None:
        """The board has run the cell: what Python is to keep of that comes before the end."""
        is_ok = content.get("status") == "ok"
        around, self._wrappers = self._wrappers, []  # what threads print from now on is shown
        for place, wrapper in enumerate(around):
            said = wrapper.end()
            if said:
                self._show("stream", {"name": "stdout", "text": said}, around[place + 1 :])
        statements = [wrapper.source for wrapper in around if wrapper.source]
        error = None
        if is_ok and self._capture is not None:
            if self._capture.problem:
                error = self._capture.problem
            elif not self._is_read and not self._is_result_out:
                error = f"{_UNREAD} --out has stored nothing."
            else:
                statements.append(self._capture.source)
        elif is_ok and not self._is_read and not self._is_result_out:
            self.tell(_UNREAD + "\n")
        if error:
            content = as_reply(ValueError(error))

        def go_on() -> None:
            if self._help and self._board_state is not _BoardState.OVER and content.get("status") == "ok":
                self._send_help()
            else:
                self._settle(content)

        if statements:
            self._context.subkernel.run_hidden("\n".join(statements), go_on)
        else:
            go_on()

    def _publish(self, msg_type: str, content: dict[str, Any]) -> None:
        if msg_type == "input_request":
            self._ask(content)
        elif msg_type == "execute_result":
            if not self._silent:
                content = {"metadata": {}, **content, "execution_count": self._count}
                self._frontend.publish(msg_type, content, self._parent)
        elif msg_type == "stream":
            content = {"name": content["name"], "text": tracebacks.format_stream(content, self._context.history)}
            self._frontend.publish(msg_type, content, self._parent)
        elif msg_type in ("display_data", "clear_output"):
            self._frontend.publish(msg_type, content, self._parent)

    def tell(self, text: str) -> None:
        """Print something of our own below the cell."""
        self._outputs.add("stream", {"name": "stderr", "text": text})

    @property
    def _parent(self) -> bytes:
        return self.request.header_frame

    # --- input, interrupt, time limit -------------------------------------------------------------------

    def _ask(self, content: dict[str, Any]) -> None:
        if self.request.content.get("allow_stdin", False):
            self._context.input_waiter = self
            password = content.get("password", False)
            self._frontend.ask(self.request, content.get("prompt") or ("Password: " if password else ""), password)
        else:
            # The board knows no "not possible here": it is interrupted, and the error says why.
            self._interrupt(_StopReason.NO_INPUT)

    def answer_input(self, value: str) -> None:
        """The user's line for the board's input()."""
        self._context.input_waiter = None
        if self._board_state is not _BoardState.OVER:
            try:
                self._connection.send("input_reply", {"parent": self._asked, "value": value})
            except UcoreError:
                pass  # losing the hub has failed the cell already

    def interrupt(self) -> None:
        """Stop the cell: KeyboardInterrupt on the board, or an end to waiting for one."""
        self._interrupt(_StopReason.USER)

    def _interrupt(self, reason: _StopReason) -> None:
        self._stop_reason = max(self._stop_reason, reason)
        self._context.loop.call_later(PYTHON_S, self._interrupt_python)
        if self._asked:
            try:
                self._connection.send("interrupt_request", {"parent": self._asked})
            except UcoreError:
                pass
        elif self._board_state is _BoardState.CONNECTING:
            self._connection.forget(self._send)
            self._settle(as_reply(KeyboardInterrupt("Interrupted while the board was not attached yet.")))

    def _interrupt_python(self) -> None:
        is_over = self._board_state is _BoardState.OVER
        if self._cell_state is _CellState.PENDING or (self._cell_state is _CellState.OPEN and is_over):
            self._context.subkernel.interrupt()

    def _time_out(self) -> None:
        if self._board_state is not _BoardState.OVER:
            self._interrupt(_StopReason.TIMEOUT)

    # --- the end --------------------------------------------------------------------------------------------

    def _settle(self, result: dict[str, Any]) -> None:
        """The board's part is over; a second end changes nothing."""
        if self._board_state is not _BoardState.OVER:
            self._board_state, self._result = _BoardState.OVER, result
        self._finish_when_over()

    def _finish_when_over(self) -> None:
        if self._cell_state is not _CellState.OPEN or self._board_state is not _BoardState.OVER:
            return
        if self._needs_reply and self._counted is None:
            return
        self._cell_state = _CellState.FINISHED
        self._outputs.flush()
        if self._context.input_waiter is self:
            self._context.input_waiter = None
        self._tell_count()
        reply = self._make_reply(self._result)
        if aborts_queue(self.request, reply):
            self._queue.abort_waiting()
        self._frontend.reply(self.request, reply, metadata=reply_metadata(reply["status"], self._started))
        self._frontend.status("idle", self.request)
        self._context.subkernel.ignore(self.request, reply=self._counted is None, idle=self._subkernel_busy)
        self._queue.finish()

    def _make_reply(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the content of the execute_reply; publishes the error, if there is one."""
        rest: dict[str, Any] = {"execution_count": self._count, "user_expressions": {}, "payload": []}
        status = result.get("status", "ok")
        if status == "ok":
            reply = {**rest, **(self._counted or {}), "status": "ok"}
            return {**reply, "payload": [*reply["payload"], *self._payload]}
        ename, evalue, lines = result.get("ename", "BoardError"), result.get("evalue", ""), result.get("traceback", [])
        if status == "aborted":
            if self._stop_reason is _StopReason.NONE:
                return {"status": "aborted"}
            ename, evalue = "KeyboardInterrupt", "Interrupted while another cell had the board."
        if self._stop_reason is _StopReason.TIMEOUT and ename != "NoAnswerError":  # then it was not interrupted
            seconds = self._cell.options["--timeout"]
            ename, evalue = "TimeoutError", f"The cell took longer than {seconds:g} s (--timeout) and was interrupted."
        elif self._stop_reason is _StopReason.NO_INPUT and ename == "KeyboardInterrupt":
            ename, evalue = "StdinNotImplementedError", _NO_INPUT
        if self._entry is not None:
            self._entry.fail(lines)
        traceback = tracebacks.format_error(ename, evalue, lines, self._context.history, result.get("cells"))
        if self._cell.options.get("--no-raise"):
            # No error message: programs that run notebooks take one for a failure, whatever the reply says.
            self._frontend.publish("stream", {"name": "stderr", "text": "\n".join(traceback) + "\n"}, self._parent)
            return {**rest, "status": "ok"}
        error = {"ename": ename, "evalue": evalue, "traceback": traceback}
        self._frontend.publish("error", error, self._parent)
        return {"status": "error", **rest, **error}
