"""Inputs of a network from the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lazy import np
from .cells import as_array
from .columns import Column, column_codes
from .frame import Frame, plain

if TYPE_CHECKING:
    from ..base import Labels, Values
    from ..preprocess.sums import Doubles
    from ..splits import Indices

ROWS = 4096
"""Most rows that are put together at a time, so that they stay in the processor's cache."""
ALIGNED = 16
"""Each part starts at a multiple of this number of rows: at the alignment of an array of its own."""


@dataclass(frozen=True)
class Encoded:
    """The inputs of a column for all rows of a frame.

    Attributes:
        column: the column.
        values: inputs (width, rows); or, with `codes`, those of each code (codes, width); None for numbers that are
            taken from the frame as they are.
        codes: place in `values` of each row.
        lacking: which rows have no value; None where it does not matter.
    """

    column: Column
    values: Any = None
    codes: Labels | None = None
    lacking: Any = None

    def write(self, into: Any, rows: slice, numbers: Doubles | None) -> None:
        """Write the inputs of some rows to `into` (rows, width); `numbers` are theirs where `values` has none."""
        width = self.column.values
        if numbers is not None:
            into[:, 0] = numbers
        elif self.codes is not None:
            into[:, :width] = self.values[self.codes[rows]]
        else:
            for place in range(width):
                into[:, place] = self.values[place, rows]
        if self.column.marked and numbers is not None:
            into[:, width] = np.isnan(numbers)
        elif self.column.marked:
            into[:, width] = 0 if self.lacking is None else self.lacking[rows]

    @property
    def short(self) -> bool:
        """Whether the numbers of the column are exact in single precision, as far as `values` has them."""
        return self.values is None or not self.column.numbers or _short(self.values)


def encode(frame: Frame, columns: Sequence[Column], false_is: int, exact: bool = True) -> Values:
    """Encode all inputs (rows, values), column after column, with nan for missing values that are imputed later.

    With `exact` the result is float64 where a number has more digits than float32.
    """
    return _encode(frame, columns, false_is, exact, None, len(frame))


def encode_parts(
    frame: Frame, columns: Sequence[Column], false_is: int, parts: Sequence[Indices], exact: bool = True
) -> list[Values]:
    """Encode as `encode` does, the rows of each part in their order. The parts are disjoint, and may be empty."""
    starts, total = [], 0
    places = np.full(len(frame), -1)
    for rows in parts:
        starts.append(total)
        places[rows] = np.arange(total, total + len(rows))
        total += -(-len(rows) // ALIGNED) * ALIGNED
    x = _encode(frame, columns, false_is, exact, places, total)
    return [x[start : start + len(rows)] for start, rows in zip(starts, parts, strict=True)]


def _encode(
    frame: Frame, columns: Sequence[Column], false_is: int, exact: bool, places: Indices | None, total: int
) -> Values:
    """Return the inputs (total, values), each row of the frame at its place; rows of the place -1 are left out."""
    encoded = [_encoded(frame, column, false_is) for column in columns]
    x = np.empty((total, sum(column.width for column in columns)), np.float32)
    if exact and not all(one.short for one in encoded):
        x = np.empty(x.shape, np.float64)
    x.fill(0)  # memory is touched first in its order: in that of the places it takes four times as long
    for rows, numbers in _pieces(frame, [one.column.name for one in encoded if one.values is None]):
        if exact and x.dtype == np.float32 and not all(map(_short, numbers.values())):
            x = x.astype(np.float64)  # what is there is exact
        into = x[rows] if places is None else np.empty((rows.stop - rows.start, x.shape[1]), x.dtype)
        end = 0
        for one in encoded:
            start, end = end, end + one.column.width
            one.write(into[:, start:end], rows, numbers.get(one.column.name))
        if places is not None:
            _scatter(x, into, places[rows])
    return x


def _pieces(frame: Frame, names: Sequence[str]) -> Iterator[tuple[slice, dict[str, Doubles]]]:
    """Iterate over the rows, some at a time, with the named columns as float64, nan for missing values."""
    import pyarrow as pa

    end, double = 0, pa.float64()
    for batch in frame.table.select(names or frame.names[:1]).to_batches(max_chunksize=ROWS):
        start, end = end, end + batch.num_rows
        some = zip(names, batch.columns, strict=False)
        wide = ((name, one if one.type == double else one.cast(double, safe=False)) for name, one in some)
        yield slice(start, end), {name: as_array(one, np.nan) for name, one in wide}


def _scatter(x: Values, rows: Values, places: Indices) -> None:
    """Copy rows to their places in `x`, each as one block of bytes."""
    if not x.shape[1]:
        return
    if (places < 0).any():
        rows, places = rows[places >= 0], places[places >= 0]
    block = np.dtype((np.void, x.itemsize * x.shape[1]))
    x.view(block).reshape(-1)[places] = rows.view(block).reshape(-1)


def _short(values: Any) -> bool:
    """Whether numbers are exact in single precision."""
    same = values.astype(np.float32) == values
    return bool(same.all() or (same | np.isnan(values)).all())


def _encoded(frame: Frame, column: Column, false_is: int) -> Encoded:
    if column.sort == "number" and not column.log:
        frame.check_numbers(column.name)
        return Encoded(column)
    if column.sort == "number":
        values = frame.numbers(column.name, column.log)[None]  # of the whole column: NumPy's logarithm is of its bits
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
