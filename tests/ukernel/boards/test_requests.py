"""What a board prints and answers, where who takes it fails, is late, or asks again."""

import queue
import threading

import pytest
from patience import PATIENCE_S, wait_until

from ukernel.boards import BoardTimeoutError, connect
from ukernel.errors import UsageError

pytestmark = pytest.mark.micropython

PRINT_LATE = """
import _thread, time
def late():
    while not go:
        time.sleep_ms(5)
    print("late")
go = []
_thread.start_new_thread(late, ())
"""


class OutputError(Exception):
    pass


def fail(text):
    raise OutputError(text)


def test_an_output_function_that_fails_ends_the_program_on_the_board(board):
    with pytest.raises(OutputError):
        board.run("import time\nprint(1)\nwhile True: time.sleep_ms(5)", output=fail)
    assert not board.info().running
    assert board.eval("1") == 1


def test_an_output_function_that_fails_for_a_thread_of_the_board_is_shown_and_answers_go_on(board, virtual, monkeypatch):
    shown = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.put(args.exc_type))
    with connect(virtual.port, output=fail) as other:
        other.run(PRINT_LATE)
        board.run("go.append(1)")
        assert shown.get(timeout=PATIENCE_S) is OutputError
        assert other.eval("2", timeout=PATIENCE_S) == 2


def test_who_asks_the_board_from_where_its_answers_are_taken_in_is_told(board, virtual):
    said = queue.SimpleQueue()

    def ask(text):
        try:
            other.eval("1")
        except UsageError as error:
            said.put(str(error))

    with connect(virtual.port, output=ask) as other:
        other.run(PRINT_LATE)
        board.run("go.append(1)")
        assert "Put the text into a queue" in said.get(timeout=PATIENCE_S)
        assert other.eval("2") == 2


def test_a_program_may_ask_the_board_from_its_output_function(board):
    values = []
    board.run("print(1)", output=lambda text: values.append(board.eval("2")))
    assert set(values) == {2}


def test_what_threads_print_many_calls_later_arrives_and_no_call_is_kept(board, printed, tmp_path):
    board.run(PRINT_LATE)
    with board.files.mount(tmp_path):  # whose request stays open
        for _ in range(400):
            board.eval("1")
        board.run("go.append(1)")
        wait_until(lambda: "late" in "".join(printed))
        wait_until(lambda: len(board._requests._open) == 1)


def test_a_timeout_counts_while_the_board_is_attached_again(board, virtual, hub, monkeypatch):
    with connect(virtual.port) as other:
        given = []
        attach = other._requests._attach

        def keep(client, timeout_s):
            given.append(timeout_s)
            attach(client, timeout_s)

        monkeypatch.setattr(other._requests, "_attach", keep)
        lost = threading.Event()
        other.on_lost = lambda error: lost.set()
        other._requests._client.close()
        assert lost.wait(PATIENCE_S)
        assert other.eval("1", timeout=PATIENCE_S) == 1
        assert 0 < given[0] <= PATIENCE_S
        with pytest.raises(BoardTimeoutError):
            other.run("while True: pass", timeout=0.1)
