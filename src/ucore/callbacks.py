"""Printing and pipe writes below scheduled callbacks: machine.Timer, Pin.irq, micropython.schedule.

A callback strikes in any place of the thread that it interrupts, also where that thread has one of the link's locks, and must not
wait for itself there. What it prints or writes then is put aside, and goes out as soon as the lock is free. The host has it loaded
by the cells that name one of the three or import a program, for it costs memory, and every use of the locks some time.
"""

from _thread import get_ident

import ucore
from ucore.quirks import CPYTHON, MAIN_WRITES, RLock

MAX_ASIDE = 50


class Guard:
    """A lock that knows who has it; made around the lock ``lock`` that it stands in for."""

    def __init__(self, lock):
        # CPython's callbacks strike between any two bytecodes, also before an owner is noted.
        self.lock = RLock() if CPYTHON else lock
        self.owner = None

    def acquire(self, wait):
        """Take it and return True; False where the caller has it, ZeroDivisionError where another has. It never waits."""
        me = get_ident()
        if self.is_owned(me):
            return False
        1 // self.lock.acquire(False)  # not taken, it divides by zero
        self.owner = me  # no jump before it: an interrupt finds the lock free, or its owner known
        return True

    def release(self):
        """Give it back."""
        self.owner = None
        self.lock.release()

    def is_owned(self, thread):
        """Whether the calling ``thread`` has it: then a callback has interrupted this very thread."""
        return self.lock._is_owned() if CPYTHON else self.owner == thread

    def __enter__(self):
        me = get_ident()
        if self.lock._is_owned() if CPYTHON else self.owner == me:
            raise RuntimeError("not in a callback")
        self.lock.acquire()
        self.owner = me

    def __exit__(self, kind, error, trace):
        self.owner = None
        self.lock.release()


class Aside:
    """What callbacks could not do at once, for the next who comes by. Stands before the link's pump and the output's write.

    A thread is busy while it prints, writes or closes. What interrupts it then is put aside even where it has no lock: so nothing
    overtakes, and a chip's C stack is not deep enough for both.
    """

    def __init__(self, link):
        self._link = link
        self._calls = []
        self._busy = set()  # threads
        self._pump = link.pump
        self._write = link.output.write
        self.lock = link.tx
        with link.rx:
            with link.tx:  # the ticker may be at work
                link.tx = Guard(link.tx)
            link.rx = Guard(link.rx)
        link.big = Guard(link.big)
        link.output.write = self.write
        link.pump = self.pump
        self._names = None

    def guard_names(self, lock):
        """Return the pipes' lock, guarded."""
        self._names = Guard(lock)
        return self._names

    def do(self, call, *args):
        """Do what has been put aside, then this; False where it has interrupted a thread that is busy."""
        me = get_ident()
        if MAIN_WRITES and me != self._link.main:
            call(*args)  # nothing interrupts the other core, and a shared list is not safe there
            return True
        if me in self._busy or self._has_lock(me) or (self._names and self._names.is_owned(me)):
            return False
        self._busy.add(me)
        try:
            self._catch_up()
            call(*args)
            self._catch_up()
        finally:
            self._busy.discard(me)
        return True

    def put(self, *call):
        """Put a function and its arguments aside; False where there are too many."""
        if len(self._calls) >= MAX_ASIDE:
            return False
        self._calls.append(call)
        return True

    def put_at_last(self, *call):
        """Put aside what must not be left out."""
        self._calls.append(call)

    def _catch_up(self):
        for _ in range(len(self._calls)):  # what a fast timer adds meanwhile is for the next
            call = self._calls.pop(0)
            call[0](*call[1:])

    def _has_lock(self, me):
        return self._link.tx.is_owned(me) or self._link.rx.is_owned(me)

    def write(self, parent, text):
        """As `Output.write`."""
        if not self.do(self._write, parent, text) and not self.put(self._write, parent, text):
            self._link.output.lost += len(text)

    def pump(self, wait_ms=0):
        """As `Link.pump`."""
        if not self._has_lock(get_ident()):
            self._pump(wait_ms)
            if self._calls:
                self.do(bool)
        elif wait_ms:
            raise RuntimeError("not in a callback")


def guard():
    """Be ready for callbacks, from now on. Called by the main thread."""
    link = ucore._link
    if not link.aside:
        link.aside = Aside(link)
        if link.keep:
            from ucore import pipes

            pipes.guard(link.aside)
