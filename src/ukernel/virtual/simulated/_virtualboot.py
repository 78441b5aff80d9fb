"""What a virtual board does when it starts, as a chip does: its flash is mounted, boot.py and main.py run, then the agent serves.

A carriage return ends the agent: then there is the REPL, raw REPL included, until a soft reset. The flash is a file (environment
variable UCORE_VIRTUAL_FLASH) with littlefs on it; nothing of the host's files can be seen. Ctrl-C ends a main.py that does not end,
and the agent serves.
"""

import os
import sys

import _virtualchip
import micropython
import vfs

EXIT_SOFT = 83  # ukernel.virtual.process has the same; after EXIT_RAW the board begins in the raw REPL
EXIT_RAW = 86


def mount():
    """Put the flash in the place of the host's files; a new or broken one is formatted."""
    flash = _virtualchip.Flash()
    vfs.umount("/")
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
    micropython.kbd_intr(-1)  # Ctrl-C is for boot.py, main.py and cells alone
    mount()
    raw = bool(_virtualchip.setting("UCORE_VIRTUAL_RAW"))
    reset = _virtualchip.run("boot.py")
    if not reset and not raw:
        reset = _virtualchip.run("main.py")
        if not reset:
            _serve()
    while not reset:
        try:
            raw = _virtualchip.repl(raw)
            reset = True
        except KeyboardInterrupt:  # it came between two lines
            raw = None
    _virtualchip.reset(EXIT_RAW if raw else EXIT_SOFT, True)


def _serve():
    """Let the agent serve, until somebody wants the REPL."""
    import ucore.agent

    try:
        ucore.agent.serve()
    except SystemExit:  # of a program: machine.soft_reset has a way of its own here
        _virtualchip.reset(0, True)
    except KeyboardInterrupt:
        pass  # it came as the agent had ended
