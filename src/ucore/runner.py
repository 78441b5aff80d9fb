"""Runs cells in the main thread: output, result, traceback, input, interrupt."""

import _thread
import builtins
import io
import json
import sys

import ucore
from ucore import pipes, wire
from ucore.quirks import allow_interrupt

FILE = "<cell>"  # one name for all cells: every new one would stay in memory for good


class Runner:
    """One cell at a time. Progress lives in attributes: an interrupt at any point leaves a step that can be taken again."""

    def __init__(self, link, output):
        self.link = link
        self._output = output
        self._main = _thread.get_ident()
        self._parents = {}  # thread -> the cell that started it
        self._source = None
        self._session = 0
        self._error = None
        self._done = False
        self._was = builtins.print, builtins.input
        self.cell = 0  # parent id of the cell that runs, or ran last
        self.globals = {"__name__": "__main__", "ucore": ucore, "_ucore_show": self._show}

    def install(self):
        """Take over print, input and the starting of threads."""
        builtins.print = self._print
        builtins.input = self._input
        sys.modules["_thread"] = self

    def remove(self):
        """Give them back."""
        builtins.print = self._was[0]
        builtins.input = self._was[1]
        sys.modules["_thread"] = _thread

    def __getattr__(self, name):  # as the module _thread: what it has and we do not change
        return getattr(_thread, name)

    def _parent(self):
        thread = _thread.get_ident()
        return self.cell if thread == self._main else self._parents.get(thread, self.cell)

    def _print(self, *values, sep=" ", end="\n", file=None):
        text = (" " if sep is None else sep).join([str(value) for value in values]) + ("\n" if end is None else end)
        if file is None or file is sys.stdout:
            self._output.write(self._parent(), text)
        else:
            file.write(text)

    def _show(self, value):
        if value is not None:
            builtins._ = value
            self._output.drain()
            content = json.dumps({"data": {"text/plain": repr(value)}, "metadata": {}})
            self.link.send(wire.EXECUTE_RESULT, self.cell, content.encode(), None, self._session)

    def _input(self, prompt="", password=False):
        link = self.link
        if _thread.get_ident() != self._main:
            raise RuntimeError("input() works in the cell itself, not in a thread")
        self._output.drain()
        content = json.dumps({"prompt": str(prompt), "password": password}).encode()
        link.send(wire.INPUT_REQUEST, self.cell, content, None, self._session)
        while self._session == link.session and not link.leave:
            reply = link.take(wire.INPUT_REPLY)
            if reply and reply[1] == self.cell:
                return reply[2].decode()
            link.wait(50)
            link.pump()
        raise EOFError("the host that was asked for input is gone")

    def start_new_thread(self, function, args, kwargs={}):
        parent = self._parent()

        def run():
            thread = _thread.get_ident()
            pipes.forget(thread)
            with self.link.tx:
                self._parents[thread] = parent
            try:
                function(*args, **kwargs)
            except SystemExit:
                pass
            except BaseException as error:
                self._output.write(parent, "Unhandled exception in a thread of this cell:\n" + trace(error))
            finally:
                with self.link.tx:
                    self._parents.pop(thread, None)
                pipes.forget(thread)

        return _thread.start_new_thread(run, ())

    def begin(self, parent, source):
        """Take on a cell; `step` runs it. ``source`` is UTF-8."""
        self._source = source
        self._session = self.link.session
        self._error = None
        self._done = False
        self.cell = self.link.cell = parent

    def step(self):
        """Take the cell one step further: run it, then reply."""
        if self._source is not None:
            self._run()
        elif not self._done:
            self._error = KeyboardInterrupt()
        self._done = True
        allow_interrupt(False)
        self._reply()

    def _run(self):
        link = self.link
        try:
            link.tick(1)
            source = self._source
            self._source = None
            link.send(wire.STATUS, self.cell, b'{"execution_state":"busy"}', None, self._session)
            allow_interrupt(True)
            code = compile(source.decode(), FILE, "exec")
            source = None
            exec(code, self.globals)
        except BaseException as error:
            self._error = error
        self._done = True

    def _reply(self):
        self._output.drain()
        error = self._error
        if error is None:
            content = b'{"status":"ok"}'
        else:
            reply = {"status": "error", "ename": type(error).__name__, "evalue": str(error)}
            reply["traceback"] = trace(error).split("\n")
            content = json.dumps(reply).encode()
        self.link.send(wire.EXECUTE_REPLY, self.cell, content, None, self._session)
        # A straight line to the end: an interrupt in it comes too late, or finds the reply to be sent once more.
        self.link.cell = 0
        self._error = None
        self.link.tick(-1)

    def complete(self, text):
        """The attributes, or names, that begin as the dotted ``text`` does; never calls anything."""
        path, _, start = text.rpartition(".")
        try:
            names = dir(self._resolve(path)) if path else list(self.globals) + dir(builtins)
        except Exception:
            names = ()
        return sorted(set([name for name in names if name.startswith(start) and not name.startswith("_ucore")]))

    def inspect(self, text):
        """What is known of the object that the dotted ``text`` names: type, value, attributes; None where there is none."""
        try:
            found = self._resolve(text)
        except Exception:
            return None
        return {"type": type(found).__name__, "repr": repr(found)[:1000], "names": dir(found)[:100]}

    def _resolve(self, path):
        names = path.split(".")
        found = self.globals[names[0]] if names[0] in self.globals else getattr(builtins, names[0])
        for name in names[1:]:
            found = getattr(found, name)
        return found


def trace(error):
    """The traceback of ``error`` as text, from the cell's first line on: the agent's own frames are nobody's business."""
    out = io.StringIO()
    sys.print_exception(error, out)
    lines = out.getvalue().rstrip("\n").split("\n")
    first = 1
    while first < len(lines) and lines[first].startswith(" ") and FILE not in lines[first]:
        first += 1
    return "\n".join(lines[:1] + lines[first:])
