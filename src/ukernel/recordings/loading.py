"""`load`: opens a recording."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .recording import check_installed

if TYPE_CHECKING:
    from .loaded import LoadedRecording

__all__ = ["load"]


def load(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> LoadedRecording:
    """Open a recording: its pipes' values and times are read when they are asked for, and only what is asked for.

    path: the file. Where it is the first that is there of several (`rotate_mb`, `rotate_s`, `keep`) all of them are taken as one; a list of files is taken as it is. A file that
    is torn (its recorder was killed, or is at work) is read up to its last whole chunk: `why_torn` says so.
    Raises RecordingError for what is no recording, comes from a newer µcore, or cannot be read.
    """
    check_installed()
    from .loaded import open_files

    return open_files(path)
