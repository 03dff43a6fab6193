"""Values of the columns of a table before they are encoded: missing, least, mean, greatest and frequent ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...lazy import np
from ..base import ColumnValues
from .cells import as_array, numeric
from .dates import temporal
from .frame import Frame, category_text, plain

MOST = 5
"""Most values of a column that are listed with their counts."""


def columns_of(frame: Frame) -> Iterator[tuple[str, Any]]:
    """Iterate over the columns of a frame, in the order of the file."""
    return ((name, plain(frame.table.column(name))) for name in frame.names)


def values_of(name: str, column: Any) -> ColumnValues:
    """Return the figures of a column of pyarrow; nan counts as missing."""
    import pyarrow as pa
    from pyarrow import compute

    if numeric(column.type) and not pa.types.is_boolean(column.type):
        values = as_array(column.cast(pa.float64(), safe=False), float("nan"))
        known = values[~np.isnan(values)]
        missing, distinct = len(values) - len(known), len(np.unique(known))
        if not len(known):
            return ColumnValues(name, missing, 0)
        return ColumnValues(name, missing, distinct, float(known.min()), float(known.mean()), float(known.max()))
    counted = compute.value_counts(column.drop_null())
    pairs = sorted(
        ((category_text(one["values"].as_py()), one["counts"].as_py()) for one in counted),
        key=lambda pair: (-pair[1], pair[0]),
    )
    ends: tuple[str | None, str | None] = (None, None)
    if temporal(column.type) and pairs:
        found = compute.min_max(column)
        ends = (str(found["min"].as_py()), str(found["max"].as_py()))
    return ColumnValues(name, column.null_count, len(pairs), ends[0], None, ends[1], tuple(pairs[:MOST]))


def cells_of(frame: Frame, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Return the cells of some rows by column: numbers, Booleans and texts, dates as texts, None for missing."""
    # by slices: pyarrow imports pandas for a list of indices
    found = [frame.table.slice(row, 1).to_pylist()[0] for row in rows]
    return [{name: _cell(value) for name, value in row.items()} for row in found]


def _cell(value: Any) -> Any:
    if isinstance(value, float) and np.isnan(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
