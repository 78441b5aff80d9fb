"""The hub's process: it stays while somebody needs it, and leaves when nobody does."""

import threading

from hubnotebook import KITCHEN, Notebook
from patience import PATIENCE_S, wait_until
from scripted import running_hub

from ukernel.hub.server import FIRST_CLIENT_S
from ukernel.protocol import statefile


def test_an_unused_board_is_given_back_and_an_unused_hub_leaves():
    with running_hub(linger_s=0.05) as thread:
        with Notebook() as notebook:
            notebook.run("print hello")
        assert thread.boards["kitchen"].closed.wait(PATIENCE_S)
        thread.join()
        assert statefile.read() is None
        assert not thread.state_file.path.exists()


def test_a_hub_that_has_just_been_started_waits_for_its_first_client_whatever_the_linger():
    with running_hub(linger_s=0.0) as thread:
        left_s = thread.call(lambda: thread.hub._leave_timer.when() - thread.hub._loop.time())
        assert left_s > FIRST_CLIENT_S / 2


def test_a_hub_stays_until_its_boards_are_closed():
    with running_hub(linger_s=0.02) as thread:
        with Notebook():
            board, may_close = thread.boards["kitchen"], threading.Event()
            close = board.close
            board.close = lambda: (may_close.wait(PATIENCE_S), close())
        wait_until(lambda: thread.hub.boards.closing)
        assert thread.call(lambda: (thread.hub.boards.update_timers(), thread.hub._leave_timer)[1]) is None
        may_close.set()
        thread.join()


def test_a_hub_stays_for_a_running_cell_and_for_an_open_pipe():
    with running_hub(linger_s=0.05) as thread:
        with Notebook() as notebook:
            notebook.until("status", notebook.send("hold"))
            thread.boards["kitchen"].open("adc")
        wait_until(lambda: not thread.hub.boards.clients)
        thread.boards["kitchen"].finish()
        wait_until(lambda: thread.hub.boards.by_port[KITCHEN].running is None)
        assert not thread.boards["kitchen"].closed.is_set()
        thread.boards["kitchen"].close_pipe(0)
        thread.join()


def test_a_stopping_hub_fails_the_running_cell(hub, notebook):
    request = notebook.send("hold")
    notebook.until("status", request)
    hub.stop()
    reply = notebook.until("execute_reply", request)[-1][1]
    assert reply["ename"] == "BoardGoneError"
    assert "hub stopped" in reply["evalue"]
