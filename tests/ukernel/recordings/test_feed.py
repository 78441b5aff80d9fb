"""One opening as it comes from the hub: whatever the hub says of it, each frame is handed on once, with its number, or as lost."""

import socket

import pytest
from fakelistener import notice
from heard import Heard

from ukernel.errors import HubError
from ukernel.protocol.pipestream import encode_timed_batch
from ukernel.recordings.feed import Feed
from ukernel.recordings.sink import Opening


@pytest.fixture
def fed():
    """Call it with how far the opening has been read before (None: not at all); gives a feed, the other end of it, and what is heard."""
    sockets = []

    def feed(number=None):
        ours, theirs = socket.socketpair()
        sockets.extend((ours, theirs))
        opening = Opening(1, "adc", "kitchen", "port", 1, "7", {})
        opening.number = number or 0
        heard = Heard()
        return Feed(opening, ours, heard, goes_on=number is not None), theirs, heard.all

    yield feed
    for one in sockets:
        one.close()


def opens(number, unread=0):
    return notice(open={"name": "adc", "board": "kitchen", "generation": 1, "number": number & 0xFFFF_FFFF, "unread": unread})


def letters(text):
    """A batch of frames of one letter."""
    return encode_timed_batch(text, 1, 0, (1.0, 2.0, 0.1))


def test_frames_losses_and_the_end_are_handed_on_with_their_numbers(fed):
    feed, hub, heard = fed()
    hub.sendall(opens(5, 5) + letters(b"ab") + notice(lost=3, cause="board") + letters(b"c") + notice(end="closed", frames=11))
    feed.read()
    assert heard == [("opened", 5, 5), (5, b"ab"), ("lost", 7, 3, "board"), (10, b"c"), ("ended", 11, "closed")]
    assert feed.reason == "closed"


def test_what_goes_on_further_ahead_has_lost_what_was_between(fed):
    feed, hub, heard = fed(number=3)
    hub.sendall(opens(8) + letters(b"x"))
    feed.read()
    assert heard == [("opened", 3, 0), ("lost", 3, 5, "between"), (8, b"x")]


def test_what_was_read_before_is_not_read_again(fed):
    feed, hub, heard = fed(number=6)
    hub.sendall(opens(0) + notice(lost=2, cause="replay") + letters(b"cd") + letters(b"efg") + letters(b"h"))
    feed.read()
    assert heard == [("opened", 6, 0), (6, b"g"), (7, b"h")]


def test_a_loss_that_was_told_in_part_is_told_the_rest(fed):
    feed, hub, heard = fed(number=3)
    hub.sendall(opens(0) + notice(lost=5, cause="replay") + letters(b"f"))
    feed.read()
    assert heard == [("opened", 3, 0), ("lost", 3, 2, "replay"), (5, b"f")]


def test_numbers_roll_over_in_the_stream_and_not_here(fed):
    feed, hub, heard = fed(number=0x1_0000_0005)
    hub.sendall(opens(7) + letters(b"x"))
    feed.read()
    assert heard == [("opened", 0x1_0000_0005, 0), ("lost", 0x1_0000_0005, 2, "between"), (0x1_0000_0007, b"x")]


def test_an_end_that_says_more_than_came_is_believed(fed):
    feed, hub, heard = fed()
    hub.sendall(opens(0) + letters(b"ab") + notice(end="board restarted", frames=5))
    feed.read()
    assert heard[2:] == [("lost", 2, 3, "between"), ("ended", 5, "board restarted")]


def test_a_connection_that_breaks_is_an_end(fed):
    feed, hub, heard = fed()
    hub.sendall(opens(0) + letters(b"ab"))
    hub.close()
    feed.read()
    assert heard[-1] == ("ended", 2, "connection lost") and feed.reason == "connection lost"


def test_one_that_ends_again_with_nothing_new_is_not_told_again_unless_for_good(fed):
    for reason, told in (("board gone", []), ("hub stopped", []), ("closed", [("ended", 4, "closed")])):
        feed, hub, heard = fed(number=4)
        hub.sendall(opens(4) + notice(end=reason, frames=4))
        feed.read()
        assert heard == told and feed.reason == reason


def test_stopping_takes_what_is_here(fed):
    feed, hub, heard = fed()
    hub.sendall(opens(0) + letters(b"ab"))
    feed.stop("stopped")
    assert heard == [("opened", 0, 0), (0, b"ab"), ("ended", 2, "stopped")]


def test_nonsense_is_an_error_and_nothing_is_read_after_it(fed):
    feed, hub, heard = fed()
    hub.sendall(opens(0) + letters(b"ab"))
    feed.read()
    hub.sendall(b"\xff\xff\x00\x01")
    with pytest.raises(HubError, match="announced a frame"):
        feed.read()
    hub.sendall(letters(b"cd"))
    feed.break_off("connection lost")
    assert heard == [("opened", 0, 0), (0, b"ab"), ("ended", 2, "connection lost")]
