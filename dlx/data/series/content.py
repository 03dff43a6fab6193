"""Rows of series in memory, from a file or generated, before they are cut to windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DataError
from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..preprocess.sums import Doubles

    Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SeriesRows:
    """Rows of one or several series.

    Attributes:
        where: their file, or what they are, in words.
        names: name of each series; one empty text where there is one without a name.
        rows: rows of each series, in the order of time.
        times: time of each row as a number; without a column of time the number of the row in its series.
        labels: time of each row as text.
        past: values that are known up to now (rows, columns), those that are forecast first; nan where missing.
        known: values that are known ahead (rows, columns).
    """

    where: str
    names: tuple[str, ...]
    rows: tuple[Rows, ...]
    times: Doubles
    labels: tuple[str, ...]
    past: Doubles
    known: Doubles

    def fill(self, table: Doubles, rows: Rows, names: Sequence[str]) -> None:
        """Replace missing values of the columns `names` in `rows` by the value before. DataError where none is."""
        for place, name in enumerate(names):
            values = table[rows, place]
            there = ~np.isnan(values)
            if not there[0]:
                message = f"row {rows[0] + 1:,} of column `{name}` of {self.where} is missing, and no value is before"
                raise DataError(f"{message} it", hint="Fill it in, or take the rows out up to the first value.")
            table[rows, place] = values[np.maximum.accumulate(np.where(there, np.arange(len(values)), 0))]
