"""A table as CSV, as Excel and pandas open it: units in the first line, times as ISO 8601 has them, an empty place where there is no value."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ukernel.errors import UsageError

from .alignment import Alignment, Rows
from .times import as_datetimes

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["check_separator", "write_csv"]

SEPARATORS = ",;\t"
EXCEL_ROWS = 1_048_576
# Excel takes a file for UTF-8 where it begins so, and pandas passes over it.
ENCODING = "utf-8-sig"


def check_separator(separator: str) -> None:
    """Raise UsageError for what cannot be one."""
    if len(separator) != 1 or separator not in SEPARATORS:
        raise UsageError(f"The separator of a CSV file is a comma, a semicolon or a tab, not {separator!r}.")


def write_csv(path: Path, table: Alignment, separator: str = ",") -> tuple[int, tuple[str, ...]]:
    """Write a table; returns how many rows it has, and what is to be said of them. Raises OSError.

    The first column is the time in milliseconds, which is all that Excel reads of one; the second has the seconds since the first row, to the microsecond.
    """
    count, began = 0, 0.0
    with path.open("w", encoding=ENCODING, newline="") as file:
        names = [
            "time (UTC)",
            "seconds",
            *(f"{column.name} [{column.unit}]" if column.unit else column.name for column in table.columns),
        ]
        file.write(separator.join(_quote(name, separator) for name in names) + "\r\n")
        for rows in table.rows():
            began = began if count else float(rows.times[0])
            columns = [_as_texts(rows, index, separator) for index in range(len(table.columns))]
            lines = map(separator.join, zip(_iso(rows.times), _seconds(rows.times - began, separator), *columns))
            file.write("\r\n".join(lines) + "\r\n")
            count += len(rows.times)
    return count, (
        f"Excel shows {EXCEL_ROWS:,} rows at most: a piece, with start and stop, is shown whole.",
    ) if count >= EXCEL_ROWS else ()


def _iso(times: npt.NDArray[Any]) -> Iterable[str]:
    import numpy as np

    nanoseconds = as_datetimes(times)
    texts = np.datetime_as_string(nanoseconds.astype("datetime64[ms]"))
    return (text.replace("T", " ") for text in texts.tolist())


def _seconds(seconds: npt.NDArray[Any], separator: str) -> Iterable[str]:
    return _with_comma((f"{value:.6f}" for value in seconds.tolist()), separator)


def _as_texts(rows: Rows, index: int, separator: str) -> list[str]:
    values, present = rows.values[index], rows.present[index]
    if values.dtype.kind == "O":
        texts: list[str] = [value.hex() for value in values.tolist()]
    elif values.dtype.kind == "f":
        texts = list(_with_comma(("" if text == "nan" else text for text in values.astype(str).tolist()), separator))
    elif values.dtype.kind == "b":
        texts = ["1" if value else "0" for value in values.tolist()]
    else:
        texts = list(map(str, values.tolist()))
    return texts if present is None else [text if there else "" for text, there in zip(texts, present.tolist())]


def _with_comma(texts: Iterable[str], separator: str) -> Iterable[str]:
    return (text.replace(".", ",") for text in texts) if separator == ";" else texts


def _quote(text: str, separator: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in f'{separator}"\r\n') else text
