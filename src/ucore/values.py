"""Values on their way between board and host, bit for bit (docs/protocol.md, 1.9). Loaded for a value, and dropped again.

A repr is no way to send a number: MicroPython writes and reads floats inexactly. And what a value is called by its repr, the host
might call otherwise: so every value says its type.
"""

from ucore import wire
from ucore.quirks import OrderedDict, array, deque, namedtuple

PIECE = 1024  # bytes of a message: a value is never in memory twice, as often as it must be sent
RUN = 32  # numbers of a list that are written at once
SMALL = 1 << 60
MAX_DEPTH = 50
CODES = "bBhHiIlLqQfd"  # of arrays that hold numbers
TEXT = "utf-8", "surrogatepass"  # MicroPython's strings take any character, and ignore the second
INTS = {int}
FLOATS = {float}
DOUBLE = float("1e39") < float("1e40")  # not so where floats have 32 bits
CONSTANTS = {wire.NONE: None, wire.TRUE: True, wire.FALSE: False}


class Stuck(Exception):
    """What cannot travel: where in the value it is, and what."""

    def __init__(self, what):
        self.what = what
        self.where = ""

    def inside(self, place):
        self.where = place + self.where
        return self


class Deep(Stuck):
    """It goes on, and where has no end."""

    def inside(self, place):
        return self


def send(runner, value):
    """Send ``value`` as the result of the cell that runs; where it cannot travel, what is in the way, and its repr."""
    writer = Writer(lambda piece: _send(runner, b"value\n", piece))
    try:
        try:
            writer.write(value, 0)
        except RuntimeError:
            raise Deep("nested deeper than this board's stack allows, or holds itself")
        writer.flush()
    except Stuck as error:
        try:
            shown = repr(value)
        except RuntimeError:
            shown = ""  # it holds itself
        _send(runner, b"novalue\n", ("%s\n%s\n%s" % (error.where, error.what, shown)).encode(*TEXT))


def _send(runner, kind, data):
    link = runner.link
    link.do(link.send, wire.EXECUTE_RESULT, runner.cell, kind + data, None, runner._session)


def update(runner, order):
    """Give names the values that the host has sent (`wire.STORE`)."""
    runner.globals.update(read(order))


def read(order):
    """The value in an order."""
    reader = Reader(memoryview(order))  # what is large has no room for a second copy
    reader._at = 2
    return reader.read()


class Writer:
    """Writes values as bytes, which go to ``send`` in pieces. Raises Stuck."""

    def __init__(self, send):
        self._send = send
        self._held = bytearray()

    def flush(self):
        self._send(self._held)
        self._held = bytearray()

    def _put(self, data):
        self._held += data
        if len(self._held) >= PIECE:
            self.flush()

    def _head(self, tag, size):
        self._put(bytes((tag,)) + size.to_bytes(4, "little"))

    def _raw(self, value):
        # Slice by slice: what is large has no room for a copy.
        for at in range(0, len(value), PIECE):
            self._put(bytes(value[at : at + PIECE]))

    def _sized(self, tag, data):
        self._head(tag, len(data))
        self._raw(data)

    def write(self, value, depth):
        for tag in CONSTANTS:
            if value is CONSTANTS[tag]:
                return self._put(bytes((tag,)))
        if depth > MAX_DEPTH:
            raise Deep("nested more than %d deep, or holds itself" % MAX_DEPTH)
        depth += 1
        kind = type(value)
        if isinstance(value, int):
            self._sized(wire.INT, ("%x" % value).encode())
        elif isinstance(value, float):
            self._put(bytes((wire.FLOAT,)) + bytes(array("d", [value if kind is float else _plain(value * 1.0, float, kind)])))
        elif isinstance(value, str):
            self._sized(wire.STR, value.encode(*TEXT))
        elif isinstance(value, bytes):
            self._sized(wire.BYTES, value if kind is bytes else bytes(value))
        elif isinstance(value, bytearray):
            self._sized(wire.BYTEARRAY, value)
        elif isinstance(value, memoryview):
            self._head(wire.BYTES, len(value) and len(value) * len(bytes(value[:1])))
            self._raw(value)
        elif isinstance(value, array):
            self._array(value)
        elif isinstance(value, list):
            self._many(wire.LIST, value if kind is list else list(value), depth)
        elif (
            isinstance(value, tuple) or kind.__name__ == "tuple"
        ):  # some of the firmware's have fields, and a type of their own
            self._tuple(value, kind, depth)
        elif isinstance(value, dict):
            self._dict(wire.ORDERED if isinstance(value, OrderedDict) else wire.DICT, value, depth)
        elif isinstance(value, set):
            self._many(wire.SET, list(value), depth)
        elif isinstance(value, frozenset):
            self._many(wire.FROZENSET, list(value), depth)
        elif isinstance(value, deque):
            self._head(wire.DEQUE, 0)  # a board's does not tell how many it may hold
            self._many(wire.LIST, list(value), depth)
        elif isinstance(value, range):
            self._put(bytes((wire.RANGE,)))
            self.write((value.start, value.stop, value.step), depth)
        elif isinstance(value, complex):
            self._put(bytes((wire.COMPLEX,)) + bytes(array("d", [value.real, value.imag])))
        else:
            raise Stuck("of type " + (kind.__name__ or repr(value)))

    def _array(self, value):
        code = repr(value[:0])[7]  # array('h')
        if code not in CODES:
            raise Stuck("an array of type " + code)
        size = len(bytes(array(code, [0])))
        self._put(bytes((wire.ARRAY, ord(code), size)))
        self._put((len(value) * size).to_bytes(4, "little"))
        self._raw(value)

    def _tuple(self, value, kind, depth):
        fields = None if kind is tuple else _fields(value)
        if fields is not None:
            self._put(bytes((wire.NAMEDTUPLE,)))
            self.write(kind.__name__, depth)
            self._many(wire.TUPLE, fields, depth)
        self._many(wire.TUPLE, value if kind is tuple else tuple(value), depth)

    def _many(self, tag, items, depth):
        self._head(tag, len(items))
        for at in range(0, len(items), RUN):
            part = items[at : at + RUN]
            kinds = set(map(type, part))
            if kinds == INTS and max(part) < SMALL and min(part) > -SMALL:
                self._sized(wire.INTS, str(list(part))[1:-1].encode())
            elif kinds == FLOATS:
                self._sized(wire.DOUBLES if DOUBLE else wire.SINGLES, bytes(array("d" if DOUBLE else "f", part)))
            else:
                try:
                    for item in part:
                        self.write(item, depth)
                        at += 1
                except Stuck as error:
                    raise error.inside("" if tag in (wire.SET, wire.FROZENSET) else "[%d]" % at)

    def _dict(self, tag, value, depth):
        pairs = value.items()
        if type(value) not in (dict, OrderedDict):  # its own idea of a length must not count
            value = pairs = list(pairs)
        self._head(tag, len(value))
        where = ""
        try:
            for key, item in pairs:
                where = ""  # a key has no place
                self.write(key, depth)
                where = "[%s]" % _short(key)
                self.write(item, depth)
        except Stuck as error:
            raise error.inside(where)


def _plain(value, wanted, kind):
    """The value, if what its class made of it is of the type that the class derives from."""
    if type(value) is not wanted:
        raise Stuck("of type " + kind.__name__)
    return value


def _short(key):
    text = repr(key)
    return text if len(text) <= 50 else text[:50] + "..."


def _fields(value):
    """The names of a named tuple's fields, or None for another kind of tuple. MicroPython tells them in the repr alone."""
    text = repr(value)
    at = text.find("(") + 1
    names = []
    for item in value:
        end = text.find("=", at)
        shown = repr(item)
        if end < 0 or text[end + 1 : end + 1 + len(shown)] != shown:
            return None
        names.append(text[at:end])
        at = end + 1 + len(shown) + 2
    return names


class Reader:
    """Reads values from bytes."""

    def __init__(self, data):
        self._data = data
        self._at = 0

    def _take(self, size):
        self._at += size
        return bytes(self._data[self._at - size : self._at])

    def _size(self):
        return int.from_bytes(self._take(4), "little")

    def _sized(self):
        return self._take(self._size())

    def read(self):
        tag = self._take(1)[0]
        if tag in CONSTANTS:
            return CONSTANTS[tag]
        if tag == wire.INT:
            return int(self._sized().decode(), 16)
        if tag == wire.FLOAT:
            return array("d", self._take(8))[0]
        if tag == wire.STR:
            return self._sized().decode(*TEXT)
        if tag == wire.BYTES:
            return self._sized()
        if tag == wire.BYTEARRAY:
            return bytearray(self._sized())
        if tag == wire.ARRAY:
            return self._array()
        if tag == wire.LIST:
            return self._many()
        if tag == wire.TUPLE:
            return tuple(self._many())
        if tag == wire.SET:
            return set(self._many())
        if tag == wire.FROZENSET:
            return frozenset(self._many())
        if tag == wire.DICT:
            return self._dict({})
        if tag == wire.ORDERED:
            return self._dict(OrderedDict())
        if tag == wire.RANGE:
            return range(*self.read())
        if tag == wire.COMPLEX:
            data = self._take(16)
            real, imag = array("d", data)
            # MicroPython adds the second to 0, which a -0.0 does not survive.
            return -complex(-real, -imag) if data[15] & 0x80 else complex(real, imag)
        if tag == wire.NAMEDTUPLE:
            name = self.read()
            return namedtuple(name, self.read())(*self.read())
        if tag == wire.DEQUE:
            room = self._size()
            items = self.read()
            found = deque((), room or len(items) + 1)
            for item in items:
                found.append(item)
            return found
        raise ValueError("the host sent a value that is unknown here")

    def _many(self):
        size = self._size()
        found = []
        while len(found) < size:
            tag = self._data[self._at]
            if tag == wire.INTS:
                self._at += 1
                found.extend(map(int, self._sized().decode().split(", ")))
            elif tag == wire.DOUBLES:
                self._at += 1
                found.extend(array("d", self._sized()))
            else:
                found.append(self.read())
        return found

    def _dict(self, found):
        for _ in range(self._size()):
            key = self.read()
            found[key] = self.read()
        return found

    def _array(self):
        code, size = self._take(2)
        code = chr(code)
        found = array(code, [0])
        if len(bytes(found)) == size:
            return array(code, self._sized())
        # The board's are of another size.
        sent = array(SIZES[size] if code > "Z" else SIZES[size].upper(), self._sized())
        found = array(code, sent)
        if list(found) != list(sent):
            raise OverflowError(
                "the numbers of an array('%s') need %d bytes each, and have %d here" % (code, size, len(bytes(found[:1])))
            )
        return found


SIZES = {2: "h", 4: "i", 8: "q"}
