"""Which virtual boards run on this computer: each says so in its temporary folder, which is there as long as the board is."""

import contextlib
import json
import os
from pathlib import Path

from ukernel import tempfolder

__all__ = ["announce", "running"]

_FILE = "about.json"
KIND = "virtual-board"  # of the folders, see `tempfolder`


def announce(folder: "str | Path", about: dict) -> None:
    """Tell the others of a board: ``about`` has its ``port``, ``name`` (empty for none), ``banner`` and ``world`` (see `boardview`)."""
    path = Path(folder, _FILE)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(about), encoding="utf-8")
    os.replace(draft, path)


def running() -> "list[dict]":
    """Return what this user's boards say of themselves, by port."""
    found = []
    for folder in tempfolder.living(KIND):
        with contextlib.suppress(OSError, ValueError):
            about = json.loads(Path(folder, _FILE).read_text(encoding="utf-8"))
            if "://" in about["port"] or os.path.exists(about["port"]):
                found.append(about)
    return sorted(found, key=lambda about: about["port"])
