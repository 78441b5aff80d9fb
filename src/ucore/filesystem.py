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
BESIDE = "~ucore"  # to the name of a file that is being written
REMOTE = "/remote"
EBUSY = 16
EEXIST = 17
ENOTDIR = 20
EINVAL = 22
ENOSPC = 28
EILSEQ = 84
MANY = 32  # names of a folder that are in memory at a time, when it is removed


def _join(folder, name):
    return folder + name if folder.endswith("/") else folder + "/" + name


def _whole(path):
    """A path from the root on, without dots."""
    parts = []
    for part in (path if path.startswith("/") else _join(os.getcwd(), path)).split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _places():
    """Where file systems are mounted; nothing where that is not known."""
    try:
        import vfs

        return [place for _, place in vfs.mount()]
    except (ImportError, AttributeError, TypeError):
        return []  # before MicroPython 1.25 nothing tells them


def _apart():
    """Where other file systems are than the root, an SD card, say: what is done with all that is in the root is not done there."""
    places = _places()
    if "/" in places:
        return [place for place in places if place != "/"]
    if places:
        return [place for place in places if place == REMOTE]  # the root is none, all lie in it
    return [REMOTE] if getattr(getattr(ucore, "_link", None), "remote", None) else []


def _own():
    """Where µcore's package is, on a board that has it among its files: without it nothing here would go on."""
    file = getattr(ucore, "__file__", "")
    return file[: file.rfind("/")] if file.startswith("/") else None


def _keep_own(path):
    """Raise OSError for what is µcore's."""
    own = _own()
    if own and (_whole(path) + "/").startswith(own + "/"):
        raise OSError(EBUSY)


def stat(path):
    """What is at ``path``: (whether it is a folder, size in bytes, time of its change in seconds of the board's clock)."""
    found = os.stat(path)
    return found[0] & KIND == FOLDER, found[6], found[8]


def ls(path):
    """Each entry of a folder: (name, whether it is a folder, size)."""
    entries = iter([(name,) for name in os.listdir(path)]) if CPYTHON else os.ilistdir(path)
    while True:
        try:
            entry = next(entries)
        except StopIteration:
            return
        except UnicodeError:
            raise OSError(EILSEQ)  # a name that is no text
        name = entry[0]
        if len(entry) > 3:  # a chip's file systems tell all, which saves a look for each
            yield name, entry[1] & KIND == FOLDER, entry[3]
        else:
            is_folder, size, _ = stat(_join(path, name))
            yield name, is_folder, size


def walk(path, sums):
    """All that lies below a folder, folders before what is in them: (path from there, whether it is a folder, size, sum or b"")."""
    # A list, not recursion: a board's stack is small.
    apart = _apart()
    top = _whole(path)
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for name, is_folder, size in ls(_join(path, below) if below else path):
            name = below + "/" + name if below else name
            if is_folder and _join(top, name) in apart:
                continue
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
    """What is there of a file that is being written, and the room besides: (size, sum, bytes free); (0, b"", free) for nothing.

    Below 0 bytes are free where that is not known.
    """
    try:
        free = _room(path[: path.rfind("/") + 1] or ".")[1]
    except (OSError, AttributeError):
        free = -1
    try:
        return stat(path + BESIDE)[1], sum_up(path + BESIDE), free
    except OSError:
        return 0, b"", free


def write(path, at, data):
    """Write a piece of a file beside its place. Raises OSError, and ValueError where what is there does not end at ``at``.

    Where it ends with the piece, that has been written, and there was no memory to say so.
    """
    with io.open(path + BESIDE, "ab" if at else "wb") as file:
        end = file.seek(0, 2)
        if at and end == at + len(data):
            return
        if end != at:
            raise ValueError("another part of the file is there already")
        if file.write(data) != len(data):
            raise OSError(ENOSPC)


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
    apart = _apart()
    kept = apart + [_own()]
    left = []  # folders in which something stays
    waiting = [path]
    while waiting:
        folder = waiting[-1]
        found = []
        stays = False
        for name, is_folder, _ in ls(folder):
            name = _join(folder, name)
            if is_folder and (name in left or _whole(name) in kept):
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
            elif folder.strip("/") and _whole(folder) not in apart:
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
            except OSError as error:
                try:
                    is_folder = stat(part)[0]
                except OSError:
                    raise error
                if not is_folder:
                    raise OSError(EEXIST if at < 0 else ENOTDIR)


def move(old, new):
    """Rename a file or a folder. Raises OSError (EINVAL) for a folder that would go into itself, which a chip's file system would lose."""
    here = _whole(old) + "/"
    own = (_own() or "") + "/"
    if own != "/" and (own.startswith(here) or here.startswith(own)):
        raise OSError(EBUSY)
    if _whole(new).lower().startswith(here.lower()):  # to FAT upper and lower case are the same
        raise OSError(EINVAL)
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
                    raise OSError(ENOSPC)
        _replace(new + BESIDE, new)
    except BaseException:
        discard(new)
        raise


def space():
    """Each file system: (where, bytes in all, bytes free)."""
    return [(place,) + _room(place) for place in _places() or ["/"]]


def _room(place):
    """Of the file system at a place: (bytes in all, bytes free)."""
    status = os.statvfs(place)
    # LittleFS may count a block twice: then more are taken than there are, and what is free is a number below 0 without its sign.
    return status[1] * status[2], status[1] * (status[3] if status[3] <= status[2] else 0)
