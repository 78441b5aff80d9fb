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
        """Take it if nobody has it; returns whether it did. It never waits."""
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
    """What callbacks could not do at once, for who was interrupted to do. Stands before the link's pump and the output's write.

    A thread is busy while it prints or writes. What interrupts it then is put aside even where it has no lock: a chip's C stack is
    not deep enough for both.
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
        for opening in (link.openings or {}).values():
            opening.wait = False

    def begin(self):
        """The calling thread is busy until `end`. False where it is already, or has a lock: it has been interrupted by this call."""
        me = get_ident()
        if MAIN_WRITES and me != self._link.main:
            return True  # nothing interrupts the other core
        if me in self._busy or self._has_lock(me):
            return False
        self._busy.add(me)
        return True

    def end(self):
        """It is busy no more."""
        if not MAIN_WRITES or get_ident() == self._link.main:
            self._busy.discard(get_ident())

    def _has_lock(self, me):
        return self._link.tx.is_owned(me) or self._link.rx.is_owned(me)

    def put(self, *call):
        """Put a function and its arguments aside; False where there are too many."""
        if len(self._calls) >= MAX_ASIDE:
            return False
        self._calls.append(call)
        return True

    def put_at_last(self, count):
        """Put aside what counts those that were too many."""
        self._calls.append((count,))

    def catch_up(self):
        """Do what has been put aside; busy. By the main thread only: without a GIL a shared list is not safe, and callbacks are its."""
        while self._calls and get_ident() == self._link.main:
            call = self._calls.pop(0)
            call[0](*call[1:])

    def write(self, parent, text):
        """As `Output.write`."""
        if self.begin():
            try:
                self.catch_up()
                self._write(parent, text)
                self.catch_up()
            finally:
                self.end()
        elif not self.put(self._write, parent, text):
            self._link.output.lost += len(text)

    def pump(self, wait_ms=0):
        """As `Link.pump`."""
        if not self._has_lock(get_ident()):
            self._pump(wait_ms)
            if self._calls and self.begin():
                try:
                    self.catch_up()
                finally:
                    self.end()
        elif wait_ms:
            raise RuntimeError("not in a callback")


def guard():
    """Be ready for callbacks, from now on. Called by the main thread."""
    link = ucore._link
    if not link.aside:
        link.aside = Aside(link)
