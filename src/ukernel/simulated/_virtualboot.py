"""What a virtual board does when it starts, as a chip does: its flash is mounted, boot.py and main.py run, then the agent serves.

A carriage return ends the agent: then there is the REPL, raw REPL included, until a soft reset. The flash is a file (environment
variable UCORE_VIRTUAL_FLASH) with littlefs on it; nothing of the host's files can be seen.
"""

import os
import sys

import _virtualchip
import vfs

_BLOCK = 4096
EXIT_SOFT = 83  # ukernel.virtualboard has the same; after EXIT_RAW the board begins in the raw REPL
EXIT_RAW = 86


class Flash:
    """The block device that littlefs is on."""

    def __init__(self, memory):
        self._memory = memory

    def readblocks(self, block, buf, offset=0):
        """Read from a block on."""
        start = block * _BLOCK + offset
        buf[:] = self._memory[start : start + len(buf)]

    def writeblocks(self, block, buf, offset=None):
        """Write from a block on; a block is erased before, where no offset says that it is."""
        start = block * _BLOCK + (offset or 0)
        self._memory[start : start + len(buf)] = buf

    def ioctl(self, request, argument):
        """Tell how many blocks there are, and how large."""
        if request == 4:
            return len(self._memory) // _BLOCK
        if request == 5:
            return _BLOCK
        return 0  # to start, stop, sync and erase there is nothing to do


def mount():
    """Put the flash in the place of the host's files; a new or broken one is formatted."""
    memory = _virtualchip.memory("UCORE_VIRTUAL_FLASH")
    vfs.umount("/")
    flash = Flash(memory if memory is not None else bytearray(16 * _BLOCK))
    try:
        files = vfs.VfsLfs2(flash, progsize=256, readsize=256, lookahead=32)
    except OSError:
        vfs.VfsLfs2.mkfs(flash, progsize=256, readsize=256, lookahead=32)
        files = vfs.VfsLfs2(flash, progsize=256, readsize=256, lookahead=32)
        vfs.mount(files, "/")
        os.mkdir("/lib")
        with open("/boot.py", "w") as file:
            file.write("# Runs when the board starts, before main.py.\n")
    else:
        vfs.mount(files, "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]


def start():
    """Boot. Never returns."""
    mount()
    raw = bool(os.getenv("UCORE_VIRTUAL_RAW"))
    if not _virtualchip.run("boot.py") and not (not raw and _virtualchip.run("main.py")):
        if not raw:
            import ucore.agent

            try:
                ucore.agent.serve()
            except SystemExit:
                _virtualchip.reset(EXIT_SOFT)
        raw = _virtualchip.repl(raw)
    _virtualchip.reset(EXIT_RAW if raw else EXIT_SOFT)
