"""Rows of text in columns."""

from collections.abc import Iterable, Sequence

__all__ = ["format_table"]


def format_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows below the names of their columns, without a newline at the end."""
    table = [tuple(columns), *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table)
