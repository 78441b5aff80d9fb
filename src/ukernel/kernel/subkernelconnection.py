"""What passes between the switchboard and the sub-kernel, and what either owes the other.

Requests wait here until the process can take them; what it still says about a cell that is over is known here; and another
process takes the place of one that has ended.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from .loop import Loop
from .messages import Message, MessageSigner
from .subkernel import CHANNELS, Subkernel

__all__ = ["SubkernelConnection", "SubkernelState"]

# The sub-kernel normally speaks first. One that has not after this long is asked whether its iopub reaches us.
PROBE_S = 1.0
# Between two looks whether all sockets are connected, so that their folder can go: they are within milliseconds.
UNLINK_S = 0.1
# A process that ended so soon, and before any cell, could not start; and how it does that, another one would do too.
QUICK_S = 5.0


class SubkernelState(enum.Enum):
    """How far the sub-kernel's process is."""

    STARTING = "starting"  # nothing has come from it, and what is for it waits
    READY = "ready"  # it takes what is sent
    SERVING = "serving"  # it has answered on its shell channel
    GONE = "gone"  # it has ended, and there will be no other


class SubkernelConnection:
    """The connection to one sub-kernel after the other."""

    def __init__(self, subkernel: Subkernel, loop: Loop, signer: MessageSigner, context: zmq.Context[zmq.Socket[bytes]]):
        self.state = SubkernelState.STARTING
        self.has_spoken = False  # the first process got so far as to have a voice
        self._subkernel = subkernel
        self._loop = loop
        self._signer = signer
        self._context = context
        self._receivers: Mapping[str, Callable[[Message], None]] = {}  # by channel
        self._on_exit: Callable[[int], None] = lambda status: None
        self._queued: list[tuple[str, Message]] = []  # with their channel, for a process that is not ready
        self._pending: dict[str, tuple[str, Message]] = {}  # requests that it has not answered yet, with their channel
        self._open: set[str] = set()  # what it is at, or will be: it has not been idle after these messages yet
        self._ignored: dict[str, set[str]] = {}  # by request: what it says about it that nobody wants
        self._hidden: dict[str, Callable[[], None]] = {}  # by request of our own: what to do when it is answered
        self._got_cell = False  # whether this process has

    # --- for executions -----------------------------------------------------------------------------------

    def send(self, channel: str, message: Message) -> None:
        """Pass a message on as it is; one that comes before the sub-kernel is ready waits."""
        if message.type.endswith("_request"):
            if channel == "shell":
                self._open.add(message.id)
            if message.type != "execute_request":
                self._pending[message.id] = channel, message
        if self._is_ready:
            self._pass_on(channel, message)
        else:
            self._queued.append((channel, message))

    def run_hidden(self, code: str, callback: Callable[[], None]) -> None:
        """Run a statement of our own in the sub-kernel, unseen; ``callback()`` when it is done, or can never be."""
        content = {"code": code, "silent": True, "store_history": False, "allow_stdin": False}
        request = Message(self._signer.make("execute_request", content, idents=[b"ucore"]))
        self._hidden[request.id] = callback
        self.send("shell", request)

    def ignore(self, request: Message, *, reply: bool, idle: bool) -> None:
        """Keep back what the sub-kernel still owes for a cell that is over: its reply, its idle status."""
        owed = {kind for kind, wanted in (("reply", reply), ("idle", idle)) if wanted}
        if owed:
            self._ignored[request.id] = owed

    def answer(self, question: Message, content: dict[str, Any]) -> None:
        """Answer what the sub-kernel itself has asked, on its stdin channel."""
        if self._is_ready:
            msg_type = question.type.removesuffix("_request") + "_reply"
            self._subkernel.send("stdin", self._signer.make(msg_type, content, parent=question.header_frame))

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in what it runs."""
        if self._is_ready:
            self._subkernel.interrupt()

    # --- for the switchboard: what the process is at ----------------------------------------------------------

    @property
    def _is_ready(self) -> bool:
        return self.state in (SubkernelState.READY, SubkernelState.SERVING)

    @property
    def is_idle(self) -> bool:
        """Whether it is at nothing, and will be at nothing."""
        return not self._open

    @property
    def has_only_ignored(self) -> bool:
        """Whether all that it is at is what is over for the front end: it is just putting board cells away."""
        return bool(self._open) and all("idle" in self._ignored.get(request_id, ()) for request_id in self._open)

    def take_ignored(self, message: Message, kind: str) -> bool:
        """Tell whether nobody wants this reply or status, which then is no longer owed."""
        if message.parent.get("session") == self._signer.session:
            return True  # about a request of our own
        owed = self._ignored.get(message.parent_id)
        if not owed or kind not in owed:
            return False
        owed.discard(kind)
        if not owed:
            del self._ignored[message.parent_id]
        return True

    def take_hidden(self, reply: Message) -> bool:
        """Tell whether a request of our own is answered by this; who wanted that goes on."""
        callback = self._hidden.pop(reply.parent_id, None)
        if callback is not None:
            callback()
        return callback is not None

    def take_pending(self, reply: Message) -> Message | None:
        """Return the request that is answered by this, and expect no other answer."""
        return self._pending.pop(reply.parent_id, ("", None))[1]

    # --- the process ------------------------------------------------------------------------------------------

    def connect(self, receivers: Mapping[str, Callable[[Message], None]], on_exit: Callable[[int], None]) -> None:
        """Begin to listen: ``receivers`` get its messages, by channel, and ``on_exit(status)`` is called when the process has ended.

        Both hold for those that replace it, too.
        """
        self._receivers, self._on_exit = receivers, on_exit
        self._connect()

    def _connect(self) -> None:
        subkernel = self._subkernel
        subkernel.connect(self._context)
        self._listen("iopub", self._from_iopub)
        self._listen("shell", self._from_shell)
        self._listen("control", self._from_control)
        self._listen("stdin", self._receivers["stdin"])
        subkernel.on_exit(lambda ended: self._loop.call_soon_threadsafe(lambda: self._take_exit(ended)))
        self._loop.call_later(PROBE_S, lambda: self._probe(subkernel))

    def _listen(self, channel: str, receive: Callable[[Message], None]) -> None:
        self._loop.add_socket(self._subkernel.sockets[channel], lambda frames: receive(Message(frames)))

    def _probe(self, subkernel: Subkernel) -> None:
        if subkernel is self._subkernel and self.state is SubkernelState.STARTING:
            subkernel.send("control", self._signer.make("kernel_info_request", {}, idents=[b"probe"]))
            self._loop.call_later(PROBE_S, lambda: self._probe(subkernel))

    def _from_iopub(self, message: Message) -> None:
        self.has_spoken = True
        if message.type == "status":
            if self.state is SubkernelState.STARTING:  # it has started, where else it may still run the user's startup files
                self._take_ready()
            self._note_status(message)
        self._receivers["iopub"](message)

    def _take_ready(self) -> None:
        self.state = SubkernelState.READY
        queued, self._queued = self._queued, []
        for channel, message in queued:
            self._pass_on(channel, message)

    def _pass_on(self, channel: str, message: Message) -> None:
        # From here on its end is the cell's doing: a process that ends at once has no time to say that it is busy.
        self._got_cell = self._got_cell or message.type == "execute_request"
        self._subkernel.send(channel, message.frames)

    def _note_status(self, message: Message) -> None:
        state = message.content.get("execution_state")
        if state == "busy":
            self._open.add(message.parent_id)
        elif state == "idle":
            self._open.discard(message.parent_id)
        elif state == "starting":
            self._unlink_sockets(self._subkernel)

    def _unlink_sockets(self, subkernel: Subkernel) -> None:
        if subkernel is self._subkernel and not subkernel.unlink_sockets():
            self._loop.call_later(UNLINK_S, lambda: self._unlink_sockets(subkernel))

    def _from_shell(self, message: Message) -> None:
        if self.state is SubkernelState.READY:
            self.state = SubkernelState.SERVING
        self._receivers["shell"](message)

    def _from_control(self, message: Message) -> None:
        if message.parent.get("session") != self._signer.session:  # else it answers our probe
            self._receivers["control"](message)

    def request_shutdown(self, request: Message) -> None:
        """Pass a shutdown request on, past all that waits."""
        self._subkernel.send("control", request.frames)

    def kill(self) -> None:
        self._subkernel.kill()

    def close(self) -> None:
        """Kill the process if it still runs, and close the sockets."""
        self._subkernel.close()

    # --- its end ----------------------------------------------------------------------------------------------

    def _take_exit(self, ended: Subkernel) -> None:
        if ended is self._subkernel:
            for channel in CHANNELS:
                self._loop.drain(ended.sockets[channel])  # what it has said before
            self._on_exit(ended.exit_status or 0)

    @property
    def has_ended_quickly(self) -> bool:
        """Whether the process that has just ended began with nothing."""
        return not self._got_cell and self._subkernel.age_s < QUICK_S

    def close_ended(self) -> None:
        """Let the process go that has ended, and what it was at; what waits for it waits for another one."""
        for sock in self._subkernel.sockets.values():
            self._loop.remove_reader(sock)
        self._subkernel.close()
        self.state, self._got_cell = SubkernelState.STARTING, False
        self._ignored.clear()
        self._open.clear()

    def replace(self, subkernel: Subkernel) -> None:
        """Connect to another process."""
        self._subkernel = subkernel
        self._connect()

    def give_up(self) -> None:
        """There will be no other process: what is begun now meets none."""
        self.state = SubkernelState.GONE

    def ask_again(self, running: list[Message]) -> None:
        """Have the next process asked what the last one was asked, which has begun with nothing; ``running``: the cells."""
        again = [("shell", request) for request in running] + list(self._pending.values())
        self._queued = again + [waiting for waiting in self._queued if waiting not in again]
        self._open.update(message.id for channel, message in self._queued if channel == "shell")
        self.end_hidden()

    def drop_requests(self) -> list[tuple[str, Message]]:
        """Forget what the last process was asked, or was to be asked, but for cells; return it, with the channels.

        Only what the kernel is the next process is asked again: a reply without what it is about breaks clients.
        """
        dropped = list(self._pending.values())
        kept = [(channel, request) for channel, request in dropped if request.type == "kernel_info_request"]
        self._queued = kept
        self._pending = {request.id: (channel, request) for channel, request in kept}
        return [one for one in dropped if one not in kept]

    def end_hidden(self) -> None:
        """Let those go on who wait for a statement of our own: it can never be done."""
        hidden, self._hidden = self._hidden, {}
        for callback in hidden.values():
            callback()
