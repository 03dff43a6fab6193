"""A small model of the results: train some, predict many, evaluate the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...spec.sections.sweep_values import Dimension
from ..space import name_of
from ..trial import Point
from .base import Asked, Picking

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
NOISES = (1e-3, 1e-2, 1e-1, 0.5)


class Surrogate(Picking):
    """Train `initial` points by chance, fit a regression to what they came to, and try those it thinks best of many.

    The regression is a Gaussian process over the keys, words as axes of their own; its length and noise are those
    under which the results are most likely. It trusts its mean, where `gp` looks for what it does not know.
    Source: Wen et al. 2020, Neural Predictor for Neural Architecture Search, arXiv:1912.00848.
    """

    kind: ClassVar[str] = "surrogate"
    initial: PositiveInt = Field(64, description="points by chance that it learns from; a few hundred for networks")
    candidates: PositiveInt = Field(2000, description="points that it looks at for each generation")
    newest: PositiveInt = Field(500, description="trials that it learns from at most, the newest")

    def pick(self, asked: Asked) -> list[Point]:
        if len(asked.history) < self.initial:
            return asked.completed([])
        import numpy as np

        losses = np.array(asked.losses())
        there = [asked.space.filled(t.point) for t in asked.history]
        known = features(asked.space.dimensions, there)
        points = self.looked_at(asked)
        predicted = fitted(known[-self.newest :], losses[-self.newest :], features(asked.space.dimensions, points))
        order = np.argsort(predicted, kind="stable")
        return asked.completed(asked.new(asked.space.settled(points[i]) for i in order))

    def looked_at(self, asked: Asked) -> list[Point]:
        """Points by chance, and all around the best ones so far, with a value for every key."""
        ranked = sorted(zip(asked.losses(), range(len(asked.history)), strict=True))[:5]
        near = [p for _, i in ranked for p in asked.space.neighbours(asked.history[i].point)]
        drawn = (asked.space.draw(asked.chance) for _ in range(self.candidates))
        named = {name_of(point): asked.space.filled(point) for point in (*near, *drawn)}
        return [point for name, point in named.items() if name not in asked.tried]


def features(dimensions: Sequence[Dimension], points: Sequence[Point]) -> Array:
    """Each point as a row: the share of a number, and 1 at the axis of a word."""
    import numpy as np

    def columns(dimension: Dimension, value: Any) -> list[float]:
        if dimension.ordered:
            return [dimension.share(value)]
        return [float(i == dimension.index(value)) for i in range(dimension.size or 0)]

    return np.array([[c for d in dimensions for c in columns(d, point[d.key])] for point in points], dtype=np.float64)


def fitted(known: Array, values: Array, wanted: Array) -> Array:
    """What a Gaussian process through `known` and `values` expects at `wanted`; it looks at the order of the values.

    Ranks in their place keep one diverged trial from hiding the differences between the good ones.
    """
    import numpy as np
    from scipy.stats import rankdata

    if not len(wanted):
        return np.zeros(0)
    ranks = rankdata(values)
    centred = (ranks - ranks.mean()) / (ranks.std() or 1.0)
    apart = _apart(known, known)
    best: tuple[float, float, Array] | None = None
    for length in LENGTHS:
        strengths, axes = np.linalg.eigh(np.exp(-apart / (2 * length**2)))
        along = axes.T @ centred
        for noise in NOISES:
            widths = strengths.clip(0) + noise
            unlikely = float((along**2 / widths + np.log(widths)).sum())
            if best is None or unlikely < best[0]:
                best = (unlikely, length, axes @ (along / widths))
    assert best is not None
    _, length, weights = best
    guess: Array = np.exp(-_apart(wanted, known) / (2 * length**2)) @ weights
    return guess


def _apart(one: Array, other: Array) -> Array:
    """Squared distances between rows."""
    apart: Array = (one**2).sum(1)[:, None] + (other**2).sum(1)[None, :] - 2 * one @ other.T
    return apart.clip(0)
