"""The wire's bytes, on whatever Python runs this file: pytest's CPython, and MicroPython by way of test_on_micropython.py."""

import json

from ucore import wire

with open(__file__.replace("\\", "/").rsplit("/", 2)[0] + "/vectors.json") as file:
    VECTORS = json.load(file)


def _unhex(text):
    return bytes(int(text[at : at + 2], 16) for at in range(0, len(text), 2))


def test_golden_frames_to_the_host_are_made_and_read_alike():
    for vector in VECTORS["to_host"]:
        body, frame, nonce = _unhex(vector["body"]), _unhex(vector["frame"]), vector["nonce"]
        assert wire.stuff(wire.checked(body, nonce)) == frame
        assert wire.unchecked(wire.unstuff(frame), nonce) == body


def test_golden_lines_to_the_board_are_made_and_read_alike():
    for vector in VECTORS["to_board"]:
        body, line, nonce = _unhex(vector["body"]), _unhex(vector["line"]), vector["nonce"]
        assert wire.escape(wire.checked(body, nonce)) == line
        assert wire.unchecked(wire.unescape(line), nonce) == body


def test_every_pair_of_bytes_survives_stuffing_without_a_mark():
    for high in range(256):
        body = b"".join([bytes((high, low)) for low in range(256)])
        frame = wire.stuff(body)
        assert b"\xf7" not in frame
        assert wire.unstuff(frame) == body


def test_every_pair_of_bytes_survives_escaping_without_a_reserved_byte():
    for high in range(256):
        body = b"".join([bytes((high, low)) for low in range(256)])
        line = wire.escape(body)
        for reserved in (1, 2, 3, 4, 5, 10, 13):
            assert bytes((reserved,)) not in line
        assert wire.unescape(line) == body


def test_a_single_flipped_bit_never_passes_the_check():
    body = wire.checked(bytes((wire.BATCH, 7, 1, 4, 0, 0, 0, 0, 0)) + b"\x00\x00\x80\x3f" * 4, 12345)
    for at in range(len(body)):
        for bit in range(8):
            flipped = bytearray(body)
            flipped[at] ^= 1 << bit
            assert wire.unchecked(bytes(flipped), 12345) is None


def test_a_frame_of_another_session_is_never_taken_for_one_of_this():
    body = wire.checked(bytes((wire.MESSAGE, 0, 1, 2, 3)), 1111)
    assert wire.unchecked(body, 2222) is None
    assert wire.unchecked(body, 0) is None
    assert wire.unchecked(body, 1111) == bytes((wire.MESSAGE, 0, 1, 2, 3))


def test_frame_kinds_need_no_stuffing_and_begin_no_text():
    kinds = (
        wire.ACK,
        wire.HELLO,
        wire.MESSAGE,
        wire.PART,
        wire.LAST,
        wire.BATCH,
        wire.NEXT,
        wire.SAME,
        wire.LAST_FRAGMENT,
        wire.FRAGMENT,
        wire.PING,
        wire.BAUDRATE,
        wire.CLOCK,
    )
    assert len(set(kinds)) == len(kinds)
    for kind in kinds:
        assert 0x80 <= kind <= 0x8F
        for bits in (wire.STAMPED, wire.STAMPED | wire.EXACT):
            assert kind & bits == 0
            assert 0x80 <= kind | bits <= 0xBF


def _refusal(name):
    try:
        wire.check_name(name)
    except (TypeError, ValueError) as error:
        return type(error)


def test_a_pipe_name_is_one_to_64_bytes_of_text_without_control_characters():
    for good in ("a", "adc", "temperature °C", "x" * 64, "é" * 32):
        assert _refusal(good) is None
    for bad in ("", "x" * 65, "é" * 33, "a\nb", "\x00", "a\x7f", "\x85"):
        assert _refusal(bad) is ValueError
    for worse in (b"adc", None, 7):
        assert _refusal(worse) is TypeError
