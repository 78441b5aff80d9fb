"""Serves the host over the board's own stdin and stdout, until somebody wants the REPL back."""

import sys

import ucore
from ucore import wire
from ucore.link import Link, rare
from ucore.output import Output
from ucore.quirks import SPEEDS, allow_interrupt
from ucore.runner import Runner

IDLE_MS = 20  # what threads and callbacks have left waits no longer

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
    link.leave = False
    with link.tx:
        link.answer(0, False)  # a host that knew another agent, or the one before, asks at once
    while not link.leave:
        try:
            _step(link, runner)
        except KeyboardInterrupt:
            pass  # it came when its cell had ended, or it struck a step that is taken again
        except (MemoryError, ValueError) as error:  # a request that is too much is dropped, the agent goes on
            link.take()
            sys.print_exception(error)
    link.busy = False
    if SPEEDS:
        link.slow_down()
    runner.stop()
    allow_interrupt(True)
    if link.reset:
        rare("about", "reset")


def _step(link, runner):
    link.busy = True
    if link.cell:
        runner.step()
        return
    link.pump()
    link.catch_up()
    if not link.inbox:
        link.busy = False
        link.wait(5 if link.ticks else IDLE_MS)
        return
    type, parent, content = link.inbox[0]
    if type == wire.EXECUTE_REQUEST:
        with link.rx:  # in a straight line: an interrupt finds it waiting, or begun
            runner.take(parent, content)
            link.inbox.pop(0)
        return
    if type == wire.COMPLETE_REQUEST or type == wire.INSPECT_REQUEST:
        rare("about", "answer", link, runner.globals, type, parent, content)
    elif type == wire.SHUTDOWN_REQUEST:
        link.leave = link.reset = True
    link.take()
