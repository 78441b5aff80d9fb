"""A board's pipes in the hub: what was lost is counted, what has ended says why."""

import pytest
from subscription import Subscription

from ukernel.errors import (
    BoardGoneError,
)


@pytest.mark.parametrize(("drops", "cause"), [(True, "board"), (False, "no_listener")])
def test_frames_lost_on_the_board_are_counted_to_the_last(board, drops, cause):
    """A producer that waits loses frames only while it has no host to wait for."""
    board.open("adc", drops=drops)
    with Subscription("adc", options=["notices"]) as reader, Subscription("adc") as plain:
        board.write(b"ab", 1, 10)
        board.close_pipe(15)
        assert reader.rest()[1:] == [
            {"lost": 10, "cause": cause},
            b"a",
            b"b",
            {"lost": 3, "cause": cause},
            {"end": "closed", "frames": 15},
        ]
        assert plain.rest() == [b"a", b"b"]


def test_frame_numbers_may_wrap(board):
    last = 0xFFFFFFFF
    board.open("adc", number=last)
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"abc", 1, last)
        board.write(b"d", 1, 2)
        board.close_pipe(3)
        assert reader.rest() == [
            {"open": {"name": "adc", "board": "kitchen", "generation": 1, "number": last, "unread": 0}},
            b"a",
            b"b",
            b"c",
            b"d",
            {"end": "closed", "frames": last + 4},
        ]


def test_frames_sent_again_after_a_broken_session_come_once(board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"abc", 1, 0)
        board.ready()  # a new session with the same program on the board
        board.open("adc", number=1)
        board.write(b"bcd", 1, 1)
        board.write(b"b", 1, 1)
        board.write(b"", 0, 2)
        board.close_pipe(4)
        assert reader.rest()[1:] == [b"a", b"b", b"c", b"d", {"end": "closed", "frames": 4}]


def test_frames_written_while_there_was_no_session_are_told(board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"a", 1, 0)
        board.ready()
        board.open("adc", number=100)
        board.write(b"b", 1, 100)
        board.close_pipe(101)
        assert reader.rest()[2:] == [{"lost": 99, "cause": "no_listener"}, b"b", {"end": "closed", "frames": 101}]


def test_a_pipe_that_a_new_session_does_not_announce_has_ended(board):
    board.open("adc", id=1)
    board.open("imu", id=2)
    with Subscription("adc", options=["notices"]) as ended, Subscription("imu", options=["notices"]) as going:
        board.ready()
        board.open("imu", id=2)
        board.write(b"x", 1, 0, id=2)
        assert ended.rest()[1:] == [{"end": "closed", "frames": 0}]
        going.notice()
        assert going.frame() == b"x"


def test_frames_that_nobody_reads_are_counted(attached, board):
    board.open("adc")
    board.write(b"abcd", 1, 0)
    assert attached.request("pipes_request")["pipes"][0]["unread"] == 4
    with Subscription("adc", options=["notices"]) as reader:
        opened = reader.notice()["open"]
        assert (opened["number"], opened["unread"]) == (4, 4)


def test_a_board_that_goes_or_restarts_ends_its_pipes_with_that_reason(board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader, Subscription("adc") as plain:
        board.write(b"a", 1, 0)
        board.gone(BoardGoneError("The board went away."))
        assert reader.rest()[1:] == [b"a", {"end": "board gone", "frames": 1}]
        assert plain.rest() == [b"a"]
    board.ready(resumed=True)
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"b", 1, 1)
        board.ready(restarted=True)
        assert reader.rest()[1:] == [b"b", {"end": "board restarted", "frames": 2}]


def test_a_stopping_hub_says_so_to_its_readers(hub, board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader, Subscription("imu", options=["notices"]) as waiting:
        hub.stop()
        assert reader.rest()[-1] == {"end": "hub stopped", "frames": 0}
        assert waiting.rest() == [{"end": "hub stopped", "frames": 0}]


def test_pipes_are_listed_while_they_are_open_and_a_while_after(attached, board):
    board.open("adc")
    with Subscription("adc"):
        board.write(b"aaaa", 1, 0)
        (pipe,) = attached.request("pipes_request")["pipes"]
        assert (pipe["name"], pipe["board"], pipe["frames"], pipe["readers"], pipe["open"]) == ("adc", "kitchen", 4, 1, True)
        board.close_pipe(4)
        (pipe,) = attached.request("pipes_request")["pipes"]
        assert (pipe["frames"], pipe["open"]) == (4, False)


def test_the_rate_of_a_pipe_is_known(attached, board):
    board.open("adc")
    assert attached.request("pipes_request")["pipes"][0]["frames_per_s"] == 0
    for number in range(10):
        board.write(b"aaaa", 4, number)
    (pipe,) = attached.request("pipes_request")["pipes"]
    assert pipe["frames_per_s"] > 0
    assert pipe["bytes_per_s"] == 4 * pipe["frames_per_s"]
