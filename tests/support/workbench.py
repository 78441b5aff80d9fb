"""A workbench for pipes: notebooks around one virtual board, with a hub of their own."""

import ast
import contextlib
import os
from pathlib import Path

from frontend import Notebook, Outcome
from patience import wait_until

from ukernel.pipes import PipeState, pipes
from ukernel.virtual.launcher import VirtualBoard

# What the tests' board cells use. `produce` is the page's producer: a thread that counts, until its pipe is closed.
TOOLS = """%%ucore
import struct, time, _thread
from machine import ADC, Pin

ended = []

def produce(name, period_ms=2, first=0, started=None):
    pipe = ucore.open_pipe(name)
    def loop():
        if started is not None:
            started.append(first)
        count = first
        while ucore.is_pipe_open(name):
            pipe.write(struct.pack("<f", count))
            count += 1
            time.sleep_ms(period_ms)
        ended.append(first)
    _thread.start_new_thread(loop, ())

def wait_until(is_so):
    for _ in range(6000):
        if is_so():
            return
        time.sleep_ms(10)
    raise RuntimeError("waited in vain")
"""


class Workbench:
    """A notebook, another one on the same board, and this process. A context manager.

    ``python``: what the board runs. With "micropython" it is a notebook on kernelspec `ucore-virtual`, as a user has it; the
    stand-in on CPython runs beside it and is chosen with UCORE_BOARD. ``port``: of a board that is there already.
    """

    def __init__(self, python: str, folder: Path, port: "str | None" = None):
        self.python = python
        self.port = port
        # A board on a port has one hub, which is that of the other tests' notebooks.
        self.state_path = folder / ("hub.json" if port else f"hub-{python}.json")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Workbench":
        with self._stack:
            if self.port:
                self.notebook = self._stack.enter_context(self.another_notebook("ucore", UCORE_BOARD=self.port))
                self.host("%ucore reset")  # as fresh as a virtual board would be
            elif self.python == "micropython":
                self.notebook = self._stack.enter_context(self.another_notebook("ucore-virtual"))
                self.board("1")  # the board is attached once a cell has run
                self.port = self._find_port()
            else:
                self.port = self._stack.enter_context(VirtualBoard("cpython")).port
                self.notebook = self._stack.enter_context(self.another_notebook("ucore", UCORE_BOARD=self.port))
            self.neighbour = self._stack.enter_context(self.another_notebook("ucore", UCORE_BOARD=self.port))
            _succeed(self.notebook, TOOLS)
            self.host("import struct, time\nimport ukernel.pipes\nfrom ukernel.pipes import *")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exc_info) -> None:
        self._stack.close()

    def environment(self, **variables: str) -> dict[str, str]:
        return {**os.environ, "UCORE_STATE_PATH": str(self.state_path), **variables}

    def another_notebook(self, kernel_name: str, **variables: str) -> Notebook:
        """Return a notebook on the same hub, not yet started."""
        return Notebook(kernel_name, env=self.environment(**variables))

    def host(self, code: str) -> Outcome:
        """Run a host cell that succeeds."""
        return _succeed(self.notebook, code)

    def board(self, code: str) -> Outcome:
        """Run a board cell that succeeds."""
        return _succeed(self.notebook, "%%ucore\n" + code)

    def value(self, expression: str):
        """Return the value of an expression on the host."""
        return ast.literal_eval(self.host(expression).result)

    def board_value(self, expression: str):
        """Return the value of an expression on the board."""
        return ast.literal_eval(self.board(expression).result)

    def elsewhere(self, code: str) -> Outcome:
        """Run a board cell that succeeds in the other notebook, also while a host cell runs in the first."""
        return _succeed(self.neighbour, "%%ucore\n" + code)

    def pipe(self, name: str) -> PipeState:
        """Return what the hub says about the pipe that is open, or was opened last."""
        known = [pipe for pipe in pipes() if pipe.name == name]
        return next((pipe for pipe in known if pipe.open), known[-1])

    def wait_for(self, is_so, what: str) -> None:
        wait_until(is_so, what)

    def wait_for_reader(self, name: str) -> None:
        self.wait_for(lambda: self.pipe(name).readers, f"a reader of {name}")

    def clear(self) -> None:
        """Close what is open and stop what moves."""
        names = sorted({pipe.name for pipe in pipes() if pipe.open})
        self.board(f"for name in {names!r}:\n    ucore.close_pipe(name)")
        self.host("stop_live()")

    def _find_port(self) -> str:
        self.host("from ukernel.client import connection\nhub = connection.connect(start=False)")
        self.host("boards = hub.request('boards_request', {})['boards']\nhub.close()")
        (port,) = self.value("[board['port'] for board in boards if board['state'] == 'ready']")
        return port


def _succeed(notebook: Notebook, code: str) -> Outcome:
    outcome = notebook.run(code)
    assert outcome.reply["status"] == "ok", f"{code}\n{outcome.traceback or outcome.reply}"
    return outcome
