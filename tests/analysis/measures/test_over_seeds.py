"""Means over seeds: the interval by hand, and the ends of sizes, which are never below 0."""

from __future__ import annotations

import numpy as np

from dlx.analysis.measures.over_seeds import over_seeds, sizes_over_seeds


def test_the_band_of_sizes_is_from_the_least_to_the_largest_seed() -> None:
    """Twin: the interval of Student's t about the mean of sizes of several powers of ten ends below 0."""
    sizes = [[1.0, 2.0], [10.0, 3.0], [1000.0, 4.0]]
    mean, low, high = sizes_over_seeds(sizes)

    assert low is not None
    assert high is not None
    assert (mean.tolist(), low.tolist(), high.tolist()) == ([337.0, 3.0], [1.0, 2.0], [1000.0, 4.0])
    below = over_seeds(sizes)[1]
    assert below is not None
    assert below[0] < 0
    assert sizes_over_seeds(np.ones((1, 2)))[1:] == (None, None)
