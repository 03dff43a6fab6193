"""What a curve of errors shows: a second descent, a power law, the step at which to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...lazy import np


@dataclass(frozen=True)
class Descent:
    """The highest peak between two descents of a curve, by position; both heights are 0 where there is none."""

    peak: int
    rise: float
    """Height of the peak above the lowest point before it."""
    fall: float
    """Height of the peak above the lowest point after it."""


def second_descent(errors: Sequence[float]) -> Descent:
    """Return the peak with the largest min(rise, fall); the last position, of heights 0, where there is none."""
    best = Descent(len(errors) - 1, 0.0, 0.0)
    for at in range(1, len(errors) - 1):
        one = Descent(at, errors[at] - min(errors[:at]), errors[at] - min(errors[at + 1 :]))
        if min(one.rise, one.fall) > min(best.rise, best.fall):
            best = one
    return best


@dataclass(frozen=True)
class PowerLaw:
    """error = factor * size ** -exponent, with the share of the variance of log(error) that it explains."""

    factor: float
    exponent: float
    explained: float

    def at(self, size: float) -> float:
        """Return the error at a size."""
        return float(self.factor * size**-self.exponent)


def power_law(sizes: Sequence[float], errors: Sequence[float]) -> PowerLaw | None:
    """Fit a line to log(error) over log(size) by least squares; None for less than two errors above 0.

    Source: Hestness et al. 2017, arXiv:1712.00409, section 2.
    """
    there = [(size, error) for size, error in zip(sizes, errors, strict=True) if error > 0]
    if len({size for size, _ in there}) < 2:
        return None
    x, y = np.log(np.array(there)).T
    slope, intercept = np.polyfit(x, y, 1)
    total = float(((y - y.mean()) ** 2).sum())
    left = float(((y - slope * x - intercept) ** 2).sum())
    return PowerLaw(float(np.exp(intercept)), float(-slope), 1.0 if total == 0 else 1 - left / total)


def first_from(values: Sequence[float], steps: Sequence[int], bound: float) -> int | None:
    """Return the first step from which on all values are at least `bound`; None where the last one is below it."""
    found = None
    for value, step in zip(reversed(values), reversed(steps), strict=True):
        if value < bound:
            break
        found = step
    return found


def stops_at(values: Sequence[float], patience: int, *, rises: bool = False) -> int:
    """Return the position at which a training with this patience, in evaluations, stops; the last one otherwise.

    It stops at the evaluation that is the `patience`-th in a row without a new best value.
    """
    best = 0
    for at, value in enumerate(values):
        if (value > values[best]) if rises else (value < values[best]):
            best = at
        elif at - best >= patience:
            return at
    return len(values) - 1
