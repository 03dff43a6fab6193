"""Columns of new inputs that stand beside their predictions, and predictions as files of tables and pictures."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, did_you_mean
from ..lazy import np
from .arrays.array_files import names_in, open_array
from .python_inputs import INPUTS, Columns

if TYPE_CHECKING:
    import numpy.typing as npt

    from .base import Values

    Maps = npt.NDArray[Any]

EVERY = "*"
"""Stands for all columns."""


def passthrough(
    inputs: Path | Columns | Values, wanted: Sequence[str], count: int, table: Any = None
) -> dict[str, Any]:
    """Return columns of new inputs by name, as lists of `count` values.

    Arguments:
        inputs: file or folder of the inputs, or inputs from memory.
        wanted: names of columns, or of further arrays of a file; `*` for all.
        count: number of inputs.
        table: the rows of the file as a pyarrow table, where it is a table.

    Raises:
        DataError: there is no such column, or it has another number of values.
    """
    if not wanted:
        return {}
    where = inputs if isinstance(inputs, Path) else INPUTS
    if isinstance(inputs, Columns):
        table = inputs.table
    if table is not None:
        there: Mapping[str, Any] = {name: table.column(name).to_pylist for name in table.column_names}
    elif isinstance(inputs, Path) and (names := names_in(inputs)):
        stored = {name: open_array(inputs, name) for name in names}
        if EVERY in wanted:  # by their headers: the inputs themselves are not read once more
            stored = {name: array for name, array in stored.items() if array.sizes == (count,)}
        there = {name: lambda array=array: array.read().tolist() for name, array in stored.items()}
    else:
        raise DataError(f"{where} has no columns to keep", hint="Leave out `--keep`: inputs are named or numbered.")
    if strange := [name for name in wanted if name not in there and name != EVERY]:
        raise DataError(f"{where} has no column `{strange[0]}`", hint=did_you_mean(strange[0], there, "the columns"))
    names = [*there] if EVERY in wanted else list(dict.fromkeys(wanted))
    found = {name: there[name]() for name in names}
    if other := next((name for name, values in found.items() if not _is_column(values, count)), None):
        message = f"`{other}` of {where} is no column of {count:,} values, one for each input"
        raise DataError(message, hint="Leave it out of `--keep`.")
    return found


def _is_column(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and not any(isinstance(one, list) for one in values)


def as_parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Return columns of values of one type each as a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed = BytesIO()
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), packed)
    return packed.getvalue()


def as_png(classes: Maps, count: int) -> bytes:
    """Return a map of class numbers (height, width) below `count` as a picture: its values are the class numbers,
    its palette has a colour for each.
    """
    from PIL import Image

    picture = Image.fromarray(classes.astype(np.uint8), "L")
    picture.putpalette([value for i in range(count) for value in _colour(i, count)])
    packed = BytesIO()
    picture.save(packed, "PNG")
    return packed.getvalue()


def _colour(i: int, count: int) -> tuple[int, ...]:
    """Return red, green and blue of a class: black for the first, hues in even steps for the others."""
    parts = (0.0, 0.0, 0.0) if i == 0 else colorsys.hsv_to_rgb((i - 1) / max(1, count - 1), 0.75, 0.95)
    return tuple(round(255 * part) for part in parts)
