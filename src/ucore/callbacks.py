"""Printing and pipe writes below scheduled callbacks: machine.Timer, Pin.irq, micropython.schedule.

A callback strikes in any place of the thread that it interrupts, also where that thread has one of the link's locks, and must not
wait for itself there. What it prints or writes then is put aside, and goes out as soon as the lock is free. Loaded with the first cell
that imports `machine`, `micropython` or a file, for it costs memory, and every use of the locks some time.
"""

from _thread import allocate_lock, get_ident

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
    """What callbacks could not do at once, for whoever comes by. Stands before the link's pump and the output's write.

    ``names``: the pipes' lock, once there are pipes.
    """

    def __init__(self, link):
        self._link = link
        self._calls = []
        self._turn = Guard(allocate_lock())  # of who does what has been put aside
        self.names = self._turn
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

    def has_lock(self):
        """Whether the caller would wait for the thread that it has interrupted, if it sent anything."""
        me = get_ident()
        link = self._link
        return link.tx.is_owned(me) or link.rx.is_owned(me) if CPYTHON else link.tx.owner == me or link.rx.owner == me

    def guard(self, lock):
        """Return the pipes' lock, guarded."""
        self.names = Guard(lock)
        return self.names

    def put(self, *call):
        """Put a function and its arguments aside; False where there are too many."""
        if len(self._calls) >= MAX_ASIDE:
            return False
        self._calls.append(call)
        return True

    def put_at_last(self, *call):
        """Put aside what must not be left out."""
        self._calls.append(call)

    def catch_up(self):
        """Do what has been put aside, or wait until another thread has done it; False where that would be waiting for itself.

        Without a GIL by the main thread only: callbacks are its, there, and a shared list is not safe.
        """
        me = get_ident()
        if MAIN_WRITES and me != self._link.main:
            return True
        if self.has_lock() or self._turn.is_owned(me) or self.names.is_owned(me):
            return False
        if self._calls or self._turn.owner:
            with self._turn:
                while self._calls:
                    call = self._calls.pop(0)
                    call[0](*call[1:])
        return True

    def write(self, parent, text):
        """As `Output.write`."""
        if self.catch_up():
            self._write(parent, text)
        elif not self.put(self._write, parent, text):
            self._link.output.lost += len(text)

    def pump(self, wait_ms=0):
        """As `Link.pump`."""
        if not self.has_lock():
            self._pump(wait_ms)
            self.catch_up()
        elif wait_ms:
            raise RuntimeError("not in a callback")


def start(link):
    """Guard the link; once, by the main thread."""
    if not link.aside:
        link.aside = Aside(link)
        if link.openings is not None:
            from ucore import pipes

            pipes.guard(link.aside)
