"""The protocol both ends of the line share: packets, escapes, CRC, message types, limits.

docs/protocol.md is the full specification; this file is the one place its numbers live. It runs unchanged on
MicroPython and on CPython and imports nothing of the rest of the package.

Board to host a packet is ``stuff(ctl [number] payload crc32) MARK``; host to board it is ``escape(ctl [number] payload crc32) \\n``.
The CRC-32 is seeded with the session nonce (0 for a hello), so that a packet of another session is never taken for one of this.
"""

import sys

CPYTHON = sys.implementation.name == "cpython"
if CPYTHON:
    from binascii import crc32
else:
    from ubinascii import crc32  # see quirks

PROTOCOL = 1
BUILD = "0.1.0"

# Neither byte occurs in UTF-8, so text between packets can always be told from them.
MARK = b"\xf7"
_ESC = b"\xf6"
_ESC_ESC = b"\xf6\x01"
_ESC_MARK = b"\xf6\x02"

# Packet kinds, the low bits of ctl. A ctl byte is 0x80-0xBF: no UTF-8 text begins with it, and it needs no stuffing.
ACK = 0x80  # the next number expected; host to board, where some are missing: then the end of what has come, how many of the missing to
# send again, and the missing, those first (not numbered)
HELLO = 0x81  # JSON (not numbered, CRC seed 0)
MESSAGE = 0x82  # type, parent (2), content: a whole message in one packet
PART = 0x83  # a part of a larger message; more follows (one such message at a time); to the board the first has the content's length (4)
LAST = 0x84  # its last part
BATCH = 0x85  # pipe id, frame size (2), first number (4), frames: starts or restarts a pipe's run of equal frames
NEXT = 0x86  # pipe id, frames: the run of this pipe goes on
SAME = 0x87  # frames: the run of the pipe in the pipe packet before it goes on
LAST_FRAGMENT = (
    0x88  # pipe id, number (4), offset (2), bytes: a pipe write that is empty or larger than a packet, its last part
)
FRAGMENT = 0x89  # the same for a part that others follow
PING = 0x8A  # host to board: answer with an ACK (not numbered)
BAUDRATE = 0x8B  # baud (4), window (2): host to board a wish, board to host "I switch in 20 ms" (not numbered)
CLOCK = 0x8C  # id (1), whether to stamp pipe packets (1); board to host: id (1), its clock (4) (not numbered)
# With these bits a pipe packet ends with 4 bytes of the board's clock in us, modulo 2**30: a time that all of its frames were written by,
# and with EXACT the last one's very own.
STAMPED = 0x10
EXACT = 0x20
CLOCK_MASK = 0x3FFFFFFF

# Message types, named after the Jupyter messages they carry.
EXECUTE_REQUEST = ord("X")
INPUT_REPLY = ord("I")
COMPLETE_REQUEST = ord("C")
INSPECT_REQUEST = ord("N")
SHUTDOWN_REQUEST = ord("D")
REMOTE_REPLY = ord("H")  # JSON, a newline, bytes: the answer to a question of `ucore.remote`
EVERY_REQUEST = ord("E")  # the name of a producer to be stopped, or nothing
STATUS = ord("s")
STREAM = ord("o")
EXECUTE_RESULT = ord("r")
DISPLAY_DATA = ord("d")
INPUT_REQUEST = ord("i")
REMOTE_REQUEST = ord("m")  # JSON, a newline, bytes: a question about the folder that is mounted
EXECUTE_REPLY = ord("x")
COMPLETE_REPLY = ord("c")
INSPECT_REPLY = ord("n")
EVERY_REPLY = ord("e")
COMM_OPEN = ord("p")  # pipe id, generation (2), next number (4), name
DROPS = 0x8000  # in the generation: the pipe's producer does not wait where there is no room
COMM_CLOSE = ord("q")  # pipe id, frames written in all (4)

# A request whose first byte is 0 is no source, but an order to the agent itself, which needs no name of the user's. The second byte:
STORE = 0  # a dict of names and values, written as below
SAVE = 1  # length of a path (2), the path, a file's content
CALL = 2  # a tuple, written as below: what to call, arguments, arguments by name, key of a generator, whether the result is awaited

# The tags of values (docs/protocol.md, 1.9).
NONE = ord("N")
TRUE = ord("T")
FALSE = ord("F")
INT = ord("i")
FLOAT = ord("f")
COMPLEX = ord("c")
STR = ord("s")
BYTES = ord("b")
BYTEARRAY = ord("B")
ARRAY = ord("a")
LIST = ord("l")
TUPLE = ord("t")
NAMEDTUPLE = ord("n")
SET = ord("S")
FROZENSET = ord("Z")
DICT = ord("d")
ORDERED = ord("O")
DEQUE = ord("q")
RANGE = ord("r")
# Runs of equal items in lists and their like.
INTS = ord("I")
DOUBLES = ord("D")
SINGLES = ord("E")

# Sequence numbers have 8 bits; selective repeat needs the distance below half of that.
MAX_OUTSTANDING = 120
MAX_WRITE = 65535  # the published limit of Pipe.write
MAX_NAME = 64  # bytes of UTF-8
MAX_MESSAGE = 65536 + 1024  # the largest message either end assembles: a 64 kB cell and its framing
MAX_REQUEST = MAX_MESSAGE - 16  # bytes of content that the host may put into one message
MAX_LINE = 300  # bytes of one host-to-board line, escapes and newline included
LINE_PAYLOAD = 80  # bytes of payload in one host-to-board packet: two of them fit a 259-byte ring, escaped
SLOTS = 26  # names for cells, "<cell a>" to "<cell z>", by the parent's remainder; each that is used costs a chip 16-24 bytes for good
SAFE_RING = 200  # unacknowledged bytes towards a board that has advertised nothing


def stuff(body):
    """Escape ``body`` for the board-to-host direction; returns bytes without the closing mark."""
    return body.replace(_ESC, _ESC_ESC).replace(MARK, _ESC_MARK)


def unstuff(frame):
    """The reverse of `stuff`; a damaged packet gives bytes that the CRC then refuses."""
    return frame.replace(_ESC_MARK, MARK).replace(_ESC_ESC, _ESC)


def checked(body, nonce):
    """``body`` with its CRC-32 (little-endian), seeded with the session nonce."""
    return body + crc32(body, nonce).to_bytes(4, "little")


def unchecked(body, nonce):
    """``body`` without its CRC, or None where the CRC does not fit."""
    if len(body) < 5 or crc32(body[:-4], nonce) != int.from_bytes(body[-4:], "little"):
        return None
    return body[:-4]


# A line never holds these raw: Ctrl-A to Ctrl-E (0x03 is the interrupt, the others steer a raw REPL), newline and return.
_RESERVED = b"\x01\x02\x03\x04\x05\n\r"


def escape(body):
    """Escape ``body`` for the host-to-board direction: 0x10, then the byte with bit 6 flipped."""
    body = body.replace(b"\x10", b"\x10\x50")
    for byte in _RESERVED:
        body = body.replace(bytes((byte,)), bytes((0x10, byte ^ 0x40)))
    return body


def unescape(line):
    """The reverse of `escape`."""
    if b"\x10" not in line:
        return line
    parts = line.split(b"\x10")
    out = [parts[0]]
    for part in parts[1:]:
        if part:
            out.append(bytes((part[0] ^ 0x40,)))
            out.append(part[1:])
    return b"".join(out)


def check_name(name):
    """Refuse a pipe name that is empty, too long, or holds a control character.

    Raises TypeError for anything but a str, ValueError for a bad one.
    """
    if not isinstance(name, str):
        raise TypeError("a pipe name is a str")
    good = 0 < len(name.encode()) <= MAX_NAME
    for char in name:
        good = good and ord(char) >= 32 and not 127 <= ord(char) < 160
    if not good:
        raise ValueError("a pipe name has 1 to 64 bytes of UTF-8 and no control characters")
