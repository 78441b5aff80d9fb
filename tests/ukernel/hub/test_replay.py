"""What the hub holds of pipes, for readers that come late."""

import pytest
from hubnotebook import KITCHEN
from patience import wait_until
from subscription import BATCH, FRAME, Subscription

from ukernel.errors import (
    BoardGoneError,
)
from ukernel.hub import replay, subscriber
from ukernel.link.clock import Times


def test_a_replay_begins_where_the_pipe_did(board):
    board.open("adc", generation=3)
    board.write(b"aaaabbbb", 4, 0)
    board.write(b"", 0, 2)
    with Subscription("adc", options=["replay"]) as reader:
        assert reader.notice() == {"open": {"name": "adc", "board": "kitchen", "generation": 3, "number": 0, "unread": 0}}
        board.write(b"cc", 1, 3)
        board.close_pipe(5)
        assert reader.rest() == [b"aaaa", b"bbbb", b"", b"c", b"c", {"end": "closed", "frames": 5}]


@pytest.mark.parametrize("reason", ["closed", "board restarted"])
def test_a_pipe_that_has_ended_is_replayed_with_its_end(board, reason):
    board.open("adc")
    board.write(b"aaaabbbb", 4, 0)
    if reason == "closed":
        board.close_pipe(2)
    else:
        board.ready(restarted=True)
    for _ in range(2):
        with Subscription("adc", options=["batches", "replay"]) as reader:
            assert reader.rest()[1:] == [b"aaaa", b"bbbb", {"end": reason, "frames": 2}]


def test_a_replay_takes_the_open_pipe_then_the_one_that_ended_last_then_the_next(hub, board):
    with Subscription("adc", options=["replay"]) as early:
        board.open("adc", generation=1)
        board.write(b"1", 1, 0)
        board.close_pipe(1)
        assert early.rest()[1:] == [b"1", {"end": "closed", "frames": 1}]
    board.open("adc", generation=2)
    board.write(b"2", 1, 0)
    board.close_pipe(1)
    with Subscription("adc", options=["replay"]) as late:
        assert late.rest()[1:] == [b"2", {"end": "closed", "frames": 1}]
    board.open("adc", generation=3)
    with Subscription("adc", options=["replay"]) as now:
        board.write(b"3", 1, 0)
        now.notice()
        assert now.frame() == b"3"


def test_without_replay_a_pipe_that_has_ended_is_not_taken(hub, board):
    board.open("adc")
    board.close_pipe(0)
    with Subscription("adc", options=["notices"]) as reader:
        assert len(hub.hub.boards.subscriptions.waiting) == 1
        board.open("adc", generation=2)
        assert reader.notice()["open"]["generation"] == 2


def test_gaps_are_replayed_as_they_were(board):
    board.open("adc", drops=True)
    board.write(b"ab", 1, 10)
    board.ready()
    board.open("adc", number=20, drops=True)
    board.write(b"c", 1, 20)
    board.close_pipe(25)
    with Subscription("adc", options=["replay"]) as reader:
        assert reader.rest()[1:] == [
            {"lost": 10, "cause": "board"},
            b"a",
            b"b",
            {"lost": 8, "cause": "no_listener"},
            b"c",
            {"lost": 4, "cause": "board"},
            {"end": "closed", "frames": 25},
        ]


def test_what_the_hub_no_longer_holds_is_told_exactly(hub, board, small_buffer):
    board.open("adc", drops=True)
    board.write(b"x", 1, 5)  # five are missing before it, and all six fall out
    written = 6
    while hub.call(lambda: hub.hub.boards.list_pipes()[0]["held"]) > written - 500:
        board.write(bytes(FRAME) * BATCH, FRAME, written)
        written += BATCH
    board.close_pipe(written)
    with Subscription("adc", options=["replay", "batches"]) as reader:
        opened, never_came, fell_out, *frames, end = reader.rest()
    assert opened["open"]["number"] == 0
    assert never_came == {"lost": 5, "cause": "board"}
    assert fell_out["cause"] == "replay"
    assert 5 + fell_out["lost"] + len(frames) == written == end["frames"]
    assert set(frames) == {bytes(FRAME)}


def test_frames_of_an_earlier_hub_are_told_as_not_held(board):
    board.open("adc", number=1000)
    board.write(b"a", 1, 1000)
    board.close_pipe(1001)
    with Subscription("adc", options=["replay"]) as reader:
        assert reader.rest()[1:] == [{"lost": 1000, "cause": "replay"}, b"a", {"end": "closed", "frames": 1001}]


def test_a_board_that_was_gone_is_replayed_past_that(board):
    board.open("adc")
    board.write(b"a", 1, 0)
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"b", 1, 1)
        board.gone(BoardGoneError("The board went away."))
        board.ready(resumed=True)
        board.write(b"c", 1, 2)
        assert reader.rest()[1:] == [b"b", {"end": "board gone", "frames": 2}]
    with Subscription("adc", options=["replay"]) as again:
        board.close_pipe(3)
        assert again.rest()[1:] == [b"a", b"b", b"c", {"end": "closed", "frames": 3}]


def test_the_replays_of_all_pipes_together_are_bounded(hub, board, monkeypatch):
    monkeypatch.setattr(replay, "MAX_ALL_BYTES", 4 << 20)
    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 1 << 20)
    for number in range(40):
        board.open(f"p{number}", id=number, generation=number)
        board.write(bytes(200_000), 1000, 0, id=number)
        if number % 2:
            board.close_pipe(200, id=number)
    openings = hub.call(
        lambda: [o for d in hub.hub.boards.by_port.values() for o in d.pipes] + list(hub.hub.boards.replay_buffers.ended)
    )
    assert len(openings) == 40
    assert sum(opening.buffer.size_bytes for opening in openings) <= 4 << 20
    ended = [opening.buffer.size_bytes for opening in hub.hub.boards.replay_buffers.ended]
    assert ended == sorted(ended)  # the oldest have gone first
    with Subscription("p39", options=["replay", "batches"]) as newest, Subscription("p1", options=["replay"]) as oldest:
        assert len(newest.rest()) == 202
        assert oldest.rest()[1:] == [{"lost": 200, "cause": "replay"}, {"end": "closed", "frames": 200}]


def test_only_so_many_pipes_that_have_ended_are_kept(hub, board):
    for number in range(replay.MAX_ENDED + 5):
        board.open(f"p{number}", generation=number)
        board.write(b"x", 1, 0)
        board.close_pipe(1)
    assert [pipe["name"] for pipe in hub.call(hub.hub.boards.list_pipes)] == [f"p{n}" for n in range(5, replay.MAX_ENDED + 5)]


def test_a_slow_pipe_costs_its_replay_little_more_than_its_bytes(hub, board):
    board.open("adc")
    for number in range(1000):
        board.write(b"abcd", 4, number)
    assert hub.call(lambda: next(iter(hub.hub.boards.by_port[KITCHEN].pipes)).buffer.size_bytes) < 50_000
    with Subscription("adc", options=["replay", "batches"]) as reader:
        board.close_pipe(1000)
        assert reader.rest()[1:-1] == [b"abcd"] * 1000


def test_a_large_replay_does_not_hold_up_the_others(hub, board, monkeypatch):
    """It comes in turns."""
    monkeypatch.setattr(subscriber, "_TURN_BYTES", 10_000)
    board.open("adc")
    for number in range(50):
        board.write(bytes(60_000), 6000, number * 10)
    turns = []
    original = subscriber.Subscriber._go_on
    monkeypatch.setattr(subscriber.Subscriber, "_go_on", lambda reader: (turns.append(1), original(reader))[1])
    with Subscription("adc", options=["replay", "batches"]) as reader:
        board.write(bytes(6000), 6000, 500)
        board.close_pipe(501)
        assert sum(isinstance(part, bytes) for part in reader.rest()) == 501
    assert len(turns) > 5


def test_what_was_lost_before_a_frame_is_known_as_far_as_it_is_held():
    buffer = replay.ReplayBuffer()
    times = Times(1.0, 1.0, 0.1)
    buffer.add(replay.Batch(0, 2, 1, b"ab", times))
    buffer.add(replay.Gap(2, 3, "board"))
    buffer.add(replay.Batch(5, 2, 1, b"fg", times))
    buffer.add(replay.Gap(7, 1, "no_listener"))
    for number, lost in ((0, {}), (2, {}), (4, {"board": 2}), (5, {"board": 3}), (8, {"board": 3, "no_listener": 1})):
        assert buffer.lost_before(number) == lost
    buffer.shrink(2 * replay.BATCH_BYTES + 2)
    assert buffer.start == 5 and buffer.lost_before(2) == buffer.lost_before(5) == {"board": 3}


def test_a_reader_that_goes_on_has_been_told_what_was_lost_before(hub, board):
    board.open("adc", drops=True)
    board.write(b"ab", 1, 0)
    board.write(b"f", 1, 5)
    (here,) = hub.hub.boards.by_port.values()
    wait_until(lambda: [opening.frames for opening in here.pipes] == [6])
    (opening,) = here.pipes
    for first, lost in ((0, {}), (3, {"board": 1}), (6, {"board": 3})):
        reader = subscriber.Subscriber("adc", None, frozenset({"batches", "replay"}), first=first)
        reader.join(opening)
        assert reader._at == first and reader._lost == lost
