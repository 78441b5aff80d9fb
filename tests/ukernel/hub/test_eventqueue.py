"""The way of a board's events into the hub's loop."""

import struct
import threading

from patience import PATIENCE_S, wait_until
from subscription import Subscription

from ukernel.hub import eventqueue
from ukernel.link import session


def test_the_boards_thread_is_held_back_while_the_hub_is_busy(hub, notebook, monkeypatch):
    monkeypatch.setattr(eventqueue, "MAX_BYTES", 10_000)
    board = hub.boards["kitchen"]
    busy, done = threading.Event(), threading.Event()
    hub.hub._loop.call_soon_threadsafe(lambda: (busy.set(), done.wait(PATIENCE_S)))
    assert busy.wait(PATIENCE_S)
    delivered = []

    def deliver():
        for number in range(200):
            board._tell(board, session.PipeBatch(1, number, 1000, bytes(1000)))
            delivered.append(number)

    board_thread = threading.Thread(target=deliver)
    board_thread.start()
    wait_until(lambda: len(delivered) >= 7)
    assert len(delivered) < 20
    done.set()
    board_thread.join(PATIENCE_S)
    assert len(delivered) == 200


def test_batches_that_follow_each_other_are_joined(hub, board):
    board.open("adc", drops=True)
    with Subscription("adc", options=["batches"]) as reader:
        reader.notice()
        busy, done = threading.Event(), threading.Event()
        hub.hub._loop.call_soon_threadsafe(lambda: (busy.set(), done.wait(PATIENCE_S)))
        busy.wait(PATIENCE_S)
        board.write(b"aaaabbbb", 4, 0)
        board.write(b"cccc", 4, 2)
        board.write(b"eeee", 4, 4)
        done.set()
        assert reader.part()[1] == struct.pack("<HI", 4, 0) + b"aaaabbbbcccc"
        assert reader.notice() == {"lost": 1, "cause": "board"}
        assert reader.part()[1] == struct.pack("<HI", 4, 4) + b"eeee"
