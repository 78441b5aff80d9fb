"""`record` and `recordings`: a recorder is started, and is known and stopped from anywhere."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import uuid4

from ukernel import settings
from ukernel.client.detachedprocess import DetachedProcess
from ukernel.errors import RecordingError, describe
from ukernel.pipes.reasons import describe_losses
from ukernel.tables import Table

from . import registry
from .order import make_order

__all__ = ["Recording", "RecordingState", "Recordings", "check_installed", "record", "recordings"]

START_S = 30.0  # a busy machine, and a hub that has to be started first
STOP_S = 30.0  # to finish a file: a disk may be slow
POLL_S = 0.02


class RecordingState(NamedTuple):
    """How a recording is, as its recorder has said it in the last half second.

    state: "recording"; "waiting" (nothing to be recorded is open: `obstacle` says more, where there is more to say); "ended", and `reason` says why:
    "stopped", "disk full" or a sentence; "killed". file: the path of what is written now, path: of the first file. frames: in the recording, of `size_bytes` together.
    file_bytes: on the disk. lost: frames that are not in it, but counted; `losses` the same per cause. frames_per_s, bytes_per_s: over the last
    two seconds. free_bytes: on the disk. pipes, boards: that are recorded now. asked: what was asked for. started, seen: seconds since
    1970. error: what went wrong, a sentence. notes: what people should know, the latest.
    """

    id: str
    state: str
    file: str
    path: str = ""
    pid: int = 0
    asked: Sequence[str] = ()
    pipes: Sequence[str] = ()
    boards: Sequence[str] = ()
    frames: int = 0
    size_bytes: int = 0
    file_bytes: int = 0
    free_bytes: int = 0
    frames_per_s: float = 0.0
    bytes_per_s: float = 0.0
    losses: Mapping[str, int] = MappingProxyType({})
    started: float = 0.0
    seen: float = 0.0
    reason: str = ""
    error: str = ""
    obstacle: str = ""
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> RecordingState:
        """Return what a recorder has said, perhaps one of another build."""
        return cls(**{name: state[name] for name in cls._fields if name in state})

    @property
    def lost(self) -> int:
        return sum(self.losses.values())

    @property
    def is_ended(self) -> bool:
        """Whether its recorder runs no more."""
        return self.state not in ("recording", "waiting")

    def describe(self) -> str:
        """Return it as one line."""
        what = ", ".join(self.pipes or self.asked)
        parts = [f"{what} to {self.file}: {self.state}"]
        if self.reason not in ("", "stopped"):
            parts[0] += f" ({self.reason})"
        parts.append(f"{self.frames:,} frames" + (f", {self.frames_per_s:,.0f} a second" if not self.is_ended else ""))
        parts.append(_size(self.file_bytes) + (f", {_size(self.free_bytes)} free" if not self.is_ended else ""))
        parts.append(describe_losses(self.losses) if self.lost else "none lost")
        if self.obstacle:
            parts.append(self.obstacle)
        return "; ".join(parts)

    def row(self) -> tuple[str, ...]:
        """Return it as the row of a table, in the order of `Recordings.COLUMNS`."""
        state = self.state if self.reason in ("", "stopped") else f"{self.state}: {self.reason}"
        lost = ", ".join(f"{count:,} ({cause})" for cause, count in self.losses.items() if count) or "none"
        rate = f"{self.frames_per_s:,.0f}" if not self.is_ended else ""
        return (
            self.id,
            ", ".join(self.pipes or self.asked),
            ", ".join(self.boards),
            state,
            f"{self.frames:,}",
            rate,
            lost,
            _size(self.file_bytes),
            _size(self.free_bytes),
            self.file,
        )


def _size(size_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:,.1f} {unit}"
    return f"{size_bytes / 1e3:,.1f} kB"


class Recording:
    """A recording under way, or one that has ended lately: a context manager that stops it.

    id: by which it is named on the command line. path: of its first file.
    """

    def __init__(self, id: str):
        self.id = id
        self._last: RecordingState | None = None
        self.path = Path(self.state.path or self.state.file)

    @property
    def state(self) -> RecordingState:
        """How it is. Raises RecordingError where nothing is known of it."""
        state = registry.read(self.id)
        if state is not None:
            self._last = RecordingState.of(state)
        if self._last is None:
            raise RecordingError(f"There is no recording {self.id}.")
        return self._last

    def stop(self) -> RecordingState:
        """End it, and return how it ended, once its file is whole. May be called again.

        Raises RecordingError where it does not end, or has ended badly: for a full disk, for one.
        """
        if not self.state.is_ended:
            registry.ask_stop(self.id)
        return self.wait(STOP_S)

    def wait(self, timeout: float | None = None) -> RecordingState:
        """Wait until it has ended, and return how. Raises RecordingError where it has ended badly, or has not after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (state := self.state).is_ended:
            if deadline is not None and time.monotonic() >= deadline:
                raise RecordingError(f"The recording {state.file} has not ended within {timeout:g} s.")
            time.sleep(POLL_S)
        if state.state == registry.KILLED:
            raise RecordingError(
                f"The recorder of {state.file} was killed. What was safe a quarter of a second before can be loaded; `ucore recover {state.file}` mends the file."
            )
        if state.error:
            raise RecordingError(state.error)
        return state

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is None:
            self.stop()
        elif not self.state.is_ended:
            registry.ask_stop(self.id)  # what went wrong matters more than how it ends

    def __repr__(self) -> str:
        return f"<Recording {self.id} of {self.state.describe()}>"

    def _repr_html_(self) -> str:
        return Recordings([self])._repr_html_()


class Recordings(Table[Recording]):
    """A list of recordings, which a notebook shows as a table."""

    COLUMNS = ("id", "pipes", "boards", "state", "frames", "per second", "lost", "size", "free", "file")
    NONE = "Nothing is being recorded."

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows as text, in the order of `COLUMNS`."""
        return [recording.state.row() for recording in self]


def record(
    pipes: str | Sequence[str],
    path: str | os.PathLike[str],
    *,
    board: str | None = None,
    formats: Mapping[str, str] | str | None = None,
    names: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    units: Mapping[str, Sequence[str]] | Sequence[str] | str | None = None,
    every: float | None = None,
    rotate_mb: float | None = None,
    rotate_s: float | None = None,
    keep: int | None = None,
    overwrite: bool = False,
    replay: bool = False,
    seconds: float | None = None,
) -> Recording:
    """Record pipes into a file, in a process of its own that outlives this one; returns at once what shows and stops it.

    pipes: a pipe's name or a pattern such as "temp*", or several. Those that are opened later are recorded, too.
    path: of an MCAP file (docs/recordings.md, "The file"). Its folder must be there, and the file must not.
    board: whose pipes, by the board's name or port; None for those of the notebook's boards, and of any board in a program that is no notebook.
        A board that is named is attached, and again when it was away.
    formats: the struct format of a frame, such as "<fff": one for all, or {pipe or pattern: format}. Frames without one are kept as bytes.
    names, units: of a frame's values, in order: one list for all, or {pipe or pattern: list}.
    every: seconds between two times that all is made safe: what a kill takes at most; a quarter of a second if not said.
    rotate_mb, rotate_s: begin another file, x.0002.mcap after x.mcap, after so many megabytes or seconds. keep: of these files, the latest so many.
    overwrite: replace a file that is there. replay: begin with what the hub still holds.
    seconds: end by itself after so long.

    Raises RecordingError where that cannot be done; the sentence says why.
    """
    check_installed()
    kernel = "" if board is not None else settings.kernel_id() or ""
    order = make_order(
        pipes,
        path,
        board=board,
        kernel=kernel,
        formats=formats,
        names=names,
        units=units,
        every=every,
        rotate_mb=rotate_mb,
        rotate_s=rotate_s,
        keep=keep,
        overwrite=overwrite,
        replay=replay,
        seconds=seconds,
        notebook=os.path.basename(os.environ.get("JPY_SESSION_NAME", "")),
    )
    id = uuid4().hex[:12]
    try:
        process = DetachedProcess("ukernel.recordings", id, given=order.as_json())
    except OSError as error:
        raise RecordingError(f"The recorder of {order.path} cannot be started: {describe(error)}.") from error
    try:
        deadline = time.monotonic() + START_S
        while registry.read(id) is None:
            if process.poll() is not None and registry.read(id) is None:
                raise RecordingError(f"{process.reason()}.")
            if time.monotonic() > deadline:
                registry.ask_stop(id)
                raise RecordingError(
                    f"The recorder of {order.path} has not begun within {START_S:g} s. It was asked to stop again."
                )
            time.sleep(POLL_S)
    finally:
        process.close()
    return Recording(id)


def recordings(*, ended: bool = False) -> Recordings:
    """Return what is being recorded by this user on this computer, from whichever notebook or program; with ``ended``, also what was lately."""
    found = Recordings(Recording(state["id"]) for state in registry.read_all())
    return Recordings(recording for recording in found if ended or not recording.state.is_ended)


def check_installed() -> None:
    """Raise RecordingError where what recordings are written with is not installed."""
    if find_spec("mcap") is None or find_spec("zstandard") is None:
        raise RecordingError("Recordings need mcap, which is not installed: pip install 'ukernel[record]'.")
