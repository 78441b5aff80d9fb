"""Rows of text in columns."""

import html
from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol, TypeVar

__all__ = ["Table", "format_table"]

_T = TypeVar("_T")


class _Printer(Protocol):
    """IPython's, as far as it is used here."""

    def text(self, text: str) -> None: ...


class Table(list[_T]):
    """A list that a notebook shows as a table. What is made of it says its columns, its rows, and the sentence for none of them."""

    COLUMNS: ClassVar[tuple[str, ...]]
    NONE: ClassVar[str]

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows as text, in the order of `COLUMNS`."""
        raise NotImplementedError

    def table(self) -> str:
        """Return it as a text of columns."""
        return format_table(self.COLUMNS, self.rows()) if self else self.NONE

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:
        printer.text("[]" if cycle else self.table())

    def _repr_html_(self) -> str:
        if not self:
            return html.escape(self.NONE)
        head = "".join(f"<th>{name}</th>" for name in self.COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in self.rows())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def format_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows below the names of their columns, without a newline at the end."""
    table = [tuple(columns), *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table)
