"""Files that the host writes on the board. Loaded for a file, and dropped again."""

from ucore.quirks import CPYTHON, io, os


def update(runner, order):
    """Save a file (`wire.SAVE`). Raises OSError; what was there before is then as it was."""
    size = 4 + (order[2] | order[3] << 8)
    path = bytes(order[4:size]).decode()
    data = memoryview(order)[size:]
    beside = path + "~ucore"
    try:
        if os.stat(path)[0] & 0xF000 != 0x8000:
            beside = path  # a folder, which is an error, or on unix a device
    except OSError:
        pass
    try:
        with io.open(beside, "wb") as file:
            if file.write(data) != len(data):
                raise OSError("no room")
        if beside != path:
            (os.replace if CPYTHON else os.rename)(beside, path)
    except BaseException as error:
        try:
            if beside != path:
                os.remove(beside)
        except OSError:
            pass  # it was not even begun
        if not isinstance(error, OSError):
            raise
        raise OSError("%s could not be saved: %s. What was there before is as it was." % (path, _reason(error)))
    runner.link.do(runner.link.output.write, runner.cell, "Saved to %s on the board.\n" % path)


def _reason(error):
    code = error.args[0] if error.args else 0
    try:
        from uerrno import errorcode

        return errorcode[code]
    except (ImportError, KeyError):
        return str(error)
