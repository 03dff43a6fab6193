"""Times of the rows of series: sorted, different, and in even steps, of which calendar months are one."""

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

UNITS = (("day", 86_400_000_000), ("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000))
"""Units of differences of dates, in microseconds."""


@dataclass(frozen=True)
class Clock:
    """Times of rows: microseconds where `is_date`, else numbers of any unit; `labels` are their texts."""

    column: str
    path: str
    times: Doubles
    labels: tuple[str, ...]
    is_date: bool

    def check(self, series: Sequence[Rows], names: Sequence[str], *, ignore_missing: bool) -> None:
        """Raise a DataError where the rows of a series are not sorted, repeat a time, or leave steps out."""
        for rows, name in zip(series, names, strict=True):
            self._check_order(rows, name)
        if ignore_missing or not self.column:
            return
        steps = [np.diff(self.times[rows]) for rows in series]
        shared = _usual(steps)
        if shared is None or self._in_months(series):
            return
        for rows, name, mine in zip(series, names, steps, strict=True):
            if (odd := np.flatnonzero(~np.isclose(mine, shared, rtol=1e-6, atol=0))).size:
                self._refuse_missing_step(int(rows[odd[0] + 1]), int(rows[odd[0]]), name, float(mine[odd[0]]), shared)

    def _check_order(self, rows: Rows, name: str) -> None:
        odd = np.flatnonzero(np.diff(self.times[rows]) <= 0)
        if not odd.size:
            return
        before, row = int(rows[odd[0]]), int(rows[odd[0] + 1])
        where = f"row {row + 1:,} of column `{self.column}` of {self.path}"
        of = f" of the series `{name}`" if name else ""
        if self.times[row] == self.times[before]:
            hint = "Take one out." if name else "`group: COLUMN` takes several series apart; else take one out."
            raise DataError(f"{where} repeats `{self.labels[row]}`{of}, which row {before + 1:,} has", hint=hint)
        raise DataError(
            f"{where} holds `{self.labels[row]}`{of}, which is before `{self.labels[before]}` of row {before + 1:,}",
            hint="Sort the rows by time"
            + ("." if name else "; `group: COLUMN` takes several series apart that stand one after the other."),
        )

    def _in_months(self, series: Sequence[Rows]) -> bool:
        """Whether the rows of dates are some months apart, all on one day of the month, or all on the last one."""
        if not self.is_date:
            return False
        moments = self.times.astype(np.int64).astype("M8[us]")
        months = moments.astype("M8[M]")
        within = (moments - months.astype("M8[us]")).astype(np.int64)
        day_after = (moments.astype("M8[D]") + np.timedelta64(1, "D")).astype("M8[M]")
        if not (within == within[0]).all() and not (day_after > months).all():
            return False
        steps = [np.diff(months[rows].astype(np.int64)) for rows in series]
        every = np.concatenate(steps)
        return bool((every == every[0]).all())

    def _refuse_missing_step(self, row: int, before: int, name: str, step: float, shared: float) -> None:
        of = f" of the series `{name}`" if name else ""
        raise DataError(
            f"row {row + 1:,} of column `{self.column}` of {self.path} holds `{self.labels[row]}`{of}, "
            f"{self._shown(step)} after row {before + 1:,}, and most rows are {self._shown(shared)} apart",
            hint="Put in the rows between, which `missing` fills; `missing_steps: ignore` takes rows for steps.",
        )

    def _shown(self, step: float) -> str:
        if not self.is_date:
            return f"{step:g}"
        for name, size in UNITS:
            if step >= size:
                count = step / size
                return f"{count:g} {name}{'s' * (count != 1)}"
        return f"{step / 1e6:g} seconds"


def _usual(steps: Sequence[Doubles]) -> float | None:
    """Return the most frequent difference, the smallest of equally frequent ones; None where all are alike."""
    every = np.concatenate(steps) if steps else np.zeros(0)
    if not len(every) or np.allclose(every, every[0], rtol=1e-6, atol=0):
        return None
    values, counts = np.unique(every, return_counts=True)
    return float(values[counts.argmax()])
