"""What the board can say about itself and the objects on it. Rarely asked, so it is loaded for the question and dropped again."""

import builtins
import sys
from _thread import get_ident

import ucore
from ucore import wire
from ucore.quirks import CPYTHON, io, json

MAX_TEXT = 2000  # of an error's text; a reply must fit a message
MAX_FRAMES = 40  # of a traceback, the first FIRST_FRAMES and the last
FIRST_FRAMES = 12
MAX_PERIOD = 8  # functions that call each other in a circle, still seen as one
MAX_LINE = 300
MODULES = {"display": "rich", "stdin": "typed", "every": "periodic", "producers": "periodic"}


class _Lines(io.IOBase):
    """Hands on what is written to it, line by line. (Attributes of names that others of ours have, too: new ones cost.)"""

    def __init__(self, take):
        self.take = take
        self._held = b""

    def write(self, data):
        """Take a piece of text."""
        held = self._held + (data.encode() if isinstance(data, str) else bytes(data))  # a copy: MicroPython's lies on the stack
        while b"\n" in held:
            line, held = held.split(b"\n", 1)
            self.take(line.rstrip())
        self._held = held[:MAX_LINE]
        return len(data)


def _is_ours(line):
    folder = ucore.__path__  # MicroPython's is a str
    folder = folder if isinstance(folder, str) else folder[0]
    for start in ("ucore/", folder + "/", folder + "\\"):
        if line.startswith('  File "' + start):
            return True
    return False


def _choose(frames):
    """A generator that is sent what `sys.print_exception` says, line by line, and fills ``frames``: with all frames but the agent's.

    Equal ones are folded as they come, for a recursion's whole text may not fit the memory. At last it is sent None.
    """
    inside = False  # between the traceback's head and the error's own text
    left_out = 0
    period = 0  # so many frames, the last ones taken, come again and again
    repeated = 0  # and so many more have come since
    while True:
        line = yield
        if line is None or not line.startswith(b" "):
            fresh = None
            if line and line.startswith(b"Traceback"):
                if CPYTHON:
                    del frames[:]  # what came before was the error's cause
                inside = not frames
            elif line:
                inside = False
        elif inside and line.startswith(b'  File "'):
            fresh = line.decode()
            if _is_ours(fresh):
                continue
        else:
            if CPYTHON and inside and frames and line.startswith(b"  [Previous line repeated "):  # it folds them itself
                period = period or 1
                repeated += int(line.split()[3])
            continue
        if period:
            if fresh == frames[repeated % period - period]:
                repeated += 1
                continue
            last = frames[-period:]
            rest = repeated % period
            if repeated > rest:
                frames.append("  ... %d equal frames ..." % (repeated - rest))
            frames += last[:rest]
            period = repeated = 0
        if line is None:
            if left_out:
                last = frames[FIRST_FRAMES:]
                del frames[FIRST_FRAMES:]
                frames.append("  ... %d frames left out ..." % left_out)
                frames += last
            yield
        if fresh:
            frames.append(fresh)
            while len(frames) > MAX_FRAMES:
                del frames[FIRST_FRAMES]
                left_out += 1
            for size in range(1, MAX_PERIOD + 1):
                if not period and frames[-size:] == frames[-2 * size : -size] == frames[-3 * size : -2 * size]:
                    period = size


def trace(error):
    """The lines of the traceback of ``error``: the agent's own frames are nobody's business, and equal ones are folded."""
    frames = []
    chosen = _choose(frames)
    chosen.send(None)
    try:
        sys.print_exception(error, _Lines(chosen.send))
    except BaseException:
        pass  # a program's own __str__ may do anything; the frames are out by then
    chosen.send(None)
    text = _cut(_text(error), MAX_TEXT)
    head = ["Traceback (most recent call last):"] if frames else []
    return head + frames + [type(error).__name__ + (": " + text if text else "")]


def failure(error):
    """The content of the reply to a cell that ``error`` has ended."""
    reply = {"status": "error", "ename": type(error).__name__, "evalue": _cut(_text(error), MAX_TEXT)}
    reply["traceback"] = trace(error)
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
    if get_ident() != link.main or not link.cell or link.inside():
        raise RuntimeError("not in a callback or a thread: input() is for the cell")
    content = json.dumps({"prompt": str(prompt), "password": password}).encode()
    link.do(link.send, wire.INPUT_REQUEST, cell, content, None, session)
    while session == link.session and not link.leave:
        reply = link.do(link.take, wire.INPUT_REPLY)
        if reply and reply[1] == cell:
            return reply[2].decode()
        link.idle(50)
        link.do(link.pump)
    raise EOFError("the host asked is gone")


def crash(error):
    """What a thread says that ``error`` has ended."""
    return "A thread of this cell failed:\n" + "\n".join(trace(error)) + "\n"


def answer(link, names, type, parent, content):
    """Answer a question about names; to an inspection of none, with the number of sessions that hosts have had with this agent. Or one about
    producers.
    """
    if type == wire.REMOTE_REPLY:
        link.fetched = content  # a thread waits for it, see `ucore.remote`
        return
    if type == wire.EVERY_REQUEST:
        found = _producers(content.decode())
    elif type != wire.COMPLETE_REQUEST and type != wire.INSPECT_REQUEST:
        return  # of a newer host
    elif not content and type == wire.INSPECT_REQUEST:
        found = {"sessions": link.session}
    else:
        found = (complete if type == wire.COMPLETE_REQUEST else inspect)(names, content.decode())
    link.send(type | 32, parent, json.dumps(found).encode())  # the reply's type is the request's in lower case


def _producers(stop):
    """What `ucore.every` calls: name, period, calls and pipe of each. The one with the name ``stop`` is stopped."""
    found = []
    for one in ucore.producers().values() if "every" in ucore.__dict__ else ():  # it is not loaded for the question
        found.append((one.name, one.period_ms, one.calls, one.pipe and one.pipe.name))
        if one.name == stop:
            one.stop()
    return found


def complete(known, text):
    """The attributes, or names, that begin as the dotted ``text`` does; never calls anything."""
    path, _, start = text.rpartition(".")
    try:
        found = _attributes(_resolve(known, path)) if path else list(known) + dir(builtins) + ["ucore"]
    except Exception:
        found = ()
    names = set()
    for name in found:
        if not isinstance(name, str) or (path == "ucore" and any([hasattr(module, name) for module in ucore._real])):
            continue  # a name of sys, for which ucore stands in
        if name.startswith(start) and not name.startswith("_ucore"):
            names.add(name)
    return sorted(names)


def inspect(names, text):
    """What is known of the object that the dotted ``text`` names: type, value, attributes, and the kinds of itself ("self") and of
    what has it ("super"); None where there is none.
    """
    try:
        found = _resolve(names, text)
        shown = repr(found)[:1000]
        said = {"type": type(found).__name__, "repr": shown, "names": sorted(_attributes(found))[:100]}
        said["self"] = _kind(found)
        path = text.rpartition(".")[0]
        if path:
            said["super"] = _kind(_resolve(names, path))
        return said
    except Exception:
        return None


def _kind(found):
    """The name of a module; of all else its class's, behind the module's in which that was written, or nothing where it is the firmware's."""
    if isinstance(found, type(sys)):
        return found.__name__
    found = found if isinstance(found, type) else type(found)
    return getattr(found, "__module__", "") + "." + found.__name__


def _resolve(names, path):
    parts = path.split(".")
    if parts[0] in names:
        found = names[parts[0]]
    elif parts[0] == "ucore":
        found = ucore
    elif path[0] == "+":  # a module of the firmware that the host names: to import it does no harm
        found = __import__(parts[0][1:])
    else:
        found = getattr(builtins, parts[0])
    if found is ucore and parts[0] != "ucore":  # it stands in for _thread, or for sys
        found = ucore._real[-1 if parts[0] == "_thread" else 0]
    for part in parts[1:]:
        found = _attribute(found, part)
    return found


def get(link, name):
    """A program asks for this of `ucore` for the first time: load the module that has it, which makes it an attribute like any other.

    "write" is what says why `pipe.write` does not take something.
    """
    if name == "write":
        return _unpacked
    if name in ("start_new_thread", "getpass"):
        __import__("ucore.threads")
        sys.modules.pop("ucore.threads").start(link.runner)
        ucore.threads = None  # needed once
    else:
        getattr(ucore, MODULES.get(name, "pipes")).start(link)
    return getattr(ucore, name)


def spread():
    """A cell is to have all names of a module: MicroPython takes what a star means from the module's own dictionary.

    So where `ucore` stands in for sys and _thread, modules do that have them all.
    """
    for real in ucore._real:
        name = real.__name__
        if sys.modules[name] is ucore:
            __import__("ucore.names")
            found = sys.modules.pop("ucore.names")
            found.__dict__.clear()
            found.__name__ = name
            for each in dir(real):
                if each[0] != "_":
                    setattr(found, each, getattr(ucore, each))
            sys.modules[name] = found


def _unpacked(data):
    """Why a pipe does not take ``data``, and what it takes."""
    if isinstance(data, str):
        how = "encode the text, text.encode()"
    elif isinstance(data, (tuple, list)) and data:
        how = 'pack the numbers, struct.pack("<%df", *values)' % len(data)
    elif isinstance(data, (int, float)):
        how = 'pack the number, struct.pack("<f", x)'
    else:
        how = "pack numbers with struct.pack, encode texts with encode()"
    return "pipe.write takes bytes, not %s: %s" % (type(data).__name__, how)


def _members(found):
    """What the object itself holds, by name; None where a look at any name of it runs nothing of the user's."""
    if not isinstance(found, type):
        try:
            members = found.__dict__
        except AttributeError:  # of a kind that the firmware has made
            return None
        if not isinstance(found, type(sys)) or "__getattr__" in members:
            return members
    return None


def _attributes(found):
    """Its names. MicroPython's dir() tries every name there is on an object, so that a ``__getattr__`` and properties would run."""
    members = _members(found)
    if members is None:
        return dir(found)
    names = set(members)
    if not isinstance(found, type(sys)):
        names.update(dir(type(found)))
    return names


def _attribute(found, name):
    """An attribute, had without running a ``__getattr__`` or a property: of one, the property itself. Raises AttributeError."""
    members = _members(found)
    if members is None or found is ucore:  # ours loads a module
        return getattr(found, name)
    if name in members:
        return members[name]
    member = getattr(type(found), name)
    return getattr(found, name) if callable(member) else member
