"""Times of a call, with an interval of their median that supposes no distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple


class Median(NamedTuple):
    """The median of times in seconds, and the ends of its interval of at least 95 %."""

    seconds: float
    low: float
    high: float


def times(call: Callable[[], object], repeats: int, wait: Callable[[], object] = lambda: None) -> list[float]:
    """Return the seconds of `repeats` calls; `wait` waits for what a call has left to the device."""
    call()  # the first one takes memory and picks kernels
    wait()
    found = []
    for _ in range(repeats):
        start = perf_counter()
        call()
        wait()
        found.append(perf_counter() - start)
    return found


def median(values: Sequence[float]) -> Median:
    """Return the median of values and the order statistics around it that hold it with at least 95 %.

    The number of values below the median is binomial (n, 1/2) whatever they come from; below six values no pair holds
    it so often, and the ends are the least and the largest.
    """
    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    below = max(int(binom.ppf(0.025, n, 0.5)), 1)  # P(count < below) <= 2.5 %
    return Median(middle, ordered[below - 1], ordered[n - below])
