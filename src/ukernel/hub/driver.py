"""One attached board: a session over a stream, in a thread of its own that does nothing but keep the line going."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ukernel import settings
from ukernel.errors import BoardBusyError, BoardError, BoardGoneError, NoAnswerError, UcoreError
from ukernel.link.session import CONNECTING, READY, Console, Gone, Ready, Refused, Session
from ukernel.ports import discovery
from ukernel.ports.stream import Stream, open_stream, other_reader
from ukernel.virtual.line import END_MAIN, RESET

ANSWER_S = 10.0  # a board that has just been opened may boot first
GRACE_S = 5.0  # a cable pulled and put back within this is no event at all
PROBE = b"\x02"  # Ctrl-B: MicroPython's prompt shows itself; neither an agent nor a program is disturbed
INTERRUPT = b"\x03"
MAIN_S = 1.0  # that a virtual board's main.py has to end by itself; the board boots in a tenth of it
SLOW_MAIN_S = 6.0  # that a chip's has, which takes seconds to boot and to connect to a network
PROMPT = re.compile(r'>>> |{"v":|raw REPL; CTRL-B')  # the prompt, or its echo of our hello
BOOTED = re.compile(r"soft reboot|µcore virtual board.*, boot \d+ \(")
MAX_BOOT_TEXT = 1000  # characters: a traceback and the prompt after it
MAX_TAIL = 200  # characters: more than what `BOOTED` looks for
MAX_INSTALLS = 2  # in a row: an agent that has been installed twice, and still is not there, will not be by a third time
COMPUTERS = ("linux", "darwin", "win32")  # the sys.platform of virtual boards
SLOW_DOWN_S = 0.5  # a board that looks at its line answers in a tenth of it
SAID_LINES = 10  # of what a board that does not answer has printed: its last traceback
RETRY_S = 0.25  # between two looks for a port that has vanished


Command = Callable[[Session, Stream], None]  # for the board's thread


class _AtPrompt(Exception):
    """Instead of our agent, MicroPython's prompt answered."""


class BoardDriver:
    """The board on ``port``.

    deliver(board, event) is called on the board's thread, with the events of `ukernel.link.session`. A lost stream is opened again on the
    port that ``look_for()`` names then (by default the one with the same USB serial number, or of the same name); within GRACE_S
    nobody notices, after it a Gone is delivered, and a Ready once the board is back. A Refused ends the board. Where the board shows
    MicroPython's prompt instead of answering, ``install(port)`` is called, with the port closed, to put the agent there (see
    `ukernel.install.installer`). ``session_options`` are those of `Session`.

    ``port`` and ``facts`` are set by the board's thread alone, each as a whole, and before an event that rests on them is delivered; any
    thread may read them. ``name`` never changes. All else is the board's thread's own, but what stands under "Any thread".
    """

    def __init__(
        self,
        port: str,
        deliver: Callable[[BoardDriver, object], None],
        *,
        open_stream: Callable[[str], Stream] = open_stream,
        install: Callable[[str], object] | None = None,
        look_for: Callable[[], str] | None = None,
        **session_options: Any,
    ):
        self.port = port
        self.facts: dict[str, Any] = {}
        self._info = discovery.describe(port)
        self.name = self._info.name
        # A pseudo-terminal that has hung up never comes back: its number may soon be a stranger's.
        self._comes_back = look_for is not None or self._info.kind != discovery.PTY
        self._look_for = look_for or self._by_serial_number
        self._deliver = deliver
        self._open_stream = open_stream
        self._install = install
        self._installs = 0
        self._end_main_at = math.inf
        self._told_gone = False  # a Gone has been delivered, a Ready not yet
        self._boot_text = ""  # what the board has printed while it is looked for its answer
        self._tail = ""  # the end of what it has printed since
        self._options = session_options
        self._session: Session | None = None
        self._stream: Stream | None = None
        self._commands: deque[Command] = deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"board {self.name}", daemon=True)

    # Any thread

    def start(self) -> None:
        """Open the port and say hello; the first event says how that went."""
        self._thread.start()

    def send(self, type: int, parent: int, content: bytes) -> None:
        """Queue a message for the board."""
        self._command(lambda session, stream: session.send(type, parent, content))

    def interrupt(self) -> None:
        """Interrupt the running cell; does nothing where none runs."""
        self._command(lambda session, stream: session.interrupt(time.monotonic()))

    @property
    def is_virtual(self) -> bool:
        """Whether it is a virtual board, whose reset button is on its line; a board that is not known yet may be one."""
        return self._info.kind in (discovery.PTY, discovery.SOCKET) and self.facts.get("platform", "linux") in COMPUTERS

    def press_reset(self) -> None:
        """Press a virtual board's reset button, whatever it does: a Ready says that it is back."""
        self._command(self._press_reset)

    def set_timestamps(self, wanted: bool) -> None:
        """Tell whether the times of pipe frames are wanted."""
        self._command(lambda session, stream: session.clock.set_timestamps(wanted))

    def close(self) -> None:
        """Let go of the port. The board's programs go on. Returns when the thread has ended, or within 2 s."""
        self._closing.set()
        self._wake()
        if self._thread.ident and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def _command(self, command: Command) -> None:
        self._commands.append(command)
        self._wake()

    def _wake(self) -> None:
        stream = self._stream
        if stream is not None:
            stream.wake()

    # The board's thread

    def _press_reset(self, session: Session, stream: Stream) -> None:
        stream.write(RESET)
        self._expect_boot(session, time.monotonic())

    def _expect_boot(self, session: Session, now: float) -> None:
        """The board starts afresh: no agent answers before main.py has ended."""
        session.start(now)
        self._end_main_at = now + (MAIN_S if self.is_virtual else SLOW_MAIN_S)

    def _end_main(self, stream: Stream, now: float) -> None:
        """Interrupt a main.py that does not end. No cell: on a chip, only where none can run, since it has just booted."""
        self._end_main_at = now + MAIN_S  # it may swallow an interrupt
        stream.write(END_MAIN if self.is_virtual else INTERRUPT)

    def _run(self) -> None:
        try:
            self._keep_going()
        except Exception as error:  # a fault of ours must not leave a board that looks alive
            logging.getLogger("ukernel.hub").exception("%s: the line's thread failed", self.name)
            self._refuse(
                BoardError(f"The connection to the board {self.name} failed inside µcore: {error!r}. Please report it.")
            )

    def _keep_going(self) -> None:
        try:
            max_baudrate = settings.max_baud()
            stream: Stream | None = self._open_stream(self.port)
        except UcoreError as error:
            self._refuse(error)
            return
        assert stream is not None
        session = self._session = Session(**{"kind": stream.kind, "max_baudrate": max_baudrate, **self._options})
        while stream is not None:
            self._stream = stream
            lost: BoardGoneError | None = None
            try:
                self._serve(session, stream)
                return
            except BoardGoneError as error:
                lost = error
                if not self._comes_back:
                    self._refuse(error)  # before the port is closed, and its name free for another board
                    return
            except _AtPrompt:
                pass
            finally:
                self._stream = None
                stream.close()
            if lost is None:
                self._installs += 1
                try:
                    assert self._install is not None  # who may not install does not look for a prompt
                    self._install(self.port)
                    stream = self._open_stream(self.port)
                except BoardError as error:
                    self._refuse(error)
                    return
                continue
            stream = self._find_again(lost)

    def _refuse(self, error: Exception) -> None:
        self._deliver(self, Refused(error))

    def _serve(self, session: Session, stream: Stream) -> None:
        """Keep the line going until `close`, or until the board is refused. Raises BoardGoneError, _AtPrompt."""
        now = time.monotonic()
        session.clock.epoch = time.time() - now
        session.start(now)
        answer_by: float | None = now + (ANSWER_S if not self.facts else GRACE_S)
        self._boot_text = self._tail = ""
        self._end_main_at = now + MAIN_S if self.is_virtual else math.inf
        if self._may_install():
            stream.write(PROBE)
        while not self._closing.is_set():
            while self._commands:
                self._commands.popleft()(session, stream)
            if session.state == CONNECTING and now >= self._end_main_at:
                self._end_main(stream, now)
            self._send_due(session, stream, now)
            deadline = session.deadline(now)
            if session.state == CONNECTING:
                if answer_by is None:
                    answer_by = now + ANSWER_S  # it has booted, or is looked for at another baud rate
                if now > answer_by and not self._told_gone and not self._unanswered():
                    return
            elif session.check_silence(now):
                answer_by = now
                if self._may_install():
                    stream.write(PROBE)
                continue
            else:
                answer_by = None
            data = stream.read(None if deadline is None else max(deadline - now, 0.0))
            now = time.monotonic()
            if not data:
                continue
            for event in session.receive_data(data, now):
                if isinstance(event, Refused):
                    self._refuse(event.error)
                    return
                self._handle(event, session, stream, now)
        self._slow_down(session, stream)

    def _handle(self, event: object, session: Session, stream: Stream, now: float) -> None:
        """Deliver an event, unless nobody need know. Raises _AtPrompt."""
        if isinstance(event, Console) and session.state == CONNECTING and self._may_install():
            self._boot_text = (self._boot_text + event.text)[-MAX_BOOT_TEXT:]
            if PROMPT.search(self._boot_text):
                raise _AtPrompt
            return
        if isinstance(event, Console) and session.state == READY:
            self._tail = (self._tail + event.text)[-MAX_TAIL:]  # text may come in parts
            if BOOTED.search(self._tail):
                self._tail = ""
                self._expect_boot(session, now)
                if self._may_install():
                    stream.write(PROBE)
        if isinstance(event, Ready):
            if self._boot_text:
                self._deliver(self, Console(self._boot_text))
                self._boot_text = ""
            self.facts = event.facts
            self._installs = 0
            self._end_main_at = math.inf
            if event.resumed and not self._told_gone:
                return  # back within the grace, with nothing lost; otherwise even the same session is news
            self._told_gone = False
        self._deliver(self, event)

    @staticmethod
    def _send_due(session: Session, stream: Stream, now: float) -> None:
        data = session.data_to_send(now)
        stream.set_baudrate(session.baudrate)  # what was sent before has left: the session has waited for an answer to it
        if data:
            stream.write(data)

    def _slow_down(self, session: Session, stream: Stream) -> None:
        """Leave the line as whoever opens it next expects it; the board follows later where it does not look now."""
        now = time.monotonic()
        until = now + SLOW_DOWN_S
        session.slow_down(now)
        while not session.is_slow and now < until:
            self._send_due(session, stream, now)
            session.receive_data(stream.read(SLOW_DOWN_S / 10), now)
            now = time.monotonic()

    def _may_install(self) -> bool:
        return self._install is not None and self._installs < MAX_INSTALLS

    def _unanswered(self) -> bool:
        """Nobody has answered the hello in time. True where a board that we knew may still come back."""
        said = "\n".join(self._boot_text.strip().splitlines()[-SAID_LINES:])
        said = f" It printed:\n{said}" if said else ""
        other = other_reader(self.port)
        error: BoardError
        if other:
            error = BoardBusyError(self._shared(other))
        else:
            error = NoAnswerError((self._hung() if self.facts else self._first_contact()) + said)
        if not self.facts:
            self._refuse(error)
            return False
        self._tell_gone(error)
        return True

    def _shared(self, other: str) -> str:
        return (
            f"Nothing readable comes from the board on {self.port}, because another program reads the port too: {other}. "
            "Each of the two gets a part of the bytes. End it, then run the cell again."
        )

    def _first_contact(self) -> str:
        return (
            f"The board on {self.port} does not answer. Either it runs no µcore agent, or its program keeps it from looking at the line. "
            + (
                "If it is a virtual board, the next attempt restarts it: run the cell again."
                if self.is_virtual
                else f"Press its reset button; `ucore install {self.port}` stops a main.py that never ends. `ucore virtual` runs a board "
                "without hardware."
            )
        )

    def _hung(self) -> str:
        kind = "virtual board" if self.is_virtual else "board"
        return (
            f"The {kind} {self.name} on {self.port} does not answer any more: its program does something that nothing can "
            "interrupt, such as an endless loop in a @micropython.native function, or waiting for a lock. "
        ) + (
            "The next board cell restarts it, and so does `%ucore reset --force`; what it remembers is lost."
            if self.is_virtual
            else "Only its reset button helps: press it, then run the cell again. What it remembers is lost."
        )

    def _find_again(self, lost: BoardGoneError) -> Stream | None:
        """Open the stream again wherever it comes back; None once closed."""
        since = time.monotonic()
        while not self._closing.wait(RETRY_S):
            if not self._told_gone and time.monotonic() - since > GRACE_S:
                self._tell_gone(lost)
            self.port = self._look_for()
            try:
                return self._open_stream(self.port)
            except BoardError:
                pass
        return None

    def _tell_gone(self, error: Exception) -> None:
        self._told_gone = True
        self._deliver(self, Gone(error))

    def _by_serial_number(self) -> str:
        if self._info.serial_number:
            for info in discovery.find_boards():
                if info.serial_number == self._info.serial_number:
                    return info.port
        return self.port
