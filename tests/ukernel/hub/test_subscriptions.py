"""Which reader reads which pipe, and what a board is asked for on their account."""

import pytest
from hubnotebook import KITCHEN
from patience import wait_until
from subscription import Subscription

from ukernel.client import connection as client
from ukernel.errors import (
    PipeNameError,
)


def test_a_reader_may_come_before_the_pipe(hub, board):
    with Subscription("adc", options=["notices"]) as reader, Subscription("imu") as other:
        board.open("adc", generation=7)
        board.write(b"x", 1, 0)
        assert reader.notice() == {"open": {"name": "adc", "board": "kitchen", "generation": 7, "number": 0, "unread": 0}}
        assert reader.frame() == b"x"
        assert len(hub.hub.boards.subscriptions.waiting) == 1
        assert other.socket


def test_a_reader_names_a_board_or_takes_the_only_one(hub, attached, board):
    with client.connect(start=False) as other:
        other.request("attach_request", {"board": "scripted://cellar", "client": "another"})
        cellar = hub.boards["cellar"]
        with Subscription("adc", board="cellar", options=["notices"]) as named:
            board.open("adc")
            with Subscription("adc", options=["notices"]) as unnamed:
                assert unnamed.notice()["open"]["board"] == "kitchen"
            cellar.open("adc")
            assert named.notice()["open"]["board"] == "cellar"
            with pytest.raises(PipeNameError, match="cellar and kitchen"):
                client.open_reader("adc")
            with Subscription("adc", board=KITCHEN, options=["notices"]) as by_port:
                assert by_port.notice()["open"]["board"] == "kitchen"


def test_a_board_is_asked_for_times_while_somebody_wants_them(hub, board):
    with Subscription("adc", options=["timestamps"]) as early:
        assert board.timestamps
        board.open("adc")
        with Subscription("adc", options=["timestamps"]):
            pass
        assert board.timestamps
        board.close_pipe(0)
        early.rest()
        wait_until(lambda: not board.timestamps)
    board.open("adc", generation=2)
    with Subscription("adc", options=["timestamps"]):
        assert board.timestamps
        with Subscription("imu"):
            pass
        assert board.timestamps
    wait_until(lambda: not board.timestamps)
