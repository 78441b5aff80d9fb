"""Test doubles on the board's side of the hub, and a hub in a thread to use them with.

A `ScriptedBoard` stands in for `ukernel.hub.driver.BoardDriver`: a test says on which words of a cell it does what, and may have it do
anything else at any time. The hub, its sockets and its clients are real.
"""

import asyncio
import json
import threading
from contextlib import contextmanager

from patience import PATIENCE_S, wait_until

from ucore import wire
from ukernel.errors import BoardNotFoundError
from ukernel.hub.server import Hub
from ukernel.link import session
from ukernel.protocol import statefile


class ScriptedBoard:
    """Runs cells of one command each: ``print TEXT``, ``show TEXT``, ``fail TEXT``, ``ask PROMPT``, ``hold``, or nothing.

    ``hold`` runs until it is interrupted or until the test calls `finish`.
    """

    sessions = 1  # that hosts have had with it
    is_virtual = False

    def __init__(self, port, deliver):
        self.port = port
        self.name = port.rpartition("/")[2]
        self.facts = {"platform": "scripted", "machine": "a scripted board"}
        self.sent = []
        self.interrupts = self.resets = 0
        self.boots = True  # after a reset, at once; else when the test says so
        self.timestamps = False
        self.running = 0
        self.closed = threading.Event()
        self._tell = deliver

    def start(self):
        if "missing" in self.port:
            return self.tell(session.Refused(BoardNotFoundError(f"There is no port {self.port}.")))
        self.ready()
        return None

    def ready(self, resumed=False, restarted=False, cell_parent=0):
        self.tell(session.Ready(self.facts, resumed, restarted, cell_parent))

    def boot(self):
        self.running = 0
        self.ready(restarted=True)

    def gone(self, error):
        self.tell(session.Gone(error))

    def close(self):
        self.closed.set()

    def tell(self, event):
        """Have the board report an event, on a thread that is not the hub's."""
        teller = threading.Thread(target=self._tell, args=(self, event))
        teller.start()
        teller.join(PATIENCE_S)
        assert not teller.is_alive(), "the hub does not take the event"

    def say(self, type, content, parent=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.tell(session.Message(type, self.running if parent is None else parent, data))

    def send(self, type, parent, content):
        """The hub's message to the board; answered from another thread, as a board does."""
        if type != wire.INSPECT_REQUEST or content:  # asked once, by the hub itself
            self.sent.append((type, parent, content))
        threading.Thread(target=self._obey, args=(type, parent, content)).start()

    def _obey(self, type, parent, content):
        if type == wire.SHUTDOWN_REQUEST:
            self.resets += 1
            return self.boot() if self.boots else None
        if type == wire.COMPLETE_REQUEST:
            return self.say(wire.COMPLETE_REPLY, ["sleep", "sleep_ms"], parent)
        if type == wire.INSPECT_REQUEST:
            found = {"type": "int", "repr": "42", "names": ["real"]} if content else {"sessions": self.sessions}
            return self.say(wire.INSPECT_REPLY, found, parent)
        if type == wire.INPUT_REPLY:
            self.say(wire.STREAM, content)
            return self.finish()
        self.running = parent
        command, _, text = content.decode().partition(" ")
        self.say(wire.STATUS, b"")
        if command == "ask":
            return self.say(wire.INPUT_REQUEST, {"prompt": text, "password": False})
        if command == "hold":
            return None
        if command == "print":
            self.say(wire.STREAM, text.encode())
        elif command == "show":
            self.say(wire.EXECUTE_RESULT, b"\n" + text.encode())
        if command == "trace":  # TEXT is JSON
            return self.finish({"status": "error", "ename": "ValueError", "evalue": "", "traceback": json.loads(text)})
        if command == "fail":
            self.finish({"status": "error", "ename": "ValueError", "evalue": text, "traceback": ["ValueError: " + text]})
        else:
            self.finish()
        return None

    def finish(self, reply=None):
        parent, self.running = self.running, 0
        self.say(wire.EXECUTE_REPLY, reply or {"status": "ok"}, parent)

    def interrupt(self):
        self.interrupts += 1
        stopped = {"status": "error", "ename": "KeyboardInterrupt", "evalue": "", "traceback": []}
        threading.Thread(target=self.finish, args=(stopped,)).start()

    def set_timestamps(self, wanted):
        self.timestamps = wanted

    def open(self, name, id=1, generation=1, number=0, drops=False):
        self.tell(session.PipeOpened(id, generation, name, number, drops))

    def write(self, data, size, number, id=1, times=None):
        self.tell(session.PipeBatch(id, number, size, data, times))

    def close_pipe(self, frames, id=1):
        self.tell(session.PipeClosed(id, frames))


class HubThread:
    """A hub with scripted boards, in a thread of this process."""

    def __init__(self, linger_s):
        self.boards = {}
        self.state_file = statefile.StateFile()
        assert self.state_file.acquire()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(linger_s)))
        self._thread.start()
        wait_until(lambda: statefile.read() is not None, "the hub's start")
        self.faults = []  # what went wrong inside the event loop
        self.call(lambda: self.hub._loop.set_exception_handler(lambda loop, context: self.faults.append(context)))

    async def _run(self, linger_s):
        self.hub = Hub(self._make_board, linger_s)
        await self.hub.run(self.state_file)

    def _make_board(self, port, deliver):
        board = self.boards[port.rpartition("/")[2]] = ScriptedBoard(port, deliver)
        return board

    def call(self, function, *args):
        """Call a function in the hub's loop and return what it returns."""

        async def calling():
            return function(*args)

        return asyncio.run_coroutine_threadsafe(calling(), self.hub._loop).result(PATIENCE_S)

    def stop(self):
        if self._thread.is_alive():
            self.hub._loop.call_soon_threadsafe(self.hub.stop)
        self.join()

    def join(self):
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the hub does not stop"
        self.state_file.release()
        assert not self.faults


@contextmanager
def running_hub(linger_s=60.0):
    """A `HubThread` for the state file that UCORE_STATE_PATH names."""
    thread = HubThread(linger_s)
    try:
        yield thread
    finally:
        thread.stop()
