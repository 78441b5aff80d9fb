"""Threads of a program, each one's output that of the cell which started it; and `getpass`. Loaded when a program first asks for one of them."""

from _thread import get_ident

import ucore
from ucore.link import rare
from ucore.quirks import MAIN_WRITES

SPARE = 64  # variables that may come while a thread runs


def start(runner):
    """Give `ucore` what it has as the modules _thread and getpass."""

    def start_thread(function, args, kwargs={}):
        parent = runner.parent()

        def run(*args, **kwargs):
            _note(runner, parent)
            try:
                function(*args, **kwargs)
            except SystemExit:
                pass
            except BaseException as error:
                runner.link.do(runner.link.output.write, parent, rare("about", "crash", error))
            finally:
                _note(runner, None)

        if MAIN_WRITES:
            # Two cores without a lock on dicts: while one grows the cell's variables, the other may miss one. So they grow beforehand.
            for spare in range(SPARE):
                runner.globals[spare] = 0
            for spare in range(SPARE):
                del runner.globals[spare]
        return runner.was[2](run, args, kwargs)

    def getpass(prompt=""):
        return runner.ask(prompt, True)

    ucore.start_new_thread = start_thread
    ucore.getpass = getpass


def warn(name):
    """A second thread writes to the pipe ``name``."""
    end = "ucore.close_pipe(%r) as its first line ends the thread of the run before, and ucore.every() needs none." % name
    print("Two threads write to the pipe %r: was its cell run twice? " % name + end)


def _note(runner, parent):
    """The calling thread begins, as one of the cell ``parent``, or ends."""
    thread = get_ident()
    link = runner.link
    if link.forget:
        link.forget(thread)
    with link.tx:
        if parent is None:
            runner.parents.pop(thread, None)
        else:
            runner.parents[thread] = parent
