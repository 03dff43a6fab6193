"""Samplers that do not look at results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from ...errors import Problem, SpecError
from ..space import name_of
from ..trial import Point
from .base import ATTEMPTS, Asked, Picking


class Grid(Picking):
    """Every point, in order: the last key moves first.

    Errors: a key without steps, which has no end of values.
    """

    kind: ClassVar[str] = "grid"

    def pick(self, asked: Asked) -> list[Point]:
        endless = next((d for d in asked.space.dimensions if d.size is None), None)
        if endless is not None:
            message = f"`{endless.key}` is an interval, and a grid tries every value"
            hint = "Give it steps, `range(0.1, 1, 0.1)`, or values, or take another sampler: `sweep.sampler=tpe`."
            raise SpecError(Problem(message, hint, endless.mark, endless.key))
        return list(_first(asked))


def _first(asked: Asked) -> Iterator[Point]:
    left = asked.count
    for point in asked.space.grid():
        if not left:
            return
        if name_of(point) not in asked.tried:
            left -= 1
            yield point


class Random(Picking):
    """Points by chance, each value as likely as another; of a log interval, each order of magnitude.

    Source: Bergstra & Bengio 2012, Random Search for Hyper-Parameter Optimization.
    """

    kind: ClassVar[str] = "random"

    def pick(self, asked: Asked) -> list[Point]:
        return asked.completed([])


class QuasiRandom(Picking):
    """Points that fill the space evenly, however many there are: a scrambled Sobol or Halton sequence.

    scipy's sequences, which Optuna's QMCSampler takes too; that one remembers how far it is, and leaves words to
    chance. Source: Sobol 1967; Halton 1960.
    """

    kind: ClassVar[str] = "quasi_random"
    sequence: Literal["sobol", "halton"] = Field("sobol", description="sobol, or halton for more than 21,201 keys")

    def pick(self, asked: Asked) -> list[Point]:
        import numpy as np
        from scipy.stats import qmc

        made = {"sobol": qmc.Sobol, "halton": qmc.Halton}[self.sequence]
        sequence = made(len(asked.space.dimensions), scramble=True, seed=np.random.default_rng(asked.seed))
        if asked.index:
            sequence.fast_forward(asked.index)
        keys = [d.key for d in asked.space.dimensions]

        def points() -> Iterator[Point]:
            for _ in range(ATTEMPTS * asked.count):
                (shares,) = sequence.random(1)
                at = dict(zip(keys, map(float, shares), strict=True))
                yield asked.space.settled({d.key: d.at(at[d.key]) for d in asked.space.dimensions})

        return asked.completed(asked.new(points()))
