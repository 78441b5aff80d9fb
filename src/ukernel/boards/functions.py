"""Functions that are written here and run on a board."""

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, Protocol

from ukernel.errors import BoardCodeError

from .sources import Source

__all__ = ["BoardFunction"]

TRIES = 3  # another program may define its own of the same name between our definition and our call


class Caller(Protocol):
    """What of a `Board` is used here. ``defined``: by mark, which text the board is known to have."""

    defined: dict[str, str]

    def define(self, text: str, source: Source, timeout: float | None = None) -> None: ...
    def call_value(
        self,
        name: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        awaited: bool = False,
        timeout: float | None = None,
    ) -> Any: ...


class BoardFunction:
    """A function that runs on a board, called here. Made by `Board.function`."""

    def __init__(self, board: Caller, function: Callable[..., Any]):
        self._board = board
        self._source = _read(function)
        self.is_async = inspect.iscoroutinefunction(function)
        digest = hashlib.sha256(self._source.text.encode()).hexdigest()[:12]
        self._mark = f"#{function.__name__}"  # no name that a program can have
        self._name = f"{self._mark}:{digest}"
        self._text = f"{self._source.text}\nglobals()[{self._mark!r}] = {digest!r}, {function.__name__}"
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it on the board. Returns its value, or, where it is a generator, an iterator over its items.

        Raises BoardCodeError for an error of its code, BoardValueError for an argument or a value that cannot travel, and what
        `Board.call` raises besides.
        """
        return self.call(args, kwargs)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None = None) -> Any:
        """Call it on the board, with a timeout in seconds as `Board.call` has it."""
        for _ in range(TRIES):
            self._define(set(), timeout)
            try:
                return self._board.call_value(self._name, args, kwargs, awaited=self.is_async, timeout=timeout)
            except BoardCodeError as error:
                if error.ename != "KeyError" or self._name not in error.evalue:
                    raise
                # The board has restarted since, or somebody has defined another one.
                self._board.defined.pop(self._mark, None)
        raise BoardCodeError(
            f"{self._mark[1:]} is defined again and again by another program on this board: give one of the two another name."
        )

    def _define(self, begun: set[str], timeout: float | None) -> None:
        """Send the text, and those of the board's functions that it names, where the board is not known to have them."""
        begun.add(self._mark)
        for other in self._uses():
            if other._mark not in begun:
                other._define(begun, timeout)
        if self._board.defined.get(self._mark) != self._name:
            self._board.define(self._text, self._source, timeout)
            self._board.defined[self._mark] = self._name

    def _uses(self) -> list["BoardFunction"]:
        code, names = self._function.__code__, self._function.__globals__
        found = [names.get(name) for name in code.co_names]
        found += [cell.cell_contents for cell in self._function.__closure__ or () if not _is_empty(cell)]
        return [other for other in found if isinstance(other, BoardFunction) and other._board is self._board]


def _is_empty(cell: Any) -> bool:
    try:
        return bool(cell.cell_contents is cell)  # never so
    except ValueError:  # it is assigned later, as a function's own name
        return True


def _read(function: Callable[..., Any]) -> Source:
    """Return the text of a function's definition, without what decorates it."""
    name = getattr(function, "__name__", "?")
    if not inspect.isfunction(function) or name == "<lambda>":
        raise TypeError("What runs on a board is a function that is defined with def.")
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    outer = [free for free, cell in cells if not _is_empty(cell) and not isinstance(cell.cell_contents, BoardFunction)]
    if outer:
        raise TypeError(
            f"{name} uses {', '.join(outer)} of the function around it, which the board does not have. Pass it as an argument."
        )
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        raise TypeError(f"The text of {name} is not known: it must stand in a file or a cell.") from None
    text = textwrap.dedent("".join(lines))
    definition = ast.parse(text).body[0]
    assert isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef))
    skipped = definition.lineno - 1
    kept = text.split("\n")[skipped : definition.end_lineno]
    return Source("\n".join(kept), inspect.getsourcefile(function) or "?", max(first, 1) + skipped)
