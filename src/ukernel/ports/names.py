"""The names that people have given to their boards: a file in `settings.data_dir()`, read anew each time, for all programs of a user.

A board is known by its serial number; where it has none, by its port or URL.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from ukernel import settings
from ukernel.errors import SettingError, describe

__all__ = ["Key", "forget", "give", "name_of", "read"]

FORMAT = 1


class Key(NamedTuple):
    """What a board is known by. Either is empty."""

    serial_number: str
    port: str


def _path() -> Path:
    return settings.data_dir() / "board-names.json"


def read() -> "dict[str, Key]":
    """Return the boards that have a name, by name; what cannot be read names none."""
    try:
        content = json.loads(_path().read_text(encoding="utf-8"))
        return {str(name): Key(str(of["serial_number"]), str(of["port"])) for name, of in content["names"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def name_of(serial_number: "str | None", port: str) -> "str | None":
    """Return the name that the board there was given, None for none."""
    for name, key in read().items():
        if (serial_number and key.serial_number == serial_number) or (not serial_number and key.port == port):
            return name
    return None


def give(name: str, key: Key) -> None:
    """Remember a name, instead of the one that the board has had. Raises SettingError where that cannot be written down."""
    _write({**{old: of for old, of in read().items() if of != key}, name: key})


def forget(key: Key) -> None:
    """Forget the name of a board. Raises SettingError where that cannot be written down."""
    _write({name: of for name, of in read().items() if of != key})


def _write(names: "dict[str, Key]") -> None:
    path = _path()
    draft = path.with_suffix(f".{os.getpid()}")
    content = {"format": FORMAT, "names": {name: key._asdict() for name, key in sorted(names.items())}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise SettingError(
            f"The names of boards cannot be kept: {describe(error)}. UCORE_DATA_DIR names another folder."
        ) from error
