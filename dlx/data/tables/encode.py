"""Inputs of a network from the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lazy import np
from .cells import as_array
from .columns import Column, column_codes
from .frame import Frame, plain

if TYPE_CHECKING:
    from ..base import Labels, Values
    from ..preprocess.sums import Doubles

CHUNK = 1024
"""Rows that are put together at a time, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Encoded:
    """The inputs of a column for all rows of a frame.

    Attributes:
        column: the column.
        values: inputs (width, rows); or, with `codes`, those of each code (codes, width).
        codes: place in `values` of each row.
        lacking: which rows have no value; None where it does not matter.
    """

    column: Column
    values: Any
    codes: Labels | None = None
    lacking: Any = None

    def write(self, into: Any, rows: slice) -> None:
        """Write the inputs of some rows to `into` (rows, width)."""
        width = self.column.values
        if self.codes is not None:
            into[:, :width] = self.values[self.codes[rows]]
        else:
            for place in range(width):
                into[:, place] = self.values[place, rows]
        if self.column.marked:
            into[:, width] = 0 if self.lacking is None else self.lacking[rows]

    @property
    def short(self) -> bool:
        """Whether the numbers of the column are exact in single precision."""
        if not self.column.numbers:
            return True
        return bool(((self.values.astype(np.float32) == self.values) | np.isnan(self.values)).all())


def encode(frame: Frame, columns: Sequence[Column], false_is: int, exact: bool = True) -> Values:
    """Encode all inputs (rows, values), column after column, with nan for missing values that are imputed later.

    With `exact` the result is float64 where a number has more digits than float32.
    """
    encoded = [_encoded(frame, column, false_is) for column in columns]
    short = not exact or all(one.short for one in encoded)
    widths = [column.width for column in columns]
    x = np.empty((len(frame), sum(widths)), np.float32 if short else np.float64)
    ends = np.cumsum(widths).tolist()
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        for one, end, width in zip(encoded, ends, widths, strict=True):
            one.write(x[rows, end - width : end], rows)
    return x


def _encoded(frame: Frame, column: Column, false_is: int) -> Encoded:
    if column.sort == "number":
        values = frame.numbers(column.name, column.log)[None]
        return Encoded(column, values, lacking=np.isnan(values[0]) if column.marked else None)
    if column.date is not None:
        values = np.ascontiguousarray(column.date.encode(plain(frame.table.column(column.name))).T)
        return Encoded(column, values, lacking=np.isnan(values[0]) if column.marked else None)
    if column.bag is not None:
        texts = plain(frame.table.column(column.name)).dictionary_encode().combine_chunks()
        codes = as_array(texts.indices, -1)
        words = column.bag.encode([*texts.dictionary.to_pylist(), None], column.texts)
        return Encoded(column, words, codes, codes < 0)
    codes = column_codes(frame, column)
    if column.means is not None:
        return Encoded(column, column.means.table, codes)
    return Encoded(column, _of_codes(column, false_is), codes, codes < 0)


def _of_codes(column: Column, false_is: int) -> Doubles:
    """Return the inputs of each category of a column, and of a missing value as the last."""
    many = len(column.texts)
    if column.sort == "category":
        found = np.eye(many + 1, many)
    elif column.sort == "boolean":
        found = np.array([[false_is], [1], [0]], np.float64)
    else:
        found = np.arange(many + 1, dtype=np.float64)[:, None]
    found[-1] = np.nan if column.filled else 0
    return found
