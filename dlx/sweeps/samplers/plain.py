"""Samplers that do not look at results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from ...errors import Problem, SpecError
from ..space import name_of
from ..trial import Point
from .base import ATTEMPTS, BuiltinSampler, SampleRequest


class Grid(BuiltinSampler):
    """Try every point, in order: the last key moves first.

    Errors: a key without steps, which has infinitely many values.
    """

    kind: ClassVar[str] = "grid"

    def pick(self, request: SampleRequest) -> list[Point]:
        endless = next((d for d in request.space.dimensions if d.size is None), None)
        if endless is not None:
            message = f"`{endless.key}` is an interval, and a grid tries every value"
            hint = "Give it steps, `range(0.1, 1, 0.1)`, or values, or take another sampler: `sweep.sampler=tpe`."
            raise SpecError(Problem(message, hint, endless.mark, endless.key))
        return list(_first(request))


def _first(request: SampleRequest) -> Iterator[Point]:
    left = request.count
    for point in request.space.grid():
        if not left:
            return
        if name_of(point) not in request.tried:
            left -= 1
            yield point


class Random(BuiltinSampler):
    """Sample points uniformly; of a log interval, each order of magnitude is equally likely.

    Source: Bergstra & Bengio 2012, Random Search for Hyper-Parameter Optimization.
    """

    kind: ClassVar[str] = "random"

    def pick(self, request: SampleRequest) -> list[Point]:
        return request.completed([])


class QuasiRandom(BuiltinSampler):
    """Fill the space evenly, for any number of points: a scrambled Sobol or Halton sequence.

    scipy's sequences, which Optuna's QMCSampler takes too; that one stores its position, and samples choices at
    random. Source: Sobol 1967; Halton 1960.
    """

    kind: ClassVar[str] = "quasi_random"
    sequence: Literal["sobol", "halton"] = Field("sobol", description="sobol, or halton for more than 21,201 keys")

    def pick(self, request: SampleRequest) -> list[Point]:
        import numpy as np
        from scipy.stats import qmc

        made = {"sobol": qmc.Sobol, "halton": qmc.Halton}[self.sequence]
        sequence = made(len(request.space.dimensions), scramble=True, seed=np.random.default_rng(request.seed))
        if request.index:
            sequence.fast_forward(request.index)
        keys = [d.key for d in request.space.dimensions]

        def points() -> Iterator[Point]:
            for _ in range(ATTEMPTS * request.count):
                (shares,) = sequence.random(1)
                at = dict(zip(keys, map(float, shares), strict=True))
                yield request.space.active({d.key: d.at(at[d.key]) for d in request.space.dimensions})

        return request.completed(request.untried(points()))
