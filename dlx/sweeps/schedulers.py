"""Schedulers: at which steps (rungs) the trials of a generation are compared, and which of them go on.

A generation goes together: all of its trials reach a rung before any goes on. So speed changes nothing, and one
worker gives the same study as eight. Rungs are counted in epochs; where batches differ in size, trials of one rung
are at different steps, and each is compared at its own.
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
from .space import Dimension, NumberRange, Space
from .trial import Point, Trial

Factor = Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class Exploit:
    """A trial goes on from the weights of another one, at another point."""

    source: int
    """Number of the trial whose weights are taken over."""
    point: Point


def losses_at(trials: Sequence[Trial], place: int, metric: str, rising: bool) -> dict[int, float]:
    """Return a metric at a rung, negated if higher is better, by the number of each trial that has reached it.

    A value that is missing or not finite counts as infinite.
    """
    values: dict[int, float] = {}
    for trial in trials:
        steps = sorted(trial.rungs)
        if place < len(steps):
            value = trial.value(metric, steps[place])
            values[trial.number] = inf if value is None or not isfinite(value) else -value if rising else value
    return values


def rung_index(trials: Sequence[Trial], rung: int) -> int:
    """Return the index of the rung at this step, from 0."""
    for trial in trials:
        if rung in trial.rungs:
            return sorted(trial.rungs).index(rung)
    raise ValueError(f"no trial has metrics at step {rung}")


def best(values: dict[int, float], count: int) -> set[int]:
    """Return the numbers of the `count` smallest values; of equal ones those of the earlier trials."""
    return set(sorted(values, key=lambda number: (values[number], number))[:count])


def steps_at(epochs: Sequence[Fraction], total_steps: int, steps_per_epoch: int) -> list[int]:
    """Return the steps at these epochs that lie before the end, and the end."""
    steps = {max(1, ceil(e * steps_per_epoch)) for e in epochs}
    return [*sorted(s for s in steps if s < total_steps), total_steps]


def evenly_spaced(first: float, every: float, total_steps: int, steps_per_epoch: int) -> list[Fraction]:
    """Return epochs from `first` on, `every` so many, before the end: at most one a step."""
    at, total = rational(first), Fraction(total_steps, steps_per_epoch)
    # exact fractions: 0.1 summed as a float drifts, and a rung would fall one step late
    interval = max(rational(every), Fraction(1, steps_per_epoch))
    return [at + i * interval for i in range(max(0, ceil((total - at) / interval)))]


class NoScheduler(Scheduler):
    """Train every trial to its end."""

    kind: ClassVar[str] = "none"


class SuccessiveHalving(Scheduler):
    """Keep the best 1 in `reduction_factor` of a generation at each rung; the next rung has as many times the
    epochs.

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
        """Return the epochs of the rungs before the end."""
        epochs = [rational(self.min_epochs)]
        while epochs[-1] * self.reduction_factor < total:
            epochs.append(epochs[-1] * self.reduction_factor)
        return epochs

    def survivors(
        self, trials: Sequence[Trial], rung: int, metric: str, rising: bool, history: Sequence[Trial] = ()
    ) -> set[int]:
        values = losses_at(trials, rung_index(trials, rung), metric, rising)
        return best(values, self.survivor_count(len(values)))

    def survivor_count(self, count: int) -> int:
        """Return how many trials out of `count` go on: 1 in `reduction_factor`, rounded down, but at least one."""
        return max(1, count // self.reduction_factor)


class Asha(SuccessiveHalving):
    """Let a trial go on where it is among the best 1 in `reduction_factor` of all that have come to that rung so
    far.

    The rule of asynchronous halving, a generation at a time: a quicker trial gains nothing. Of fewer trials than
    `reduction_factor` the best goes on, where the source lets none.
    Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, algorithm 2.
    """

    kind: ClassVar[str] = "asha"

    def survivors(
        self, trials: Sequence[Trial], rung: int, metric: str, rising: bool, history: Sequence[Trial] = ()
    ) -> set[int]:
        place = rung_index(trials, rung)
        values = losses_at([*history, *trials], place, metric, rising)
        return best(values, self.survivor_count(len(values))) & {t.number for t in trials}


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
    """Stop a trial whose best value so far is worse than the median of the others' running averages up to there.

    The others are all that have come to that rung; a running average is the mean of a trial's values at the rungs up
    to it. The source compares with finished trials only, of which there are none in a first generation. Source:
    Golovin et al. 2017, Google Vizier, section 3.2.2.
    """

    kind: ClassVar[str] = "median"
    startup: PositiveInt = Field(8, description="trials at a rung before any ends there")
    min_epochs: PositiveFloat = Field(1, description="epochs to the first rung")
    every: PositiveFloat = Field(1, description="epochs between two rungs")

    def rungs(self, total_steps: int, steps_per_epoch: int, generation: int = 0) -> list[int]:
        return steps_at(
            evenly_spaced(self.min_epochs, self.every, total_steps, steps_per_epoch), total_steps, steps_per_epoch
        )

    def survivors(
        self, trials: Sequence[Trial], rung: int, metric: str, rising: bool, history: Sequence[Trial] = ()
    ) -> set[int]:
        everyone, last = [*history, *trials], rung_index(trials, rung)
        upto = [losses_at(everyone, place, metric, rising) for place in range(last + 1)]
        average = {number: fmean(values[number] for values in upto) for number in upto[last]}
        if len(average) < self.startup:
            return {trial.number for trial in trials}

        def goes_on(number: int) -> bool:
            others = [value for other, value in average.items() if other != number]
            return not others or min(values[number] for values in upto) <= median(others)

        return {trial.number for trial in trials if goes_on(trial.number)}


class Population(Scheduler):
    """Population-based training: at each rung the worst take over the weights of the best, and perturb their
    values.

    A generation is the population. The numbers of the optimizer (`keys`) are perturbed, by a factor or sampled anew;
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
        return steps_at(
            evenly_spaced(self.every, self.every, total_steps, steps_per_epoch), total_steps, steps_per_epoch
        )

    def exploits(
        self, trials: Sequence[Trial], rung: int, metric: str, rising: bool, space: Space, seed: int
    ) -> dict[int, Exploit]:
        place = rung_index(trials, rung)
        values = losses_at(trials, place, metric, rising)
        count = rounded_down(self.share, len(values))
        top, low = best(values, count), set(values) - best(values, len(values) - count)
        by_number = {trial.number: trial for trial in trials}
        found = {}
        for number in sorted(low):
            # a generator for each trial and rung: a study that was interrupted continues with the same values
            rng = Random(f"{seed} {number} {place}")  # noqa: S311 - points of a search, no secret
            mine = by_number[number].point
            compatible = [
                n for n in sorted(top) if self.weights_fit(by_number[n].point, mine) and values[n] < values[number]
            ]
            if compatible:
                source = rng.choice(compatible)
                found[number] = Exploit(source, self.moved(by_number[source].point, space, rng))
        return found

    def weights_fit(self, one: Point, other: Point) -> bool:
        """Whether two points are equal but for the keys that may be perturbed."""
        return {k: v for k, v in one.items() if not self.moves(k)} == {
            k: v for k, v in other.items() if not self.moves(k)
        }

    def moves(self, key: str) -> bool:
        return key.startswith(tuple(self.keys))

    def moved(self, point: Point, space: Space, rng: Random) -> Point:
        """Return the point with each of its movable numbers perturbed."""
        return {
            key: self.perturbed(space.by_key[key], value, rng) if self.moves(key) else value
            for key, value in point.items()
        }

    def perturbed(self, dimension: Dimension, value: float, rng: Random) -> object:
        if rng.random() < self.anew:
            return dimension.at(rng.random())
        if isinstance(dimension, NumberRange) and not dimension.step:
            return dimension.nearest(value * rng.choice([self.factor, 1 / self.factor]))
        return rng.choice(dimension.near(value) or [value])
