"""Clients that watch: told of every opening, they can read each of them from any frame on, and hear that the hub leaves."""

import pytest
from hubnotebook import KITCHEN, Notebook
from patience import PATIENCE_S, wait_until
from subscription import Subscription, flood

from ukernel.client import connection as client
from ukernel.errors import BoardBusyError, PipeEndedError


class Watcher:
    """A client that watches, and what it has been told first."""

    def __init__(self, kernel=""):
        self.client = client.connect(start=False)
        self.openings = self.client.request("watch_request", {"kernel": kernel})["openings"]

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.client.close()

    def next(self):
        message = self.client.receive(PATIENCE_S)
        assert message is not None, "nothing came"
        return message["type"], message["content"]


def test_who_watches_is_told_of_what_is_open_and_of_each_later_opening(board):
    board.open("adc", generation=3, number=7)
    with Watcher() as watcher:
        (here,) = watcher.openings
        assert (here["pipe"], here["board"], here["port"], here["generation"], here["number"]) == (
            "adc",
            "kitchen",
            KITCHEN,
            3,
            7,
        )
        board.open("imu", id=2)
        board.close_pipe(0, id=2)
        board.open("imu", id=3, generation=2)
        first, second = watcher.next(), watcher.next()
        assert first[0] == second[0] == "pipe_opened"
        assert (first[1]["generation"], second[1]["generation"]) == (1, 2)
        assert len({here["id"], first[1]["id"], second[1]["id"]}) == 3


def test_an_opening_that_lived_for_a_moment_can_be_read_whole_by_its_id(board):
    with Watcher() as watcher:
        for generation in (1, 2):
            board.open("adc", generation=generation)
            board.write(b"%d" % generation, 1, 0)
            board.close_pipe(1)
        for generation in (1, 2):
            _, here = watcher.next()
            with Subscription("adc", options=["batches", "replay"], opening=here["id"]) as reader:
                assert reader.rest()[1:] == [b"%d" % generation, {"end": "closed", "frames": 1}]


def test_an_opening_of_which_nothing_is_held_is_refused_with_the_reason(board):
    with pytest.raises(PipeEndedError, match="the hub holds nothing of it any more"):
        client.open_reader("adc", opening=123)


def test_a_reader_goes_on_at_the_frame_that_it_wants(board):
    board.open("adc", drops=True)
    board.write(b"ab", 1, 0)
    board.write(b"ef", 1, 4)
    with Watcher() as watcher:
        (here,) = watcher.openings
        board.close_pipe(6)
        for first, rest in (
            (1, [b"b", 2, b"e", b"f"]),
            (2, [2, b"e", b"f"]),
            (3, [1, b"e", b"f"]),
            (5, [b"f"]),
            (6, []),
            (9, []),
        ):
            with Subscription("adc", options=["batches", "replay"], opening=here["id"], first=first) as reader:
                assert reader.notice()["open"]["number"] == min(first, 6)
                lost = [{"lost": part, "cause": "board"} if isinstance(part, int) else part for part in rest]
                assert reader.rest() == [*lost, {"end": "closed", "frames": 6}]


def test_what_the_hub_holds_no_more_is_counted_from_the_frame_that_was_wanted(hub, board, small_buffer):
    board.open("adc")
    pipes = hub.hub.boards.by_port[KITCHEN].pipes
    wait_until(lambda: len(pipes), "the opening")
    opening = next(iter(pipes))
    count = flood(hub, board, lambda: opening.buffer.start > 100)
    with Watcher() as watcher:
        (here,) = watcher.openings
        with Subscription("adc", options=["batches", "replay"], opening=here["id"], first=50) as reader:
            assert reader.notice()["open"]["number"] == 50
            start = opening.buffer.start
            assert reader.notice() == {"lost": start - 50, "cause": "replay"}
            board.close_pipe(count)
            assert len(reader.rest()) == count - start + 1


def test_numbers_beyond_32_bits_are_understood(board):
    board.open("adc", number=0xFFFF_FFFE)
    board.write(b"abcd", 1, 0xFFFF_FFFE)
    with Watcher() as watcher:
        (here,) = watcher.openings
        assert here["number"] == 0x1_0000_0002
        with Subscription("adc", options=["batches", "replay"], opening=here["id"], first=0x1_0000_0001) as reader:
            assert reader.notice()["open"]["number"] == 1
            assert reader.part()[1][6:] == b"d"


def test_openings_of_other_boards_than_the_kernels_are_marked(hub, board):
    with Notebook(kernel="k1", instance="1"), Notebook("scripted://cellar", kernel="k2", instance="1"):
        board.open("adc")
        with Watcher("k1") as watcher, Watcher("k2") as other, Watcher("k3") as stranger, Watcher() as anybody:
            assert [one.openings[0]["own"] for one in (watcher, other, stranger, anybody)] == [True, False, None, None]


def test_who_follows_keeps_the_board_and_its_times_and_is_not_asked_before_a_reset(hub, board, notebook):
    with client.connect(start=False) as follower:
        follower.request("attach_request", {"board": KITCHEN, "client": "a recorder", "follows": True})
        wait_until(lambda: board.timestamps)
        with client.connect(start=False) as other:
            other.request("attach_request", {"board": KITCHEN, "client": "another"})
            with pytest.raises(BoardBusyError, match="is used by a notebook"):
                other.request("reset_request", {})
    wait_until(lambda: not board.timestamps)


def test_a_board_with_nobody_but_followers_is_reset_at_once(hub):
    with client.connect(start=False) as follower, client.connect(start=False) as other:
        follower.request("attach_request", {"board": KITCHEN, "client": "a recorder", "follows": True})
        other.request("attach_request", {"board": KITCHEN, "client": "another"})
        other.request("reset_request", {}, 30)
        assert hub.boards["kitchen"].resets == 1


def test_who_watches_hears_that_the_hub_stops(hub):
    with Watcher() as watcher:
        hub.stop()
        assert watcher.next() == ("hub_stopping", {})


def test_a_board_that_is_given_back_is_told_as_such(board, notebook):
    with client.connect(start=False) as command:
        command.request("detach_request", {"board": "kitchen"})
    while (message := notebook.next())["type"] != "detached":
        pass
    assert message["content"]["given_back"] is True
