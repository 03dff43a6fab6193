"""Means of several runs, and their intervals."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from functools import cache
from math import isfinite


def mean_of(values: Collection[float]) -> float:
    """Return the mean, rounded once; infinite or NaN where a value is."""
    # fmean raises on infinities of both signs, whose sum is NaN
    return statistics.fmean(values) if all(map(isfinite, values)) else sum(values) / len(values)


def half_interval(values: Sequence[float]) -> float | None:
    """Return half of the 95 % interval of a mean, by Student's t; None for one value or infinite ones."""
    n = len(values)
    if n < 2 or not all(map(isfinite, values)):
        return None
    return float(student_t_quantile(n - 1) * statistics.stdev(values) / n**0.5)


@cache
def student_t_quantile(degrees_of_freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t distribution, for a two-sided interval of 95 %."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 0.975))
