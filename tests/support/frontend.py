"""A front end for tests: starts a kernel, runs cells, and keeps every message that belongs to each."""

import os
import queue
import random
import socket
import time
from dataclasses import dataclass, field

import psutil
import zmq
from jupyter_client import KernelClient, KernelManager
from patience import PATIENCE_S

# Below what Linux gives to outgoing connections (32768 on), and macOS and Windows (49152 on); each worker has its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
PORTS = 20_000 + 1_500 * _WORKER, 21_500 + 1_500 * _WORKER
_random = random.SystemRandom()  # the module's own is often where it was, by hypothesis


@dataclass
class Outcome:
    """What came of one cell."""

    request: str
    reply: dict = field(default_factory=dict)  # the execute_reply's content
    messages: list = field(default_factory=list)  # iopub messages with this cell as their parent, in order

    def contents(self, msg_type: str) -> list[dict]:
        return [message["content"] for message in self.messages if message["msg_type"] == msg_type]

    @property
    def types(self) -> list[str]:
        """The messages in order, statuses by their state."""
        return [message["content"].get("execution_state", message["msg_type"]) for message in self.messages]

    def text(self, name: str = "stdout") -> str:
        return "".join(content["text"] for content in self.contents("stream") if content["name"] == name)

    @property
    def result(self) -> "str | None":
        results = self.contents("execute_result")
        return results[-1]["data"]["text/plain"] if results else None

    @property
    def error(self) -> "str | None":
        errors = self.contents("error")
        return errors[-1]["ename"] if errors else None

    @property
    def traceback(self) -> str:
        return "\n".join(line for error in self.contents("error") for line in error["traceback"])


class Notebook:
    """One kernel and one client. A context manager."""

    def __init__(self, kernel_name: str, **start):
        self.manager = KernelManager(kernel_name=kernel_name)
        self._start = start

    @classmethod
    def of(cls, manager: KernelManager) -> "Notebook":
        """Return a notebook whose kernel this manager is to start."""
        notebook = cls(manager.kernel_name)
        notebook.manager = manager
        return notebook

    def __enter__(self) -> "Notebook":
        self.client = start_kernel(self.manager, **self._start)
        return self

    def __exit__(self, *exc_info) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel()

    def send(self, code: str, **options) -> str:
        """Send a cell and return its request's id."""
        options.setdefault("allow_stdin", False)
        return self.client.execute(code, **options)

    def run(self, code: str, **options) -> Outcome:
        """Run a cell and return what came of it, all of it."""
        return self.finish(self.send(code, **options))[0]

    def finish(self, *requests: str) -> list[Outcome]:
        """Wait until every one of these requests has its reply and its idle status."""
        outcomes = {request: Outcome(request) for request in requests}
        open_ends = {(request, end) for request in requests for end in ("reply", "idle")}
        deadline = time.monotonic() + PATIENCE_S
        while open_ends:
            assert time.monotonic() < deadline, f"still missing: {open_ends}"
            for message in self.received():
                outcome = outcomes.get(message["parent_header"].get("msg_id"))
                if outcome is None:
                    continue
                if message["channel"] == "iopub":
                    outcome.messages.append(message)
                    if message["content"].get("execution_state") == "idle":
                        open_ends.discard((outcome.request, "idle"))
                elif message["msg_type"].endswith("_reply"):
                    outcome.reply = message["content"]
                    open_ends.discard((outcome.request, "reply"))
        return list(outcomes.values())

    def received(self) -> list[dict]:
        """Return what has come on iopub and shell; waits a moment for something."""
        messages = []
        for name, channel in (("iopub", self.client.iopub_channel), ("shell", self.client.shell_channel)):
            while True:
                try:
                    message = channel.get_msg(timeout=0 if messages else 0.02)
                except queue.Empty:
                    break
                messages.append({**message, "channel": name})
        return messages

    def wait_for(self, wanted, *, what: str = "a message") -> dict:
        """Return the first iopub message for which ``wanted(message)`` holds."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if wanted(message):
                return message
        raise AssertionError(f"waited in vain for {what}")

    def wait_for_text(self, request: str, text: str) -> None:
        """Wait until a cell has printed this."""
        self.wait_for(
            lambda message: message["parent_header"].get("msg_id") == request and text in message["content"].get("text", ""),
            what=f"the text {text!r}",
        )

    def ask(self, msg_type: str, content: dict, *, channel: str = "shell", header: "dict | None" = None) -> dict:
        """Send any request and return its reply's content."""
        message = self.client.session.msg(msg_type, content)
        message["header"].update(header or {})
        getattr(self.client, f"{channel}_channel").send(message)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                reply = getattr(self.client, f"{channel}_channel").get_msg(timeout=1)
            except queue.Empty:
                continue
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return reply["content"]
        raise AssertionError(f"no answer to {msg_type}")

    def interrupt(self) -> None:
        """Interrupt as the kernelspec asks for it."""
        self.manager.interrupt_kernel()

    def complete(self, code: str) -> dict:
        """Complete at the place marked with ``|``."""
        return self.ask("complete_request", {"code": code.replace("|", ""), "cursor_pos": code.index("|")})

    def inspect(self, code: str) -> dict:
        """Inspect at the place marked with ``|``."""
        content = {"code": code.replace("|", ""), "cursor_pos": code.index("|"), "detail_level": 0}
        return self.ask("inspect_request", content)

    def is_complete(self, code: str) -> dict:
        return self.ask("is_complete_request", {"code": code})


def start_kernel(manager: KernelManager, **start) -> KernelClient:
    """Start a kernel on ports that no connection gets by chance; return a client of it, once it is ready."""
    while True:
        _choose_ports(manager)
        manager.start_kernel(**start)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE_S)
            return client
        except BaseException:
            client.stop_channels()
            if manager.has_kernel:
                manager.shutdown_kernel(now=True)
            # Between our choice and the kernel's bind any other program may come.
            if not any(_is_taken(port) for port in manager.ports):
                raise
            manager.context = zmq.Context()  # the one before went with the kernel


def _choose_ports(manager: KernelManager) -> None:
    """Give a kernel ports that no connection gets by chance: jupyter_client's own choice is of those that systems give to them."""
    manager.cache_ports = False
    chosen: set[int] = set()
    while len(chosen) < 5:
        port = _random.randrange(*PORTS)
        if not _is_taken(port):
            chosen.add(port)
    manager.shell_port, manager.iopub_port, manager.stdin_port, manager.hb_port, manager.control_port = chosen


def _is_taken(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def wait_for_end(processes) -> None:
    """Wait until none of these processes (of psutil) runs any more."""
    deadline = time.monotonic() + PATIENCE_S
    while alive := [process for process in processes if _is_alive(process)]:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
