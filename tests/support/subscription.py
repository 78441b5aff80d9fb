"""A reader of a pipe, and more frames than one takes."""

import json
import struct

from patience import PATIENCE_S

from ukernel.client import connection as client

FRAME = 1000
BATCH = 60


class Subscription:
    """A reader as any language would write it: four bytes of length, then the body."""

    def __init__(self, pipe, board=None, options=(), **which):
        self.socket = client.open_reader(pipe, board, options, **which)
        self.socket.settimeout(PATIENCE_S)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.file.close()
        self.socket.close()

    def part(self):
        """The next (word, body), None at the end."""
        head = self.file.read(4)
        if len(head) < 4:
            return None
        word = int.from_bytes(head, "little")
        return word, self.file.read(word & 0xFFFFFF)

    def frame(self):
        word, body = self.part()
        assert word == len(body), "a notice where a frame was due"
        return body

    def notice(self):
        word, body = self.part()
        assert word >> 24 == 0x81, "a frame where a notice was due"
        return json.loads(body)

    def rest(self):
        """Everything to the end: frames as bytes (batches taken apart), notices as dictionaries."""
        out = []
        while (part := self.part()) is not None:
            word, body = part
            if word >> 24 == 0x81:
                out.append(json.loads(body))
            elif word >> 24 in (0x82, 0x83):
                size, _number = struct.unpack_from("<HI", body)
                first = 6 if word >> 24 == 0x82 else 30
                out += [body[at : at + size] for at in range(first, len(body), size)] if size else [b""]
            else:
                out.append(body)
        return out


def missed(reader):
    """How many frames a reader in the hub is to get, and the hub has no more."""
    return reader.opening.buffer.start - reader._at


def flood(hub, board, until, limit=100_000):
    """Write batches of numbered frames until a condition holds in the hub; returns how many frames."""
    number = 0
    while not hub.call(until):
        board.write(b"".join(struct.pack("<I", number + n).ljust(FRAME, b".") for n in range(BATCH)), FRAME, number)
        number += BATCH
        assert number < limit, "the hub never found the reader slow"
    return number
