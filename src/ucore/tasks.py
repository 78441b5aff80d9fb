"""Top-level ``await``: what the host puts in its place. Loaded by the cells that have one.

A cell is no coroutine. At each of its awaits the event loop runs until what is awaited is done; other tasks run meanwhile.
"""

import asyncio

from ucore.quirks import CPYTHON

if CPYTHON:
    _loop = asyncio.new_event_loop()

    def event_loop():
        asyncio.set_event_loop(_loop)  # `asyncio.run` leaves none behind
        return _loop

else:
    event_loop = asyncio.get_event_loop


def run(awaitable):
    """Await something, from outside of any coroutine. An interrupt cancels it first."""
    loop = event_loop()
    over = []
    until = None
    if not CPYTHON and isinstance(awaitable, asyncio.core.SingletonGenerator):
        # MicroPython's sleep is one object for all who sleep, who await it at once: until our turn it must be free for them.
        until, awaitable.state = awaitable.state, None
    task = loop.create_task(_wait(awaitable, until, over))
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not over:
            try:
                loop.run_until_complete(_cancel(task))
            except BaseException:
                pass  # it does not want to end, and was interrupted again
        elif CPYTHON and not task.cancelled():
            task.exception()  # or it is reported as never retrieved
        raise


async def _wait(awaitable, until, over):
    if until is not None:
        awaitable.state = until
    try:
        return await awaitable
    finally:
        over.append(True)


async def _cancel(task):
    task.cancel()
    await task


def each(iterable):
    """``async for``."""
    iterator = iterable.__aiter__()
    while True:
        try:
            item = run(iterator.__anext__())
        except StopAsyncIteration:
            return
        yield item


class Within:
    """``async with``."""

    def __init__(self, manager):
        self._manager = manager

    def __enter__(self):
        return run(self._manager.__aenter__())

    def __exit__(self, *error):
        return run(self._manager.__aexit__(*error))
