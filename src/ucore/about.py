"""What the board can say about itself and the objects on it. Rarely asked, so it is loaded for the question and dropped again."""

import builtins
import io
import json
import sys
from _thread import get_ident
from binascii import hexlify

from ucore import wire
from ucore.quirks import MAX_BAUD, RING, SPEEDS, random32

FILE = "<cell>"
MAX_TEXT = 2000  # of an error's text; a reply must fit a message
MAX_TRACE = 8000


def facts():
    """What every hello of this start of the agent says: the inside of a JSON object."""
    python = sys.implementation
    found = {"v": wire.PROTOCOL, "build": wire.BUILD, "boot": random32(), "ring": RING}
    found.update({"platform": sys.platform, "python": python.name})
    found["version"] = "%d.%d.%d" % tuple(python.version[:3])
    found["machine"] = getattr(python, "_machine", sys.platform)
    if SPEEDS:
        found["max_baud"] = MAX_BAUD
    try:
        import machine

        found["id"] = hexlify(machine.unique_id()).decode()
    except (ImportError, AttributeError):
        pass
    return json.dumps(found)[1:-1]


def trace(error):
    """The traceback of ``error`` as text, from the cell's first line on: the agent's own frames are nobody's business."""
    out = io.StringIO()
    try:
        sys.print_exception(error, out)
    except BaseException:  # the frames are out by then
        out.write("%s: %s" % (type(error).__name__, _text(error)))
    lines = _cut(out.getvalue(), MAX_TRACE).rstrip("\n").split("\n")
    first = 1
    while first < len(lines) and lines[first].startswith(" ") and FILE not in lines[first]:
        first += 1
    return "\n".join(lines[:1] + lines[first:])


def failure(error):
    """The content of the reply to a cell that ``error`` has ended."""
    reply = {"status": "error", "ename": type(error).__name__, "evalue": _cut(_text(error), MAX_TEXT)}
    reply["traceback"] = trace(error).split("\n")
    return json.dumps(reply).encode()


def _text(error):
    try:
        return str(error)
    except BaseException as other:  # a program's own __str__ may do anything
        return "its text cannot be had, __str__ raised %s" % type(other).__name__


def _cut(text, size):
    if len(text) <= size:
        return text
    return text[: size // 2] + "\n... [%d characters cut out] ...\n" % (len(text) - size) + text[-size // 2 :]


def ask(link, cell, session, prompt="", password=False):
    """Ask the host for a line of text; raises EOFError where it goes away, RuntimeError in a thread or a callback."""
    if get_ident() != link.main or not link.cell or link.in_callback():
        raise RuntimeError("not in a callback or a thread: input() is for the cell")
    content = json.dumps({"prompt": str(prompt), "password": password}).encode()
    link.do(link.send, wire.INPUT_REQUEST, cell, content, None, session)
    while session == link.session and not link.leave:
        reply = link.do(link.take, wire.INPUT_REPLY)
        if reply and reply[1] == cell:
            return reply[2].decode()
        link.wait(50)
        link.do(link.pump)
    raise EOFError("the host asked is gone")


def crash(error):
    """What a thread says that ``error`` has ended."""
    return "A thread of this cell failed:\n" + trace(error) + "\n"


def answer(link, names, type, parent, content):
    """Answer a question about names."""
    found = (complete if type == wire.COMPLETE_REQUEST else inspect)(names, content.decode())
    link.send(type | 32, parent, json.dumps(found).encode())  # the reply's type is the request's in lower case


def complete(known, text):
    """The attributes, or names, that begin as the dotted ``text`` does; never calls anything."""
    path, _, start = text.rpartition(".")
    try:
        found = dir(_resolve(known, path)) if path else list(known) + dir(builtins)
    except Exception:
        found = ()
    names = set()
    for name in found:
        if name.startswith(start) and not name.startswith("_ucore"):
            names.add(name)
    return sorted(names)


def inspect(names, text):
    """What is known of the object that the dotted ``text`` names: type, value, attributes; None where there is none."""
    try:
        found = _resolve(names, text)
        shown = repr(found)[:1000]
    except Exception:
        return None
    return {"type": type(found).__name__, "repr": shown, "names": dir(found)[:100]}


def _resolve(names, path):
    parts = path.split(".")
    if parts[0] in names:
        found = names[parts[0]]
    elif path[0] == "+":  # a module of the firmware that the host names: to import it does no harm
        found = __import__(parts[0][1:])
    else:
        found = getattr(builtins, parts[0])
    for part in parts[1:]:
        found = getattr(found, part)
    return found


def reset():
    """Start the board's Python afresh."""
    import machine

    machine.soft_reset()
