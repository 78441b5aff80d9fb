"""Serves the host over the board's own stdin and stdout, until somebody wants the REPL back."""

import builtins

from ucore import wire
from ucore.link import Link, rare
from ucore.output import Output
from ucore.quirks import CPYTHON, SOON_MS, allow_interrupt, micropython, sleep_ms
from ucore.runner import Runner

WAIT_MS = 20
SHORT_MS = 50
RESET = 2  # to leave, and to start the board's Python afresh
MAX_SHORT = 40  # steps in a row that fail
ENOUGH = 512  # words of memory in one piece, with which the agent gets along

_runner = None  # it stays when the REPL is given back: variables, pipes and threads go on with the next `serve`


def serve():
    """Serve until a carriage return asks for the REPL (a terminal, mpremote), or the input ends."""
    global _runner
    if _runner is None:
        _runner = rare("startup", "begin", Link(), Output(), Runner())
    runner = _runner
    link = runner.link
    rare("startup", "take_over", runner)
    allow_interrupt(False)
    link.leave = False
    with link.tx:
        link.answer(0, False)  # a host that knew another agent, or the one before, asks at once
    while not link.leave:
        try:
            _step(link, runner)
        except KeyboardInterrupt:
            pass  # it came when its cell had ended, or it struck a step that is taken again
        except Exception as error:
            # No memory? Where there is none, the exceptions of all threads are one object, which may be of any kind by now: so it is
            # tried. Or a program has locked the heap, or overwritten what the agent needs. Or a question is too much, and has no answer.
            link.full = True
            if not CPYTHON:
                micropython.heap_lock()
                while micropython.heap_unlock():  # it counts
                    pass
            try:
                [error] * ENOUGH
                link.full = False
                rare("names", "restore")
            except Exception:
                pass
            if link.cell or any(link.idle(WAIT_MS)):  # or nobody needs it
                link.short += 1
                if link.short > MAX_SHORT:
                    runner.was[0](repr(error))  # where a restart follows, the host knows what a MemoryError means
                    link.leave = RESET
    link.busy = False
    try:
        rare("startup", "give_back", runner)
    except Exception:  # no memory, nor would a REPL have any
        link.leave = RESET
    finally:
        if link.leave == RESET:
            import machine  # not by `about`: there may be no memory for it

            machine.soft_reset()


def _step(link, runner):
    link.busy = True
    if link.short:
        sleep_ms(SHORT_MS)  # somebody may give some memory back
        if link.full and link.short > 1:  # or the agent goes on without the cells' variables
            runner.globals.clear()
            runner.dropped = b"1"
            builtins._ = None
    if link.cell:
        runner.step()
        return
    link.pump()
    link.catch_up()
    if not link.inbox:
        link.busy = False
        link.idle(5 if link.ticks else SOON_MS if link.out else link.idle_ms)
        return
    type, parent, content = link.inbox[0]
    if type == wire.EXECUTE_REQUEST:
        with link.rx:  # in a straight line: an interrupt finds it waiting, or begun
            runner.take(parent, content)
            link.inbox.pop(0)
        return
    message = link.take(type)
    if not message:
        return  # the thread of the producers was faster
    type, parent, content = message  # or took the one before
    if type == wire.SHUTDOWN_REQUEST:
        link.leave = RESET
    elif type != wire.INPUT_REPLY:
        rare("about", "answer", link, runner.globals, type, parent, content)
