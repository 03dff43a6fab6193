"""Schedulers: at which steps the trials of a generation are compared, and which of them go on.

A generation goes together: all of its trials come to a rung before any goes on. So who is quicker changes nothing,
and one worker gives the same study as eight. Rungs are counted in epochs; where batches differ in size, trials of one
rung stand at different steps, and are compared each at its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf, isfinite
from random import Random
from statistics import fmean, median
from typing import Annotated, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from ..spec.strategies import Scheduler
from ..utils.exact_fractions import rational, rounded_down
from .space import Dimension, Numbers, Space
from .trial import Point, Trial

Factor = Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class Exploit:
    """A trial goes on from the weights of another one, with another point."""

    source: int
    """The number of the one whose weights it takes over."""
    point: Point


def losses(trials: Sequence[Trial], place: int, metric: str, rising: bool) -> dict[int, float]:
    """A metric at the rung of this place, less being better, by the number of each trial that came so far."""
    told: dict[int, float] = {}
    for trial in trials:
        steps = sorted(trial.rungs)
        if place < len(steps):
            value = trial.value(metric, steps[place])
            told[trial.number] = inf if value is None or not isfinite(value) else -value if rising else value
    return told


def place_of(trials: Sequence[Trial], rung: int) -> int:
    """Which rung of a trial is at this step, counted from 0."""
    for trial in trials:
        if rung in trial.rungs:
            return sorted(trial.rungs).index(rung)
    raise ValueError(f"no trial has metrics at step {rung}")


def best(told: dict[int, float], count: int) -> set[int]:
    """The numbers of the `count` best; of equal ones those that were first."""
    return set(sorted(told, key=lambda number: (told[number], number))[:count])


def steps_at(epochs: Sequence[Fraction], total_steps: int, steps_per_epoch: int) -> list[int]:
    """The steps after so many epochs that lie before the end, and the end."""
    steps = {max(1, ceil(e * steps_per_epoch)) for e in epochs}
    return [*sorted(s for s in steps if s < total_steps), total_steps]


def evenly(first: float, every: float, total_steps: int, steps_per_epoch: int) -> list[Fraction]:
    """Epochs from `first` on, `every` so many of them, before the end: no more of them than there are steps."""
    at, total = rational(first), Fraction(total_steps, steps_per_epoch)
    apart = max(rational(every), Fraction(1, steps_per_epoch))
    return [at + i * apart for i in range(max(0, ceil((total - at) / apart)))]


class NoScheduler(Scheduler):
    """Every trial runs to its end."""

    kind: ClassVar[str] = "none"


class SuccessiveHalving(Scheduler):
    """The best 1 in `reduction_factor` of a generation go on at each rung, for as many times the epochs.

    Of n that is floor(n / reduction_factor), and at least the best one, so that a trial comes to the end.
    Source: Jamieson & Talwalkar 2016, Non-stochastic Best Arm Identification and Hyperparameter Optimization; Li et
    al. 2018, Hyperband, algorithm 1, for factors other than 2.
    """

    kind: ClassVar[str] = "successive_halving"
    reduction_factor: Factor = Field(4, description="1 in so many goes on, to a rung so many times as far")
    min_epochs: PositiveFloat = Field(1, description="epochs to the first rung")

    def rungs(self, total_steps: int, steps_per_epoch: int, generation: int = 0) -> list[int]:
        return steps_at(self.ladder(Fraction(total_steps, steps_per_epoch)), total_steps, steps_per_epoch)

    def ladder(self, total: Fraction) -> list[Fraction]:
        """The epochs of the rungs before the end."""
        epochs = [rational(self.min_epochs)]
        while epochs[-1] * self.reduction_factor < total:
            epochs.append(epochs[-1] * self.reduction_factor)
        return epochs

    def survivors(
        self, trials: Sequence[Trial], rung: int, metric: str, rising: bool, history: Sequence[Trial] = ()
    ) -> set[int]:
        told = losses(trials, place_of(trials, rung), metric, rising)
        return best(told, self.survivor_count(len(told)))

    def survivor_count(self, count: int) -> int:
        """Trials out of `count` that go on: 1 in `reduction_factor`, rounded down, but one at least."""
        return max(1, count // self.reduction_factor)


class Asha(SuccessiveHalving):
    """A trial goes on where it is among the best 1 in `reduction_factor` of all that came to that rung so far.

    The rule of asynchronous halving, a generation at a time: whoever is quicker gains nothing. Of fewer trials than
    `reduction_factor` the best goes on, where the source lets none.
    Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, algorithm 2.
    """

    kind: ClassVar[str] = "asha"

    def survivors(
        self, trials: Sequence[Trial], rung: int, metric: str, rising: bool, history: Sequence[Trial] = ()
    ) -> set[int]:
        place = place_of(trials, rung)
        told = losses([*history, *trials], place, metric, rising)
        return best(told, self.survivor_count(len(told))) & {t.number for t in trials}


class Hyperband(SuccessiveHalving):
    """Halving that begins early in one generation and late in the next, down to one without any rungs.

    Generations are of one size, where the source takes more trials in those that begin early.
    Source: Li et al. 2018, Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization.
    """

    kind: ClassVar[str] = "hyperband"
    reduction_factor: Factor = Field(3, description="1 in so many goes on, to a rung so many times as far")

    def rungs(self, total_steps: int, steps_per_epoch: int, generation: int = 0) -> list[int]:
        ladder = self.ladder(Fraction(total_steps, steps_per_epoch))
        left_out = generation % (len(ladder) + 1)
        return steps_at(ladder[left_out:], total_steps, steps_per_epoch)


class Median(Scheduler):
    """A trial ends where its best value so far is worse than the median of the others' running averages up to there.

    The others are all that came to that rung; a running average is the mean of a trial's values at the rungs up to
    it. The source compares with finished trials alone, of which there are none in a first generation.
    Source: Golovin et al. 2017, Google Vizier, section 3.2.2.
    """

    kind: ClassVar[str] = "median"
    startup: PositiveInt = Field(8, description="trials at a rung before any ends there")
    min_epochs: PositiveFloat = Field(1, description="epochs to the first rung")
    every: PositiveFloat = Field(1, description="epochs between two rungs")

    def rungs(self, total_steps: int, steps_per_epoch: int, generation: int = 0) -> list[int]:
        return steps_at(
            evenly(self.min_epochs, self.every, total_steps, steps_per_epoch), total_steps, steps_per_epoch
        )

    def survivors(
        self, trials: Sequence[Trial], rung: int, metric: str, rising: bool, history: Sequence[Trial] = ()
    ) -> set[int]:
        everyone, last = [*history, *trials], place_of(trials, rung)
        upto = [losses(everyone, place, metric, rising) for place in range(last + 1)]
        average = {number: fmean(told[number] for told in upto) for number in upto[last]}
        if len(average) < self.startup:
            return {trial.number for trial in trials}

        def goes_on(number: int) -> bool:
            others = [value for other, value in average.items() if other != number]
            return not others or min(told[number] for told in upto) <= median(others)

        return {trial.number for trial in trials if goes_on(trial.number)}


class Population(Scheduler):
    """Population-based training: at each rung the worst take over the weights of the best, and move their own values.

    A generation is the population. What moves are the numbers of the optimizer (`keys`), by a factor or drawn anew;
    all else stays with the weights, so both must be the same network on the same data.
    Source: Jaderberg et al. 2017, Population Based Training of Neural Networks.
    """

    kind: ClassVar[str] = "population"
    every: PositiveFloat = Field(1, description="epochs between two rungs")
    share: Annotated[float, Field(gt=0, le=0.5)] = Field(0.25, description="part that is replaced, by as many")
    factor: Annotated[float, Field(gt=1)] = Field(1.2, description="what a number is multiplied with or divided by")
    anew: Annotated[float, Field(ge=0, le=1)] = Field(0.25, description="chance of a number to be drawn anew")
    keys: list[str] = Field(["train.optimizer."], description="beginnings of the keys that move")

    def rungs(self, total_steps: int, steps_per_epoch: int, generation: int = 0) -> list[int]:
        return steps_at(evenly(self.every, self.every, total_steps, steps_per_epoch), total_steps, steps_per_epoch)

    def exploits(
        self, trials: Sequence[Trial], rung: int, metric: str, rising: bool, space: Space, seed: int
    ) -> dict[int, Exploit]:
        place = place_of(trials, rung)
        told = losses(trials, place, metric, rising)
        count = rounded_down(self.share, len(told))
        top, low = best(told, count), set(told) - best(told, len(told) - count)
        by_number = {trial.number: trial for trial in trials}
        found = {}
        for number in sorted(low):
            chance = Random(f"{seed} {number} {place}")  # noqa: S311 - points of a search, no secret
            mine = by_number[number].point
            alike = [n for n in sorted(top) if self.weights_fit(by_number[n].point, mine) and told[n] < told[number]]
            if alike:
                source = chance.choice(alike)
                found[number] = Exploit(source, self.moved(by_number[source].point, space, chance))
        return found

    def weights_fit(self, one: Point, other: Point) -> bool:
        """Whether two points are the same but for what may move."""
        return {k: v for k, v in one.items() if not self.moves(k)} == {
            k: v for k, v in other.items() if not self.moves(k)
        }

    def moves(self, key: str) -> bool:
        return key.startswith(tuple(self.keys))

    def moved(self, point: Point, space: Space, chance: Random) -> Point:
        """The point with each number that moves a little more or less, or drawn anew."""
        return {
            key: self.perturbed(space.by_key[key], value, chance) if self.moves(key) else value
            for key, value in point.items()
        }

    def perturbed(self, dimension: Dimension, value: float, chance: Random) -> object:
        if chance.random() < self.anew:
            return dimension.at(chance.random())
        if isinstance(dimension, Numbers) and not dimension.step:
            return dimension.nearest(value * chance.choice([self.factor, 1 / self.factor]))
        return chance.choice(dimension.near(value) or [value])
