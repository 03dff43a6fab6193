"""Statistics of the training inputs in double precision, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..base import Floats

    Doubles = npt.NDArray[np.float64]

CHUNK = 4096  # examples turned to double precision at a time
VALUES = 2**22  # values of them at most


def axes_of(x: Floats, per: str) -> tuple[int, ...]:
    """Return the axes of (n, *shape) over which a statistic is taken."""
    return tuple({"all": range(x.ndim), "channel": (0, *range(2, x.ndim)), "feature": (0,)}[per])


def moments(x: Floats, axes: tuple[int, ...]) -> tuple[Doubles, Doubles]:
    """Return mean and standard deviation over `axes` (kept with length 1) in double precision; 1 for constant inputs.

    The inputs are read once. Source: Chan, Golub & LeVeque 1983, Algorithms for computing the sample variance.
    """
    count, mean, squares = 0.0, np.zeros(()), np.zeros(())
    low, high = np.full((), np.inf), np.full((), -np.inf)
    for c in chunks(x):
        chunk_mean = c.mean(axes, dtype=np.float64, keepdims=True)
        n, difference = c.size / chunk_mean.size, chunk_mean - mean
        mean = mean + difference * (n / (count + n))
        squares = (
            squares + np.square(c - chunk_mean).sum(axes, keepdims=True) + difference**2 * (count * n / (count + n))
        )
        low = np.minimum(low, c.min(axes, keepdims=True))
        high = np.maximum(high, c.max(axes, keepdims=True))
        count += n
    # Not where the variance is 0: rounding can leave a tiny variance of a constant, and dividing by it would blow up
    return mean, np.where(low == high, 1.0, np.sqrt(squares / count))


def principal_components(x: Floats) -> tuple[Doubles, Doubles, Doubles]:
    """Return mean (d,), variances (d,) in descending order, and axes (d, d) as columns, of inputs with d values."""
    count, mean, products = 0.0, np.zeros(()), np.zeros(())
    for c in chunks(x):
        flat = c.reshape(len(c), -1)
        chunk_mean = flat.mean(0, dtype=np.float64)
        n, difference = len(flat), chunk_mean - mean
        mean = mean + difference * (n / (count + n))
        deviations = flat - chunk_mean
        products = products + deviations.T @ deviations + np.outer(difference, difference) * (count * n / (count + n))
        count += n
    covariance = products / count
    variances, axes = np.linalg.eigh(covariance)
    # Rounding can make an eigenvalue of a singular covariance slightly negative
    variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1]
    # eigh leaves the signs open; the largest entry decides, so that they do not depend on the LAPACK in use
    largest = axes[np.abs(axes).argmax(0), np.arange(len(axes))]
    return mean, variances, axes * np.sign(largest)


def shifted_and_scaled(x: Floats, mean: Doubles, scale: Doubles) -> Floats:
    """Return (x - mean) / scale as float32, computed in double precision chunk by chunk."""
    done: Floats = np.empty(x.shape, np.float32)
    buffer: Doubles | None = None
    place = 0
    for c in chunks(x):
        buffer = np.empty(c.shape, np.float64) if buffer is None else buffer
        some = buffer[: len(c)]
        np.subtract(c, mean, out=some)
        np.divide(some, scale, out=some)
        done[place : place + len(c)] = some
        place += len(c)
    return done


def chunks(x: Any) -> Iterator[Floats]:
    """Yield some examples at a time; as many on disk as in memory, so that sums are equal to the bit."""
    size = max(1, min(CHUNK, VALUES // max(1, prod(x.shape[1:]))))
    return (x[i : i + size] for i in range(0, len(x), size))


def projected(x: Floats, mean: Doubles, matrix: Doubles) -> Floats:
    return concatenated((c - mean) @ matrix for c in chunks(x.reshape(len(x), -1)))


def concatenated(pieces: Iterator[Doubles]) -> Floats:
    """Concatenate the chunks as float32, with one of them at a time in double precision."""
    return np.concatenate([piece.astype(np.float32) for piece in pieces])
