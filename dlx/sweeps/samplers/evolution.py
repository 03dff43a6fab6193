"""Local search: evolution of a population, and hill climbing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from ..space import Space, name_of
from ..trial import Point
from .base import ATTEMPTS, BuiltinSampler, SampleRequest

Rated = tuple[Point, float]
"""A point and its loss."""


class Evolution(BuiltinSampler):
    """Breed the newest trials: tournaments for two parents, crossover of each key, then mutation.

    All keys are genes: a rate, a width, how often a block repeats, which block it is.
    Source: Russell & Norvig 2021, AIMA, sections 4.1.4 and 22.5.2; Real et al. 2019, arXiv:1802.01548 (the old die).
    """

    kind: ClassVar[str] = "evolution"
    population: Annotated[int, Field(ge=2, le=100_000)] = Field(
        24, description="the newest trials, of which parents are taken"
    )
    tournament: PositiveInt = Field(
        4, le=1_000_000, description="trials by chance, of which the best becomes a parent"
    )
    crossover: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="chance of a child to have two parents")
    mutation: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="chance of each key to change; else 1 over their number"
    )

    def pick(self, request: SampleRequest) -> list[Point]:
        rated = list(zip((t.point for t in request.history), request.losses(), strict=True))[-self.population :]
        if len(rated) < min(self.population, 2 * self.tournament):
            return request.completed([])
        return request.completed(request.untried(self.children(request, rated)))

    def children(self, request: SampleRequest, rated: Sequence[Rated]) -> Iterator[Point]:
        for _ in range(ATTEMPTS * request.count):
            child = request.space.filled(self.parent(request, rated))
            if request.rng.random() < self.crossover:
                other = request.space.filled(self.parent(request, rated))
                child = {key: request.rng.choice([child[key], other[key]]) for key in child}
            yield request.space.active(self.mutated(request, child))

    def parent(self, request: SampleRequest, rated: Sequence[Rated]) -> Point:
        """Return the best of a random few."""
        point, _ = min(request.rng.sample(rated, min(self.tournament, len(rated))), key=lambda one: one[1])
        return point

    def mutated(self, request: SampleRequest, point: Point) -> Point:
        """Return the point with some keys moved to a neighbour, and now and then to any value."""
        rate = self.mutation if self.mutation is not None else 1 / len(point)
        changed = dict(point)
        for dimension in request.space.dimensions:
            if request.rng.random() < rate:
                near = dimension.near(point[dimension.key])
                anywhere = not near or request.rng.random() < 0.25
                value = dimension.at(request.rng.random()) if anywhere else request.rng.choice(near)
                changed[dimension.key] = value
        return changed


class HillClimbing(BuiltinSampler):
    """Try the neighbours of the best point, move to a better one, and restart where there is none.

    Neighbours differ in one key, by a value or a choice; without steps, by a tenth of the range, and then by a
    fiftieth. The rest of a generation is random. Source: Russell & Norvig 2021, AIMA, section 4.1.1.
    """

    kind: ClassVar[str] = "hill_climbing"
    step_sizes: ClassVar[tuple[float, ...]] = (0.1, 0.02)

    def pick(self, request: SampleRequest) -> list[Point]:
        steps: list[Point] = []
        top = self.top(request)
        for step_size in self.step_sizes if top is not None else ():
            near = request.space.neighbours(top or {}, step_size)
            steps += request.rng.sample(near, len(near))
        return request.completed(request.untried(steps))

    def top(self, request: SampleRequest) -> Point | None:
        """Return the present top: a generation without any neighbours of the one before restarted the climb."""
        top: Rated | None = None
        rated = zip(request.history, request.losses(), strict=True)
        for _, generation in groupby(rated, lambda one: one[0].generation):
            points = [(trial.point, loss) for trial, loss in generation]
            best = min(points, key=lambda one: one[1])
            if (
                top is None
                or best[1] < top[1]
                or not self.around(request.space, top[0]) & {name_of(point) for point, _ in points}
            ):
                top = best
        return top[0] if top is not None else None

    def around(self, space: Space, point: Point) -> set[str]:
        return {name_of(near) for step_size in self.step_sizes for near in space.neighbours(point, step_size)}
