"""Functions that are called again and again: `ucore.every`. Loaded when a program first asks for it.

One thread calls all of them, for an RP2 has one to spare; where none can be started, a `machine.Timer` does. Times are those of a grid:
a call that comes late moves none of those after it, and of those missed in a row one is made up for.
"""

from _thread import allocate_lock, get_ident

import ucore
from ucore import wire
from ucore.link import rare
from ucore.quirks import CPYTHON, ESP32, hurry, sleep_ms, ticks_add, ticks_diff, ticks_ms

if CPYTHON:
    import struct
else:
    import ustruct as struct

SLICE_MS = 20  # after so long the thread looks for what is new, or has ended
# Who sleeps on an ESP32 wakes up at ticks of 10 ms: a call is made at the nearest one. With a shorter period nobody sleeps there.
EARLY_MS = 5 if ESP32 else 0
NUMBERS = int, float, bool  # which is no int in MicroPython
MAX_MS = 0x1FFFFFFF  # what `ticks_diff` can tell apart: six days

_NOTHING = object()

_link = None
_all = []  # the producers; _lock held to change it
_lock = allocate_lock()  # never held in a call of what is the user's, or in a write
_threaded = False  # a thread calls
_timer = None  # or this does
_early_ms = EARLY_MS  # a call may be made so long before it is due, by less than half of its period


class Producer:
    """What `every` returns: ``name``, ``period_ms``, ``calls`` (how many there were), ``pipe`` (a `Pipe`, or None). To call it is to call its function."""

    def __init__(self, name, period_ms, read, pipe, parent):
        self.name = name
        self.period_ms = period_ms
        self.calls = 0
        self.pipe = pipe
        self._read = read
        self._parent = parent  # the cell that it belongs to
        self._going = True
        self._due = ticks_ms()
        self._rest = 0  # and so many microseconds

    def __repr__(self):
        end = "" if self._goes() else ", stopped"
        return "<Producer %s, every %s ms, %d calls%s>" % (self.name, self.period_ms, self.calls, end)

    def __call__(self, *args):
        return self._read(*args)

    def stop(self):
        """End it, and close its pipe; does nothing where it has ended. What a call under way returns is not written."""
        self._going = False
        if self.pipe:
            self.pipe.__exit__()

    def _goes(self):
        return self._going and (self.pipe is None or self.pipe._opening.open)

    def _step(self, in_callback):
        """Call it if it is due; return in how many ms it will be."""
        late = ticks_diff(ticks_ms(), self._due)
        if late < -min(_early_ms, self.period_ms // 2):
            return -late
        was = _speak_for(self._parent, in_callback)
        try:
            value = self._read()
            if self.pipe:
                value = _frame(value)
            elif type(value).__name__ in ("generator", "coroutine"):
                raise TypeError("every() calls plain functions: it does not await")
            if self._take(late, in_callback) and self.pipe and value is not None:
                self.pipe.write(value)
        except BaseException as error:
            if in_callback and isinstance(error, KeyboardInterrupt):
                raise  # it is for the cell that this has interrupted
            if self._goes():  # else it has been stopped meanwhile, or its pipe has
                if not isinstance(error, SystemExit):
                    _link.do(_tell, self, error)
                self.stop()
        finally:
            if in_callback:
                _speak_for(was, True)
        return max(ticks_diff(self._due, ticks_ms()), 0)

    def _take(self, late, in_callback):
        """Whether the call that has been made counts: it does not where this has been stopped, or replaced, which makes it again."""
        period_us = int(self.period_ms * 1000)
        # A millisecond is the clock's grain: it is not late.
        step_us = self._rest + period_us * (1 + max(late - 1, 0) * 1000 // period_us)
        if not in_callback:  # which must not wait
            _lock.acquire()
        goes = self._goes()
        if goes:
            self._due = ticks_add(self._due, step_us // 1000)
            self._rest = step_us % 1000
            self.calls += 1
        if not in_callback:
            _lock.release()
        return goes


def every(period_ms, read=_NOTHING, pipe=None, name=None):
    """Call ``read()`` now and every ``period_ms`` milliseconds from now on, in the background, and write what it returns to the pipe.

    A number is one float (``"<f"``), a tuple or a list as many; bytes go as they are, None writes nothing. ``pipe``: a name, or a `Pipe`;
    without one it is just called. ``name``: else it is the pipe's, or the function's; a producer of the same name, or to the same pipe, is
    replaced, so that a cell may be run again. Without ``read`` it is a decorator.

    Returns the `Producer`. ``stop()``, the close of the pipe, or an exception, which the cell shows, ends it.
    Raises TypeError and ValueError for what it cannot take, RuntimeError in a callback.
    """
    if isinstance(period_ms, bool) or not isinstance(period_ms, (int, float)):
        raise TypeError("every() takes the period first, in milliseconds: every(10, read)")
    if not 1 <= period_ms <= MAX_MS:
        raise ValueError("the period is from 1 to %d ms, not %s" % (MAX_MS, period_ms))
    if read is _NOTHING:
        return lambda read: every(period_ms, read, pipe, name)
    if not callable(read):
        raise TypeError("every() calls a function, not a %s: every(10, read), without read's parentheses" % type(read).__name__)
    if isinstance(read, Producer):
        read = read._read
    opened = None
    if pipe is not None and not isinstance(pipe, str):
        if not isinstance(pipe, ucore.Pipe):
            raise TypeError("the pipe is a name or a Pipe, not a %s" % type(pipe).__name__)
        opened = pipe
        pipe = pipe.name
    name = name or pipe or getattr(read, "__name__", "<")
    if not isinstance(name, str):
        raise TypeError("the name is a str, not a %s" % type(name).__name__)
    if name[0] == "<":
        raise ValueError("what has no name of its own needs one here: every(10, read, name='blink')")
    if _link.inside():
        raise RuntimeError("not in a callback")
    if pipe is not None:
        opened = ucore.open_pipe(pipe, opened is not None and opened._opening.drop)
    made = Producer(name, period_ms, read, opened, _link.runner.parent())
    replaced = []
    with _lock:
        for other in _goers():
            if other.name == name or _same(other, made):
                replaced.append(other)
                # The next call is when the old one's would have been, or there would be a step in the chart.
                if 0 < ticks_diff(other._due, made._due) <= period_ms:
                    made._due = other._due
                    made._rest = other._rest
                other._going = False
        _all.append(made)
    for other in replaced:
        if not _same(other, made):
            other.stop()
    try:
        _begin()
    except BaseException:
        made.stop()
        raise
    return made


def producers():
    """The producers that go on: a dict, name to `Producer`."""
    found = {}
    for one in list(_all):
        if one._goes():
            found[one.name] = one
    return found


def _same(one, other):
    """Whether they write to the same opening of a pipe."""
    return one.pipe and other.pipe and one.pipe._opening is other.pipe._opening


def _frame(value):
    if value is None or isinstance(value, (bytes, bytearray)):
        return value
    if isinstance(value, NUMBERS):
        return struct.pack("<f", value)
    if isinstance(value, (tuple, list)):
        for number in value:
            if not isinstance(number, NUMBERS):
                raise TypeError("a pipe takes numbers: it cannot take the %s in %r" % (type(number).__name__, value))
        return struct.pack("<" + "f" * len(value), *value) if value else None
    if not isinstance(value, str):
        try:
            return memoryview(value)
        except TypeError:
            pass
    raise TypeError("a pipe takes a number, a tuple or list of numbers, bytes, or None, not a %s" % type(value).__name__)


def _tell(one, error):
    text = "The producer %s has ended, its function failed:\n" % one.name + "\n".join(rare("about", "trace", error)) + "\n"
    _link.output.write(one._parent, text)


def _speak_for(parent, in_callback):
    """What the calling thread prints is the cell ``parent``'s from now on; return whose it was."""
    runner = _link.runner
    was = runner.parent()
    if was != parent:
        if get_ident() == _link.main:  # in a callback of it
            runner.cell = parent
        elif in_callback:  # which must not wait
            runner.parents[get_ident()] = parent
        else:
            with _link.tx:
                runner.parents[get_ident()] = parent
    return was


def _goers():
    """Forget those that have ended, and return the others; _lock held."""
    _all[:] = [one for one in _all if one._goes()]
    return list(_all)


def _begin():
    """See to it that somebody calls them."""
    global _threaded, _timer, _early_ms
    with _lock:
        if not _threaded:
            _threaded = True
            try:
                ucore.start_new_thread(_run, ())
            except (OSError, RuntimeError, MemoryError):  # an RP2's other core has its thread, or so many run
                _threaded = False
                from machine import Timer
            except BaseException:
                _threaded = False
                raise
        if _timer:
            _timer.deinit()
            _timer = None
            _early_ms = EARLY_MS
        if not _threaded:
            tick_ms = 0
            for one in _goers():  # the greatest common divisor: each call is due at a tick
                period = int(one.period_ms)
                while period:
                    tick_ms, period = period, tick_ms % period
            _early_ms = tick_ms // 2
            _timer = Timer(-1)
            _timer.init(period=tick_ms, mode=Timer.PERIODIC, callback=_tick)
            hurry(_tick)


def _run():
    global _threaded
    served = []
    try:
        while True:
            with _lock:
                ones = _goers()
                if not ones:
                    _threaded = False
                    return
            if ones != served:
                served = ones
                if _link.forget:
                    _link.forget(get_ident())  # of a pipe that is opened again the thread is to see the new opening
            wait_ms = SLICE_MS
            short = False
            _heed(ones)
            for one in ones:
                wait_ms = min(wait_ms, one._step(False))
                short = short or one.period_ms < 2 * EARLY_MS
            if wait_ms > EARLY_MS and not short:
                sleep_ms(wait_ms)
    except BaseException:  # no memory, not even for the list: the next `every` starts it again
        _threaded = False
        raise


def _heed(ones):
    """Answer what the host asks about producers: here, for the main thread does not as long as it runs a cell.

    Not where none of them writes: who reads the line may have to wait for the rest of what is torn, and a control loop must not.
    """
    if not _link.cell or not any([one.pipe for one in ones]):
        return
    request = None
    try:
        if ticks_diff(ticks_ms(), _link.pumped) > SLICE_MS:
            _link.do(_link.pump)
        request = _link.take(wire.EVERY_REQUEST)
        if request:
            _link.do(rare, "about", "answer", _link, None, *request)
    except Exception:  # too little memory is no reason to stop producing
        if request:
            with _link.rx:
                _link.inbox.insert(0, request)


def _tick(timer):
    # No lock: this may have interrupted who has it.
    going = False
    for one in list(_all):
        if one._goes():
            going = True
            one._step(True)
    if not going and _timer:
        _timer.deinit()


def start(link):
    """Bind it to the agent's link."""
    global _link
    _link = link
    ucore.every = every
    ucore.producers = producers
