"""CMA-ES, on numbers scaled to [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ...spec.sections.sweep_values import Dimension
from ..trial import Point, Trial
from .base import ATTEMPTS, BuiltinSampler, SampleRequest

if TYPE_CHECKING:
    from cmaes import CMA


class CmaEs(BuiltinSampler):
    """Sample from a normal distribution that adapts to good points. For numbers; other choices are random.

    The package cmaes, on which Optuna's CmaEsSampler stands; that one stores its state with the trials, and here it
    follows from the history, which is replayed one `population` at a time.
    Source: Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772.
    """

    kind: ClassVar[str] = "cma_es"
    population: Annotated[int, Field(ge=2, le=10_000)] = Field(
        8, description="trials after which the distribution moves"
    )
    sigma: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="spread at first, as a part of each range")

    def pick(self, request: SampleRequest) -> list[Point]:
        ordered = [d for d in request.space.dimensions if d.ordered]
        if not ordered:
            return request.completed([])
        strategy = self.strategy(len(ordered), request.rng_seed)
        trials = list(zip(request.history, request.losses(), strict=True))
        for first in range(0, len(trials) - self.population + 1, self.population):
            strategy.tell(
                [(_shares(request, ordered, t), loss) for t, loss in trials[first : first + self.population]]
            )
        # the strategy is seeded by the study, its samples by the request, so that each generation has new ones
        strategy.reseed_rng(request.rng_seed)
        return request.completed(request.untried(_samples(request, ordered, strategy)))

    def strategy(self, size: int, seed: int) -> CMA:
        import numpy as np
        from cmaes import CMA

        axes = max(2, size)  # cmaes 0.13 asserts more than one dimension: with one number the second is ignored
        bounds = np.array([[0.0, 1.0]] * axes)
        return CMA(np.full(axes, 0.5), self.sigma, bounds, seed=seed, population_size=self.population)


def _shares(request: SampleRequest, ordered: Sequence[Dimension], trial: Trial) -> Any:
    import numpy as np

    point = request.space.filled(trial.point)
    shares = [d.share(point[d.key]) for d in ordered]
    return np.array(shares if len(shares) > 1 else [*shares, 0.5])


def _samples(request: SampleRequest, ordered: Sequence[Dimension], strategy: CMA) -> Iterator[Point]:
    for _ in range(ATTEMPTS * request.count):
        base_point = request.space.filled(request.space.draw(request.rng))
        at = dict(zip((d.key for d in ordered), strategy.ask(), strict=False))
        yield request.space.active(base_point | {d.key: d.at(float(at[d.key])) for d in ordered})
