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


QUANTILES = (
    12.706204736174694,
    4.302652729749462,
    3.1824463052837078,
    2.7764451051977934,
    2.5705818356363146,
    2.4469118511449786,
    2.364624251592784,
    2.306004135204166,
    2.262157162798205,
    2.228138851986274,
    2.200985160091639,
    2.1788128296672284,
    2.1603686564627913,
    2.144786687917804,
    2.131449545559776,
    2.1199052992212546,
    2.1098155778333156,
    2.1009220402410382,
    2.0930240544083087,
)
"""The 97.5 % quantiles of Student's t for 1 to 19 degrees of freedom, those of up to twenty seeds or folds."""


@cache
def student_t_quantile(degrees_of_freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t distribution, for a two-sided interval of 95 %."""
    if degrees_of_freedom in range(1, len(QUANTILES) + 1):
        return QUANTILES[int(degrees_of_freedom) - 1]
    from scipy.special import stdtrit  # a fifth of a second

    return float(stdtrit(degrees_of_freedom, 0.975))
