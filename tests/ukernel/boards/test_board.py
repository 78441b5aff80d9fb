"""A board, as programs use it: through a real hub, on MicroPython."""

import array
import threading
import time

import numpy
import pytest
from patience import PATIENCE_S, wait_until

from ukernel.boards import BoardCodeError, BoardTimeoutError, BoardValueError, boards, connect
from ukernel.errors import BoardNotFoundError, HubUnreachableError, UsageError

pytestmark = pytest.mark.micropython


def test_a_program_runs_and_gives_its_last_value(board, printed):
    assert board.run("print('hello')\nx = 0.1\nx * 3") == 0.1 * 3
    assert "".join(printed) == "hello\n"
    assert board.run("x = 1") is None
    assert board.run("") is None


def test_output_goes_where_a_call_wants_it_or_to_stdout(board, virtual, capsys):
    said = []
    board.run("print('µ')", output=said.append)
    assert "".join(said) == "µ\n"
    with connect(virtual.port) as plain:
        plain.run("print('to stdout')")
    assert capsys.readouterr().out == "to stdout\n"


@pytest.mark.parametrize("value", [None, True, 2**70, 1 / 3, float("inf"), "µ\0", b"\xff", [1, (2.5, {"a": {3}})], range(3)])
def test_values_are_exact(board, value):
    assert board.call("ucore_echo", value) == value if board.run("def ucore_echo(x):\n    return x") is None else False
    assert type(board.call("ucore_echo", value)) is type(value)
    if isinstance(value, int | str | type(None)):
        assert board.eval(repr(value)) == value


def test_the_boards_own_functions_are_called_and_none_of_a_programs_is_hidden(board):
    assert board.call("ucore.is_pipe_open", "none") is False
    board.run("def close(): return 'mine'")
    assert board.call("close") == "mine"
    board.run("del close")


def test_bytes_like_and_numpy_arguments_arrive_packed(board):
    board.run("def kind(x):\n    return str(type(x)), len(x)")
    assert board.call("kind", memoryview(b"abc")) == ("<class 'bytes'>", 3)
    assert board.call("kind", numpy.arange(5, dtype="<i2")) == ("<class 'array'>", 5)
    assert board.call("sum", array.array("h", [1, -2, 5])) == 4


def test_an_expression_may_end_in_a_comment_and_await(board):
    assert board.eval("1 + 1  # two") == 2
    board.run("import asyncio\nasync def later(x):\n    return x")
    assert board.eval("await later(5)") == 5


def test_an_error_of_the_boards_code_names_its_lines(board):
    with pytest.raises(BoardCodeError) as caught:
        board.run("def half(x):\n    return x / 0\n\nhalf(3)")
    error = caught.value
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "divide by zero")
    assert "line 4, in <module>\n    half(3)" in error.traceback
    assert "line 2, in half\n    return x / 0" in error.traceback
    assert str(error).startswith("ZeroDivisionError: divide by zero\n")


def test_what_is_a_notebooks_is_refused_with_a_sentence(board):
    with pytest.raises(UsageError, match="is for the Python on your computer"):
        board.run("%time 1")


def test_a_value_that_cannot_travel_says_which_and_why(board):
    board.run("class Lamp:\n    pass")
    with pytest.raises(BoardValueError, match=r"\[1\] is of type Lamp"):
        board.eval("[1, Lamp()]")
    assert board.run("Lamp()").startswith("<Lamp object at")
    with pytest.raises(BoardValueError, match=r"argument 2\[0\] cannot travel to a board: it is of type object"):
        board.call("print", 1, [object()])
    with pytest.raises(BoardValueError, match=r"argument end cannot travel"):
        board.call("print", end=object())
    assert board.eval("1") == 1


def test_a_time_limit_interrupts_and_the_board_is_free(board):
    with pytest.raises(BoardTimeoutError, match=r"longer than 0.2 s"):
        board.run("while True: pass", timeout=0.2)
    assert board.eval("1 + 1") == 2


def test_who_waits_for_another_program_is_told_so_and_gives_up_in_time(board, virtual):
    with connect(virtual.port) as other:
        done = threading.Thread(target=_run_until_interrupted, args=(other,))
        done.start()
        wait_until(lambda: board.info().running, "the other program's run")
        with pytest.raises(BoardTimeoutError, match=r"not free within 0.2 s: .* program .* is using it"):
            board.eval("1", timeout=0.2)
        assert "program" in board.interrupt()
        done.join(PATIENCE_S)
        assert board.eval("1") == 1


def _run_until_interrupted(board):
    with pytest.raises(BoardCodeError, match="KeyboardInterrupt"):
        board.run("while True: pass")


def test_threads_share_a_board_and_each_gets_its_own_value(board):
    got = {}
    threads = [threading.Thread(target=lambda n=n: got.update({n: board.eval(str(n))})) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert got == {n: n for n in range(20)}


def test_what_a_board_thread_prints_later_is_not_lost(board, printed):
    board.run(
        "import _thread, time\ndef later():\n    time.sleep_ms(50)\n    print('late')\n_thread.start_new_thread(later, ())"
    )
    wait_until(lambda: "late" in "".join(printed), "the thread's output")


def test_the_boards_input_is_asked_for_here(board, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "µ 5")
    assert board.run("input('how many? ')") == "µ 5"
    assert asked == ["how many? "]


def test_a_reset_clears_and_the_same_object_goes_on(board):
    board.run("kept = 5")
    board.reset()
    with pytest.raises(BoardCodeError, match="NameError"):
        board.eval("kept")


def test_a_hub_that_went_away_is_found_again(board, hub):
    board.run("kept = 5")
    for client in list(hub.hub.boards.clients):
        hub.call(client._connection.abort)
    wait_until(lambda: not hub.hub.boards.clients, "the loss")
    wait_until(lambda: _evaluates(board, "kept", 5), "the next connection")


def _evaluates(board, expression, value):
    try:
        return board.eval(expression) == value
    except HubUnreachableError:
        return False  # the loss may be noticed by the call that is sent next


def test_a_closed_board_says_so_and_leaves_no_thread(hub, virtual):
    before = set(threading.enumerate())
    board = connect(virtual.port)
    board.close()
    board.close()
    with pytest.raises(HubUnreachableError, match="closed"):
        board.eval("1")
    wait_until(
        lambda: not [thread for thread in set(threading.enumerate()) - before if thread.name == "ucore-board"], "its end"
    )


def test_the_boards_that_are_there_are_listed_without_being_opened(board, virtual):
    found = {info.port: info for info in boards()}
    assert found[virtual.port].name == board.name
    assert any("program" in user for user in found[virtual.port].users)
    assert board.info() == found[virtual.port]


def test_a_board_that_is_not_there_is_an_error(hub):
    with pytest.raises(BoardNotFoundError, match="no-such-board"):
        connect("no-such-board")


def test_a_keyboard_interrupt_here_interrupts_there(board):
    """As Ctrl-C does: the main thread's wait is struck."""
    import _thread

    def strike():
        wait_until(lambda: board.info().running, "the run")
        _thread.interrupt_main()

    striking = threading.Thread(target=strike)
    striking.start()
    with pytest.raises(KeyboardInterrupt):
        board.run("import time\nwhile True: time.sleep_ms(10)")
    striking.join(PATIENCE_S)
    assert board.eval("1") == 1


def test_pipes_of_the_board_are_listed_and_read(board):
    board.run("pipe = ucore.open_pipe('door')\nfor n in range(3):\n    pipe.write(bytes([n]))")
    assert [pipe.name for pipe in board.pipes() if pipe.open] == ["door"]
    with board.subscribe("door", replay=True, timeout=PATIENCE_S) as pipe:
        assert [next(pipe) for _ in range(3)] == [b"\0", b"\1", b"\2"]
    board.run("pipe.close()")


def test_a_call_costs_no_wait_for_others_time(board):
    began = time.monotonic()
    with pytest.raises(BoardTimeoutError):
        board.run("import time\ntime.sleep(60)", timeout=0.1)
    assert time.monotonic() - began < PATIENCE_S
