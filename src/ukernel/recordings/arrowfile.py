"""A table as Parquet or Arrow: exact types, times in nanoseconds, UTC, units as the columns' metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .alignment import Alignment, Rows
from .tables import import_for
from .times import as_datetimes

__all__ = ["load_pyarrow", "write_arrow"]


def load_pyarrow() -> Any:
    """Return pyarrow. Raises UsageError where there is none."""
    return import_for("pyarrow", "A Parquet or Arrow file")


def write_arrow(path: Path, table: Alignment, *, parquet: bool) -> tuple[int, tuple[str, ...]]:
    """Write a table; returns how many rows it has, and what is to be said of them. Raises OSError."""
    pyarrow = load_pyarrow()
    schema = as_schema(table)
    count = 0
    if parquet:
        from pyarrow.parquet import ParquetWriter

        writer: Any = ParquetWriter(str(path), schema, compression="zstd")
    else:
        writer = pyarrow.ipc.new_file(str(path), schema)
    with writer:
        for rows in table.rows():
            writer.write_table(as_table(rows, schema))
            count += len(rows.times)
    return count, ()


def as_schema(table: Alignment) -> Any:
    """Return the Arrow schema of a table."""
    pyarrow = load_pyarrow()
    fields = [pyarrow.field("time", pyarrow.timestamp("ns", "UTC"))]
    for column in table.columns:
        kind = pyarrow.binary() if column.dtype.kind == "O" else pyarrow.from_numpy_dtype(column.dtype.newbyteorder("="))
        fields.append(pyarrow.field(column.name, kind, metadata={"unit": column.unit} if column.unit else None))
    return pyarrow.schema(fields)


def as_table(rows: Rows, schema: Any) -> Any:
    """Return rows as an Arrow table."""
    pyarrow = load_pyarrow()
    arrays = [pyarrow.array(as_datetimes(rows.times), schema.field(0).type)]
    for index, (values, present) in enumerate(zip(rows.values, rows.present)):
        mask = None if present is None else ~present
        if values.dtype.kind == "O":
            arrays.append(pyarrow.array(values.tolist(), pyarrow.binary(), mask=mask))
        else:
            arrays.append(
                pyarrow.array(
                    values.astype(values.dtype.newbyteorder("="), copy=False), schema.field(index + 1).type, mask=mask
                )
            )
    return pyarrow.Table.from_arrays(arrays, schema=schema)
