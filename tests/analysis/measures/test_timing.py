"""Medians of times and their intervals."""

import numpy as np
from scipy.stats import binom

from dlx.analysis.measures.timing import median, times


def test_the_interval_of_thirty_values_is_the_tenth_to_the_twenty_first():
    found = median(list(range(30, 0, -1)))

    assert (found.seconds, found.low, found.high) == (15.5, 10, 21)  # Conover 1999, table A3: ranks 10 and 21
    assert 1 - 2 * binom.cdf(9, 30, 0.5) >= 0.95 > 1 - 2 * binom.cdf(10, 30, 0.5)


def test_the_interval_holds_the_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [median(rng.exponential(size=15)) for _ in range(1000)]

    assert np.mean([one.low <= np.log(2) <= one.high for one in found]) > 0.94


def test_few_values_have_their_own_ends():
    assert median([3.0, 1.0]) == (2.0, 1.0, 3.0)


def test_the_first_call_is_not_measured_and_each_waits_for_the_device():
    calls = []
    found = times(lambda: calls.append("call"), 3, lambda: calls.append("wait"))

    assert calls == ["call", "wait"] * 4
    assert len(found) == 3
    assert all(one >= 0 for one in found)
