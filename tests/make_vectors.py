"""Writes tests/vectors.json anew. Only for a new protocol version: an existing vector never changes."""

import json
import struct
from pathlib import Path

from ucore import wire

NONCE = 0xDEADBEEF
SAMPLES = struct.pack("<4f", 0.0, 1.0, -2.5, 3.1415927)

TO_HOST = {
    "ack: the next line expected is 3": (bytes((wire.ACK, 3)), NONCE),
    "hello": (
        bytes((wire.HELLO,)) + b'{"v":1,"build":"0.1.0","boot":77,"nonce":3735928559,"resumed":false,"cell":0,"ring":200}',
        0,
    ),
    "stream of cell 5": (bytes((wire.MESSAGE, 0, wire.STREAM, 5, 0)) + "25 °C\n".encode(), NONCE),
    "part of a message": (bytes((wire.PART, 1, wire.EXECUTE_RESULT, 5, 0)) + b'{"data": {"text', NONCE),
    "its last part": (bytes((wire.LAST, 2)) + b'/plain": "42"}}', NONCE),
    "comm_open: pipe 1, generation 1, next frame 0": (
        bytes((wire.MESSAGE, 3, wire.COMM_OPEN, 0, 0)) + struct.pack("<BHI", 1, 1, 0) + b"adc",
        NONCE,
    ),
    "batch: pipe 1, size 4, from frame 0": (bytes((wire.BATCH, 4)) + struct.pack("<BHI", 1, 4, 0) + SAMPLES, NONCE),
    "same: four more": (bytes((wire.SAME, 5)) + SAMPLES, NONCE),
    "next: pipe 1 again, after another pipe": (bytes((wire.NEXT, 6, 1)) + SAMPLES, NONCE),
    "chunk part: pipe 1, frame 12, offset 0": (bytes((wire.FRAGMENT, 7)) + struct.pack("<BIH", 1, 12, 0) + b"x" * 20, NONCE),
    "chunk: its end": (bytes((wire.LAST_FRAGMENT, 8)) + struct.pack("<BIH", 1, 12, 20) + b"y" * 5, NONCE),
    "comm_close: pipe 1 after 13 frames": (bytes((wire.MESSAGE, 9, wire.COMM_CLOSE, 0, 0)) + struct.pack("<BI", 1, 13), NONCE),
    "speed: 921600 baud, window 6144": (struct.pack("<BIH", wire.BAUDRATE, 921600, 6144), NONCE),
    "clock: the answer to question 1": (struct.pack("<BBI", wire.CLOCK, 1, 123_456_789), NONCE),
    "comm_open, stamped: pipe 2, generation 2, of a producer that does not wait": (
        bytes((wire.MESSAGE | wire.STAMPED | wire.EXACT, 10, wire.COMM_OPEN, 0, 0))
        + struct.pack("<BHI", 2, 2 | wire.DROPS, 0)
        + b"imu"
        + struct.pack("<I", 123_457_000),
        NONCE,
    ),
    "batch, stamped: pipe 2, size 4, from frame 0, the last one written exactly then": (
        bytes((wire.BATCH | wire.STAMPED | wire.EXACT, 11))
        + struct.pack("<BHI", 2, 4, 0)
        + SAMPLES
        + struct.pack("<I", 123_461_000),
        NONCE,
    ),
    "same, stamped: four more, all of them written by then": (
        bytes((wire.SAME | wire.STAMPED, 12)) + SAMPLES + struct.pack("<I", 123_465_500),
        NONCE,
    ),
    "bytes that must be stuffed": (bytes((wire.SAME, 0xF6)) + b"\xf6\xf7\xf6\x01\xf6\x02\xf7\xf7", NONCE),
}
TO_BOARD = {
    "ack: all up to 16 has come": (bytes((wire.ACK, 17)), NONCE),
    "ack: up to 16 and 20, 21; 17 to 19 are missing, 18 and 19 to be sent again": (
        bytes((wire.ACK, 17, 22, 2, 18, 19, 17)),
        NONCE,
    ),
    "hello": (bytes((wire.HELLO,)) + b'{"v":1,"nonce":3735928559,"line":"uart","baud":115200,"window":4096,"payload":112}', 0),
    "execute_request, parent 5": (bytes((wire.MESSAGE, 0, wire.EXECUTE_REQUEST, 5, 0)) + b"print(1)\nprint(2)\r\n", NONCE),
    "part of a message of 83 bytes": (bytes((wire.PART, 1, wire.EXECUTE_REQUEST, 6, 0, 83, 0, 0, 0)) + b"x" * 73, NONCE),
    "its last part": (bytes((wire.LAST, 2)) + b"y" * 10, NONCE),
    "ping": (bytes((wire.PING,)), NONCE),
    "speed: 921600 baud, window 6144": (struct.pack("<BIH", wire.BAUDRATE, 921600, 6144), NONCE),
    "clock: question 1, and pipe frames are to be stamped": (bytes((wire.CLOCK, 1, 1)), NONCE),
    "bytes that must be escaped": (bytes((wire.MESSAGE, 3)) + bytes(range(20)), NONCE),
}


def main():
    to_host = [
        {"what": what, "nonce": nonce, "body": body.hex(), "frame": wire.stuff(wire.checked(body, nonce)).hex()}
        for what, (body, nonce) in TO_HOST.items()
    ]
    to_board = [
        {"what": what, "nonce": nonce, "body": body.hex(), "line": wire.escape(wire.checked(body, nonce)).hex()}
        for what, (body, nonce) in TO_BOARD.items()
    ]
    path = Path(__file__).with_name("vectors.json")
    path.write_text(
        json.dumps({"protocol": wire.PROTOCOL, "to_host": to_host, "to_board": to_board}, indent=1, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    main()
