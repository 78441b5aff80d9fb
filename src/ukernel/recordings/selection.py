"""Which pipes are meant: names and patterns, of some boards or of any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

from ucore.wire import check_name
from ukernel.errors import RecordingError

__all__ = ["Selection", "as_patterns", "find"]

T = TypeVar("T")


class Selection(NamedTuple):
    """patterns: names of pipes, or patterns as shells have them. board: a board's name or port; None for any. kernel: the id of a notebook's kernel
    whose boards are meant; empty for none."""

    patterns: tuple[str, ...]
    board: str | None = None
    kernel: str = ""

    def has_pipe(self, name: str) -> bool:
        """Whether a pipe of this name is meant."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


def as_patterns(pipes: object) -> tuple[str, ...]:
    """Return one or several patterns. Raises RecordingError for what is none."""
    found: Iterable[Any] = (pipes,) if isinstance(pipes, str) or not isinstance(pipes, Sequence | set | frozenset) else pipes
    patterns = tuple(found)
    for pattern in patterns:
        try:
            check_name(pattern)
        except (TypeError, ValueError) as error:
            raise RecordingError(f"{pattern!r} is neither a pipe's name nor a pattern of some: {error}.") from None
    if not patterns:
        raise RecordingError('Which pipes? Name one, such as "adc", or several, or all of them: "*".')
    return patterns


def find(values: Mapping[str, T], name: str, default: T) -> T:
    """Return what is said of this pipe, under its own name or under the first pattern that fits."""
    if name in values:
        return values[name]
    return next((value for pattern, value in values.items() if fnmatchcase(name, pattern)), default)
