"""What the host asks about the packages on a board, and has done there. Loaded for a question, and dropped again."""

import sys

from ucore.quirks import CPYTHON, os

FOLDER = 0x4000
KIND = 0xF000


def find_place():
    """Where modules are looked for, and the version of the bytecode that is understood; 0 for none."""
    return list(sys.path), getattr(sys.implementation, "_mpy", 0) & 255


def capacity(folder):
    """Bytes in a block of the file system that a folder is on or will be on, and how many blocks are free."""
    while folder:
        try:
            found = os.statvfs(folder)
            return found[1] or found[0], found[3]
        except OSError:
            folder = folder[: folder.rfind("/")]
    found = os.statvfs("/")
    return found[1] or found[0], found[3]


def digests(paths):
    """The SHA-256 of each file, None where there is no such file."""
    sha256 = __import__("hashlib" if CPYTHON else "uhashlib").sha256
    for path in paths:
        found = sha256()
        try:
            if os.stat(path)[0] & KIND == FOLDER:
                raise OSError(path)
            with open(path, "rb") as file:
                while True:
                    piece = file.read(512)
                    if not piece:
                        break
                    found.update(piece)
            yield found.digest()
        except OSError:
            yield None


def list_files(folder):
    """Path and size of each file below a folder; what cannot be listed has none."""
    folders = [folder]
    while folders:
        folder = folders.pop()
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            path = folder.rstrip("/") + "/" + name
            try:
                found = os.stat(path)
            except OSError:
                continue
            if found[0] & KIND == FOLDER:
                folders.append(path)
            else:
                yield path, found[6]


def make_folders(path):
    """Make the folders that a file's path needs. Raises OSError."""
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            if os.stat(path[:at])[0] & KIND != FOLDER:
                raise
        at = path.find("/", at + 1)


def erase(paths, top):
    """Remove files, and folders below ``top`` that are empty then. The paths of those that cannot be removed."""
    kept = []
    for path in paths:
        try:
            os.remove(path)
        except OSError as error:
            if error.args[0] != 2:  # ENOENT: it is gone
                kept.append(path)
        while True:
            path = path[: path.rfind("/")]
            if not path.startswith(top + "/"):
                break
            try:
                os.rmdir(path)
            except OSError:
                break  # something is in it
    return kept
