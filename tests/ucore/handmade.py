"""A port made by hand, and a host that is a list: the link and the pipes on whatever Python runs this, without a line or a clock."""

from _thread import allocate_lock

from ucore import about, link, pipes, startup, wire
from ucore import output as output_module


class Port:
    """The board's stdin and stdout, and its clock. ``takes``: what each write accepts, None for all of it."""

    def __init__(self):
        self.input = b""
        self.written = []  # one entry for each write
        self.takes = None
        self.now = 1000

    # Input, as select.poll and the stream use it

    def register(self, reader, flags):
        pass

    def poll(self, ms=-1):
        return [self] if self.input else []

    ipoll = poll

    def read(self, size):
        data, self.input = self.input[:size], self.input[size:]
        return data

    def readline(self, limit):
        end = self.input.find(b"\n") + 1
        return self.read(min(end or limit, limit))

    # Output

    def write(self, data):
        data = bytes(data)
        if self.takes is not None:
            data = data[: self.takes]
        self.written.append(data)
        return len(data)

    # The clock

    def ticks_ms(self):
        return self.now

    def ticks_us(self):
        return self.now * 1000

    def sleep_ms(self, ms):
        self.now += ms


class _Select:
    POLLIN = 1

    def __init__(self, port):
        self._port = port

    def poll(self):
        return self._port


class Host:
    """The other end: what it has said and heard."""

    NONCE = 0x12345678

    def __init__(self, port, board):
        self.port = port
        self.board = board

    def say(self, body, nonce=NONCE):
        self.port.input += wire.escape(wire.checked(body, nonce)) + b"\n"
        self.board.pump()

    def hello(self, nonce=NONCE, **content):
        said = {"v": wire.PROTOCOL, "nonce": nonce}
        said.update(content)
        import json

        self.say(bytes((wire.HELLO,)) + json.dumps(said).encode(), 0)
        self.port.written.clear()

    def ack(self, expected, *rest):
        self.say(bytes((wire.ACK, expected)) + bytes(rest))

    def frames(self, nonce=NONCE):
        """Take the numbered frames that the board has written, as (kind, number, payload)."""
        found = []
        for segment in b"".join(self.port.written).split(b"\xf7"):
            body = wire.unstuff(segment)
            if body and body[0] not in (wire.ACK, wire.HELLO):
                body = wire.unchecked(body, nonce)
                assert body is not None
                found.append((body[0], body[1], bytes(body[2:])))
        self.port.written.clear()
        return found


def board(two_cores=False):
    """A link on a handmade port, with pipes and printed text: (port, link, output, host). ``two_cores``: without a GIL, as an RP2."""
    port = Port()
    link.MAIN_WRITES = pipes.MAIN_WRITES = about.MAIN_WRITES = startup.MAIN_WRITES = two_cores
    startup.streams = lambda: (port, port)
    startup.select = _Select(port)
    link.sleep_ms = port.sleep_ms
    link.ticker = lambda callback, period: None
    for module in (link, output_module, pipes, startup):
        module.ticks_ms = port.ticks_ms
        module.ticks_us = port.ticks_us
    made = link.Link()
    startup.fill_link(made, '"platform":"handmade"')
    out = output_module.Output()
    startup.fill_output(out, made)
    pipes._link = None
    pipes._open.clear()
    pipes._threads.clear()
    pipes._names = allocate_lock()
    pipes.start(made)
    return port, made, out, Host(port, made)
