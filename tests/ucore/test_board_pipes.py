"""The board's pipes: batches, numbers, and what happens at the limits."""

from handmade import board

import ucore
from ucore import pipes, wire

UART = {"line": "uart", "baud": 115200, "window": 2048, "payload": 112}


def opened(name="p", **hello):
    port, link, output, host = board()
    host.hello(**(hello or UART))
    pipe = pipes.open_pipe(name)
    host.frames()
    host.ack(link.seq)
    port.now += 100
    return port, link, host, pipe


def raises(error, function, *args):
    try:
        function(*args)
    except error as found:
        return str(found)
    raise AssertionError("it raised nothing")


def test_a_write_on_a_quiet_line_leaves_at_once():
    port, link, host, pipe = opened()
    pipe.write(b"abcd")
    ((kind, number, payload),) = host.frames()
    assert kind == wire.BATCH and payload[1:3] == b"\x04\x00" and payload[7:] == b"abcd"


def test_fast_writes_of_one_size_leave_together_and_say_nothing_twice():
    port, link, host, pipe = opened()
    for number in range(400):
        pipe.write(bytes((number & 255,)) * 4)
        if number % 4 == 0:
            port.now += 1
            link.do(bool)
        host.ack(link.seq)
    frames = host.frames()
    assert len(frames) < 40
    assert [kind for kind, _, _ in frames[1:]] == [wire.SAME] * (len(frames) - 1)


def test_what_is_held_leaves_in_its_time_with_whoever_pumps():
    port, link, host, pipe = opened()
    for number in range(8):
        pipe.write(b"%04d" % number)
    host.frames()
    port.now += 40
    link.pump()
    assert pipe._opening.end == pipes._DATA  # nothing is held back any more


def test_a_write_that_is_larger_than_a_frame_is_one_chunk_in_pieces():
    port, link, host, pipe = opened(line="pty", window=6144, payload=470)
    data = bytes(range(256)) * 8
    pipe.write(data)
    frames = host.frames()
    assert [kind for kind, _, _ in frames] == [wire.FRAGMENT] * (len(frames) - 1) + [wire.LAST_FRAGMENT]
    assert b"".join([payload[7:] for _, _, payload in frames]) == data


def test_an_empty_write_is_a_chunk_of_its_own():
    port, link, host, pipe = opened()
    pipe.write(b"")
    ((kind, _, payload),) = host.frames()
    assert kind == wire.LAST_FRAGMENT and payload[7:] == b""


def test_bad_writes_send_nothing_and_say_why():
    port, link, host, pipe = opened()
    assert "65535" in raises(ValueError, pipe.write, bytes(65536))
    for data, how in (
        ("text", "text.encode()"),
        (5, 'struct.pack("<f", x)'),
        (3.2, 'struct.pack("<f", x)'),
        ((1, 2.5), 'struct.pack("<2f", *values)'),
        ([1, 2, 3], 'struct.pack("<3f", *values)'),
        (None, "struct.pack"),
        ([], "struct.pack"),
    ):
        said = raises(TypeError, pipe.write, data)
        assert "takes bytes, not " + type(data).__name__ in said and how in said
    assert host.frames() == []
    pipe.write(b"good")
    assert len(host.frames()) == 1


def test_what_the_buffer_protocol_gives_is_written_as_its_bytes():
    from array import array

    port, link, host, pipe = opened()
    pipe.write(array("f", [1.5]))
    ((_, _, payload),) = host.frames()
    assert payload[7:] == b"\x00\x00\xc0?"


def test_bad_names_are_refused():
    board()
    for name in ("", "x" * 65, "é" * 33, "a\nb", "\x7f"):
        raises(ValueError, pipes.open_pipe, name)
    raises(TypeError, pipes.open_pipe, 5)
    assert pipes.open_pipe("é" * 32).name == "é" * 32


def test_the_first_write_after_the_close_is_dropped_and_the_next_raises():
    port, link, host, pipe = opened()
    pipes.close_pipe("p")
    host.frames()
    pipe.write(b"late")
    assert "p is closed" in raises(OSError, pipe.write, b"later")
    assert host.frames() == []


def test_closing_tells_how_many_frames_there_were():
    port, link, host, pipe = opened()
    for _ in range(3):
        pipe.write(b"abcd")
    pipe.close()
    kind, _, payload = host.frames()[-1]
    assert kind == wire.MESSAGE and payload[0] == wire.COMM_CLOSE and payload[4:8] == b"\x03\x00\x00\x00"


def test_opening_twice_is_one_opening_and_a_reopened_pipe_is_another():
    port, link, host, pipe = opened()
    again = pipes.open_pipe("p")
    assert again._opening is pipe._opening
    pipe.close()
    assert not ucore.is_pipe_open("p")
    third = pipes.open_pipe("p")
    assert third._opening is not pipe._opening
    assert (third._opening.id, third._opening.generation) != (pipe._opening.id, pipe._opening.generation)


def test_more_pipes_than_there_are_ids_are_refused():
    port, link, output, host = board()  # without a host, which would have to acknowledge them
    for number in range(255):
        pipes.open_pipe("p" + str(number))
    assert "255 pipes" in raises(OSError, pipes.open_pipe, "q")
    pipes.close_pipe("p7")
    pipes.open_pipe("q")


def interrupted(port, function, *args):
    """Call it, with an interrupt in the midst of what it writes to the line."""
    write = port.write

    def strike(data):
        port.write = write
        write(data)
        raise KeyboardInterrupt

    port.write = strike
    try:
        function(*args)
    except KeyboardInterrupt:
        return
    raise AssertionError("it wrote nothing")


def messages(host, type):
    return [payload for kind, _, payload in host.frames() if kind == wire.MESSAGE and payload[0] == type]


def test_a_pipe_can_be_opened_again_after_an_interrupt_in_its_close():
    port, link, host, pipe = opened()
    interrupted(port, pipe.close)
    assert not pipes.is_pipe_open("p")
    again = pipes.open_pipe("p")
    assert again._opening is not pipe._opening and pipes.is_pipe_open("p")
    again.write(b"abcd")
    assert link.ticks == 1
    assert len(messages(host, wire.COMM_CLOSE)) == 1


def test_an_opening_that_was_interrupted_is_no_second_one():
    port, link, output, host = board()
    host.hello(**UART)
    interrupted(port, pipes.open_pipe, "p")
    pipes.open_pipe("p").write(b"abcd")
    assert len(messages(host, wire.COMM_OPEN)) == 1


def test_a_context_manager_closes_its_own_opening_only():
    port, link, host, pipe = opened()
    with pipe:
        pipe.close()
        other = pipes.open_pipe("p")
    assert other._opening.open
    assert ucore.is_pipe_open("p")


def test_frames_that_no_host_hears_are_counted_in_the_numbers():
    port, link, host, pipe = opened()
    pipe.write(b"abcd")
    port.now += 4000
    link.pump()
    assert link.gone
    host.frames()
    for _ in range(1000):
        pipe.write(b"wxyz")
        port.now += 1
    host.ack(link.seq)
    port.now += 20
    link.pump()
    pipe.write(b"back")
    port.now += 20
    link.pump()
    pipe.close()
    total = int.from_bytes(host.frames()[-1][2][4:8], "little")
    assert total == 1002


def test_a_new_host_is_told_what_is_open_and_gets_what_the_old_one_had_not_acknowledged():
    port, link, host, pipe = opened()
    pipe.write(b"abcd")
    host.frames()
    host.hello(nonce=99, **UART)  # the answer is thrown away with what came after it
    host.hello(nonce=100, **UART)
    assert [kind for kind, _, _ in host.frames(100)] == []
    link.pump()
    assert sorted([kept[2][2] for kept in link.out.values()]) == [-1, 4]  # the announcement, and the batch
    first = wire.unstuff(link.out[1][0][:-1])
    assert first[0] == wire.BATCH and first[5:9] == b"\x00\x00\x00\x00" and first[9:13] == b"abcd"


def test_a_new_host_is_told_of_closes_for_which_there_was_no_room_while_no_host_listened():
    port, link, host, pipe = opened()
    pipe.write(b"abcd")
    port.now += 4000
    link.pump()
    assert link.gone
    for number in range(wire.MAX_OUTSTANDING // 2):
        pipes.open_pipe("q" + str(number)).close()
    pipe.close()
    assert not link.nonce  # more than it remembers
    host.hello(nonce=100, **UART)
    link.pump()
    bodies = [wire.unstuff(kept[0][:-1]) for _, kept in sorted(link.out.items())]
    messages = [(body[2], body[5]) for body in bodies if body[0] == wire.MESSAGE]
    told = [id for type, id in messages if type == wire.COMM_OPEN]
    assert pipe._opening.id in told
    assert sorted([id for type, id in messages if type == wire.COMM_CLOSE]) == sorted(told)


def test_without_a_session_pipes_open_and_count_and_the_first_host_learns_it():
    port, link, output, host = board()
    pipe = pipes.open_pipe("early")
    pipe.write(b"abcd")
    pipe.write(b"efgh")
    assert port.written == []
    host.hello(**UART)
    link.pump()
    announcement = wire.unstuff(link.out[0][0][:-1])
    assert announcement[2] == wire.COMM_OPEN and announcement[12:17] == b"early"


# Times


def stamping(**hello):
    port, link, host, pipe = opened(**hello)
    host.say(bytes((wire.CLOCK, 7, 1)))
    ((kind, id, clock),) = host.frames()
    assert (kind, id) == (wire.CLOCK, 7)
    assert clock == (port.now * 1000).to_bytes(4, "little")
    return port, link, host, pipe


def last(payload):
    return int.from_bytes(payload[-4:], "little")


def test_a_stamp_is_the_time_of_the_write_that_sends():
    port, link, host, pipe = stamping()
    pipe.write(b"abcd")
    ((kind, _, payload),) = host.frames()
    assert kind == wire.BATCH | wire.STAMPED | wire.EXACT
    assert payload[7:-4] == b"abcd" and last(payload) == port.now * 1000


def test_a_write_that_waited_is_stamped_with_the_time_when_it_was_called():
    port, link, host, pipe = stamping()
    called = port.now
    pipe.write(b"abcd")
    host.frames()
    port.now += 1
    pipe.write(b"efgh")  # too soon: it is held
    port.now += 50
    link.pump()
    ((kind, _, payload),) = host.frames()
    assert kind == wire.SAME | wire.STAMPED | wire.EXACT
    assert payload[:-4] == b"efgh" and last(payload) == (called + 1) * 1000


def test_where_nobody_looked_at_the_clock_the_stamp_is_that_of_the_sending():
    port, link, host, pipe = stamping()
    pipe.write(b"abcd")
    for _ in range(3):
        pipe.write(b"efgh")
    pipe._opening._make_room(len(pipe._opening.view) - 8)  # a fast producer: as many as fit
    pipe.write(b"ijkl")
    host.frames()
    port.now += 50
    link.pump()
    ((kind, _, payload),) = host.frames()
    assert kind == wire.SAME | wire.STAMPED
    assert payload[-8:-4] == b"ijkl" and last(payload) == port.now * 1000


def test_every_piece_of_a_large_write_has_the_time_of_its_call():
    port, link, host, pipe = stamping(line="pty", window=6144, payload=470)
    called = port.now * 1000
    pipe.write(bytes(1000))
    frames = host.frames()
    assert [kind & 15 for kind, _, _ in frames] == [9, 9, 8]
    assert [last(payload) for kind, _, payload in frames if kind & wire.EXACT] == [called] * 3
    assert b"".join([payload[7:-4] for _, _, payload in frames]) == bytes(1000)


def test_an_opening_is_stamped_a_print_is_not():
    port, link, host, pipe = stamping()
    pipes.open_pipe("another")
    ((kind, _, payload),) = host.frames()
    assert kind == wire.MESSAGE | wire.STAMPED | wire.EXACT
    assert payload[10:-4] == b"another" and last(payload) == port.now * 1000
    link.send(wire.STATUS, 1, b"{}")
    assert host.frames()[0][0] == wire.MESSAGE


def test_frames_carry_no_stamps_once_the_host_has_enough():
    port, link, host, pipe = stamping()
    host.say(bytes((wire.CLOCK, 8, 0)))
    host.frames()
    pipe.write(b"abcd")
    assert [(kind, payload[7:]) for kind, _, payload in host.frames()] == [(wire.BATCH, b"abcd")]


def test_a_new_host_gets_old_frames_with_their_old_stamps():
    port, link, host, pipe = stamping()
    pipe.write(b"abcd")
    port.now += 20
    pipe.write(b"efgh")
    written = port.now * 1000
    port.now += 500
    host.hello(nonce=100, **UART)
    second = wire.unstuff(link.out[2][0][:-1])
    assert second[0] == wire.BATCH | wire.STAMPED | wire.EXACT
    assert second[9:13] == b"efgh" and last(second[:-4]) == written


# Producers that never wait


def test_the_numbers_of_a_pipe_begin_again_after_32_bits():
    port, link, host, pipe = opened(line="pty", window=6144, payload=470)
    pipe._opening.number = (1 << 32) - 1
    pipe.write(bytes(600))
    pipe.write(b"")
    pipe.write(b"abcd")
    link.pump()
    pipe.close()
    frames = host.frames()
    numbers = [
        payload[1:5] if kind in (wire.LAST_FRAGMENT, wire.FRAGMENT) else payload[3:7] for kind, _, payload in frames[:-1]
    ]
    assert numbers == [b"\xff\xff\xff\xff", b"\xff\xff\xff\xff", bytes(4), b"\x01\x00\x00\x00"]
    assert frames[-1][2][4:8] == b"\x02\x00\x00\x00"


def test_a_new_host_is_told_a_number_beyond_32_bits_as_what_is_left_of_it():
    port, link, host, pipe = opened()
    pipe._opening.number = 1 << 32
    pipe.write(b"abcd")
    host.hello(nonce=99, **UART)
    link.pump()
    announced, batch = [wire.unstuff(kept[0][:-1]) for _, kept in sorted(link.out.items())]
    assert announced[8:12] == batch[5:9] == bytes(4)


def test_a_producer_that_must_not_wait_drops_the_oldest_and_the_numbers_say_so():
    port, link, host, pipe = opened()
    with pipes.open_pipe("fast", drop=True) as fast:
        kind, _, payload = host.frames()[0]
        assert payload[5] & 0x80  # the host knows
        began = port.now
        for number in range(5000):
            fast.write(number.to_bytes(4, "little"))
        assert port.now == began  # not even a millisecond
        frames = host.frames()
        host.ack(link.seq)
    frames += host.frames()
    kind, _, payload = frames.pop()
    assert payload[0] == wire.COMM_CLOSE and payload[4:8] == (5000).to_bytes(4, "little")
    number = 0
    arrived = 0
    for kind, _, payload in frames:
        if kind == wire.BATCH:
            number = int.from_bytes(payload[3:7], "little")
        items = payload[7:] if kind == wire.BATCH else payload
        for at in range(0, len(items), 4):
            assert items[at : at + 4] == number.to_bytes(4, "little")
            number += 1
            arrived += 1
    assert 0 < arrived < 5000


def test_a_large_write_that_finds_no_room_is_dropped_whole():
    port, link, host, pipe = opened(line="pty", window=2048, payload=470)
    fast = pipes.open_pipe("fast", drop=True)
    host.frames()
    host.ack(link.seq)
    fast.write(bytes(1500))
    assert len(host.frames()) == 4
    fast.write(bytes(1500))
    assert host.frames() == []
    host.ack(link.seq)
    fast.write(b"abcd")
    port.now += 50
    link.pump()
    kind, _, payload = host.frames()[-1]
    assert kind == wire.BATCH and payload[3:7] == b"\x02\x00\x00\x00"


def test_a_handle_of_a_pipe_that_drops_drops():
    port, link, host, pipe = opened()
    assert pipes.open_pipe("fast", drop=True)._opening.drop
    assert pipes.open_pipe("fast")._opening.drop
    assert not pipes.open_pipe("p", drop=True)._opening.drop  # as it was opened
