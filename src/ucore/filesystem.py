"""The board's files, for the host, which calls these functions (`ucore.calls`). Loaded for a call, and dropped again.

A file comes in pieces, in a file beside its place; when that is whole, it takes the place.
"""

import gc

import ucore
from ucore.quirks import CPYTHON, io, os
from ucore.wire import crc32

KIND = 0xF000
FOLDER = 0x4000
BLOCK = 512  # bytes in memory at a time, when a file is read to be summed up or copied
BESIDE = "~"
REMOTE = "/remote"
MANY = 32  # names of a folder that are in memory at a time, when it is removed


def _join(folder, name):
    return folder + name if folder.endswith("/") else folder + "/" + name


def _whole(path):
    """A path from the root on, without dots."""
    parts = []
    for part in (path if path.startswith("/") else os.getcwd() + "/" + path).split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _is_remote(path):
    """Whether it is a folder of the host's that is mounted: what is done with all files of the board is not done there."""
    return _whole(path) == REMOTE and bool(getattr(getattr(ucore, "_link", None), "remote", None))


def _own():
    """Where µcore's package is, on a board that has it among its files: without it nothing here would go on."""
    file = getattr(ucore, "__file__", "")
    return file[: file.rfind("/")] if file.startswith("/") else None


def _keep_own(path):
    """Raise OSError for what is µcore's."""
    own = _own()
    if own and (_whole(path) + "/").startswith(own + "/"):
        raise OSError(16)


def stat(path):
    """What is at ``path``: (whether it is a folder, size in bytes, time of its change in seconds of the board's clock)."""
    found = os.stat(path)
    return found[0] & KIND == FOLDER, found[6], found[8]


def ls(path):
    """Each entry of a folder: (name, whether it is a folder, size)."""
    if CPYTHON:
        entries = [(name,) for name in os.listdir(path)]
    else:
        entries = os.ilistdir(path)
    for entry in entries:
        name = entry[0]
        if len(entry) > 3:  # a chip's file systems tell all, which saves a look for each
            yield name, entry[1] & KIND == FOLDER, entry[3]
        else:
            is_folder, size, _ = stat(_join(path, name))
            yield name, is_folder, size


def walk(path, sums):
    """All that lies below a folder, folders before what is in them: (path from there, whether it is a folder, size, sum or b"")."""
    # A list, not recursion: a board's stack is small.
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for name, is_folder, size in ls(_join(path, below) if below else path):
            if not below and _is_remote(_join(path, name)):
                continue
            name = below + "/" + name if below else name
            if is_folder:
                waiting.append(name)
            yield name, is_folder, size, b"" if is_folder or not sums else sum_up(_join(path, name))


def sum_up(path):
    """The first 16 bytes of a file's SHA-256; the 4 of its CRC-32 on a board that has no SHA-256."""
    try:
        if CPYTHON:
            from hashlib import sha256
        else:
            from uhashlib import sha256
        found = sha256()
    except ImportError:
        found = None
    check = 0
    block = bytearray(BLOCK)
    view = memoryview(block)
    with io.open(path, "rb") as file:
        while True:
            count = file.readinto(block)
            if not count:
                return found.digest()[:16] if found else check.to_bytes(4, "little")
            if found:
                found.update(view[:count])
            else:
                check = crc32(view[:count], check)


def free_memory():
    """How many bytes of memory are free."""
    gc.collect()
    return gc.mem_free() if hasattr(gc, "mem_free") else 1 << 20


def read(path, at, size):
    """Bytes of a file from ``at`` on."""
    with io.open(path, "rb") as file:
        file.seek(at)
        return file.read(size)


def begun(path):
    """What is there of a file that is being written: (size, sum); (0, b"") for nothing."""
    try:
        return stat(path + BESIDE)[1], sum_up(path + BESIDE)
    except OSError:
        return 0, b""


def write(path, at, data):
    """Write a piece of a file beside its place. Raises OSError, and ValueError where what is there does not end at ``at``."""
    with io.open(path + BESIDE, "ab" if at else "wb") as file:
        if at and file.seek(0, 2) != at:
            raise ValueError("another part of the file is there already")
        if file.write(data) != len(data):
            raise OSError(28)


def finish(path, sums):
    """Give a file that is written its place, if it is whole; else ValueError, and what is at its place stays.

    sums: what `sum_up` may say of it.
    """
    if sum_up(path + BESIDE) not in sums:
        raise ValueError("what was written is not what was sent")
    _replace(path + BESIDE, path)


def put(path, data, sums):
    """Write a small file: whole, or not at all."""
    try:
        write(path, 0, data)
        finish(path, sums)
    except BaseException:
        discard(path)
        raise


def discard(path):
    """Forget a file that is being written."""
    try:
        os.remove(path + BESIDE)
    except OSError:
        pass


def remove(path):
    """Remove a file, or an empty folder."""
    _keep_own(path)
    (os.rmdir if stat(path)[0] else os.remove)(path)


def remove_all(path):
    """Remove a folder and all that is in it; of the root, only that. Gives how many things are gone, now and then.

    What is the host's stays, and so does µcore's package, with the folders that they are in.
    """
    _keep_own(path)
    count = 0
    own = _own()
    left = []  # folders in which something stays
    waiting = [path]
    while waiting:
        folder = waiting[-1]
        found = []
        stays = False
        for name, is_folder, _ in ls(folder):
            name = _join(folder, name)
            if is_folder and (name in left or _whole(name) == own or _is_remote(name)):
                stays = True
                continue
            found.append((name, is_folder))
            if len(found) == MANY:
                break  # a folder that changes is not read on
        gc.collect()  # which closes it
        inner = [name for name, is_folder in found if is_folder]
        for name, is_folder in found:
            if not is_folder:
                os.remove(name)
                count += 1
        waiting += inner
        if not found:
            waiting.pop()
            if stays:
                left.append(folder)
            elif folder.strip("/"):
                os.rmdir(folder)
                count += 1
        yield count


def make_folder(path):
    """Make a folder, and those it lies in; one that is there stays."""
    at = 0
    while at >= 0:
        at = path.find("/", at + 1)
        part = path if at < 0 else path[:at]
        if part.rstrip("/"):
            try:
                os.mkdir(part)
            except OSError:
                if not stat(part)[0]:
                    raise OSError(17 if at < 0 else 20)


def move(old, new):
    """Rename a file or a folder. Raises OSError (22) for a folder that would go into itself, which a chip's file system would lose."""
    here = _whole(old) + "/"
    own = (_own() or "") + "/"
    if own != "/" and (own.startswith(here) or here.startswith(own)):
        raise OSError(16)
    if _whole(new).startswith(here):
        raise OSError(22)
    _replace(old, new)


def _replace(old, new):
    (os.replace if CPYTHON else os.rename)(old, new)


def copy(old, new):
    """Copy a file on the board, beside its place at first."""
    block = bytearray(BLOCK)
    view = memoryview(block)
    try:
        with io.open(old, "rb") as source, io.open(new + BESIDE, "wb") as target:
            while True:
                count = source.readinto(block)
                if not count:
                    break
                if target.write(view[:count]) != count:
                    raise OSError(28)
        _replace(new + BESIDE, new)
    except OSError:
        discard(new)
        raise


def space():
    """Each file system: (where, bytes in all, bytes free)."""
    places = ["/"]
    try:
        import vfs

        places = [place for _, place in vfs.mount()] or places
    except (ImportError, AttributeError, TypeError):
        pass  # before MicroPython 1.25 nothing tells them
    found = []
    for place in places:
        status = os.statvfs(place)
        found.append((place, status[1] * status[2], status[1] * status[3]))
    return found
