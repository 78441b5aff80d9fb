"""Rich output: what a front end can show beside text. Loaded when a program first asks for it."""

import sys

import ucore
from ucore import wire
from ucore.quirks import json

KINDS = ("html", "markdown", "svg", "png", "jpeg", "json")
MAX_BYTES = 65536  # as much as a cell may have


def display(value=None, **data):
    """Show a value below the cell, as richly as it can: by its ``_repr_html_`` or its like, else by its repr.

    Or show data of a kind: text for ``html``, ``markdown``, ``svg``; bytes for ``png``, ``jpeg``; for ``json`` what `json.dumps` takes.
    Raises TypeError for another kind, ValueError for more than 64 kB. Where no host listens, it is dropped.
    """
    for kind in data:
        if kind not in KINDS:
            raise TypeError("display() shows %s, not %s" % (", ".join(KINDS), kind))
    for kind in data:
        _send(wire.DISPLAY_DATA, kind, data[kind])
    if not data:
        show(wire.DISPLAY_DATA, value)


def show(message, value):
    """Send ``value`` as an output of this message type.

    As in IPython, its class must have the method, so that an object which answers to any name is shown by its repr, and so is a
    class. A method that fails says why; where it returns None, or fails, the next one has its turn, at last the repr.
    """
    for kind in KINDS:
        name = "_repr_" + kind + "_"
        if callable(getattr(type(value), name, None)):
            try:
                found = getattr(value, name)()
                if found is not None:
                    return _send(message, kind, found)
            except Exception as error:
                __import__("ucore.about")
                about = sys.modules.pop("ucore.about")  # needed once: it does not stay
                ucore.about = None
                print(name + " failed:")
                print("\n".join(about.trace(error)))
    return _send(message, "", repr(value))


def _send(type, kind, data):
    if kind == "json":
        data = json.dumps(data)
    if isinstance(data, str):
        data = data.encode()
    data = memoryview(data)
    if len(data) > MAX_BYTES:
        raise ValueError("display() takes at most %d bytes, not %d" % (MAX_BYTES, len(data)))
    link = ucore._link
    if link.do(_send_now, link, link.runner.parent(), type, kind, data) is False:
        link.output.lost += len(data)


def _send_now(link, parent, type, kind, data):
    link.output.drain()
    part = bytes((type, parent & 255, parent >> 8)) + kind.encode() + b"\n"
    at = 0
    with link.big:  # parts of two messages must not mix; they are cut here, so that a picture is in memory once
        session = link.session
        try:
            while True:
                with link.tx:
                    if session != link.session or link.leave or not link.nonce:
                        return
                    if link.gone:
                        if at:
                            link.nonce = 0  # the host that returns finds a new session, and no half of this
                        return
                    end = at + link.payload - len(part)
                    last = end >= len(data)
                    if link.room(link.payload):
                        frame = wire.PART if not last else wire.LAST if at else wire.MESSAGE
                        # A straight line: an interrupt finds the part sent, or not.
                        body = bytearray((frame, 0)) + part + data[at:end]
                        part = b""
                        at = end
                        link.commit(body, None)
                        if last:
                            return
                        continue
                link.pump(1)
        except BaseException:
            if 0 < at < len(data):  # what has been sent is taken back, or it would begin the next message
                link._send_frame(wire.LAST, b"", None, session)
            raise


def start(link):
    """Stand in for the function that has loaded this."""
    ucore.display = display
