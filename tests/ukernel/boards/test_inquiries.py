"""What a program asks about names, and a program that runs as a cell."""

import threading

import pytest
from patience import wait_until

from ukernel.boards import connect
from ukernel.errors import BoardCodeError

pytestmark = pytest.mark.micropython


def test_names_go_on_as_the_board_knows_them(board):
    board.run("temperature = 5\nclass Thing:\n    size = 1\nthing = Thing()")
    assert board.complete("x = temper").names == ["temperature"]
    found = board.complete("thing.si + 1", len("thing.si"))
    assert (found.names, found.start, found.end) == (["size"], 6, 8)
    assert "Pin" in board.complete("from machine import P").names
    assert board.complete("import machi").names == ["machine"]
    assert board.complete("nothing_at_all.x").names == []
    assert "while" in board.complete("whi").names


def test_names_are_offered_while_the_board_is_busy_too(board, hub, virtual):
    begun = []

    def compute(other):
        with pytest.raises(BoardCodeError):
            other.run("print('go')\nimport time\ntime.sleep(600)", output=begun.append)

    with connect(virtual.port) as other:
        runner = threading.Thread(target=compute, args=(other,))
        runner.start()
        wait_until(lambda: begun, "the other's program")
        assert "own_name" in board.complete("own_name = 1\nown").names
        board.interrupt()
        runner.join()


def test_a_name_is_explained_by_what_the_board_and_the_manual_know(board):
    board.run("import machine\nanswer = 42")
    told = board.inspect("machine.Pin")
    assert told.startswith("Call:  machine.Pin(")
    assert "Value: 42" in board.inspect("answer + 1", 3)
    assert board.inspect("machine.Pin(2, ").startswith("Call:  machine.Pin(")  # whose arguments are written
    assert board.inspect("nothing_at_all") == ""
    assert board.inspect("") == ""


def test_a_program_may_run_as_a_cell_and_shows_its_last_value(board, printed):
    assert board.run_cell("print('a')\n{'b': 0.1}") is None
    board.run_cell("5;")
    board.run_cell("None")
    assert "".join(printed) == "a\n{'b': 0.1}\n"
    said = []
    board.run_cell("object", output=said.append)
    assert "".join(said) == "<class 'object'>\n"
    with pytest.raises(BoardCodeError) as caught:
        board.run_cell("x = 1\nx / 0", name="<input 3>")
    assert 'File "<input 3>", line 2' in caught.value.traceback


def test_who_has_no_input_for_the_board_interrupts_it(board, monkeypatch):
    def none(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", none)
    with pytest.raises(EOFError):
        board.run("input()")
    assert board.eval("1") == 1
