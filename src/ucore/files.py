"""Files that the host writes on the board. Loaded for a file, and dropped again."""

from ucore.quirks import CPYTHON, io, os


def obey(runner, data):
    """Save a file: the length of its name (2), its name, what is in it. Raises OSError; what was there before is then as it was."""
    data = memoryview(data)
    size = data[0] | data[1] << 8
    path = bytes(data[2 : 2 + size]).decode()
    data = data[2 + size :]
    beside = path + "~"
    try:
        with io.open(beside, "wb") as file:
            if file.write(data) != len(data):
                raise OSError("no room")
        (os.replace if CPYTHON else os.rename)(beside, path)
    except BaseException as error:
        try:
            os.remove(beside)
        except OSError:
            pass  # it was not even begun
        if not isinstance(error, OSError):
            raise
        raise OSError("%s could not be saved: %s. What was there before is as it was." % (path, _reason(error)))
    runner._output.write(runner.cell, "Saved to %s on the board.\n" % path)


def _reason(error):
    code = error.args[0] if error.args else 0
    try:
        from uerrno import errorcode

        return errorcode[code]
    except (ImportError, KeyError):
        return str(error)
