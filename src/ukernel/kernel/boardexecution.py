"""One `%%ucore` cell: the board runs it, the sub-kernel counts it, and the front end sees one cell.

The sub-kernel gets the same request and does nothing with it but give it a number and put it into the history. What
it says about that is taken from it: its busy status and its execute_input are the cell's, its idle status and its reply are
not waited for, because the board is done first.
"""

import base64
from typing import TYPE_CHECKING

from ukernel.boards import rewrite, tracebacks
from ukernel.errors import UcoreError
from ukernel.protocol import values
from ukernel.protocol.truncation import CUT

from . import cellmagic, wrappers
from .executequeue import REPLY_TIMEOUT_S, ExecuteQueue, aborts_queue, now, reply_metadata
from .history import HistoryEntry
from .introspection import explain
from .messages import Message
from .outputbuffer import OutputBuffer, waiting_text

if TYPE_CHECKING:
    from .switchboard import Switchboard

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


class BoardExecution:
    """The execution of one board cell."""

    def __init__(self, switchboard: "Switchboard", request: Message, queue: ExecuteQueue, cell: cellmagic.BoardCell):
        self.request = request
        self._switchboard = switchboard
        self._frontend = switchboard.frontend
        self._queue = queue
        self._cell = cell
        self._silent = request.content.get("silent", False)
        self._connection = switchboard.board_connections.get(cell.options.get("--board"))
        self._asked = 0  # the hub's number for the request; 0: not sent
        self._entry: HistoryEntry | None = None  # its text, for tracebacks; once it is sent
        self._count: int | None = None  # the execution count, once the sub-kernel has given it
        self._open = False  # busy and execute_input are out: output may follow
        self._outputs = OutputBuffer(switchboard.loop, self._publish)
        self._capture = _Capture(cell.options["--out"]) if "--out" in cell.options else None
        self._wrappers = wrappers.wrap(cell.above)
        self._is_read = True  # the cell's syntax is known: a last expression is shown
        self._is_result_out = self._was_queued = False
        self._result: dict | None = None  # the board's execute_reply
        self._help = ""  # the name that the cell's last line asks about
        self._payload: list[dict] = []  # what the reply asks of the front end: to page a text
        self._counted: dict | None = None  # the sub-kernel's
        self._subkernel_busy = True
        self._finished = False
        self._timed_out = self._interrupted = self._input_refused = False
        self._started = now()

    def start(self) -> None:
        self._switchboard.send_to_subkernel("shell", self.request)
        self._connection.when_ready(self._send)
        if not self._asked:
            self._switchboard.loop.call_later(PATIENCE_S, self._explain_wait)

    # --- the sub-kernel's part ----------------------------------------------------------------------

    def take_status(self, message: Message) -> None:
        if message.content["execution_state"] == "busy":
            self._frontend.iopub.send_multipart(message.frames)
            if self._silent:
                self._begin()
        else:
            self._subkernel_busy = False
            if self._needs_reply and self._counted is None:
                self._switchboard.loop.call_later(REPLY_TIMEOUT_S, self._stop_counting)

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

    def lose_subkernel(self, error: dict) -> None:
        """The sub-kernel died: the board goes on, only the counting is over, and people are told."""
        self.tell(error["evalue"] + "\n")
        self._subkernel_busy = False
        if not self._open:
            self._frontend.status("busy", self.request)
            self._begin()
        self._stop_counting()

    def _stop_counting(self) -> None:
        """The sub-kernel's reply will not come."""
        nothing = {"status": "ok", "execution_count": self._count, "user_expressions": {}, "payload": []}
        self._counted = self._counted or nothing
        self._finish_when_over()

    @property
    def _needs_reply(self) -> bool:
        """Whether the sub-kernel's reply says more than a number."""
        return bool(self._silent or self.request.content.get("user_expressions"))

    def _begin(self) -> None:
        self._open = True
        self._outputs.open()
        self._finish_when_over()

    # --- the board's part -----------------------------------------------------------------------------

    def _send(self, error: "Exception | None") -> None:
        if error is not None:
            self._fail(error)
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
                self._asked = self._connection.send("execute_request", self._make_request(body), self._receive)
        except UcoreError as lost:
            self._fail(lost)

    def _make_request(self, body: str) -> dict:
        path = self._cell.options.get("--save")
        program = rewrite.program(body, "--out" in self._cell.options) if path is None else None
        # What saves a file runs none of its lines.
        key, self._entry = self._switchboard.history.add(self.request.content["code"] if program else "")
        self._tell_count()
        self._begin_wrappers()
        if program is None:
            return {"order": base64.b64encode(values.saving(path, body.lstrip("\n"))).decode(), "key": key}
        self._is_read = program.is_read
        return {"code": program.text, "key": key}

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
            self._switchboard.loop.call_later(timeout_s, self._time_out)

    def _send_help(self) -> None:
        question = {"code": self._help, "cursor_pos": len(self._help)}
        self._asked = self._connection.send("inspect_request", question, self._receive)

    def _explain_wait(self) -> None:
        if not self._asked and self._result is None:
            self.tell("Connecting to the board: it may have to be sent the µcore package first.\n")

    def _receive(self, msg_type: str, content: dict) -> None:
        """A message from the hub about this cell, which may come long after the cell has ended: its threads print."""
        if msg_type == "execute_reply":
            self._end_board_part(content)
        elif msg_type == "inspect_reply":
            content = explain(self._help, content, self._switchboard.history.texts())
            if content["found"]:
                self._payload = [{"source": "page", "data": content["data"], "start": 0}]
            else:
                self.tell(f"Nothing is known of {self._help}: there is no such name, or the board is busy.\n")
            self._settle({"status": "ok"})
        elif msg_type == "status":
            if content.get("execution_state") == "queued":
                self._was_queued = True
                self.tell(waiting_text(content))
            else:
                if self._was_queued:
                    self._begin_wrappers()
                self._start_clock()
        else:
            self._is_result_out = self._is_result_out or msg_type == "execute_result"
            if self._capture is None or not self._capture.take(msg_type, content):
                self._show(msg_type, content, self._wrappers)

    def _show(self, msg_type: str, content: dict, around: list) -> None:
        """Show an output, unless one of these keeps it."""
        if not any(wrapper.take(msg_type, content) for wrapper in around):
            self._outputs.add(msg_type, content)

    def _end_board_part(self, content: dict) -> None:
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
            content = {"status": "error", "ename": "ValueError", "evalue": error, "traceback": []}

        def go_on() -> None:
            if self._help and self._result is None and content.get("status") == "ok":
                self._send_help()
            else:
                self._settle(content)

        if statements:
            self._switchboard.run_hidden("\n".join(statements), go_on)
        else:
            go_on()

    def _publish(self, msg_type: str, content: dict) -> None:
        if msg_type == "input_request":
            self._ask(content)
        elif msg_type == "execute_result":
            if not self._silent:
                content = {"metadata": {}, **content, "execution_count": self._count}
                self._frontend.publish(msg_type, content, self._parent)
        elif msg_type == "stream":
            content = {"name": content["name"], "text": tracebacks.format_stream(content, self._switchboard.history)}
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

    def _ask(self, content: dict) -> None:
        if self.request.content.get("allow_stdin", False):
            self._switchboard.input_waiter = self
            password = content.get("password", False)
            self._frontend.ask(self.request, content.get("prompt") or "Password: " * password, password)
        else:
            # The board knows no "not possible here": it is interrupted, and the error says why.
            self._input_refused = True
            self.interrupt()

    def answer_input(self, value: str) -> None:
        """The user's line for the board's input()."""
        self._switchboard.input_waiter = None
        if self._result is None:
            try:
                self._connection.send("input_reply", {"parent": self._asked, "value": value})
            except UcoreError:
                pass  # losing the hub has failed the cell already

    def interrupt(self) -> None:
        """Stop the cell: KeyboardInterrupt on the board, or an end to waiting for one."""
        self._interrupted = True
        self._switchboard.loop.call_later(PYTHON_S, self._interrupt_python)
        if self._asked:
            try:
                self._connection.send("interrupt_request", {"parent": self._asked})
            except UcoreError:
                pass
        elif self._result is None:
            self._connection.forget(self._send)
            self._end("KeyboardInterrupt", "Interrupted while the board was not attached yet.")

    def _interrupt_python(self) -> None:
        if not self._finished and (not self._open or self._result is not None):
            self._switchboard.interrupt_subkernel()

    def _time_out(self) -> None:
        if self._result is None:
            self._timed_out = True
            self.interrupt()

    # --- the end --------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        self._end(type(error).__name__, str(error))

    def _end(self, ename: str, evalue: str) -> None:
        self._settle({"status": "error", "ename": ename, "evalue": evalue, "traceback": []})

    def _settle(self, result: dict) -> None:
        """The board's part is over; a second end changes nothing."""
        self._result = self._result or result
        self._finish_when_over()

    def _finish_when_over(self) -> None:
        if self._finished or self._result is None or not self._open or (self._needs_reply and self._counted is None):
            return
        self._finished = True
        self._outputs.flush()
        if self._switchboard.input_waiter is self:
            self._switchboard.input_waiter = None
        self._tell_count()
        reply = self._make_reply(self._result)
        if aborts_queue(self.request, reply):
            self._queue.abort_waiting()
        self._frontend.reply(self.request, reply, metadata=reply_metadata(reply["status"], self._started))
        self._frontend.status("idle", self.request)
        self._switchboard.ignore_subkernel(self.request, reply=self._counted is None, idle=self._subkernel_busy)
        self._queue.finish()

    def _make_reply(self, result: dict) -> dict:
        """Return the content of the execute_reply; publishes the error, if there is one."""
        rest = {"execution_count": self._count, "user_expressions": {}, "payload": []}
        status = result.get("status", "ok")
        if status == "ok":
            reply = {**rest, **(self._counted or {}), "status": "ok"}
            return {**reply, "payload": [*reply["payload"], *self._payload]}
        ename, evalue, lines = (
            result.get("ename", "BoardError"),
            result.get("evalue", ""),
            result.get("traceback", []),
        )
        if status == "aborted":
            if not self._interrupted:
                return {"status": "aborted"}
            ename, evalue = "KeyboardInterrupt", "Interrupted while another cell had the board."
        if self._timed_out and ename != "NoAnswerError":  # then it was not interrupted
            seconds = self._cell.options["--timeout"]
            ename, evalue = (
                "TimeoutError",
                f"The cell took longer than {seconds:g} s (--timeout) and was interrupted.",
            )
        elif self._input_refused and ename == "KeyboardInterrupt":
            ename, evalue = "StdinNotImplementedError", _NO_INPUT
        if self._entry is not None:
            self._entry.fail(lines)
        traceback = tracebacks.format_error(ename, evalue, lines, self._switchboard.history, result.get("cells"))
        if self._cell.options.get("--no-raise"):
            # No error message: programs that run notebooks take one for a failure, whatever the reply says.
            self._frontend.publish("stream", {"name": "stderr", "text": "\n".join(traceback) + "\n"}, self._parent)
            return {**rest, "status": "ok"}
        error = {"ename": ename, "evalue": evalue, "traceback": traceback}
        self._frontend.publish("error", error, self._parent)
        return {"status": "error", **rest, **error}


class _Capture:
    """What `--out NAME` keeps: the last expression's value, or else the printed text."""

    def __init__(self, name: str):
        self._name = name
        self._printed = ""
        self._pieces = values.Pieces()

    def take(self, msg_type: str, content: dict) -> bool:
        """Look at an output; tell whether it is not to be shown."""
        if msg_type == "stream" and content["name"] == "stdout":
            self._printed += content["text"]
        return msg_type == "execute_result" and self._pieces.take(content)

    @property
    def problem(self) -> str:
        """Why nothing can be kept, if so."""
        stuck = self._pieces.stuck
        if self._pieces.is_too_large or (stuck and stuck[2].endswith(CUT)):
            return "The value is too large for --out. Take slices of it, or use a pipe."
        return f"The value is too much for --out: it is {stuck[1]}." if stuck and not stuck[2] else ""

    @property
    def source(self) -> str:
        """The host's assignment. A last expression that is None, as a call of print, has no value."""
        stuck, data = self._pieces.stuck, self._pieces.data
        if stuck:
            return f"{self._name} = {stuck[2]!r}"
        if data in (b"", values.NONE):
            return f"{self._name} = {self._printed!r}"
        text = base64.b64encode(data).decode()
        return f"{self._name} = __import__('ukernel.protocol.values').protocol.values.decode_text({text!r})"
