"""How the agent's objects begin, and what it takes over while it serves. Done once, so it is loaded for that and dropped again."""

import _thread
import builtins
import sys
from _thread import allocate_lock, get_ident, stack_size

import ucore
from ucore import wire
from ucore.quirks import (
    CPYTHON,
    IDLE_MS,
    MAIN_WRITES,
    MAX_BAUD,
    RING,
    SPEEDS,
    UNIX,
    allow_interrupt,
    hexlify,
    json,
    random32,
    select,
    streams,
    ticks_ms,
)

STANDS_IN = ("_thread", "getpass") if CPYTHON else ("_thread", "getpass", "sys")


def begin(link, output, runner):
    """Fill the agent's three objects, which are new; return the runner."""
    ucore._link = link
    ucore._real = (_thread,) if CPYTHON else (sys, _thread)
    fill_link(link, facts())
    fill_output(output, link)
    fill_runner(runner, link)
    return runner


def facts():
    """What every hello of this start of the agent says: the inside of a JSON object."""
    python = sys.implementation
    # One text, which goes with this module: each name of its own would stay in memory for good.
    found = (
        '"v":%d,"build":"'
        + wire.BUILD
        + '","boot":%d,"ring":%d,"platform":"%s","python":"%s","version":"%d.%d.%d","machine":%s'
    )
    found %= (
        (wire.PROTOCOL, random32(), RING, sys.platform, python.name)
        + tuple(python.version[:3])
        + (json.dumps(getattr(python, "_machine", sys.platform)),)
    )
    if SPEEDS:
        found += ',"max_baud":%d' % MAX_BAUD
    try:
        import machine

        found += ', "id":"%s"' % hexlify(machine.unique_id()).decode()
    except (ImportError, AttributeError):
        pass
    return found


def fill_link(link, facts):
    """What a `Link` begins with. ``facts``: what its hellos say, the inside of a JSON object."""
    link.reader, link.writer = streams()
    poll = select.poll()
    poll.register(link.reader, select.POLLIN)
    link.ready = poll.poll if CPYTHON else poll.ipoll  # which takes no memory
    poll = select.poll()  # a poll object must not serve two threads at once
    poll.register(link.reader, select.POLLIN)
    link.idle = poll.poll if CPYTHON else poll.ipoll  # for the main thread to wait
    link.tx = allocate_lock()
    link.gives = bool, link.tx.release  # by whether it has been taken
    link.rx = allocate_lock()
    link.big = allocate_lock()
    link.main = get_ident()
    link.session = 0
    link.inbox = []
    link.leave = link.stamps = False
    link.cell = 0  # parent id of the running cell
    link.short = 0  # how often a step of the agent has failed since it read a line
    link.full = False  # whether memory was short then
    link.flush = link.keep = link.renew = link.forget = None
    link.busy = False
    link._asks = 0
    link.calls = []
    link.ticks = 0
    link.idle_ms = IDLE_MS
    link._ticker = None
    if not MAIN_WRITES:
        link._catching = 0
    if MAIN_WRITES:
        link._tries = 0
        link._late = []  # frames that another core than the main thread's has committed
    if SPEEDS:
        link.first_baud = link.baud = 0  # what the UART began with, and has now
    link._facts = facts
    link.begin({})


def fill_output(output, link):
    """What an `Output` on ``link`` begins with."""
    output._link = link
    output._parent = 0
    output._held = b""
    output._whose = None  # the thread that has sent a part of its text: the rest goes before that of others
    output._flushed = ticks_ms()
    output.lost = 0
    link.output = output
    link.flush = output.flush_due


def fill_runner(runner, link):
    """What the `Runner` begins with."""
    runner.link = link
    runner.parents = {}  # thread -> the cell that started it; tx held to change it
    runner._source = None
    runner._session = 0
    runner._error = None
    runner._done = False
    runner.was = builtins.print, builtins.input, _thread.start_new_thread
    runner.cell = 0  # parent id of the cell that runs, or ran last
    runner.dropped = b""  # b"1" where the agent had to drop the variables, until the next cell has said so
    link.runner = runner
    runner.globals = __import__("__main__").__dict__


def give_back(runner):
    """Give back what `take_over` has taken."""
    if SPEEDS:
        runner.link.slow_down()
    builtins.print, builtins.input = runner.was[:2]
    for name in STANDS_IN:
        sys.modules.pop(name, None)
    allow_interrupt(True)


def take_over(runner):
    """Take over print, input and the starting of threads; put back what a program has cleared out of sys.modules."""
    # Where cells find what they have not defined: so what they delete, or define, is theirs alone.
    builtins.ucore = ucore
    builtins._ucore_show = runner._show
    builtins.print = runner._print
    builtins.input = runner.ask
    sys.modules["__main__"] = __import__("__main__")
    # A module, for `from _thread import *` would crash MicroPython with anything else.
    for name in STANDS_IN:
        sys.modules[name] = ucore
    if CPYTHON:
        sys.stdin = ucore.stdin
    if not UNIX:
        stack_size(8192)  # a thread that writes to a pipe serves the line too: the 4 kB it would get are too few
    for name, value in ucore.__dict__.items():
        if type(value) is type(sys):
            sys.modules["ucore." + name] = value
