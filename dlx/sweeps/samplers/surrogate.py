"""Surrogate model of the results: train some points, predict many, try the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...spec.sections.sweep_values import Dimension
from ..space import name_of
from ..trial import Point
from .base import BuiltinSampler, SampleRequest

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Length scales of the kernel that are tried."""
NOISES = (1e-3, 1e-2, 1e-1, 0.5)
"""Noise variances that are tried, of results that are standardised."""


class Surrogate(BuiltinSampler):
    """Train `initial` random points, fit a regression to their results, and try the best of many by its
    prediction.

    The regression is a Gaussian process over the keys, choices one-hot; its length scale and noise maximise the
    marginal likelihood. It uses the mean alone, where `gp` also explores. Source: Wen et al. 2020, Neural Predictor
    for Neural Architecture Search, arXiv:1912.00848.
    """

    kind: ClassVar[str] = "surrogate"
    initial: PositiveInt = Field(
        64, le=1_000_000, description="points by chance that it learns from; a few hundred for networks"
    )
    candidates: PositiveInt = Field(2000, le=1_000_000, description="points that it looks at for each generation")
    newest: PositiveInt = Field(500, le=1_000_000, description="trials that it learns from at most, the newest")

    def pick(self, request: SampleRequest) -> list[Point]:
        if len(request.history) < self.initial:
            return request.completed([])
        import numpy as np

        losses = np.array(request.losses())
        filled_points = [request.space.filled(t.point) for t in request.history]
        known = features(request.space.dimensions, filled_points)
        points = self.candidate_points(request)
        predicted = gp_mean(known[-self.newest :], losses[-self.newest :], features(request.space.dimensions, points))
        order = np.argsort(predicted, kind="stable")
        return request.completed(request.untried(request.space.active(points[i]) for i in order))

    def candidate_points(self, request: SampleRequest) -> list[Point]:
        """Return random points and all neighbours of the best ones so far, with a value for every key."""
        ranked = sorted(zip(request.losses(), range(len(request.history)), strict=True))[:5]
        near = [p for _, i in ranked for p in request.space.neighbours(request.history[i].point)]
        sampled = (request.space.draw(request.rng) for _ in range(self.candidates))
        named = {name_of(point): request.space.filled(point) for point in (*near, *sampled)}
        return [point for name, point in named.items() if name not in request.tried]


def features(dimensions: Sequence[Dimension], points: Sequence[Point]) -> Array:
    """Return each point as a row: numbers scaled to [0, 1], and choices one-hot."""
    import numpy as np

    def columns(dimension: Dimension, value: Any) -> list[float]:
        if dimension.ordered:
            return [dimension.share(value)]
        return [float(i == dimension.index(value)) for i in range(dimension.size or 0)]

    return np.array([[c for d in dimensions for c in columns(d, point[d.key])] for point in points], dtype=np.float64)


def gp_mean(known: Array, values: Array, queries: Array) -> Array:
    """Return the mean at `queries` of a Gaussian process through `known` and the ranks of `values`.

    Ranks in place of values keep one diverged trial from hiding the differences between good ones.
    """
    import numpy as np
    from scipy.stats import rankdata

    if not len(queries):
        return np.zeros(0)
    ranks = rankdata(values)
    centred = (ranks - ranks.mean()) / (ranks.std() or 1.0)
    distances = _squared_distances(known, known)
    best: tuple[float, float, Array] | None = None
    for length in LENGTHS:
        # one decomposition for each length serves all noises: K + noise I has the same eigenvectors
        strengths, axes = np.linalg.eigh(np.exp(-distances / (2 * length**2)))
        along = axes.T @ centred
        for noise in NOISES:
            widths = strengths.clip(0) + noise
            nll = float((along**2 / widths + np.log(widths)).sum())
            if best is None or nll < best[0]:
                best = (nll, length, axes @ (along / widths))
    assert best is not None
    _, length, weights = best
    guess: Array = np.exp(-_squared_distances(queries, known) / (2 * length**2)) @ weights
    return guess


def _squared_distances(one: Array, other: Array) -> Array:
    """Return the squared distances between rows."""
    distances: Array = (one**2).sum(1)[:, None] + (other**2).sum(1)[None, :] - 2 * one @ other.T
    # the expanded square may be slightly negative by rounding
    return distances.clip(0)
