"""Top-level await, as the host puts it: plain functions that run the event loop. On CPython and on MicroPython."""

import asyncio
import sys

from ucore.quirks import CPYTHON
from ucore.tasks import Within, each, event_loop, run


async def add(a, b):
    await asyncio.sleep(0)
    return a + b


async def fail():
    await asyncio.sleep(0)
    raise ValueError("as told")


def teardown_module():
    event_loop().close()
    asyncio.set_event_loop(None)
    sys.modules.pop("ucore.tasks", None)  # a call may have dropped it


def settle(*tasks):
    """Leave nothing behind that another test, or the collector, would meet."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        try:
            run(task)
        except BaseException:
            pass


def raises(kind, function, *args):
    try:
        function(*args)
    except kind:
        return True
    return False


def test_the_value_comes_back():
    assert run(add(1, 2)) == 3
    assert run(asyncio.gather(add(1, 2), add(3, 4))) in ((3, 7), [3, 7])


def test_what_is_no_coroutine_may_be_awaited_too():
    loop = event_loop()
    task = loop.create_task(add(2, 2))
    assert run(task) == 4
    assert run(asyncio.sleep(0)) is None


def test_an_error_comes_out():
    assert raises(ValueError, run, fail())
    assert run(add(1, 1)) == 2


def test_other_tasks_run_meanwhile():
    seen = []

    async def count():
        while True:
            seen.append(len(seen))
            await asyncio.sleep(0)

    task = event_loop().create_task(count())
    run(asyncio.sleep(0.02))
    assert len(seen) > 1
    settle(task)


def test_an_interrupt_cancels_what_was_awaited_and_nothing_else():
    ends = []

    async def wait():
        try:
            await asyncio.sleep(60)
        finally:
            ends.append("cancelled")

    async def strike():
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    async def sleep():
        await asyncio.sleep(60)
        ends.append("never")

    loop = event_loop()
    other = loop.create_task(sleep())
    struck = loop.create_task(strike())
    assert raises(KeyboardInterrupt, run, wait())
    assert ends == ["cancelled"]
    assert not other.done()
    settle(other)
    if CPYTHON:
        settle(struck)  # MicroPython never ends a task that an interrupt has struck


def test_an_interrupt_that_strikes_the_awaited_itself_ends_it():
    async def strike():
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    assert raises(KeyboardInterrupt, run, strike())
    assert run(add(1, 1)) == 2


def test_a_second_interrupt_ends_one_that_does_not_want_to():
    stays = [True]
    tasks = []

    async def stay():
        tasks.append(asyncio.current_task())
        while stays[0]:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if stays[0]:
                    tasks.append(loop.create_task(strike()))

    async def strike():
        raise KeyboardInterrupt

    loop = event_loop()
    tasks.append(loop.create_task(strike()))
    assert raises(KeyboardInterrupt, run, stay())
    stays[0] = False
    if CPYTHON:
        settle(*tasks)
    else:
        asyncio.new_event_loop()


class Numbers:
    def __init__(self, end):
        self.number = 0
        self.end = end

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if self.number == self.end:
            raise StopAsyncIteration
        self.number += 1
        return self.number


def test_async_for():
    assert list(each(Numbers(3))) == [1, 2, 3]
    assert list(each(Numbers(0))) == []


class Door:
    def __init__(self):
        self.events = []

    async def __aenter__(self):
        self.events.append("open")
        return self

    async def __aexit__(self, kind, error, trace):
        self.events.append(kind)
        return kind is ValueError


def test_async_with():
    with Within(Door()) as door:
        door.events.append("in")
    assert door.events == ["open", "in", None]
    with Within(Door()) as door:
        raise ValueError
    assert door.events[-1] is ValueError
    with Within(asyncio.Lock()):
        pass
