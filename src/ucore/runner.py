"""Runs cells in the main thread: output, result, input, interrupt."""

import builtins
import sys
from _thread import get_ident

import ucore
from ucore import wire
from ucore.link import mend, rare
from ucore.quirks import allow_interrupt

FILE = "<cell %c>"  # the host chooses one of SLOTS for each cell: every new name stays in memory for good


class Runner:
    """One cell at a time. Progress lives in attributes: an interrupt at any point leaves a step that can be taken again.

    What it begins with is in `ucore.startup`.
    """

    def parent(self):
        """The cell that the calling thread belongs to."""
        thread = get_ident()
        return self.cell if thread == self.link.main else self.parents.get(thread, self.cell)

    def _print(self, *values, sep=" ", end="\n", file=None):
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        if file is None or file is sys.stdout:
            out = self.link.output
            if self.link.do(out.write, self.parent(), text) is False:
                out.lost += len(text.encode())
        else:
            file.write(text)

    def _show(self, value, plain=False):
        if plain:
            rare("values", "send", self, value)
        elif value is not None:
            builtins._ = value
            if hasattr(type(value), "_repr_html_"):
                return ucore.display(value)
            link = self.link
            link.do(link.send, wire.EXECUTE_RESULT, self.cell, b"\n" + repr(value).encode(), None, self._session)

    def ask(self, *args):
        """As `input`; with a true second argument what is typed is not shown."""
        return rare("about", "ask", self.link, self.cell, self._session, *args)

    def take(self, parent, source):
        """Take on a cell; `step` runs it. ``source`` is UTF-8, or an order to the agent (see `wire`)."""
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
            link.send(wire.STATUS, self.cell, self.dropped, None, self._session)
            self.dropped = b""
            mend()
            if b"import *" in source:
                rare("about", "spread")
            if b"ipe" in source:
                from ucore import pipes  # in the main thread: loading takes more stack than others have

                pipes.start(link)
            allow_interrupt(True)
            link.busy = False
            if source[:1] == b"\0":
                rare(("values", "files", "calls")[source[1]], "update", self, source)
            else:
                self.globals["__name__"] = "__main__"
                self.globals.setdefault("ucore", ucore)
                code = compile(source.decode(), FILE % (97 + self.cell % wire.SLOTS), "exec")
                source = None
                exec(code, self.globals)
        except BaseException as error:
            self._error = error
        self._done = True

    def _reply(self):
        link = self.link
        content = b'{"status":"ok"}'
        if self._error is not None:
            # In short where the memory does not suffice for more; the host knows what that means.
            content = b'{"status":"error"}' if link.full and link.short else rare("about", "failure", self._error)
        # Whichever host is there by now: a new one has been told that this cell runs, and waits for its end.
        while not link.leave:
            if link.gone:  # what is lost until it is back must be told before the reply
                link.pump(1)
                continue
            link.catch_up()
            if link.send(wire.EXECUTE_REPLY, self.cell, content):
                break
        # A straight line to the end: an interrupt in it comes too late, or finds the reply to be sent once more.
        link.cell = 0
        self._error = None
        link.tick(-1)
