"""Every frame that a board wrote is in the file or counted in it, whatever happens to pipe, board and hub meanwhile."""

import itertools
import time

import pytest
from heard import Heard
from patience import wait_until
from scripted import running_hub

from ukernel.client import connection
from ukernel.errors import BoardGoneError
from ukernel.link.clock import Times
from ukernel.recordings.follower import Follower
from ukernel.recordings.selection import Selection

KITCHEN = "scripted://kitchen"


@pytest.fixture
def small_buffer(monkeypatch):
    from ukernel.hub import replay

    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 4096)


def attach(hub, name="kitchen"):
    """A notebook's connection to a board."""
    attached = connection.connect(start=False)
    attached.request("attach_request", {"board": f"scripted://{name}", "client": "a notebook"})
    return attached


def test_all_frames_of_a_pipe_are_in_the_file_with_numbers_times_and_losses(board, begin):
    with begin("adc", formats="<h") as recording:
        board.open("adc", drops=True)
        board.write(b"aabbcc", 2, 0, times=Times(1000.0, 1002.0, 0.5))
        board.write(b"dd", 2, 5, times=Times(1005.0, 1005.0, 0.25))
        board.write(b"eeff", 2, 6)
        board.close_pipe(9)
        recording.wait_until_told("end")
        contents = recording.stop()
    assert {number: data for number, (data, _, _) in contents.frames[1].items()} == {
        0: b"aa", 1: b"bb", 2: b"cc", 5: b"dd", 6: b"ee", 7: b"ff",
    }  # fmt: skip
    assert [contents.frames[1][number][1:] for number in (0, 1, 2, 5)] == [(1000, 0.5), (1001, 0.5), (1002, 0.5), (1005, 0.25)]
    assert contents.lost[1] == [(3, 2, "board"), (8, 1, "board")]
    (opened,) = contents.events_of("open")
    assert (opened["board"], opened["pipe"], opened["generation"], opened["number"], opened["unread"]) == (
        "kitchen",
        "adc",
        1,
        0,
        0,
    )
    assert contents.ends() == [(1, "closed")]


def test_recording_begins_where_the_pipe_is_or_with_what_the_hub_holds(board, begin):
    board.open("adc")
    board.write(b"ab", 1, 0)
    with begin(name="now.mcap") as now, begin(name="all.mcap", replay=True) as everything:
        board.write(b"cd", 1, 2)
        now.wait_for(2)
        everything.wait_for(4)
        assert now.stop().data() == [b"c", b"d"]
        assert everything.stop().data() == [b"a", b"b", b"c", b"d"]
        (opened,) = now.stop().events_of("open")
        assert (opened["number"], opened["unread"]) == (2, 2)


def test_pipes_that_open_later_are_taken_in_when_they_match(board, begin):
    with begin(["adc", "temp*"]) as recording:
        for id, name in enumerate(("adc", "imu", "temp1", "temp2", "humidity"), 1):
            board.open(name, id=id)
            board.write(b"%d" % id, 1, 0, id=id)
        recording.wait_for(3)
        contents = recording.stop()
    assert [event["pipe"] for event in contents.events_of("open")] == ["adc", "temp1", "temp2"]
    assert [contents.data(key) for key in (1, 2, 3)] == [[b"1"], [b"3"], [b"4"]]


def test_no_opening_is_missed_however_short_it_lives(board, begin):
    with begin("adc") as recording:
        for generation in range(1, 30):
            board.open("adc", generation=generation)
            board.write(b"%3d" % generation, 3, 0)
            board.close_pipe(1)
        recording.wait_for(29)
        contents = recording.stop()
    assert [contents.data(key) for key in range(1, 30)] == [[b"%3d" % generation] for generation in range(1, 30)]
    assert {reason for _, reason in contents.ends()} == {"closed"}


def test_a_board_that_restarts_ends_its_pipes_and_the_next_ones_are_recorded(board, begin):
    with begin("adc") as recording:
        board.open("adc")
        board.write(b"ab", 1, 0)
        board.boot()
        board.open("adc")
        board.write(b"c", 1, 0)
        recording.wait_for(3)
        contents = recording.stop()
    assert (contents.data(1), contents.data(2)) == ([b"a", b"b"], [b"c"])
    assert contents.ends() == [(1, "board restarted"), (2, "stopped")]


def test_a_board_that_is_unplugged_for_a_while_goes_on_in_the_same_opening(board, begin):
    with begin("adc") as recording:
        board.open("adc")
        board.write(b"ab", 1, 0)
        recording.wait_for(2)
        board.gone(BoardGoneError("unplugged"))
        recording.wait_until_told("end")
        board.ready(resumed=True)
        board.open("adc", number=5)
        board.write(b"f", 1, 5)
        recording.wait_for(3)
        contents = recording.stop()
    assert contents.data() == [b"a", b"b", b"f"]
    assert contents.lost[1] == [(2, 3, "no_listener")]
    assert contents.ends() == [(1, "board gone"), (1, "stopped")]
    assert [event["number"] for event in contents.events_of("open")] == [0, 2]


def test_another_hub_goes_on_with_the_opening_and_what_was_between_is_counted(begin):
    with running_hub() as hub, attach(hub):
        recording = begin("adc")
        hub.boards["kitchen"].open("adc")
        hub.boards["kitchen"].write(b"ab", 1, 0)
        recording.wait_for(2)
    recording.wait_until_told("end")
    with running_hub() as hub, attach(hub):
        hub.boards["kitchen"].open("adc", number=7)
        hub.boards["kitchen"].write(b"h", 1, 7)
        recording.wait_for(3)
        contents = recording.stop()
    assert contents.data() == [b"a", b"b", b"h"]
    assert contents.lost[1] == [(2, 5, "replay")]
    assert contents.ends() == [(1, "hub stopped"), (1, "stopped")]


def test_a_board_that_restarted_while_the_hub_was_away_has_ended_its_pipes(begin):
    with running_hub() as hub, attach(hub):
        hub.boards["kitchen"].facts["boot"] = 1
        recording = begin("adc")
        hub.boards["kitchen"].open("adc")
        hub.boards["kitchen"].write(b"ab", 1, 0)
        recording.wait_for(2)
    recording.wait_until_told("end")
    with running_hub() as hub, attach(hub):
        hub.boards["kitchen"].facts["boot"] = 2
        hub.boards["kitchen"].open("adc", number=0)
        hub.boards["kitchen"].write(b"d", 1, 0)
        recording.wait_for(3)
        contents = recording.stop()
    assert (contents.data(1), contents.data(2)) == ([b"a", b"b"], [b"d"])
    assert contents.ends() == [(1, "hub stopped"), (1, "board restarted"), (2, "stopped")]


def test_all_that_ends_at_once_with_a_hub_is_taken_in(hub, monkeypatch):
    follower = Follower(Selection(("*",)), Heard(), "a test", pause_s=0.0)

    def is_kept():
        follower._step(time.monotonic())
        return follower._hub is not None and follower._keepers and follower._keepers["scripted://kitchen"].board

    with attach(hub):
        hub.boards["kitchen"].open("adc")
        wait_until(is_kept)
        select = follower._selector.select
        # The watched connection first: what comes after it in the same look has been closed on its account.
        first = lambda wait_s: sorted(select(wait_s), key=lambda found: found[0].data is not follower._hub)  # noqa: E731
        monkeypatch.setattr(follower._selector, "select", first)
        hub.call(lambda: [client._connection.abort() for client in list(hub.hub.boards.clients)])
        wait_until(lambda: is_kept() is not None and follower._hub is None, "the loss of the hub")
        wait_until(is_kept, "the way back")
    follower.close()


def test_a_hub_that_was_stopped_on_purpose_is_not_started_again(hub, begin):
    with attach(hub):
        recording = begin("adc")
        hub.boards["kitchen"].open("adc")
        recording.wait_until_told("open")
        hub.stop()
        recording.wait_until_told("end")
        wait_until(lambda: recording.recorder._follower.obstacle, "an obstacle")
        assert recording.recorder._follower._starts_hub is False
        recording.stop()


def test_what_the_hub_holds_no_more_is_counted(board, begin, small_buffer):
    board.open("adc")
    for number in range(0, 1000, 10):
        board.write(bytes(1000), 100, number)
    with begin("adc", replay=True) as recording:
        board.close_pipe(1000)
        recording.wait_until_told("end")
        contents = recording.stop()
    assert set(contents.lost_by_cause()) == {"replay"}
    assert contents.next() == 1000 and contents.lost_by_cause()["replay"] + len(contents.data()) == 1000


@pytest.mark.parametrize("wanted", ["cellar", "scripted://cellar"])
def test_only_the_board_that_is_named_is_recorded(hub, begin, wanted):
    with attach(hub), attach(hub, "cellar"):
        hub.boards["kitchen"].open("adc")
        hub.boards["cellar"].open("adc")
        recording = begin("adc", board=wanted)
        recording.wait_until_told("open")
        hub.boards["kitchen"].write(b"k", 1, 0)
        hub.boards["cellar"].write(b"c", 1, 0)
        recording.wait_for(1)
        contents = recording.stop()
    assert [event["board"] for event in contents.events_of("open")] == ["cellar"] and contents.data() == [b"c"]


def test_the_board_that_is_named_is_attached_without_any_notebook(hub, begin):
    with begin("adc", board=KITCHEN) as recording:
        wait_until(lambda: "kitchen" in hub.boards, "the board")
        wait_until(lambda: recording.recorder._follower._keepers[""].board, "its name")
        board = hub.boards["kitchen"]
        wait_until(lambda: board.timestamps, "its times")
        board.open("adc")
        board.write(b"ab", 1, 0)
        recording.wait_for(2)
        assert recording.stop().data() == [b"a", b"b"]


def test_a_board_that_cannot_be_had_is_said_and_waited_for(hub, begin):
    with begin("adc", board="scripted://missing") as recording:
        wait_until(lambda: "There is no port" in recording.recorder._follower.obstacle, "the obstacle")
        wait_until(lambda: "no port" in recording.recorder.state()["obstacle"], "its being told")


def test_a_notebooks_recording_is_of_its_boards_also_once_the_notebook_is_gone(hub, begin):
    with attach(hub, "cellar"):
        mine = connection.connect(start=False)
        mine.request("attach_request", {"board": KITCHEN, "client": "n", "kernel": "k1", "instance": "1"})
        kitchen, cellar = hub.boards["kitchen"], hub.boards["cellar"]
        recording = begin("*", kernel="k1")
        for board, byte in ((kitchen, b"k"), (cellar, b"c")):
            board.open("adc")
            board.write(byte, 1, 0)
        recording.wait_for(1)
        mine.close()
        wait_until(lambda: not hub.call(hub.hub.boards._boards_of, "k1"), "the notebook's end")
        for board, byte in ((cellar, b"d"), (kitchen, b"l")):
            board.open("imu", id=2)
            board.write(byte, 1, 0, id=2)
        recording.wait_for(2)
        contents = recording.stop()
    assert [event["board"] for event in contents.events_of("open")] == ["kitchen", "kitchen"]
    assert (contents.data(1), contents.data(2)) == ([b"k"], [b"l"])


def test_a_board_that_was_given_back_is_left_to_the_other_program(hub, begin):
    with begin("adc", board=KITCHEN) as recording:
        keeper = recording.recorder._follower._keepers[""]
        wait_until(lambda: keeper.board, "the board")
        with connection.connect(start=False) as command:
            command.request("detach_request", {"board": "kitchen"})
        wait_until(lambda: keeper.obstacle, "its being told")
        assert not keeper.is_due(float("inf"))
        keeper.resume()
        assert keeper.is_due(float("inf"))


def test_what_was_open_before_is_not_replayed_where_the_boards_name_is_learnt_late(hub, begin):
    with attach(hub):
        board = hub.boards["kitchen"]
        board.name = "renamed"  # the recorder asks for the port
        board.open("adc")
        board.write(b"ab", 1, 0)
        recording = begin("adc", board=KITCHEN)
        recording.wait_until_told("open")
        board.write(b"c", 1, 2)
        recording.wait_for(1)
        assert recording.stop().data() == [b"c"]


def test_a_virtual_board_that_is_gone_is_let_go_of(hub, begin):
    with begin("adc") as recording:
        with attach(hub, "virtual-7"):
            board = hub.boards["virtual-7"]
            board.open("adc")
            board.write(b"ab", 1, 0)
            recording.wait_for(2)
            follower = recording.recorder._follower
            wait_until(lambda: follower._keepers["scripted://virtual-7"].board, "its being kept")
            board.gone(BoardGoneError("it ended"))
        wait_until(lambda: "scripted://virtual-7" not in follower._keepers, "its being given up")
        wait_until(lambda: not hub.call(lambda: [one for one in hub.hub.boards.by_port.values() if one.clients]))
        assert follower.openings == [] and not follower.is_reading
        contents = recording.stop()
    assert contents.data() == [b"a", b"b"] and contents.ends() == [(1, "board gone")]


def test_frames_of_any_size_are_kept_and_those_of_no_value_too(board, begin):
    with begin("log", formats="<f") as recording:
        board.open("log")
        chunks = [b"1234", b"hello", b"", b"5678", b"abcd", b"x" * 300, b""]
        for number, chunk in enumerate(chunks):
            board.write(chunk, len(chunk), number)
        recording.wait_for(len(chunks))
        contents = recording.stop()
    assert contents.data() == chunks
    assert {about.format for about, _ in contents.runs} == {"", "<f"}


def test_frame_numbers_beyond_32_bits_go_on(board, begin):
    last = 0xFFFF_FFFF
    board.open("adc", number=last - 1)
    with begin("adc") as recording:
        board.write(b"abcd", 1, last - 1)
        recording.wait_for(4)
        board.gone(BoardGoneError("unplugged"))
        recording.wait_until_told("end")
        board.ready(resumed=True)
        board.write(b"e", 1, 3)
        board.write(b"f", 1, 4)
        recording.wait_for(5)
        contents = recording.stop()
    assert list(contents.frames[1]) == [last - 1 + index for index in (0, 1, 2, 3, 5, 6)]


def test_a_hub_that_sends_what_makes_no_sense_is_left_and_found_again(hub, board, begin):
    from ukernel.hub import subscriber

    board.open("adc")
    with begin("adc") as recording:
        board.write(b"ab", 1, 0)
        recording.wait_for(2)
        garbage = itertools.chain([b"\xff\xff\x00\x01"], itertools.repeat(None))
        encode = subscriber.encode_timed

        def spoilt(batch):
            return next(garbage) or encode(batch)

        (opening,) = next(iter(hub.hub.boards.by_port.values())).pipes
        for reader in opening.subscribers:
            reader._encode = spoilt
        board.write(b"c", 1, 2)
        board.write(b"d", 1, 3)
        recording.wait_for(4)
        contents = recording.stop()
    assert contents.data() == [b"a", b"b", b"c", b"d"]
    assert contents.ends()[0] == (1, "connection lost")


def test_a_clock_that_is_set_is_noted(board, begin):
    with begin("adc") as recording:
        recording.recorder._follower._clock += 3600
        recording.wait_until_told("note")
        contents = recording.stop()
    assert "was set back by 3,600" in contents.events_of("note")[0]["text"]
