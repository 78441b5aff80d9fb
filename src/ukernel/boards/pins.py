"""A list of packages that another board can be given: one a line, with versions and hashes."""

import hashlib
import shlex
from typing import NamedTuple

from ukernel.errors import PackageError

from . import mip
from .fileinfo import SUM_BYTES

__all__ = ["Pin", "sum_all"]


class Pin(NamedTuple):
    """A line of a frozen list."""

    wanted: mip.Wanted
    origin: str = ""  # its index; empty: micropython-lib's
    target: str = ""  # empty: the board's own
    sources: bool = False  # no bytecode
    sum: str = ""  # of all files; empty: any will do

    def text(self) -> str:
        wanted = self.wanted
        words = [f"{wanted.source}@{wanted.version}" if wanted.version else wanted.source]
        words += [f"--index={self.origin}"] if self.origin else []
        words += [f"--target={self.target}"] if self.target else []
        words += ["--no-mpy"] if self.sources else []
        words += [f"--sha256={self.sum}"] if self.sum else []
        return shlex.join(words)

    @classmethod
    def parse(cls, line: str, number: int) -> "Pin | None":
        """Return what a line says, None where it says nothing. Raises PackageError."""
        try:
            first, *options = shlex.split(line, comments=True) or [""]
        except ValueError:
            raise PackageError(f"Line {number} of the list of packages has a quote without an end.") from None
        if not first:
            return None
        pin = cls(mip.parse(first))
        for option in options:
            name, _, value = option.partition("=")
            if name == "--index" and value:
                pin = pin._replace(origin=value)
            elif name == "--no-mpy" and not value:
                pin = pin._replace(sources=True)
            elif name == "--target" and value:
                pin = pin._replace(target=value)
            elif name == "--sha256" and value:
                pin = pin._replace(sum=value)
            else:
                raise PackageError(f"Line {number} of the list of packages has {option!r}, which means nothing there.")
        return pin


def sum_all(target: str, sums: dict[str, bytes]) -> str:
    """Return a hash of all files of a package, wherever it lies."""
    whole = hashlib.sha256()
    for path, digest in sorted(sums.items()):
        whole.update(path[len(target) :].encode() + b"\0" + digest[:SUM_BYTES])
    return whole.hexdigest()
