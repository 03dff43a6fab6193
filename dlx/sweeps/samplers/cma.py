"""CMA-ES, on the share of its range that each number stands at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ...spec.sections.sweep_values import Dimension
from ..trial import Point, Trial
from .base import ATTEMPTS, Asked, Picking

if TYPE_CHECKING:
    from cmaes import CMA


class CmaEs(Picking):
    """Draw from a normal distribution that moves and stretches towards what was good. For numbers; words by chance.

    The package cmaes, on which Optuna's CmaEsSampler stands; that one keeps its state beside the trials, and here it
    follows from the history: each `population` of it is told in turn.
    Source: Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772.
    """

    kind: ClassVar[str] = "cma_es"
    population: Annotated[int, Field(ge=2)] = Field(8, description="trials after which the distribution moves")
    sigma: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="spread at first, as a part of each range")

    def pick(self, asked: Asked) -> list[Point]:
        ordered = [d for d in asked.space.dimensions if d.ordered]
        if not ordered:
            return asked.completed([])
        strategy = self.strategy(len(ordered), asked.number)
        trials = list(zip(asked.history, asked.losses(), strict=True))
        for first in range(0, len(trials) - self.population + 1, self.population):
            strategy.tell([(_shares(asked, ordered, t), loss) for t, loss in trials[first : first + self.population]])
        strategy.reseed_rng(asked.number)
        return asked.completed(asked.new(_drawn(asked, ordered, strategy)))

    def strategy(self, size: int, seed: int) -> CMA:
        import numpy as np
        from cmaes import CMA

        axes = max(2, size)  # it wants two: with one number the second says nothing
        bounds = np.array([[0.0, 1.0]] * axes)
        return CMA(np.full(axes, 0.5), self.sigma, bounds, seed=seed, population_size=self.population)


def _shares(asked: Asked, ordered: Sequence[Dimension], trial: Trial) -> Any:
    import numpy as np

    point = asked.space.filled(trial.point)
    shares = [d.share(point[d.key]) for d in ordered]
    return np.array(shares if len(shares) > 1 else [*shares, 0.5])


def _drawn(asked: Asked, ordered: Sequence[Dimension], strategy: CMA) -> Iterator[Point]:
    for _ in range(ATTEMPTS * asked.count):
        drawn = asked.space.filled(asked.space.draw(asked.chance))
        at = dict(zip((d.key for d in ordered), strategy.ask(), strict=False))
        yield asked.space.settled(drawn | {d.key: d.at(float(at[d.key])) for d in ordered})
