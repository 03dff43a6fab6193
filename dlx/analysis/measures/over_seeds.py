"""Means over seeds with their intervals, value by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...lazy import np
from ...utils.intervals import student_t_quantile

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def over_seeds(values: Any) -> tuple[Array, Array | None, Array | None]:
    """Return mean, lower and upper end of the 95 % interval of the mean (Student's t) of values (seeds, ...).

    Both ends are None for one seed. What is infinite or NaN makes the mean so, and its interval NaN.
    """
    table = np.asarray(values, float)
    with np.errstate(invalid="ignore"):
        mean = table.mean(0)
        if len(table) < 2:
            return mean, None, None
        half = student_t_quantile(len(table) - 1) * table.std(0, ddof=1) / len(table) ** 0.5
        return mean, mean - half, mean + half


LEAST_TO_LARGEST = "bands are from the least to the largest seed: an interval about the mean of sizes may end below 0"


def sizes_over_seeds(values: Any) -> tuple[Array, Array | None, Array | None]:
    """Return mean, least and largest of sizes (seeds, ...), which are at least 0 and may differ by powers of ten.

    Both ends are None for one seed. An interval of Student's t about such a mean would often end below 0.
    """
    table = np.asarray(values, float)
    return (table.mean(0), None, None) if len(table) < 2 else (table.mean(0), table.min(0), table.max(0))
