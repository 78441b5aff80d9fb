"""Columns as the tables of pandas, polars and Arrow, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ukernel.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas
    import polars
    import pyarrow

    Array = npt.NDArray[Any]
    Columns = dict[str, Array]  # "time" is the first, as datetime64

__all__ = ["as_native", "import_for", "make_arrow", "make_pandas", "make_polars"]


def make_pandas(columns: Columns, units: Mapping[str, str]) -> pandas.DataFrame:
    """Return a DataFrame with the time (UTC) as its index, and the units in `attrs["units"]`. Raises UsageError without pandas."""
    library = import_for("pandas", "to_pandas()")
    index = library.DatetimeIndex(columns.pop("time"), name="time").tz_localize("UTC")
    frame: pandas.DataFrame = library.DataFrame(columns, index=index)
    frame.attrs["units"] = dict(units)
    return frame


def make_polars(columns: Columns) -> polars.DataFrame:
    """Return a polars DataFrame. Raises UsageError without polars."""
    library = import_for("polars", "to_polars()")
    time = library.Series("time", columns.pop("time")).dt.replace_time_zone("UTC")
    native = {name: array.tolist() if array.dtype.kind == "O" else array for name, array in columns.items()}
    found: polars.DataFrame = library.DataFrame([time, *(library.Series(name, values) for name, values in native.items())])
    return found


def make_arrow(columns: Columns, units: Mapping[str, str]) -> pyarrow.Table:
    """Return an Arrow table, with the units as the fields' metadata. Raises UsageError without pyarrow."""
    library = import_for("pyarrow", "to_arrow()")
    time = library.array(columns.pop("time"), library.timestamp("ns", "UTC"))
    fields, arrays = [library.field("time", time.type)], [time]
    for name, values in columns.items():
        arrays.append(library.array(values.tolist(), library.binary()) if values.dtype.kind == "O" else library.array(values))
        fields.append(library.field(name, arrays[-1].type, metadata={"unit": units[name]} if units.get(name) else None))
    found: pyarrow.Table = library.Table.from_arrays(arrays, schema=library.schema(fields))
    return found


def as_native(array: Array) -> Array:
    """Return it in this computer's byte order: other libraries know no other."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def import_for(name: str, what: str) -> Any:
    """Import a library that is there only where somebody has asked for it. Raises UsageError where it is not."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UsageError(f"{what} needs {package}, and there is none here: pip install {package}") from error
