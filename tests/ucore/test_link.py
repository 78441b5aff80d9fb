"""The board's end of the link: what it writes, what it keeps, and whom it waits for."""

from handmade import board

from ucore import quirks, wire

UART = {"line": "uart", "baud": 115200, "window": 2048, "payload": 112}


def test_a_write_to_a_uart_has_at_most_120_bytes_whatever_is_in_it():
    port, link, output, host = board()
    host.hello(**UART)
    link.send(wire.DISPLAY_DATA, 1, b"\xf6\xf7" * 300)  # every byte of it is escaped
    assert max([len(data) for data in port.written]) <= 120
    assert b"".join([payload for kind, number, payload in host.frames()])[3:] == b"\xf6\xf7" * 300


def test_no_write_to_usb_jtag_fills_its_last_packet():
    port, link, output, host = board()
    host.hello(line="usb_jtag", window=4096, payload=230)
    for size in range(1, 200):
        link.send(wire.DISPLAY_DATA, 1, b"x" * size)
        host.ack(link.seq)
        port.now += 10
    assert port.written
    assert not [data for data in port.written if len(data) % 64 == 0]


def test_a_port_that_takes_a_part_of_a_write_gets_the_rest():
    port, link, output, host = board()
    host.hello(line="usb_cdc", window=4096, payload=230)
    port.takes = 7
    link.send(wire.DISPLAY_DATA, 1, b"y" * 100)
    assert host.frames() == [(wire.MESSAGE, 0, b"d\x01\x00" + b"y" * 100)]


def test_a_port_that_takes_nothing_holds_nobody_up_and_the_frame_is_resent():
    port, link, output, host = board()
    host.hello(line="usb_cdc", window=4096, payload=230)
    port.takes = 0
    link.send(wire.DISPLAY_DATA, 1, b"z" * 10)
    port.takes = None
    port.written.clear()
    port.now += 1000
    link.pump()
    assert host.frames() == [(wire.MESSAGE, 0, b"d\x01\x00" + b"z" * 10)]


def test_many_small_prints_leave_as_one_frame():
    port, link, output, host = board()
    host.hello(**UART)
    port.now += 10
    output.write(5, "first\n")  # the line is quiet: at once
    assert len(host.frames()) == 1
    for word in ("a", "b", "c"):
        output.write(5, word)
    port.now += 10
    link.pump()
    assert host.frames() == [(wire.MESSAGE, 1, b"o\x05\x00abc")]


def test_prints_of_two_cells_are_never_mixed():
    port, link, output, host = board()
    host.hello(**UART)
    for parent in (5, 6, 5):
        output.write(parent, str(parent))
    output.drain()
    assert [payload for kind, number, payload in host.frames()] == [b"o\x05\x005", b"o\x06\x006", b"o\x05\x005"]


def test_what_the_host_lacks_is_sent_again_and_what_it_has_is_not():
    port, link, output, host = board()
    host.hello(**UART)
    for number in range(4):
        link.send(wire.DISPLAY_DATA, 1, bytes((65 + number,)))
    host.frames()
    host.ack(0, 4, 1, 0)  # 1 to 3 have come, 0 is to be sent again now
    assert [number for kind, number, payload in host.frames()] == [0]
    assert sorted(link.out) == [0]
    host.ack(4)
    assert link.flight == 0 and not link.out


def test_the_oldest_frame_is_resent_ever_more_seldom_and_then_the_host_is_gone():
    port, link, output, host = board()
    host.hello(**UART)
    link.send(wire.DISPLAY_DATA, 1, b"!")
    port.written.clear()
    at = []
    for _ in range(5000):
        port.now += 1
        link.pump()
        at += [port.now] * len(host.frames())
    gaps = [b - a for a, b in zip(at, at[1:])]
    assert gaps and gaps == sorted(gaps)
    assert link.gone


def test_a_host_that_is_gone_is_not_waited_for_and_comes_back_with_its_first_word():
    port, link, output, host = board()
    host.hello(**UART)
    link.send(wire.DISPLAY_DATA, 1, b"!")
    port.now += 4000
    link.pump()
    assert link.gone
    before = port.now
    output.write(1, "nobody reads this " * 500)  # far more than the window
    assert port.now - before < 100
    host.ack(1)
    assert not link.gone
    port.written.clear()
    output.write(1, "back\n")
    output.drain()
    text = b"".join([payload[3:] for kind, number, payload in host.frames()])
    assert text.startswith(b"[") and b"bytes of output lost" in text and text.endswith(b"back\n")


def send_in_parts(host, content):
    data = b"X\x07\x00" + len(content).to_bytes(4, "little") + content
    for number, at in enumerate(range(0, len(data), 80)):
        kind = wire.PART if at + 80 < len(data) else wire.LAST
        host.say(bytes((kind, number & 255)) + data[at : at + 80])


def test_a_message_of_64_kB_arrives_whole_from_its_lines():
    port, link, output, host = board()
    host.hello(**UART)
    content = bytes(range(256)) * 256
    send_in_parts(host, content)
    assert link.take(wire.EXECUTE_REQUEST) == (wire.EXECUTE_REQUEST, 7, content)


def test_a_message_that_there_is_no_memory_for_becomes_a_cell_that_says_so():
    if quirks.CPYTHON:
        return  # it has the memory
    port, link, output, host = board()
    host.hello(**UART)
    host.say(bytes((wire.PART, 0)) + b"X\x07\x00\xff\xff\xff\x7f" + b"#" * 70)
    host.say(bytes((wire.LAST, 1)) + b"#")
    assert b"MemoryError" in link.take(wire.EXECUTE_REQUEST)[2]


def test_a_line_that_comes_twice_or_too_early_is_not_delivered_but_acknowledged():
    port, link, output, host = board()
    host.hello(**UART)
    host.say(b"\x82\x00X\x01\x00a")
    host.say(b"\x82\x00X\x01\x00a")
    host.say(b"\x82\x02X\x03\x00c")
    assert link.take(wire.EXECUTE_REQUEST) == (wire.EXECUTE_REQUEST, 1, b"a")
    assert link.take(wire.EXECUTE_REQUEST) is None
    assert link.expected == 1
    acks = [wire.unstuff(part) for part in b"".join(port.written).split(b"\xf7") if part]
    assert [body[:2] for body in acks] == [b"\x80\x01"] * 3


def test_a_damaged_line_is_answered_with_what_is_expected():
    port, link, output, host = board()
    host.hello(**UART)
    port.input += b"\x82\x00damaged\n"
    link.pump()
    assert b"".join(port.written)[:2] == b"\x80\x00"


def test_a_line_of_another_session_means_nothing():
    port, link, output, host = board()
    host.hello(**UART)
    host.say(b"\x82\x00X\x01\x00a", host.NONCE + 1)
    assert link.take(wire.EXECUTE_REQUEST) is None


def test_a_carriage_return_where_a_line_would_begin_gives_the_repl_back():
    port, link, output, host = board()
    host.hello(**UART)
    port.input += b"\r\x03"
    link.pump()
    assert link.leave
    assert port.input == b"\x03"  # what follows is for the REPL


def test_the_same_host_nonce_resumes_and_resends_what_is_out():
    port, link, output, host = board()
    host.hello(**UART)
    link.send(wire.DISPLAY_DATA, 1, b"kept")
    port.written.clear()
    host.say(b'\x81{"v":%d,"nonce":%d}' % (wire.PROTOCOL, host.NONCE), 0)
    assert b'"resumed":1' in b"".join(port.written)
    assert host.frames() == [(wire.MESSAGE, 0, b"d\x01\x00kept")]


def test_the_golden_lines_are_understood():
    import json

    port, link, output, host = board()
    with open(__file__.replace("\\", "/").rsplit("/", 2)[0] + "/vectors.json") as file:
        lines = {vector["what"]: vector["line"] for vector in json.load(file)["to_board"]}
    for what in ("hello", "execute_request, parent 5", "part of a message of 83 bytes", "its last part", "ping"):
        text = lines[what]
        port.input += bytes([int(text[at : at + 2], 16) for at in range(0, len(text), 2)]) + b"\n"
        link.pump()
    assert link.take(wire.EXECUTE_REQUEST) == (wire.EXECUTE_REQUEST, 5, b"print(1)\nprint(2)\r\n")
    assert link.take(wire.EXECUTE_REQUEST) == (wire.EXECUTE_REQUEST, 6, b"x" * 73 + b"y" * 10)


def test_a_nonce_has_32_bits():
    for _ in range(10):
        assert 0 < quirks.random32() < 1 << 32


def test_pipes_leave_a_part_of_the_window_to_replies():
    port, link, output, host = board()
    host.hello(**UART)
    while link.room(100, 256):
        link.send(wire.DISPLAY_DATA, 1, b"x" * 97)
    assert link.room(100)
    assert link.flight + 100 + 16 > UART["window"] - 256


def test_at_most_120_numbers_are_outstanding_whatever_the_window_holds():
    port, link, output, host = board()
    host.hello(line="pty", window=60000, payload=470)
    while link.room(4):
        link.send(wire.DISPLAY_DATA, 1, b"!")
    assert (link.seq - link.base) & 255 == wire.MAX_OUTSTANDING == 120


def test_a_frame_gets_a_mark_before_it_after_a_silence_and_where_it_is_resent():
    port, link, output, host = board()
    host.hello(**UART)
    for pause, begins_with_a_mark in ((10, True), (0, False), (4, True)):
        port.now += pause
        port.written.clear()
        link.send(wire.DISPLAY_DATA, 1, b"!")
        assert (port.written[0][0] == 0xF7) == begins_with_a_mark
    port.written.clear()
    host.ack(0, 3, 1, 0)  # at once: the line was not silent
    assert port.written[0][0] == 0xF7


def test_an_acknowledgement_of_what_was_never_sent_means_nothing():
    port, link, output, host = board()
    host.hello(**UART)
    link.send(wire.DISPLAY_DATA, 1, b"kept")
    for number in (2, 100, 255):
        host.ack(number)
    assert (link.base, sorted(link.out)) == (0, [0])


def test_the_round_trip_is_not_measured_by_what_was_resent():
    port, link, output, host = board()
    host.hello(line="pty", window=6144, payload=470)
    link.send(wire.DISPLAY_DATA, 1, b"!")
    port.now += 700
    link.pump()  # it is sent again
    port.now += 1
    host.ack(1)
    assert link._srtt == 0
    link.send(wire.DISPLAY_DATA, 1, b"!")
    port.now += 30
    host.ack(2)
    assert link._srtt == 31


def test_the_time_until_a_frame_is_resent_doubles_each_time():
    port, link, output, host = board()
    host.hello(line="pty", window=6144, payload=470)
    link.send(wire.DISPLAY_DATA, 1, b"!")
    port.written.clear()
    at = [port.now]
    for _ in range(2900):
        port.now += 1
        link.pump()
        at += [port.now] * len(host.frames())
    gaps = [b - a for a, b in zip(at, at[1:])]
    assert len(gaps) == 3
    assert [abs(b - 2 * a) <= 2 for a, b in zip(gaps, gaps[1:])] == [True, True]


def test_what_another_host_had_asked_for_is_dropped_and_its_answers_go_nowhere():
    port, link, output, host = board()
    host.hello(**UART)
    host.say(b"\x82\x00X\x01\x00a")
    session = link.session
    host.hello(nonce=99, **UART)
    assert link.take(wire.EXECUTE_REQUEST) is None
    assert link.send(wire.EXECUTE_REPLY, 1, b"{}", None, session) is False
    assert host.frames(99) == []


class _FullInbox(list):
    def append(self, message):
        raise MemoryError


def test_a_message_for_which_there_is_no_memory_is_not_acknowledged_and_comes_again():
    port, link, output, host = board()
    host.hello(**UART)
    link.inbox = _FullInbox()
    line = bytes((wire.MESSAGE, 0, wire.EXECUTE_REQUEST, 1, 0)) + b"1"
    try:
        host.say(line)
    except MemoryError:
        pass
    link.inbox = []
    assert link.expected == 0
    host.say(line)
    assert [message[0] for message in link.inbox] == [wire.EXECUTE_REQUEST]
    assert link.expected == 1


def test_a_running_cell_that_has_lost_the_acks_sends_again_until_it_hears_one():
    port, link, output, host = board()
    host.hello(**UART)
    link.cell = 1
    link.send(wire.DISPLAY_DATA, 1, b"kept")
    for _ in range(9):
        port.now += 1000
        link.pump()
    assert link.gone
    port.written.clear()
    port.now += 5000
    link.pump()
    assert [payload for kind, number, payload in host.frames()] == [b"d\x01\x00kept"]
    host.ack(1)
    assert not link.gone and not link.out
