"""What normalising by the statistics of random batches does to the same points."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import TYPE_CHECKING, Any

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def random_batches(count: int, size: int, draws: int, rng: np.random.Generator) -> Iterator[tuple[int, Any]]:
    """Yield numbers of draws and the points (size,) of a batch in each: in a draw no point is in two batches.

    Of `count` points those that are left over when `count` is no multiple of `size` are in none.
    """
    for draw in range(draws):
        order = rng.permutation(count)
        for at in range(0, count - size + 1, size):
            yield draw, order[at : at + size]


def normalised(points: Any, size: int, draws: int, rng: np.random.Generator, eps: float = 1e-5) -> Array:
    """Return points (m, d) as batch norm gives them (draws, m, d), NaN where a point is in no batch.

    Each batch is normalised by its own mean and variance: (x - mean) / sqrt(variance + eps).
    """
    x = np.asarray(points, np.float64)
    made = np.full((draws, *x.shape), np.nan)
    for draw, batch in random_batches(len(x), size, draws, rng):
        part = x[batch]
        made[draw, batch] = (part - part.mean(0)) / np.sqrt(part.var(0) + eps)
    return made


def batch_means(points: Any, size: int, draws: int, rng: np.random.Generator) -> Array:
    """Return the mean of each random batch (batches, d)."""
    x = np.asarray(points, np.float64)
    return np.stack([x[batch].mean(0) for _, batch in random_batches(len(x), size, draws, rng)])


def blur(made: Array) -> float:
    """Return by how much the draws (draws, m, d) move a point: its standard deviation, root mean square over all."""
    return float(np.sqrt(np.nanmean(np.nanvar(made, 0))))


def mean_blur(size: int, count: int) -> float:
    """Return the standard deviation of a batch's mean, in standard deviations of the `count` points.

    sqrt((count - size) / ((count - 1) size)): drawing without replacement (Cochran 1977, Sampling Techniques, 2.5).
    """
    return sqrt(max(0, count - size) / ((count - 1) * size))
