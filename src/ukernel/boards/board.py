"""A board, for programs: run code there, get values, call functions. It is shared with notebooks as these share it with each other."""

import base64
import contextlib
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ukernel import settings
from ukernel.errors import (
    BoardCodeError,
    BoardError,
    BoardGoneError,
    BoardRestartedError,
    BoardTimeoutError,
    BoardValueError,
    NoAnswerError,
    UcoreError,
    UsageError,
    by_name,
)
from ukernel.imports import find_imported
from ukernel.protocol import values

from .files import BoardFiles
from .functions import BoardFunction
from .info import BoardInfo, read_reply
from .requests import Message, Output, Request, Requests, label
from .sources import Source, Sources, format_frames, read_program

if TYPE_CHECKING:
    from ukernel.client.connection import HubClient
    from ukernel.pipes import Pipe
    from ukernel.pipes.listing import PipeStates

    from .aio import AsyncBoard
    from .introspection import Completion
    from .packages import BoardPackages

__all__ = ["Board", "connect"]

MOST_ITEMS = 64  # of a generator that come in one message
NEXT, CLOSE = "##next", "##close"  # what is called for the items of a generator, and to end it (docs/protocol.md, 1.6)
CHIP_S = 30.0  # for a chip to boot, and to connect to a network before that
SHOW = "_ucore_show"  # the board's name for giving a value

F = TypeVar("F", bound=Callable[..., Any])


class Board:
    """One board. Made by `connect`; a context manager. Any thread may use it, and each call waits its turn.

    Every call may raise BoardCodeError (an error of the code on the board, its traceback included), BoardTimeoutError (it took longer
    than its ``timeout``, in seconds, waiting for others included; the board is interrupted), BoardGoneError, BoardRestartedError,
    NoAnswerError and HubUnreachableError. A KeyboardInterrupt interrupts the board, too.

    name, port: of the board, as `BoardInfo` has them.
    """

    def __init__(self, name: str | None = None, *, timeout: float | None = None, output: Output | None = None):
        """See `connect`."""
        self.name = self.port = ""
        self.facts: dict[str, Any] = {}
        self.defined: dict[str, str] = {}  # what `BoardFunction` has defined there
        self._wanted = name
        self._timeout_s = timeout
        self._output = output
        self._sources = Sources()
        self._requests = Requests(self._attach, self._take_late)
        self._files = BoardFiles(self, self._requests)
        self._requests.connect()

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Board {self.name} on {self.port}: {self.description}>"

    @property
    def description(self) -> str:
        """What the board is, in words: its machine and its Python."""
        facts = self.facts
        return f"{facts.get('machine', 'an unknown board')}, {facts.get('python', 'MicroPython')} {facts.get('version', '')}".strip()

    @property
    def aio(self) -> "AsyncBoard":
        """The same board for asyncio: `await board.aio.eval(...)`."""
        from .aio import AsyncBoard  # asyncio costs 20 ms

        return AsyncBoard(self)

    @property
    def files(self) -> BoardFiles:
        """The board's files."""
        return self._files

    @property
    def packages(self) -> "BoardPackages":
        """The board's packages: install, list, remove, freeze."""
        from .packages import BoardPackages

        return BoardPackages(self, self._files)

    @property
    def on_lost(self) -> Callable[[UcoreError], object] | None:
        """What is called, in another thread, with the error when the board goes away and no call waits for it; None: nothing."""
        return self._requests.on_lost

    @on_lost.setter
    def on_lost(self, tell: Callable[[UcoreError], object] | None) -> None:
        self._requests.on_lost = tell

    @property
    def on_wait(self) -> Callable[[str], object] | None:
        """What is called with whoever else uses the board, in words, when a call has to wait for that; None: nothing."""
        return self._requests.on_wait

    @on_wait.setter
    def on_wait(self, tell: Callable[[str], object] | None) -> None:
        self._requests.on_wait = tell

    def run(
        self, code: str, *, timeout: float | None = None, output: Output | None = None, name: str = "<code for the board>"
    ) -> Any:
        """Run a program among the cells' variables, and return the value of its last expression; None where it has none.

        What it prints goes to ``output``, a function of one str; else to the board's ``output``, else to stdout. A value that cannot
        travel is returned as its repr, a str. ``name``: what tracebacks call the program, such as its file.
        """
        text, source = read_program(code, name)
        pieces = self._execute({"code": text}, source, timeout, output)
        return pieces.stuck[2] if pieces.stuck else self._value_of(pieces)

    def eval(self, expression: str, *, timeout: float | None = None) -> Any:
        """Return the value of an expression: exact, and of the type that it has on the board.

        Raises BoardValueError if the value cannot travel: it says which part of it, and why; UsageError for an empty text.
        """
        name = "<expression for the board>"
        if not expression.strip():
            raise UsageError("An empty text has no value.")
        if "await" in expression:
            text, source = read_program(expression, name)
        else:
            text, source = f"{SHOW}(({expression}\n), True)", Source(expression, name)  # a comment may be its end
        return self._value_of(self._execute({"code": text}, source, timeout))

    def run_cell(self, code: str, *, name: str = "<code for the board>", output: Output | None = None) -> None:
        """Run a program as a notebook runs a cell: what its last expression gives is shown as its repr, by ``output``.

        Of ``name`` and ``output`` see `run`.
        """
        text, source = read_program(code, name, plain=False)
        self._execute({"code": text}, source, None, output)

    def complete(self, code: str, cursor: int | None = None) -> "Completion":
        """Return the names that may go on in a program at a place in it, its end by default.

        The board is asked, but not waited for: while it is busy the names are those that MicroPython and the program have.
        """
        from . import inquiries

        return inquiries.complete(self._requests, code, cursor)

    def inspect(self, code: str, cursor: int | None = None) -> str:
        """Return what is known of the name at a place in a program, its end by default: how it is called, a sentence of help, its value.

        Empty where nothing is known.
        """
        from . import inquiries

        return inquiries.inspect(self._requests, code, cursor)

    def call(self, name: str | Callable[..., Any], /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call what has this name on the board: a function of a cell's, ``"led.on"``, ``"machine.freq"``; return its value.

        ``name`` may be a function made by `function`, which so gets a ``timeout``.

        Arguments and values are what `%ucore push` and `pull` carry; bytes-like objects arrive as bytes, NumPy arrays as packed
        numbers (`array.array`). If it is a generator, an iterator is returned that takes the items as they come.
        Raises BoardValueError for what cannot travel.
        """
        if isinstance(name, BoardFunction):
            return name.call(args, kwargs, timeout)
        if not isinstance(name, str):
            raise TypeError("What is called is a name on the board, or a function that board.function has made.")
        return self.call_value(name, args, kwargs, timeout=timeout)

    def function(self, function: F) -> F:
        """A decorator: the function runs on the board, and is called here, with values as `call` takes and gives them.

        Its text is sent once, and again after it was changed or the board has restarted. It sees the cells' variables on the board,
        and nothing of this computer's but its arguments. Raises TypeError for what is no function with a text of its own.
        """
        return BoardFunction(self, function)  # type: ignore[return-value]  # which is called as it is

    def interrupt(self) -> str:
        """Stop what runs on the board, whoever has started it; return whose it was, empty where nothing ran."""
        return str(self._requests.ask("interrupt_request", {"force": True}).get("stopped", ""))

    def reset(self, *, force: bool = False, hard: bool = False) -> None:
        """Restart the board's Python: variables, threads and pipes are gone. ``hard``: then the whole chip, by `machine.reset()`.

        Raises BoardBusyError if others use the board, unless ``force`` is true; NoAnswerError if it does not come back.
        """
        self._requests.ask("reset_request", {"force": force})
        self.defined.clear()
        if hard:
            self._restart_chip()

    def _restart_chip(self) -> None:
        deadline = time.monotonic() + CHIP_S
        try:
            self.run("import machine\nmachine.reset()", timeout=CHIP_S, output=lambda text: None)
        except (BoardRestartedError, BoardTimeoutError):
            pass
        except BoardGoneError:  # its port went with it; the hub looks for it
            while self.info().state != "ready":
                if time.monotonic() > deadline:
                    raise NoAnswerError(
                        f"The board {self.name} was restarted, and has not come back within {CHIP_S:g} s. Look at its cable."
                    ) from None
                time.sleep(0.1)
        self.defined.clear()

    def info(self) -> BoardInfo:
        """Return what the hub knows of this board."""
        for found in read_reply(self._requests.ask("boards_request")):
            if found.port == self.port:
                return found
        return BoardInfo(self.name, self.port, self.description, "gone")

    def pipes(self) -> "PipeStates":
        """Return the board's pipes: those that are open, and those that have ended lately."""
        from ukernel import pipes

        return type(found := pipes.pipes())(pipe for pipe in found if pipe.board == self.name)

    def subscribe(self, name: str, **options: Any) -> "Pipe":
        """Subscribe to a pipe of this board: `ukernel.pipes.subscribe`, with its options."""
        from ukernel import pipes

        return pipes.subscribe(name, board=self.name, **options)

    def close(self) -> None:
        """Let the board go; it stays as it is. May be called twice."""
        self._requests.close()

    # --- what functions and files are built on --------------------------------------------------------------

    def define(self, text: str, source: Source, timeout: float | None = None) -> None:
        """Run a definition; ``source`` is what tracebacks show of it."""
        self._execute({"code": text}, source, timeout)

    def call_value(
        self,
        name: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        key: str = "",
        awaited: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Call by an order to the agent (docs/protocol.md, 1.6)."""
        key = key or f"##{secrets.token_hex(4)}"
        order = base64.b64encode(values.calling(name, args, kwargs or {}, key, awaited)).decode()
        pieces = self._execute({"order": order}, None, timeout)
        return self._items(key, timeout) if pieces.is_generator else self._value_of(pieces)

    def _items(self, key: str, timeout: float | None) -> Iterator[Any]:
        most, more = 1, True
        try:
            while more:
                items, more = self.call_value(NEXT, (most,), key=key, timeout=timeout)
                yield from items
                most = min(2 * most, MOST_ITEMS)
        except BoardError as error:
            # By any other error it has ended, or nothing is to be asked of the board.
            more = isinstance(error, (BoardTimeoutError, BoardValueError))
            raise
        finally:
            if more:
                order = base64.b64encode(values.calling(CLOSE, (), {}, key, False)).decode()
                with contextlib.suppress(UcoreError):  # without a board there is nothing to end
                    self._requests.send("execute_request", {"order": order, "key": 0})

    # --- one execution --------------------------------------------------------------------------------------

    def _execute(
        self, content: dict[str, Any], source: Source | None, timeout: float | None, output: Output | None = None
    ) -> values.ReceivedValue:
        """Run code or an order to its end, and return the value's pieces. Raises what the board's reply says."""
        pieces = values.ReceivedValue()
        write = output or self._write

        def take(message: Message) -> None:
            content = message["content"]
            if message["type"] == "stream":
                write(content["text"])
            elif message["type"] == "execute_result" and pieces.take(content):
                pass
            elif message["type"] in ("execute_result", "display_data"):
                _display(content, write)
            elif message["type"] == "input_request":
                self._answer(request.id, content)

        key = self._sources.add(source) if source is not None else 0
        request = Request(self._requests, "execute_request", {**content, "key": key})
        reply = request.run(take, self._timeout_s if timeout is None else timeout)
        if reply.get("status") != "ok":
            raise self._error(reply)
        return pieces

    def _answer(self, parent: int, content: dict[str, Any]) -> None:
        """Ask the person at this computer for the board's input(). Raises EOFError where there is none."""
        prompt = content.get("prompt") or ""
        if content.get("password"):
            from getpass import getpass

            value = getpass(prompt or "Password: ")
        else:
            value = input(prompt)
        self._requests.send("input_reply", {"parent": parent, "value": value})

    def _value_of(self, pieces: values.ReceivedValue) -> Any:
        if pieces.is_empty:
            return None
        if pieces.is_too_large:
            raise BoardValueError(f"The value has more than {values.MAX_BYTES >> 20} MiB. Take slices of it, or use a pipe.")
        if pieces.stuck:
            where, what, _ = pieces.stuck
            raise BoardValueError(f"The value cannot travel: {where or 'it'} is {what}. {values.WHAT_CAN}")
        return values.decode(pieces.data)

    def _error(self, reply: dict[str, Any]) -> BaseException:
        ename, evalue = str(reply.get("ename", "BoardError")), str(reply.get("evalue", ""))
        if reply.get("status") == "aborted":
            return KeyboardInterrupt("It was taken out of the line of those that wait for the board.")
        traceback = reply.get("traceback") or []
        if not traceback:
            error = by_name(ename, evalue)
            if type(error).__name__ == ename:
                return error
        text = f"{ename}: {evalue}" if evalue else ename
        frames = format_frames(traceback, self._sources, reply.get("cells") or [])
        shown = f"{text}\nTraceback on the board {self.name} (most recent call last):\n{frames}" if frames else text
        return BoardCodeError(shown, ename, evalue, frames)

    def _write(self, text: str) -> None:
        if self._output is not None:
            self._output(text)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()

    def _take_late(self, message: Message) -> None:
        """What threads on the board print after the call that has started them."""
        if message["type"] == "stream":
            self._write(message["content"]["text"])

    def _attach(self, client: "HubClient", timeout_s: float | None) -> None:
        kernel = settings.kernel_id()
        # In a notebook, no name means its board, whatever that is.
        wanted = self.port or self._wanted or (None if kernel else settings.board())
        content = {"board": wanted, "client": label(), "kernel": kernel}
        answer = client.request("attach_request", content, timeout_s=self._timeout_s if timeout_s is None else timeout_s)
        self.name, self.port = answer["board"]["name"], answer["board"]["port"]
        self.facts = answer["board"]["facts"]
        self.defined.clear()


def connect(name: str | None = None, *, timeout: float | None = None, output: Output | None = None) -> Board:
    """Return a board: its µcore is installed, if need be, and it is ready when this returns.

    name: its name, port or URL; None for the board of this notebook, the one that UCORE_BOARD names, or the only one there is.
    timeout: seconds for each call that is given none of its own; None: no limit.
    output: a function that gets what the board prints, as str; None: stdout.

    Raises BoardNotFoundError where there is no such board, or several and no name; BoardBusyError if another program has its port;
    HubUnreachableError if no hub can be started.
    """
    return Board(name, timeout=timeout, output=output)


def _display(content: dict[str, Any], write: Output) -> None:
    """Show rich output: in a notebook as it is, elsewhere its text."""
    ipython = find_imported("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        ipython.display.display(content["data"], raw=True)
    else:
        write(content["data"].get("text/plain", "") + "\n")
