"""A folder of the host's computer as a file system of the board, `/remote`. Loaded for a mount, and there as long as that.

Whatever is asked of it is a question to the host (`wire.REMOTE_REQUEST`), which one thread asks at a time. Where no answer comes it is
an OSError: nothing here waits for ever.
"""

import sys
from _thread import allocate_lock, get_ident

import ucore
from ucore import wire
from ucore.quirks import CPYTHON, hurry, io, json, os, ticks_diff, ticks_ms

PLACE = "/remote"
CHUNK = 1024  # bytes of a file in a question or an answer
ANSWER_MS = 10000  # the host answers in milliseconds, on a slow line in tenths of a second
EPERM = 1
EBADF = 9
EBUSY = 16
ENODEV = 19
EINVAL = 22
ETIMEDOUT = 110
IDLE_MS = 5  # another thread may take in what the main thread waits for
# Requests of ioctl, as MicroPython numbers them.
FLUSH = 1
POLL = 3
CLOSE = 4
READABLE_AND_WRITABLE = 5


def mount(number, is_writable):
    """Mount the folder whose holder the host knows by this number. A mount before it ends."""
    system = _system()
    link = ucore._link
    _leave(None)
    link.fetched = None
    link.remote = folder = Folder(link, number)
    system.mount(folder, PLACE, readonly=not is_writable)
    if sys.path[:1] == [""] and sys.path.count("") > 1:  # where the last mount was
        sys.path[0] = PLACE
    else:
        sys.path.insert(0, PLACE)


def unmount(number):
    """End the mount with this number."""
    folder = getattr(ucore._link, "remote", None)
    if folder and folder._number == number:
        _leave(None)


def _system():
    system = os
    if not CPYTHON:
        try:
            import vfs as system
        except ImportError:
            pass  # before MicroPython 1.23
    if not hasattr(system, "mount"):
        raise NotImplementedError("this board's Python mounts nothing")
    return system


def _leave(_):
    ucore._link.remote = None
    # An import that looks into the folder right now goes on in the list as it was: it must not become shorter.
    for at in range(len(sys.path)):
        if sys.path[at] == PLACE:
            sys.path[at] = ""
    try:
        _system().umount(PLACE)
    except OSError:
        pass  # it was not there


class Folder:
    """The file system, as MicroPython's `mount` takes one."""

    def __init__(self, link, number):
        self._link = link
        self._number = number
        self._session = link.session
        self._lock = allocate_lock()
        self._count = 0
        self._at = "/"
        self._over = False

    def mount(self, is_readonly, mkfs):
        """Nothing is to be done for it."""

    def umount(self):
        """All that is asked from now on fails."""
        self._over = True

    def ask(self, *question, data=b""):
        """Ask the host; returns what it says, and the bytes that come with it. Raises OSError, also where no answer comes."""
        link = self._link
        if link.inside():
            raise OSError(EBUSY)  # a callback must not wait
        with self._lock:
            self._check()
            self._count += 1
            self._send(json.dumps((self._count,) + question).encode() + b"\n" + data)
            began = ticks_ms()
            while True:
                answer = self._take()
                if answer:
                    break
                self._check()
                if link.gone or ticks_diff(ticks_ms(), began) > ANSWER_MS:
                    raise OSError(ETIMEDOUT)
                if get_ident() == link.main:
                    link.idle(IDLE_MS)
                    link.do(link.pump)
                else:
                    link.do(link.pump, 1)
        _, error, found, data = answer
        if error == ENODEV:  # who has mounted it is gone
            self._over = True
            if not CPYTHON:
                hurry(_leave)
        if error:
            raise OSError(error)
        return found, data

    def _check(self):
        if self._over or self._link.session != self._session or self._link.leave:
            raise OSError(ENODEV)

    def _take(self):
        """The answer to the last question, if it has come; what is older nobody waits for."""
        link = self._link
        message = link.do(link.take, wire.REMOTE_REPLY)
        content = message[2] if message else link.fetched
        link.fetched = None
        if content:
            content = bytes(content)
            end = content.find(b"\n")
            answer = json.loads(content[:end])
            if answer[0] == self._count:
                return answer + [content[end + 1 :]]

    def _send(self, content):
        """Send a question, in parts where it is large. Raises OSError where the host is away before it is begun."""
        link = self._link
        number = self._number
        link.do(link.output.drain)
        data = bytes((wire.REMOTE_REQUEST, number & 255, number >> 8)) + content
        step = link.payload
        interrupt = None
        with link.big:  # parts of two messages must not mix
            at = 0
            while at < len(data):
                try:
                    part = data[at : at + step]
                    kind = wire.MESSAGE if len(data) <= step else wire.PART if at + step < len(data) else wire.LAST
                    with link.tx:
                        self._check()
                        if link.gone and not at:
                            raise OSError(ETIMEDOUT)
                        # What is begun is ended, whatever comes: half a message would be the beginning of the next.
                        if link.room(len(part)) or link.gone:
                            at += step  # before it is sent: an interrupt of the write finds it kept, to be sent again
                            link.commit(bytearray((kind, 0)) + part, None)
                            continue
                    link.do(link.pump, 1)
                except KeyboardInterrupt as error:
                    interrupt = error
                    if not at:
                        break
        if interrupt:
            raise interrupt

    def _full(self, path):
        return path if path.startswith("/") else self._at.rstrip("/") + "/" + path

    def chdir(self, path):
        path = self._full(path)
        if not self.stat(path)[0] & 0x4000:
            raise OSError(EINVAL)
        self._at = path

    def getcwd(self):
        return self._at

    def stat(self, path):
        mode, size, when = self.ask("stat", self._full(path))[0]
        return (mode, 0, 0, 0, 0, 0, size, when, when, when)

    def statvfs(self, path):
        block, blocks, free = self.ask("statvfs", self._full(path))[0]
        return (block, block, blocks, free, free, 0, 0, 0, 0, 255)

    def ilistdir(self, path):
        path = self._full(path)
        entries, more = self.ask("ls", path, 0)[0]  # now, so that its error is this call's
        return self._entries(path, entries, more)

    def _entries(self, path, entries, more):
        count = 0
        while True:
            for name, mode, size in entries:
                count += 1
                yield (name, mode, 0, size)
            if not more:
                return
            entries, more = self.ask("ls", path, count)[0]

    def remove(self, path):
        self.ask("remove", self._full(path))

    def rmdir(self, path):
        self.ask("rmdir", self._full(path))

    def mkdir(self, path):
        self.ask("mkdir", self._full(path))

    def rename(self, old, new):
        self.ask("rename", self._full(old), self._full(new))

    def open(self, path, mode):
        return File(self, self._full(path), mode)


class File(io.IOBase):
    """An open file. The host keeps nothing open for it."""

    def __init__(self, folder, path, mode):
        self._folder = folder
        self._path = path
        self._is_text = "b" not in mode
        self._writes = "r" not in mode or "+" in mode
        self._reads = "r" in mode or "+" in mode
        self._size, self._held = folder.ask("open", path, mode.replace("b", "").replace("t", ""), CHUNK)
        self._held_at = 0  # where in the file that is which is held
        self._at = self._size if "a" in mode else 0
        self._pending = b""  # written, and not sent; it ends at `_at`
        self._open = True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _check(self, may):
        if not (self._open and may):
            raise OSError(EBADF)

    def _ahead(self):
        """Bytes from here on, as many as are at hand; at the end none."""
        self._check(self._reads)
        self.flush()
        skip = self._at - self._held_at
        if not 0 <= skip < len(self._held):
            self._held = self._folder.ask("read", self._path, self._at, CHUNK)[1]
            self._held_at = self._at
            skip = 0
        return memoryview(self._held)[skip:]

    def readinto(self, buffer, size=None):
        # Full but at the end: what imports takes less for the end.
        if size is None:
            size = len(buffer)
        count = 0
        while count < size:
            found = self._ahead()[: size - count]
            if not found:
                break
            buffer[count : count + len(found)] = found
            count += len(found)
            self._at += len(found)
        return count

    def _take(self, size):
        """Bytes; fewer only at the end. All for a size below 0."""
        parts = []
        while size:
            part = bytes(self._ahead()[: CHUNK if size < 0 else size])
            if not part:
                break
            parts.append(part)
            self._at += len(part)
            size -= len(part) if size > 0 else 0
        return b"".join(parts)

    def read(self, size=-1):
        if size is None:
            size = -1
        if not self._is_text or size < 0:
            found = self._take(size)
            return found.decode() if self._is_text else found
        found = b""
        while size:  # characters
            first = self._take(1)
            if not first:
                break
            found += first + self._take((first[0] > 0xBF) + (first[0] > 0xDF) + (first[0] > 0xEF))
            size -= 1
        return found.decode()

    def readline(self, size=-1):
        found = b""
        while size < 0 or len(found) < size:
            ahead = bytes(self._ahead())
            end = ahead.find(b"\n") + 1
            ahead = ahead[: end or len(ahead)]
            if size >= 0:
                ahead = ahead[: size - len(found)]
            self._at += len(ahead)
            found += ahead
            if not ahead or found.endswith(b"\n"):
                break
        return found.decode() if self._is_text else found

    def readlines(self):
        return list(self)

    def write(self, data):
        self._check(self._writes)
        if isinstance(data, str):
            data = data.encode()
        view = memoryview(data)
        for at in range(0, len(view), CHUNK):
            part = bytes(view[at : at + CHUNK])
            self._pending += part
            self._at += len(part)
            if len(self._pending) >= CHUNK:
                self.flush()
        return len(data)

    def flush(self):
        pending = self._pending
        if pending:
            self._pending = b""
            self._held = b""
            self._folder.ask("write", self._path, self._at - len(pending), data=pending)
            self._size = max(self._size, self._at)

    def seek(self, offset, whence=0):
        self.flush()
        at = offset + (0, self._at, self._size)[whence]
        if at < 0:
            raise OSError(EINVAL)
        self._at = at
        return at

    def tell(self):
        return self._at

    def close(self):
        if self._open:
            try:
                self.flush()
            finally:
                self._open = False

    def ioctl(self, request, flags):
        if request == POLL:
            return flags & READABLE_AND_WRITABLE
        if request == FLUSH:
            self.flush()
            return 0
        if request == CLOSE:
            self.close()
            return 0
        return -EINVAL
