"""Base of dlx's samplers: points that were not tried yet, from a history and a generator that follows from the
seed.
"""

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

MAX_LISTED = 100_000
"""Points of a grid that are listed to find those that are left."""
ATTEMPTS = 50
"""Sampled points that may have been tried already, for each that is wanted."""


@dataclass(frozen=True)
class SampleRequest:
    """Request for `count` points, and what follows from it."""

    space: Space
    history: Sequence[Trial]
    count: int
    seed: int
    metrics: Sequence[str]
    rising: Sequence[bool]
    taken: Sequence[Point]

    @cached_property
    def tried(self) -> frozenset[str]:
        """Points that are not to be suggested again, by name."""
        return frozenset(map(name_of, chain((t.point for t in self.history), self.taken)))

    @property
    def index(self) -> int:
        """Number of points so far."""
        return len(self.history) + len(self.taken)

    @property
    def rng_seed(self) -> int:
        """Seed of this request: another one in each study and after each trial."""
        # hashed, not `seed + index`: studies of neighbouring seeds would else share most of their generators
        return int.from_bytes(hashlib.sha256(f"{self.seed} {self.index}".encode()).digest()[:4])

    @cached_property
    def rng(self) -> Random:
        return Random(self.rng_seed)  # noqa: S311 - points of a search, no secret

    @property
    def exhausted(self) -> bool:
        """Whether every point was tried."""
        return self.space.size is not None and len(self.tried) >= self.space.size

    def losses(self) -> list[float]:
        """Return the first metric of each trial of the history, negated if higher is better.

        A trial that failed or diverged has the worst value of all, so that a sampler avoids its neighbourhood.
        """
        sign = -1 if self.rising and self.rising[0] else 1
        values = [sign * v if (v := objective_value(t, self.metrics[0])) is not None else None for t in self.history]
        worst = max((v for v in values if v is not None), default=0.0)
        return [worst if v is None else v for v in values]

    def untried(self, points: Iterable[Point]) -> list[Point]:
        """Return the first `count` of these points that were not tried, without duplicates; it gives up after
        many that were.
        """
        found: dict[str, Point] = {}
        for point in islice(points, ATTEMPTS * self.count):
            name = name_of(point)
            if name not in self.tried:
                found.setdefault(name, point)
            if len(found) == self.count:
                break
        return list(found.values())

    def completed(self, points: Sequence[Point]) -> list[Point]:
        """Return these points, filled up with random ones to `count`; fewer where no more are left."""
        found = self.untried(chain(points, self.random_points()))
        size = self.space.size
        if len(found) == self.count or size is None or size > MAX_LISTED:
            return found
        names = {name_of(point) for point in found} | self.tried
        left = [point for point in self.space.grid() if name_of(point) not in names]
        return found + self.rng.sample(left, min(len(left), self.count - len(found)))

    def random_points(self) -> Iterator[Point]:
        """Yield random points without end."""
        while True:
            yield self.space.draw(self.rng)


class BuiltinSampler(Sampler):
    """Base class of dlx's own samplers."""

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
        request = SampleRequest(space, history, count, seed, metrics, rising, taken)
        return [] if request.exhausted or count < 1 else self.pick(request)

    def pick(self, request: SampleRequest) -> list[Point]:
        """Return points for a request; it is not called for one of no points, or when all were tried."""
        raise TypeError(f"{type(self).__name__} has no pick()")


def objective_value(trial: Trial, metric: str) -> float | None:
    """Return a metric of a trial at its last rung, or a figure of its plan; None where it failed or is not finite."""
    if trial.state == "failed":
        return None
    value = {"params": trial.params, "macs": trial.macs}.get(metric) or trial.value(metric)
    return value if value is not None and isfinite(value) else None
