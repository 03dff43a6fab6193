"""Search among relatives of what was good: evolution of a population, and climbing from neighbour to neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from ..space import Space, name_of
from ..trial import Point
from .base import ATTEMPTS, Asked, Picking

Rated = tuple[Point, float]
"""A point and its loss."""


class Evolution(Picking):
    """Breed the points of the newest trials: tournaments for two parents, each key from either, then mutation.

    All keys are genes: a rate, a width, how often a block repeats, which block it is.
    Source: Russell & Norvig 2021, AIMA, sections 4.1.4 and 22.5.2; Real et al. 2019, arXiv:1802.01548 (the old die).
    """

    kind: ClassVar[str] = "evolution"
    population: Annotated[int, Field(ge=2)] = Field(24, description="the newest trials, of which parents are taken")
    tournament: PositiveInt = Field(4, description="trials by chance, of which the best becomes a parent")
    crossover: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="chance of a child to have two parents")
    mutation: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="chance of each key to change; else 1 over their number"
    )

    def pick(self, asked: Asked) -> list[Point]:
        rated = list(zip((t.point for t in asked.history), asked.losses(), strict=True))[-self.population :]
        if len(rated) < min(self.population, 2 * self.tournament):
            return asked.completed([])
        return asked.completed(asked.new(self.children(asked, rated)))

    def children(self, asked: Asked, rated: Sequence[Rated]) -> Iterator[Point]:
        for _ in range(ATTEMPTS * asked.count):
            child = asked.space.filled(self.parent(asked, rated))
            if asked.chance.random() < self.crossover:
                other = asked.space.filled(self.parent(asked, rated))
                child = {key: asked.chance.choice([child[key], other[key]]) for key in child}
            yield asked.space.settled(self.mutated(asked, child))

    def parent(self, asked: Asked, rated: Sequence[Rated]) -> Point:
        """The best of a few by chance."""
        point, _ = min(asked.chance.sample(rated, min(self.tournament, len(rated))), key=lambda one: one[1])
        return point

    def mutated(self, asked: Asked, point: Point) -> Point:
        """The point with some keys a step further, or now and then anywhere."""
        rate = self.mutation if self.mutation is not None else 1 / len(point)
        changed = dict(point)
        for dimension in asked.space.dimensions:
            if asked.chance.random() < rate:
                near = dimension.near(point[dimension.key])
                anywhere = not near or asked.chance.random() < 0.25
                there = dimension.at(asked.chance.random()) if anywhere else asked.chance.choice(near)
                changed[dimension.key] = there
        return changed


class HillClimbing(Picking):
    """Try the neighbours of the best point, go where it is better, and start anew where none is.

    Neighbours differ in one key, by a step or in the word; without steps, by a tenth of the range, and where none of
    those is better by a fiftieth. What a generation has room for beside them is drawn by chance.
    Source: Russell & Norvig 2021, AIMA, section 4.1.1.
    """

    kind: ClassVar[str] = "hill_climbing"
    reaches: ClassVar[tuple[float, ...]] = (0.1, 0.02)

    def pick(self, asked: Asked) -> list[Point]:
        steps: list[Point] = []
        top = self.top(asked)
        for reach in self.reaches if top is not None else ():
            near = asked.space.neighbours(top or {}, reach)
            steps += asked.chance.sample(near, len(near))
        return asked.completed(asked.new(steps))

    def top(self, asked: Asked) -> Point | None:
        """Where the climb has come to: a generation without any neighbours of that began a new one."""
        top: Rated | None = None
        rated = zip(asked.history, asked.losses(), strict=True)
        for _, generation in groupby(rated, lambda one: one[0].generation):
            points = [(trial.point, loss) for trial, loss in generation]
            best = min(points, key=lambda one: one[1])
            if (
                top is None
                or best[1] < top[1]
                or not self.around(asked.space, top[0]) & {name_of(point) for point, _ in points}
            ):
                top = best
        return top[0] if top is not None else None

    def around(self, space: Space, point: Point) -> set[str]:
        return {name_of(near) for reach in self.reaches for near in space.neighbours(point, reach)}
