"""Bias and variance of several trained networks on the same examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Decomposition:
    """An error in three parts, error = bias + variance - correction; of squared errors the last is 0."""

    error: float
    bias: float
    variance: float
    correction: float = 0.0


def of_squares(predictions: Values, targets: Values) -> Decomposition:
    """Split the mean squared error of predictions (networks, examples, ...) of targets (examples, ...).

    With f_i of m networks and their mean f: variance = sum (f_i - f)^2 / (m - 1), bias = (f - y)^2 - variance / m,
    which expects what the bias of infinitely many networks would be; both averaged over the examples. Their sum is
    the mean error exactly. Noise of the targets is part of the bias. ValueError for less than two networks.
    Source: Geman, Bienenstock & Doursat 1992, Neural networks and the bias/variance dilemma.
    """
    m = _several(predictions)
    found, wanted = predictions.astype(np.float64), targets.astype(np.float64)
    variance = float(found.var(0, ddof=1).mean())
    bias = float(((found.mean(0) - wanted) ** 2).mean()) - variance / m
    return Decomposition(float(((found - wanted) ** 2).mean()), bias, variance)


def of_classes(predictions: Values, targets: Values) -> Decomposition:
    """Split the error of predicted classes (networks, examples) of classes (examples,).

    The main prediction is the class that most networks predict, the first of several. Bias: examples that it gets
    wrong. Variance: predictions that differ from it where it is right; correction: right ones where it is wrong.
    error = bias + variance - correction exactly. ValueError for less than two networks.
    Source: Domingos 2000, A unified bias-variance decomposition, section 2 (unbiased and biased variance).
    """
    _several(predictions)
    number = int(max(predictions.max(), targets.max())) + 1
    counts = np.stack([(predictions == one).sum(0) for one in range(number)])
    wrong = counts.argmax(0) != targets
    errs = predictions != targets
    return Decomposition(
        float(errs.mean()), float(wrong.mean()), float((errs & ~wrong).mean()), float((~errs & wrong).mean())
    )


def _several(predictions: Values) -> int:
    """Return the number of networks. ValueError for less than two."""
    if len(predictions) < 2:
        raise ValueError(f"variance is between networks, and there is {len(predictions)}")
    return len(predictions)
