"""Runs cells in the main thread: output, result, input, interrupt."""

import _thread
import builtins
import sys

import ucore
from ucore import wire
from ucore.link import rare
from ucore.quirks import MAIN_WRITES, UNIX, allow_interrupt

SPARE = 64  # variables that may come while a thread runs
FILE = "<cell>"  # one name for all cells: every new one would stay in memory for good


class Runner:
    """One cell at a time. Progress lives in attributes: an interrupt at any point leaves a step that can be taken again."""

    def __init__(self, link, output):
        self.link = link
        self._output = output
        self._parents = {}  # thread -> the cell that started it; tx held to change it
        self._source = None
        self._session = 0
        self._error = None
        self._done = False
        self._was = builtins.print, builtins.input
        self.cell = 0  # parent id of the cell that runs, or ran last
        # As the modules _thread and getpass. MicroPython's `from _thread import` finds attributes, not methods.
        self.start_new_thread = self._start
        self.getpass = self._getpass
        self.globals = {"__name__": "__main__", "ucore": ucore, "_ucore_show": self._show}

    def start(self):
        """Take over print, input and the starting of threads."""
        builtins.print = self._print
        builtins.input = self._input
        sys.modules["_thread"] = sys.modules["getpass"] = self
        if not UNIX:
            _thread.stack_size(8192)  # a thread that writes to a pipe serves the line too: the 4 kB it would get are too few

    def stop(self):
        """Give them back."""
        builtins.print, builtins.input = self._was
        sys.modules["_thread"] = _thread

    def __getattr__(self, name):  # as the module _thread: what it has and we do not change
        return getattr(_thread, name)

    def _parent(self):
        thread = _thread.get_ident()
        return self.cell if thread == self.link.main else self._parents.get(thread, self.cell)

    def _print(self, *values, sep=" ", end="\n", file=None):
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        if file is None or file is sys.stdout:
            if self.link.do(self._output.write, self._parent(), text) is False:
                self._output.lost += len(text.encode())
        else:
            file.write(text)

    def _show(self, value, plain=False):
        if value is not None:
            builtins._ = value
            if not plain and hasattr(value, "_repr_html_"):
                return ucore.display(value)
            link = self.link
            link.do(link.send, wire.EXECUTE_RESULT, self.cell, b"\n" + repr(value).encode(), None, self._session)

    def _input(self, *args):
        return rare("about", "ask", self.link, self.cell, self._session, *args)

    def _getpass(self, prompt=""):
        return self._input(prompt, True)

    def _start(self, function, args, kwargs={}):
        parent = self._parent()

        def run(*args, **kwargs):
            self._note(parent)
            try:
                function(*args, **kwargs)
            except SystemExit:
                pass
            except BaseException as error:
                self.link.do(self._output.write, parent, rare("about", "crash", error))
            finally:
                self._note(None)

        if MAIN_WRITES:
            # Two cores without a lock on dicts: while one grows the cell's variables, the other may miss one. So they grow beforehand.
            for spare in range(SPARE):
                self.globals[spare] = 0
            for spare in range(SPARE):
                del self.globals[spare]
        return _thread.start_new_thread(run, args, kwargs)

    def _note(self, parent):
        """The calling thread begins, as one of the cell ``parent``, or ends."""
        thread = _thread.get_ident()
        link = self.link
        if link.forget:
            link.forget(thread)
        with link.tx:
            if parent is None:
                self._parents.pop(thread, None)
            else:
                self._parents[thread] = parent

    def take(self, parent, source):
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
        self.link.busy = True
        allow_interrupt(False)
        self._reply()

    def _run(self):
        link = self.link
        try:
            link.tick(1)
            source = self._source
            self._source = None
            link.send(wire.STATUS, self.cell, b"", None, self._session)
            if b"ipe" in source:
                from ucore import pipes  # in the main thread: loading takes more stack than others have

                pipes.start(link)
            allow_interrupt(True)
            code = compile(source.decode(), FILE, "exec")
            source = None
            link.busy = False
            exec(code, self.globals)
        except BaseException as error:
            self._error = error
        self._done = True

    def _reply(self):
        content = None
        link = self.link
        # Whichever host is there by now: a new one has been told that this cell runs, and waits for its end.
        while not link.leave:
            try:
                if link.gone:  # what is lost until it is back must be told before the reply
                    link.pump(1)
                    continue
                if content is None:
                    content = b'{"status":"ok"}' if self._error is None else rare("about", "failure", self._error)
                link.catch_up()
                if link.send(wire.EXECUTE_REPLY, self.cell, content):
                    break
            except MemoryError:
                if content is None:
                    content = b'{"status":"error"}'  # the host knows what that means
                else:  # not even a frame finds room: without the cells' variables one does
                    self.globals.clear()
                    self.globals.update({"__name__": "__main__", "ucore": ucore, "_ucore_show": self._show})
        # A straight line to the end: an interrupt in it comes too late, or finds the reply to be sent once more.
        link.cell = 0
        self._error = None
        link.tick(-1)
