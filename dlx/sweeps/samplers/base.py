"""What all samplers do: points that were not tried yet, from a history, by chance that follows from the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from math import isfinite
from random import Random

from ...spec.strategies import Sampler
from ..space import Space, name_of
from ..trial import Point, Trial

MOST_LISTED = 100_000
"""Points of a grid that are looked through for those that are left."""
ATTEMPTS = 50
"""Draws that may come to points already tried, for each that is wanted."""


@dataclass(frozen=True)
class Asked:
    """One question to a sampler, and what follows from it."""

    space: Space
    history: Sequence[Trial]
    count: int
    seed: int
    metrics: Sequence[str]
    rising: Sequence[bool]
    taken: Sequence[Point]

    @cached_property
    def tried(self) -> frozenset[str]:
        """The points that are not to be given, by name."""
        return frozenset(map(name_of, chain((t.point for t in self.history), self.taken)))

    @property
    def index(self) -> int:
        """How many points there have been."""
        return len(self.history) + len(self.taken)

    @property
    def number(self) -> int:
        """A seed for this question: another one in each study and after each trial."""
        return int.from_bytes(hashlib.sha256(f"{self.seed} {self.index}".encode()).digest()[:4])

    @cached_property
    def chance(self) -> Random:
        return Random(self.number)  # noqa: S311 - points of a search, no secret

    @property
    def exhausted(self) -> bool:
        """Whether every point was tried."""
        return self.space.size is not None and len(self.tried) >= self.space.size

    def losses(self) -> list[float]:
        """What each trial of the history came to on the first metric, less being better.

        One that failed or diverged is as bad as the worst: what it says is that its like is not worth trying.
        """
        sign = -1 if self.rising and self.rising[0] else 1
        values = [sign * v if (v := measured(t, self.metrics[0])) is not None else None for t in self.history]
        worst = max((v for v in values if v is not None), default=0.0)
        return [worst if v is None else v for v in values]

    def new(self, points: Iterable[Point]) -> list[Point]:
        """The first `count` of these points that were not tried, none twice; after many that were, it gives up."""
        found: dict[str, Point] = {}
        for point in islice(points, ATTEMPTS * self.count):
            name = name_of(point)
            if name not in self.tried:
                found.setdefault(name, point)
            if len(found) == self.count:
                break
        return list(found.values())

    def completed(self, points: Sequence[Point]) -> list[Point]:
        """These points, and as many drawn by chance as there are too few; fewer where no more are left."""
        found = self.new(chain(points, self.drawn()))
        size = self.space.size
        if len(found) == self.count or size is None or size > MOST_LISTED:
            return found
        names = {name_of(point) for point in found} | self.tried
        left = [point for point in self.space.grid() if name_of(point) not in names]
        return found + self.chance.sample(left, min(len(left), self.count - len(found)))

    def drawn(self) -> Iterator[Point]:
        """Points by chance, without end."""
        while True:
            yield self.space.draw(self.chance)


class Picking(Sampler):
    """The root of dlx's own samplers."""

    def ask(
        self,
        space: Space,
        history: Sequence[Trial],
        count: int,
        seed: int,
        metrics: Sequence[str],
        rising: Sequence[bool],
        taken: Sequence[Point] = (),
    ) -> list[Point]:
        asked = Asked(space, history, count, seed, metrics, rising, taken)
        return [] if asked.exhausted or count < 1 else self.pick(asked)

    def pick(self, asked: Asked) -> list[Point]:
        """Points for a question that has an answer."""
        raise TypeError(f"{type(self).__name__} has no pick()")


def measured(trial: Trial, metric: str) -> float | None:
    """A metric of a trial, as far as it came, or a figure of its plan; None where it failed or is not finite."""
    if trial.state == "failed":
        return None
    value = {"params": trial.params, "macs": trial.macs}.get(metric) or trial.value(metric)
    return value if value is not None and isfinite(value) else None
