"""An emulated Raspberry Pi Pico, and a board on it that answers in order. Used by the tests here and by benchmarks/chip.py."""

import queue
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pico
from pico import build

from ucore import wire
from ukernel.hub.driver import BoardDriver
from ukernel.install import installer
from ukernel.link import session

EMULATOR = Path(pico.__file__).parent
PATIENCE_S = 60.0  # device time lags wall time on a busy machine


def missing() -> str:
    """Why no Pico can be emulated here; empty where it can."""
    if shutil.which("node") is None:
        return "the emulated Pico needs Node.js"
    if not (EMULATOR / "node_modules/rp2040js").is_dir():
        return "the emulated Pico needs rp2040js, from npm: scripts/setup brings it"
    if build.find() is None:
        return "the emulated Pico's firmware is not built here: scripts/setup does it, or says why not"
    return ""


class Pico:
    """The emulator in a process of its own; ``port`` is where its USB serial line is."""

    def __init__(self):
        command = ["node", EMULATOR / "emulator/main.mjs", *build.find()]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        number = self._process.stdout.readline().strip()
        if not number:
            raise RuntimeError("the emulated Pico did not start; its words are above")
        self.port = f"socket://127.0.0.1:{number}"

    def stop(self):
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()


class Talker:
    """A `BoardDriver` whose events come one by one, and whose cells are run to their end."""

    def __init__(self, port: str, install=installer.ensure_agent):
        self.events: queue.Queue = queue.Queue()
        self.frames: list[tuple[int, int, bytes]] = []  # (first number, size, data) of every batch seen
        self.closed: list[session.PipeClosed] = []
        self.board = BoardDriver(port, lambda board, event: self.events.put(event), install=install)
        self.board.start()
        self.ready = self.wait_for(session.Ready)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.board.close()

    def next(self):
        event = self.events.get(timeout=PATIENCE_S)
        if isinstance(event, session.PipeBatch):
            self.frames.append((event.number, event.size, event.data))
        elif isinstance(event, session.PipeClosed):
            self.closed.append(event)
        return event

    def until(self, kind) -> list:
        """All events up to the first of a kind."""
        events = [self.next()]
        while not isinstance(events[-1], kind):
            events.append(self.next())
        return events

    def wait_for(self, kind, when=lambda event: True):
        end = time.monotonic() + PATIENCE_S
        self.passed_over = []
        while time.monotonic() < end:
            event = self.next()
            self.passed_over.append(event)
            if isinstance(event, session.Refused):
                raise event.error
            if isinstance(event, kind) and when(event):
                return event
        raise TimeoutError(f"no {kind.__name__}")

    def begin(self, code: str, parent: int = 1) -> None:
        self.board.send(wire.EXECUTE_REQUEST, parent, code.encode())

    def end(self, answer: str | None = None) -> tuple[str, str]:
        """(what the cell printed, its reply)"""
        text = ""
        while True:
            event = self.wait_for(session.Message)
            if event.type == wire.STREAM:
                text += event.content.decode()
            elif event.type == wire.INPUT_REQUEST and answer is not None:
                self.board.send(wire.INPUT_REPLY, event.parent, answer.encode())
            elif event.type == wire.EXECUTE_REPLY:
                return text, event.content.decode()

    def cell(self, code: str, answer: str | None = None) -> str:
        """Run a cell that must not fail; returns what it printed."""
        self.begin(code)
        text, reply = self.end(answer)
        assert '"ok"' in reply, reply
        return text


def mpremote(port: str, *arguments: str) -> str:
    """Run mpremote on the port, as a user would."""
    command = [sys.executable, "-m", "mpremote", "connect", port, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.replace("\r\n", "\n")
