"""Functions that are written here and run on a board."""

import threading

import pytest
from patience import wait_until

from ukernel.boards import BoardCodeError, BoardTimeoutError, BoardValueError, connect

pytestmark = pytest.mark.micropython


def test_a_function_is_called_here_and_runs_there(board):
    @board.function
    def where(a, b=2):
        """What it says."""
        import sys

        return sys.implementation.name, a, b

    assert where(1.5) == ("micropython", 1.5, 2)
    assert where(b=b"\0", a=None) == ("micropython", None, b"\0")
    assert (where.__name__, where.__doc__) == ("where", "What it says.")


def test_a_known_function_costs_one_message(board, monkeypatch):
    @board.function
    def double(x):
        return 2 * x

    double(1)
    sent = []
    start = board._requests.start
    monkeypatch.setattr(board._requests, "start", lambda request, *rest: sent.append(request) or start(request, *rest))
    assert double(2) == 4
    assert len(sent) == 1


def test_a_function_that_is_redefined_is_sent_again_and_the_old_one_is_gone(board):
    def make(version):
        if version == 1:

            @board.function
            def same():
                return "one"
        else:

            @board.function
            def same():
                return "two"

        return same

    one, two = make(1), make(2)
    assert (one(), two(), one()) == ("one", "two", "one")
    assert board.eval("[name for name in globals() if name.startswith('#same')]") == ["#same"]


def test_two_programs_with_a_function_of_one_name_each_call_their_own(board, virtual):
    with connect(virtual.port) as other:

        @board.function
        def pick():
            return "mine"

        mine = pick

        @other.function
        def pick():
            return "the other's"

        assert [mine(), pick(), mine(), pick()] == ["mine", "the other's"] * 2


def test_a_function_is_sent_again_after_a_reset(board, virtual):
    @board.function
    def answer():
        return 42

    assert answer() == 42
    with connect(virtual.port) as other:
        other.reset(force=True)
    assert answer() == 42


def test_functions_call_each_other_and_see_the_cells_names(board):
    board.run("offset = 100")

    @board.function
    def add(x):
        return x + offset  # noqa: F821 - the board's

    @board.function
    def twice(x):
        return add(add(x))

    assert add(1) == 101
    assert twice(1) == 201


def test_an_error_in_a_function_names_the_line_of_this_file(board):
    @board.function
    def fails(x):
        y = x
        return y / 0

    with pytest.raises(BoardCodeError) as caught:
        fails(3)
    line = fails.__wrapped__.__code__.co_firstlineno + 3
    assert f'File "{__file__}", line {line}, in fails\n    return y / 0' in caught.value.traceback


def test_a_key_error_of_the_functions_own_is_its_own(board):
    @board.function
    def look(x):
        return {}[x]

    with pytest.raises(BoardCodeError, match="KeyError: nothing"):
        look("nothing")


def test_a_generators_items_come_as_they_are_made(board):
    @board.function
    def count(n):
        for number in range(n):
            yield number * 0.5

    assert list(count(200)) == [number * 0.5 for number in range(200)]
    assert list(count(0)) == []


def test_a_loop_that_breaks_off_ends_the_generator_on_the_board(board):
    board.run("ended = []")

    @board.function
    def endless():
        try:
            while True:
                yield 1
        finally:
            ended.append(True)  # noqa: F821 - the board's

    for _ in endless():
        break
    wait_until(lambda: board.eval("ended") == [True], "the generator's end")
    assert board.eval("[name for name in globals() if name.startswith('##')]") == []


def test_a_generator_that_fails_gives_what_came_before(board):
    @board.function
    def fails():
        yield 1
        yield 2
        raise ValueError("no more")

    got = []
    with pytest.raises(BoardCodeError, match="ValueError: no more"):
        for value in fails():
            got.append(value)
    assert got == [1, 2]


def test_a_generator_is_gone_after_an_item_that_cannot_travel_and_a_wait_that_was_too_long(board, virtual):
    @board.function
    def odd():
        yield 1
        yield object()
        yield 3

    kept = "[name for name in globals() if name.startswith('##')]"
    with pytest.raises(BoardValueError):
        list(odd())
    assert board.eval(kept) == []
    items = board.call(odd, timeout=0.2)
    assert next(items) == 1
    with connect(virtual.port) as other:

        def hold():
            with pytest.raises(BoardCodeError, match="KeyboardInterrupt"):
                other.run("import time\nwhile True: time.sleep_ms(5)")

        holds = threading.Thread(target=hold)
        holds.start()
        wait_until(lambda: board.info().running)
        with pytest.raises(BoardTimeoutError):
            next(items)
        other.interrupt()
        holds.join()
    wait_until(lambda: board.eval(kept) == [])


def test_a_time_limit_goes_with_a_call_by_function(board):
    @board.function
    def spin():
        while True:
            pass

    with pytest.raises(BoardTimeoutError):
        board.call(spin, timeout=0.1)
    with pytest.raises(TypeError, match=r"board\.function"):
        board.call(len, "ab")


def test_others_may_use_the_board_between_two_items(board):
    @board.function
    def endless():
        while True:
            yield 1

    items = endless()
    assert next(items) == 1
    assert board.eval("2") == 2
    assert next(items) == 1
    items.close()


def test_a_coroutine_function_is_awaited_there(board):
    @board.function
    async def later(x):
        import asyncio

        await asyncio.sleep_ms(5)
        return x

    assert later(7) == 7


def test_what_has_no_text_of_its_own_is_refused(board):
    outer = 5

    def closes_over():
        return outer

    with pytest.raises(TypeError, match="closes_over uses outer of the function around it"):
        board.function(closes_over)
    with pytest.raises(TypeError, match="defined with def"):
        board.function(lambda: 1)
    with pytest.raises(TypeError, match="defined with def"):
        board.function(print)


def test_an_argument_that_cannot_travel_is_named(board):
    @board.function
    def take(x):
        return x

    with pytest.raises(BoardValueError, match="argument x cannot travel"):
        take(x=object())
