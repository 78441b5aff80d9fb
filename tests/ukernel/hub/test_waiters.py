"""Who waits for a board is let go when it is there, when it will not come, or in time."""

import asyncio

import pytest

from ukernel.errors import NoAnswerError
from ukernel.hub.waiters import Waiters


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 10))


async def waiting(waiters, timeout_s=5.0):
    task = asyncio.ensure_future(waiters.wait(timeout_s))
    await asyncio.sleep(0)  # it begins
    assert waiters
    return task


def test_all_are_let_go_once_the_board_is_there():
    async def scenario():
        waiters = Waiters()
        tasks = [await waiting(waiters) for _ in range(3)]
        waiters.settle(None)
        return await asyncio.gather(*tasks), bool(waiters)

    assert run(scenario()) == ([True, True, True], False)


def test_they_are_told_why_it_will_not_come_even_that_it_did_not_answer():
    async def scenario():
        waiters = Waiters()
        task = await waiting(waiters)
        waiters.settle(NoAnswerError("silent"))
        with pytest.raises(NoAnswerError, match="silent"):
            await task
        return bool(waiters)

    assert run(scenario()) is False


def test_nobody_waits_longer_than_the_time_given():
    async def scenario():
        waiters = Waiters()
        return await waiters.wait(0.01), bool(waiters)

    assert run(scenario()) == (False, False)


def test_one_that_is_cancelled_waits_no_more():
    async def scenario():
        waiters = Waiters()
        task = await waiting(waiters)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        waiters.settle(None)
        return bool(waiters)

    assert run(scenario()) is False
