"""Every exception and warning of the host side.

::

    UcoreError
    ├── BoardError
    │   ├── BoardNotFoundError      no such board, or none or several where one was meant
    │   ├── BoardGoneError          the cable, the port or the virtual board went away
    │   ├── BoardRestartedError     the board came back with nothing in its memory
    │   ├── BoardVersionError       the board speaks another version of the protocol
    │   ├── BoardBusyError          something else holds the port, or a cell holds the board
    │   ├── NoAnswerError           (also TimeoutError) the board is there and silent
    │   ├── BoardTimeoutError       (also TimeoutError) the board took longer than it was given
    │   ├── BoardValueError         (also TypeError) a value that cannot travel between board and computer
    │   └── BoardCodeError          an error of the code that the board ran
    ├── HubError
    │   ├── HubUnreachableError     no hub answers, and none could be started
    │   └── HubDeniedError          one end could not prove that it knows the hub's token
    ├── PipeError
    │   ├── PipeClosedError         used after it was closed
    │   ├── PipeNameError           (also ValueError) not a pipe name, or an ambiguous one
    │   └── PipeEndedError          ended for another reason than being closed by the board
    ├── RecordingError              a recording that cannot be made, written or read
    ├── PackageError                a package for a board that cannot be had, or cannot be installed
    ├── UsageError                  a magic line or a command that cannot be understood
    └── SettingError                (also ValueError) an environment variable that makes no sense

    PipeWarning (UserWarning)
    ├── PipeEndedEarlyWarning       the pipe ended before all that was asked for had arrived
    ├── PipeDataLostWarning         frames are missing from what was returned
    └── PipeDecodeWarning           a decoder failed on a frame; the frame was left out
"""

from typing import Any

__all__ = [
    "BoardBusyError",
    "BoardCodeError",
    "BoardError",
    "BoardGoneError",
    "BoardNotFoundError",
    "BoardRestartedError",
    "BoardTimeoutError",
    "BoardValueError",
    "BoardVersionError",
    "HubDeniedError",
    "HubError",
    "HubUnreachableError",
    "NoAnswerError",
    "PackageError",
    "PipeClosedError",
    "PipeDataLostWarning",
    "PipeDecodeWarning",
    "PipeEndedEarlyWarning",
    "PipeEndedError",
    "PipeError",
    "PipeNameError",
    "PipeWarning",
    "RecordingError",
    "SettingError",
    "UcoreError",
    "UsageError",
    "as_reply",
    "by_name",
    "describe",
]


class UcoreError(Exception):
    """The root: everything µcore raises on purpose."""


class BoardError(UcoreError):
    """Something about a board."""


class BoardNotFoundError(BoardError):
    """There is no such board, or none or several where one was meant."""


class BoardGoneError(BoardError):
    """The board went away: unplugged, powered off, or its virtual board ended."""


class BoardRestartedError(BoardError):
    """The board restarted: what it ran and what it remembered is lost."""


class BoardVersionError(BoardError):
    """The board speaks another version of the protocol."""


class BoardBusyError(BoardError):
    """Another program holds the port, or another cell the board."""


class NoAnswerError(BoardError, TimeoutError):
    """The board is there, but does not answer."""


class BoardTimeoutError(BoardError, TimeoutError):
    """The board took longer than the time it was given, and was interrupted."""


class BoardValueError(BoardError, TypeError):
    """A value that cannot travel between the board and this computer."""


class BoardCodeError(BoardError):
    """The code that the board ran has failed there.

    ``ename``, ``evalue``: the error's class and text, as the board says them. ``traceback``: the frames as text, with their source
    lines where these are known.
    """

    def __init__(self, message: str, ename: str = "", evalue: str = "", traceback: str = ""):
        super().__init__(message)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback


class HubError(UcoreError):
    """Something about the board hub."""


class HubUnreachableError(HubError):
    """No hub answers, and none could be started."""


class HubDeniedError(HubError):
    """One end could not prove that it knows the hub's token."""


class PipeError(UcoreError):
    """Something about a pipe."""


class PipeClosedError(PipeError):
    """The pipe was used after it had been closed on this side."""


class PipeNameError(PipeError, ValueError):
    """Not a pipe name, or a name that several boards use."""


class PipeEndedError(PipeError):
    """The pipe ended for another reason than being closed by the board."""


class RecordingError(UcoreError):
    """Something about a recording: its file cannot be written or read, or its recorder has ended."""


class PackageError(UcoreError):
    """A package for a board that cannot be had, or cannot be installed there."""


class UsageError(UcoreError):
    """A magic line or a command that cannot be understood."""


class SettingError(UcoreError, ValueError):
    """An environment variable that makes no sense."""


class PipeWarning(UserWarning):
    """Something about pipe data that was returned all the same."""


class PipeEndedEarlyWarning(PipeWarning):
    """The pipe ended before all that was asked for had arrived."""


class PipeDataLostWarning(PipeWarning):
    """Frames are missing from what was returned."""


class PipeDecodeWarning(PipeWarning):
    """A decoder failed on a frame, and the frame was left out."""


def describe(error: OSError) -> str:
    """Return in words what an OSError means, for the end of a sentence: "No space left on device (/tmp/x)"."""
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}"


def as_reply(error: BaseException) -> dict[str, Any]:
    """Return an error as the content of a Jupyter reply: a class of this module is raised from it again with `by_name`."""
    return {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}


def by_name(ename: str, evalue: str) -> UcoreError:
    """Return the error that another process reported as ``ename`` with the sentence ``evalue``.

    Only classes of this module are ever made; any other name gives a UcoreError that mentions it.
    """
    found = globals().get(ename)
    if isinstance(found, type) and issubclass(found, UcoreError):
        return found(evalue)
    return UcoreError(f"{ename}: {evalue}")
