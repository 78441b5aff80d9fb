"""A board for asyncio."""

import asyncio

import pytest

from ukernel.boards import BoardCodeError, BoardTimeoutError

pytestmark = pytest.mark.micropython


def test_coroutines_give_what_the_methods_give(board, printed):
    async def use():
        assert await board.aio.run("print('hello')\n6 * 7") == 42
        assert await board.aio.eval("1 / 4") == 0.25
        assert await board.aio.call("max", 3, 4) == 4
        assert (await board.aio.info()) == board.info()
        with pytest.raises(BoardCodeError, match="ZeroDivisionError"):
            await board.aio.eval("1 / 0")
        with pytest.raises(BoardTimeoutError):
            await board.aio.run("while True: pass", timeout=0.1)

    asyncio.run(use())
    assert "".join(printed) == "hello\n"


def test_the_loop_goes_on_while_the_board_works(board):
    async def use():
        going = []
        working = asyncio.create_task(board.aio.run("print('begun')\nwhile True: pass", output=going.append))
        while not going:
            await asyncio.sleep(0.01)
        assert not working.done()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(use())


def test_a_cancelled_task_interrupts_the_board(board):
    async def use():
        working = asyncio.create_task(board.aio.run("while True: pass"))
        while not board.info().running:
            await asyncio.sleep(0.01)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        return await board.aio.eval("1 + 1")

    assert asyncio.run(use()) == 2


def test_a_task_that_is_cancelled_before_the_board_knows_of_it_interrupts_it_all_the_same(board):
    async def use():
        working = asyncio.create_task(board.aio.run("while True: pass"))
        await asyncio.sleep(0)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        return await board.aio.eval("1 + 1")

    assert asyncio.run(use()) == 2


def test_many_at_once_each_get_their_own(board):
    async def use():
        return await asyncio.gather(*(board.aio.eval(str(n)) for n in range(20)))

    assert asyncio.run(use()) == list(range(20))


def test_a_time_limit_goes_with_a_call_by_function(board):
    @board.function
    def spin():
        while True:
            pass

    with pytest.raises(BoardTimeoutError):
        asyncio.run(board.aio.call(spin, timeout=0.1))


def test_a_generator_is_iterated_asynchronously(board):
    @board.function
    def count(n):
        yield from range(n)

    async def use():
        return [item async for item in await board.aio.call(count, 100)]

    assert asyncio.run(use()) == list(range(100))
