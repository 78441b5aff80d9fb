"""The host's end of the line, fed by hand."""

import json
import pathlib
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import wire
from ukernel.link import session
from ukernel.link.sender import encode_line
from ukernel.link.session import Session

NONCE = 0x12345678


def frame(kind, number, payload=b"", nonce=NONCE):
    head = bytes((kind,)) if number is None else bytes((kind, number))
    return wire.stuff(wire.checked(head + payload, nonce)) + b"\xf7"


def hello(boot=77, nonce=NONCE, **changes):
    content = {"v": wire.PROTOCOL, "build": "0.1.0", "boot": boot, "nonce": nonce, "resumed": False, "cell": 0, "ring": 200}
    return b"\xf7" + frame(wire.HELLO, None, json.dumps({**content, **changes}).encode(), 0)


def connected(**options):
    host = Session(nonce=NONCE, **options)
    host.start(0.0)
    host.data_to_send(0.0)
    host.receive_data(hello(), 0.0)
    assert host.state == session.READY
    return host


def sample_stream(frames=20):
    """A batch, what goes on with it, and the items in it."""
    items = [struct.pack("<f", number / 7) for number in range(4 * frames)]
    stream = frame(wire.BATCH, 0, struct.pack("<BHI", 1, 4, 0) + b"".join(items[:4]))
    for number in range(1, frames):
        stream += frame(wire.SAME, number, b"".join(items[4 * number : 4 * number + 4]))
    return stream, b"".join(items)


def delivered(events):
    return b"".join(event.data for event in events if isinstance(event, session.PipeBatch))


def test_frames_are_delivered_however_they_are_cut():
    stream, items = sample_stream()
    for step in (1, 2, 3, 7, 50, 10_000):
        host = connected()
        events = []
        for at in range(0, len(stream), step):
            events += host.receive_data(stream[at : at + step], 0.0)
        assert delivered(events) == items


def test_no_single_flipped_bit_ever_delivers_a_wrong_byte():
    stream, items = sample_stream(4)
    for at in range(len(stream)):
        for bit in range(8):
            flipped = bytearray(stream)
            flipped[at] ^= 1 << bit
            host = connected()
            assert items.startswith(delivered(host.receive_data(bytes(flipped), 0.0)))


def test_a_missing_frame_is_asked_for_once_and_then_delivered_in_order():
    stream, items = sample_stream(3)
    frames = [part + b"\xf7" for part in stream.split(b"\xf7") if part]
    host = connected()
    assert delivered(host.receive_data(frames[0] + frames[2], 0.0)) == items[:16]
    asked = wire.unchecked(wire.unescape(host.data_to_send(0.001)[:-1]), NONCE)
    assert asked == bytes((wire.ACK, 1, 3, 1, 1))
    assert delivered(host.receive_data(frames[1], 0.002)) == items[16:]


def test_a_frame_that_comes_twice_is_delivered_once():
    stream, items = sample_stream(2)
    host = connected()
    assert delivered(host.receive_data(stream + stream, 0.0)) == items


def test_text_between_frames_is_shown_and_noise_is_not():
    host = connected()
    events = host.receive_data(b"rst:0x1 (POWERON)\r\n\xf7\xff\xfe\xfd\x00\xf7" + frame(wire.MESSAGE, 0, b"s\x01\x00{}"), 0.0)
    assert [event.text for event in events if isinstance(event, session.Console)] == ["rst:0x1 (POWERON)\n"]
    assert host.counts.noise_bytes


@pytest.mark.parametrize("text", ["written raw", "größer", "a\nb"])
@pytest.mark.parametrize("cut", [None, 3, 12], ids=["at once", "cut in the text", "cut in the frame"])
def test_text_right_before_a_frame_is_shown_and_the_frame_is_taken(text, cut):
    host = connected()
    said = text.encode() + frame(wire.MESSAGE, 0, b"s\x01\x00{}")
    parts = [said] if cut is None else [said[:cut], said[cut:]]
    events = [event for part in parts for event in host.receive_data(part, 0.0)]
    assert "".join(event.text for event in events if isinstance(event, session.Console)) == text
    assert [event.type for event in events if isinstance(event, session.Message)] == [ord("s")]
    assert not host.counts.noise_bytes


def test_a_board_of_another_protocol_version_is_refused_with_what_to_do():
    host = Session(nonce=NONCE)
    host.start(0.0)
    (event,) = host.receive_data(hello(v=99, build="9.9.9"), 0.0)
    assert isinstance(event, session.Refused)
    assert "ucore install" in str(event.error)
    assert "9.9.9" in str(event.error)


def test_a_board_that_has_booted_is_asked_again_and_reported_as_restarted():
    host = connected()
    host.receive_data(hello(boot=78, nonce=0), 1.0)
    assert wire.HELLO.to_bytes(1, "little") in host.data_to_send(1.0)
    (event,) = host.receive_data(hello(boot=78), 1.1)
    assert event.restarted
    assert not event.resumed


def test_a_running_cell_of_a_session_before_can_be_interrupted():
    host = Session(nonce=NONCE)
    host.start(0.0)
    host.receive_data(hello(cell=9), 0.0)
    host.interrupt(0.1)
    assert b"\x03" in host.data_to_send(0.1)


def test_a_cell_may_be_silent_for_hours_but_not_after_an_interrupt():
    host = connected()
    host.send(wire.EXECUTE_REQUEST, 1, b"pass")
    host.data_to_send(0.0)
    host.receive_data(frame(wire.ACK, None, bytes((1,))) + frame(wire.MESSAGE, 0, b"s\x01\x00{}"), 0.01)
    assert not host.check_silence(10_000.0)
    host.interrupt(10_000.0)
    assert b"\x03" in host.data_to_send(10_000.0)
    assert not host.check_silence(10_009.0)
    assert host.check_silence(10_011.0)
    assert host.state == session.CONNECTING


def test_an_interrupt_is_said_again_until_the_cell_has_ended():
    host = connected()
    host.send(wire.EXECUTE_REQUEST, 1, b"pass")
    host.data_to_send(0.0)
    host.interrupt(0.0)
    assert b"\x03" not in host.data_to_send(0.1)  # it has not started: the agent itself would take it
    host.receive_data(frame(wire.ACK, None, bytes((1,))) + frame(wire.MESSAGE, 0, b"s\x01\x00{}"), 1.0)
    said = [0.01 * tick for tick in range(100, 400) if b"\x03" in host.data_to_send(0.01 * tick)]
    assert said == pytest.approx([1.0, 2.0, 3.0], abs=0.011)
    host.receive_data(frame(wire.MESSAGE, 1, b"x\x01\x00{}"), 4.0)
    assert b"\x03" not in b"".join(host.data_to_send(4.0 + tick) for tick in range(5))


def test_a_board_that_says_nothing_is_asked_and_then_greeted_anew():
    host = connected()
    ping = encode_line(bytes((wire.PING,)), NONCE)
    assert ping not in host.data_to_send(2.9)
    assert host.deadline(2.9) == pytest.approx(3.0)
    assert ping in host.data_to_send(3.1)
    host.receive_data(frame(wire.ACK, None, bytes((0,))), 3.2)
    assert not host.check_silence(14.0)
    assert ping in host.data_to_send(14.0)
    assert not host.check_silence(23.9)
    assert host.check_silence(24.1)
    assert b'"nonce"' in host.data_to_send(24.1)


def test_half_a_frame_of_a_stream_that_was_lost_is_forgotten():
    host = connected()
    host.receive_data(frame(wire.MESSAGE, 0, b"o\x00\x00cut")[:-4], 0.0)
    host.start(1.0)
    (event,) = host.receive_data(hello(resumed=True), 1.1)
    assert event.resumed
    assert (host.counts.damaged, host.counts.noise_bytes) == (0, 0)


def test_a_cell_that_does_not_look_at_its_line_is_waited_for_although_something_is_out():
    host = connected()
    host.send(wire.EXECUTE_REQUEST, 1, b"pass")
    host.data_to_send(0.0)
    host.receive_data(frame(wire.ACK, None, bytes((1,))) + frame(wire.MESSAGE, 0, b"s\x01\x00{}"), 0.01)
    host.send(wire.INPUT_REPLY, 1, b"early")
    host.data_to_send(0.02)
    assert not host.check_silence(10_000.0)
    assert host.state == session.READY


def test_what_is_sent_before_the_boards_first_hello_leaves_after_it():
    host = Session(nonce=NONCE)
    host.start(0.0)
    host.send(wire.EXECUTE_REQUEST, 1, b"pass")
    assert b"pass" not in host.data_to_send(0.0)
    host.receive_data(hello(), 0.0)
    sent = host.data_to_send(0.01)
    assert wire.unchecked(wire.unescape(sent[:-1]), NONCE) == bytes((wire.MESSAGE, 0)) + b"X\x01\x00pass"
    assert host.cell == 1


def test_lines_to_the_board_never_exceed_its_ring_before_they_are_acknowledged():
    host = connected()
    host.send(wire.EXECUTE_REQUEST, 1, b"x" * 5000)
    out = host.data_to_send(0.0)
    assert 0 < len(out) <= 200
    first = out.split(b"\n")[0]
    host.receive_data(frame(wire.ACK, None, bytes((1,))), 0.01)
    more = host.data_to_send(0.01)
    assert more
    assert first not in more


def test_a_torn_line_is_ended_by_newlines_that_soon_cease():
    host = connected()
    host.send(wire.EXECUTE_REQUEST, 1, b"pass")
    host.data_to_send(0.0)
    host.receive_data(frame(wire.ACK, None, bytes((1,))) + frame(wire.MESSAGE, 0, b"s\x01\x00{}"), 0.01)
    sent = [host.data_to_send(0.01 + 0.05 * tick) for tick in range(2000)]
    assert 1 <= sum(data == b"\n" for data in sent) <= session.MAX_WAKE_NEWLINES


def test_a_line_that_is_torn_behind_the_one_that_the_board_acknowledges_is_ended_too():
    host = connected()
    host.send(wire.EXECUTE_REQUEST, 1, b"pass")
    host.data_to_send(0.0)
    assert host.data_to_send(1.0)  # again: a board that does not look at its input for long has no room for all of it
    host.receive_data(frame(wire.ACK, None, bytes((1,))), 2.0)  # and it reads on
    sent = [host.data_to_send(2.0 + 0.05 * tick) for tick in range(2000)]
    assert 1 <= sum(data == b"\n" for data in sent) <= session.MAX_WAKE_NEWLINES


@pytest.mark.parametrize("cut", [5001, 5008], ids=["in a character", "in the frame"])
def test_much_text_is_shown_and_neither_a_character_nor_a_frame_behind_it_is_lost(cut):
    host = connected()
    said = (5000 * "x" + "µ").encode() + frame(wire.MESSAGE, 0, b"s\x01\x00{}")
    events = host.receive_data(said[:cut], 0.0) + host.receive_data(said[cut:], 0.0)
    assert "".join(event.text for event in events if isinstance(event, session.Console)) == 5000 * "x" + "µ"
    assert [event.type for event in events if isinstance(event, session.Message)] == [ord("s")]


@pytest.mark.parametrize("noise", [b"\x85", b"x", b"\xf6"], ids=["of a frame", "of text", "of escapes"])
def test_five_megabytes_without_a_mark_are_not_kept_and_the_next_frame_arrives(noise):
    host = connected()
    for _ in range(5 * 256):
        host.receive_data(noise * 4096, 0.0)
        assert len(host._buffer) <= session.MAX_SEGMENT
    stream, items = sample_stream(2)
    assert delivered(host.receive_data(b"\xf7" + stream, 0.0)) == items


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 2**32 - 1))
def test_garbage_raises_nothing_and_delivers_nothing(garbage, seed):
    host = connected()
    rng = random.Random(seed)
    while garbage:
        cut = rng.randrange(1, len(garbage) + 1)
        for event in host.receive_data(garbage[:cut], 0.0):
            assert isinstance(event, session.Console)
        host.data_to_send(0.0)
        garbage = garbage[cut:]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0x80, 0x8F), st.binary(max_size=40)), max_size=20))
def test_frames_with_a_good_checksum_and_absurd_content_raise_nothing(frames):
    host = connected()
    for number, (kind, payload) in enumerate(frames):
        host.receive_data(frame(kind, number & 255, payload), 0.0)
        host.data_to_send(0.0)


def stamped(kind, number, payload, microseconds, exact=True):
    return frame(kind | wire.STAMPED | (wire.EXACT if exact else 0), number, payload + struct.pack("<I", microseconds))


def test_times_of_pipe_frames_come_when_they_are_asked_for():
    host = connected()
    host.clock.epoch = 1000.0
    host.clock.set_timestamps(True)
    question = wire.unchecked(wire.unescape(host.data_to_send(1.0)[:-1]), NONCE)
    assert question == bytes((wire.CLOCK, 1, 1))
    opening = bytes((wire.COMM_OPEN, 0, 0)) + struct.pack("<BHI", 1, 1 | wire.DROPS, 0) + b"adc"
    assert not host.receive_data(frame(wire.CLOCK, None, struct.pack("<BI", 1, 700_000)), 1.002)
    events = host.receive_data(
        stamped(wire.MESSAGE, 0, opening, 701_000)
        + stamped(wire.BATCH, 1, struct.pack("<BHI", 1, 1, 0) + b"ab", 705_000)
        + stamped(wire.SAME, 2, b"cd", 709_000, exact=False)
        + stamped(wire.FRAGMENT, 3, struct.pack("<BIH", 1, 4, 0) + b"x", 710_000)
        + stamped(wire.LAST_FRAGMENT, 4, struct.pack("<BIH", 1, 4, 1) + b"y", 710_000),
        1.013,
    )
    opened, *batches = events
    assert (opened.name, opened.drops, opened.generation) == ("adc", True, 1)
    assert [(batch.number, batch.size, batch.data) for batch in batches] == [(0, 1, b"ab"), (2, 1, b"cd"), (4, 2, b"xy")]
    for batch, last, error in zip(batches, (0.705, 0.7082, 0.710), (0.003, 0.005, 0.001), strict=True):
        assert abs(batch.times.last - (1001.001 - 0.7 + last)) < 1e-5
        assert abs(batch.times.error - error) < 1e-5


def test_frames_without_stamps_have_no_times_and_are_joined_as_ever():
    stream, items = sample_stream(3)
    (batch,) = connected().receive_data(stream, 0.0)
    assert (batch.data, batch.times) == (items, None)


def test_a_stamped_frame_of_another_kind_does_no_harm():
    host = connected()
    host.receive_data(stamped(wire.MESSAGE, 0, b"", 1) + stamped(wire.PART, 1, b"x", 2) + stamped(wire.SAME, 2, b"abc", 3), 0.0)
    host.receive_data(frame(wire.BATCH | wire.STAMPED, 3, b"ab") + frame(wire.CLOCK, None, b""), 0.0)
    stream, items = sample_stream(1)
    assert delivered(host.receive_data(frame(wire.BATCH, 4, stream and struct.pack("<BHI", 1, 4, 0) + items), 0.0)) == items


def test_a_board_that_runs_a_cell_without_a_look_at_its_line_is_not_flooded_with_questions():
    host = connected()
    host.send(wire.EXECUTE_REQUEST, 1, b"pass")
    host.data_to_send(0.0)
    host.receive_data(frame(wire.ACK, None, bytes((1,))) + frame(wire.MESSAGE, 0, b"s\x01\x00{}"), 0.01)
    host.clock.set_timestamps(True)
    sent = b"".join(host.data_to_send(0.01 + 0.5 * tick) for tick in range(1000))
    assert len(sent) < 60


VECTORS = json.loads(pathlib.Path(__file__).parents[2].joinpath("vectors.json").read_text(encoding="utf-8"))


def test_the_golden_frames_are_understood():
    host = Session(nonce=0xDEADBEEF)
    host.start(0.0)
    host.clock.set_timestamps(True)
    by_name = {vector["what"]: bytes.fromhex(vector["frame"]) + b"\xf7" for vector in VECTORS["to_host"]}
    events = host.receive_data(b"\xf7" + by_name.pop("hello"), 0.0)
    lines = {vector["what"]: bytes.fromhex(vector["line"]) for vector in VECTORS["to_board"]}
    assert host.data_to_send(0.0)[:-1] == lines["clock: question 1, and pipe frames are to be stamped"]
    frames = list(by_name.values())
    stamped_ones = frames.index(by_name["comm_open, stamped: pipe 2, generation 2, of a producer that does not wait"])
    events += host.receive_data(b"".join(frames[:stamped_ones]), 0.001)
    events += host.receive_data(b"".join(frames[stamped_ones:]), 0.011)
    assert host.counts.damaged == 0
    samples = struct.pack("<4f", 0.0, 1.0, -2.5, 3.1415927)
    assert events[1:] == [
        session.Message(wire.STREAM, 5, "25 °C\n".encode()),
        session.Message(wire.EXECUTE_RESULT, 5, b'{"data": {"text/plain": "42"}}'),
        session.PipeOpened(1, 1, "adc", 0),
        session.PipeBatch(1, 0, 4, 3 * samples),
        session.PipeBatch(1, 12, 25, b"x" * 20 + b"y" * 5),
        session.PipeClosed(1, 13),
        session.PipeOpened(2, 2, "imu", 0, drops=True),
        session.PipeBatch(2, 0, 4, samples, events[-2].times),
        session.PipeBatch(2, 4, 4, samples, events[-1].times),
    ]
    assert abs(events[-2].times.last - events[-2].times.first - 0.003) < 1e-6
    assert abs(events[-1].times.first - events[-2].times.last - 0.001) < 1e-6


def test_the_golden_lines_are_what_is_sent():
    for vector in VECTORS["to_board"]:
        assert encode_line(bytes.fromhex(vector["body"]), vector["nonce"]) == bytes.fromhex(vector["line"]) + b"\n"
    host = Session(nonce=0xDEADBEEF)
    host.start(0.0)
    host.receive_data(hello(nonce=0xDEADBEEF), 0.0)
    host.send(wire.EXECUTE_REQUEST, 5, b"print(1)\nprint(2)\r\n")
    host.send(wire.EXECUTE_REQUEST, 6, b"x" * 73 + b"y" * 10)
    sent = host.data_to_send(0.0).split(b"\n")[:-1]
    names = ("execute_request, parent 5", "part of a message of 83 bytes", "its last part")
    lines = {vector["what"]: bytes.fromhex(vector["line"]) for vector in VECTORS["to_board"]}
    assert sent == [lines[name] for name in names]
