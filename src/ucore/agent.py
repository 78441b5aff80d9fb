"""Serves the host over the board's own stdin and stdout, until somebody wants the REPL back."""

import builtins

import ucore
from ucore import wire
from ucore.link import Link, rare
from ucore.output import Output
from ucore.quirks import SPEEDS, allow_interrupt, sleep_ms
from ucore.runner import Runner

IDLE_MS = 1000
SHORT_MS = 50
RESET = 2  # to leave, and to start the board's Python afresh
MAX_SHORT = 40  # steps in a row without memory

_runner = None  # it stays when the REPL is given back: variables, pipes and threads go on with the next `serve`


def serve():
    """Serve until a carriage return asks for the REPL (a terminal, mpremote), or the input ends."""
    global _runner
    if _runner is None:
        ucore._link = link = Link(rare("about", "facts"))
        _runner = Runner(link, Output(link))
    runner = _runner
    link = runner.link
    runner.start()
    allow_interrupt(False)
    link.arrive()
    while not link.leave:
        try:
            _step(link, runner)
        except KeyboardInterrupt:
            pass  # it came when its cell had ended, or it struck a step that is taken again
        except Exception:
            # No memory: where there is none, the exceptions of all threads are one object, which may be of any kind by now. Or a
            # question that is too much, which has no answer.
            if link.cell or link.wait(IDLE_MS):  # or nobody needs it
                link.short += 1
                if link.short > MAX_SHORT:
                    runner.was[0]("MemoryError")  # where a restart follows, the host knows what it means
                    link.leave = RESET
    try:
        if SPEEDS:
            link.slow_down()
        runner.stop()
        allow_interrupt(True)
    finally:
        if link.leave == RESET:
            import machine  # not by `about`: there may be no memory for it

            machine.soft_reset()


def _step(link, runner):
    if link.short:
        sleep_ms(SHORT_MS)  # somebody may give some memory back
        if link.short > 1:  # or the agent goes on without the cells' variables
            runner.globals.clear()
            runner.dropped = b"1"
            builtins._ = None
            runner.start()
    if link.cell:
        runner.step()
        return
    link.pump()
    if not link.inbox:
        # Held items and resends want a look now and then; without them the host's next byte is all there is to wait for.
        link.wait(5 if link.ticks else 20 if link.outstanding() else IDLE_MS)
        return
    type, parent, content = link.inbox[0]
    if type == wire.EXECUTE_REQUEST:
        with link.rx:  # in a straight line: an interrupt finds it waiting, or begun
            runner.take(parent, content)
            link.inbox.pop(0)
        return
    link.take()
    if type == wire.SHUTDOWN_REQUEST:
        link.leave = RESET
    elif type == wire.COMPLETE_REQUEST or type == wire.INSPECT_REQUEST:
        rare("about", "answer", link, runner.globals, type, parent, content)
