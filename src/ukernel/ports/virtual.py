"""Which virtual boards run on this computer: each says so in its temporary folder, which is there as long as the board is."""

import contextlib
import json
import os
from pathlib import Path
from typing import TypedDict, cast

from ukernel import tempfolder

__all__ = ["About", "announce", "running"]

_FILE = "about.json"
KIND = "virtual-board"  # of the folders, see `tempfolder`


class About(TypedDict):
    """What a virtual board says of itself."""

    port: str
    name: str  # empty for none
    banner: str  # a line for people that says which Python runs
    world: str  # the file that it shares with the host, see `ukernel.virtual.view`


def announce(folder: str | Path, about: About) -> None:
    """Tell the others of a board."""
    path = Path(folder, _FILE)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(about), encoding="utf-8")
    os.replace(draft, path)


def running() -> list[About]:
    """Return what this user's boards say of themselves, by port.

    Of two that name one port the later one has it: the other is gone, and its folder not yet removed.
    """
    found: list[tuple[float, About]] = []
    for folder in tempfolder.living(KIND):
        path = Path(folder, _FILE)
        with contextlib.suppress(OSError, ValueError):
            about = cast(About, json.loads(path.read_text(encoding="utf-8")))  # `announce` wrote it
            if "://" in about["port"] or os.path.exists(about["port"]):
                found.append((path.stat().st_mtime, about))
    latest = {about["port"]: about for _, about in sorted(found, key=lambda one: one[0])}
    return [latest[port] for port in sorted(latest)]
