"""Samplers that are Optuna's. Each question makes a study in memory, fills it with the history, and asks it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...lazy import torch
from ...spec.sections.sweep_values import Choices, Dimension
from ..space import Space
from ..trial import Point, Trial
from .base import Asked, Picking, measured

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


class OptunaSampler(Picking):
    """What samplers of Optuna share."""

    again: ClassVar[int] = 5
    """Suggestions that may come to points already tried, for each that is wanted."""

    def sampler(self, seed: int) -> BaseSampler:
        """Optuna's own."""
        raise TypeError(f"{type(self).__name__} has no sampler()")

    def marks(self, index: int) -> dict[str, Any]:
        """What Optuna would have noted of the finished trial of this index."""
        return {}

    def prepare(self, sampler: BaseSampler, study: Study, finished: int) -> None:
        """Whatever is wanted before the first question to a study with so many trials."""

    def pick(self, asked: Asked) -> list[Point]:
        with quiet():
            import optuna

            down, up = optuna.study.StudyDirection.MINIMIZE, optuna.study.StudyDirection.MAXIMIZE
            sampler = self.sampler(asked.number)
            ways = [up if rising else down for rising in self.looked_at(asked)]
            study = optuna.create_study(directions=ways, sampler=sampler)
            told = self.told(asked)
            study.add_trials(told)
            self.prepare(sampler, study, len(told))
            return asked.completed(asked.new(self.suggested(asked, study)))

    def looked_at(self, asked: Asked) -> Sequence[bool]:
        """For each metric that is followed, whether more is better."""
        return asked.rising if self.several else asked.rising[:1]

    def suggested(self, asked: Asked, study: Study) -> Iterator[Point]:
        """What the study suggests. It takes each one as on its way, and looks elsewhere for the next."""
        distributions = asked.space.optuna()
        for _ in range(self.again * asked.count):
            trial = study.ask(distributions)
            yield asked.space.settled({d.key: decoded(d, trial.params[d.key]) for d in asked.space.dimensions})

    def told(self, asked: Asked) -> list[FrozenTrial]:
        """The history for Optuna. A trial that failed or diverged is told as the worst of all."""
        rising = self.looked_at(asked)
        metrics = asked.metrics[: len(rising)]
        values = [[measured(trial, metric) for metric in metrics] for trial in asked.history]
        worst = [_worst([row[i] for row in values], up) for i, up in enumerate(rising)]
        made: list[FrozenTrial] = []
        teller = _Teller(asked.space, metrics)
        for trial, row in zip(asked.history, values, strict=True):
            full = [w if v is None else v for v, w in zip(row, worst, strict=True)]
            if None not in full:
                made.append(teller.told(trial, [v for v in full if v is not None], self.marks(len(made))))
        return made


class _Teller:
    """Trials as Optuna has them."""

    def __init__(self, space: Space, metrics: Sequence[str]) -> None:
        self.space, self.metrics, self.distributions = space, metrics, space.optuna()

    def told(self, trial: Trial, values: list[float], marks: dict[str, Any]) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        point = self.space.filled(trial.point)
        params = {d.key: encoded(d, point[d.key]) for d in self.space.dimensions}
        known: dict[str, Any] = {"params": params, "distributions": self.distributions}
        if trial.state == "stopped" and len(self.metrics) == 1 and trial.rungs:
            seen = {step: trial.value(self.metrics[0], step) for step in trial.rungs}
            steps = {step: value for step, value in seen.items() if value is not None}
            return create_trial(state=TrialState.PRUNED, value=values[0], intermediate_values=steps, **known)
        return create_trial(state=TrialState.COMPLETE, values=values, system_attrs=marks, **known)


def _worst(values: Sequence[float | None], rising: bool) -> float | None:
    known = [v for v in values if v is not None]
    return (min if rising else max)(known, default=None)


def encoded(dimension: Dimension, value: Any) -> Any:
    """A value as Optuna's distribution of the dimension has it: choices by their number."""
    return dimension.index(value) if isinstance(dimension, Choices) else value


def decoded(dimension: Dimension, value: Any) -> Any:
    """And back."""
    return dimension.ranks[value] if isinstance(dimension, Choices) else dimension.nearest(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's word on each study, and its warnings that a part of it is new."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


class Tpe(OptunaSampler):
    """Where good points are dense and bad ones are not: a tree-structured Parzen estimator. Optuna's TPESampler.

    Source: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization; Falkner et al. 2018 (multivariate).
    """

    kind: ClassVar[str] = "tpe"
    several: ClassVar[bool] = True
    startup: NonNegativeInt = Field(10, description="trials by chance before the first that follows from results")
    multivariate: bool = Field(True, description="look at keys together, and not one by one")
    candidates: PositiveInt = Field(24, description="draws, of which the most promising is taken")

    def sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(
            n_startup_trials=self.startup,
            n_ei_candidates=self.candidates,
            multivariate=self.multivariate,
            constant_liar=True,
            seed=seed,
        )


class GaussianProcess(OptunaSampler):
    """Where a Gaussian process through the results expects most to gain. Optuna's GPSampler.

    Its time grows with the cube of the trials: for some hundred. Source: Snoek et al. 2012, Practical Bayesian
    Optimization of Machine Learning Algorithms.
    """

    kind: ClassVar[str] = "gp"
    several: ClassVar[bool] = True
    again: ClassVar[int] = 1
    startup: NonNegativeInt = Field(10, description="trials by chance before the first that follows from results")

    def sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.startup, seed=seed)

    def pick(self, asked: Asked) -> list[Point]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # its matrices are small: more threads wait for each other, tenfold where others run
        try:
            return super().pick(asked)
        finally:
            torch.set_num_threads(threads)


class Nsga2(OptunaSampler):
    """For several metrics: evolve a population towards the front that nothing is better than. Optuna's NSGAIISampler.

    Source: Deb et al. 2002, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II.
    """

    kind: ClassVar[str] = "nsga2"
    several: ClassVar[bool] = True
    population: Annotated[int, Field(ge=2)] = Field(24, description="points of which the next ones are made")
    crossover: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="part of the points with two parents")
    mutation: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="chance of each key to change; else 1 over their number"
    )

    def sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(
            population_size=self.population, mutation_prob=self.mutation, crossover_prob=self.crossover, seed=seed
        )

    def marks(self, index: int) -> dict[str, Any]:
        from optuna.samplers import NSGAIISampler

        return {NSGAIISampler._get_generation_key(): index // self.population}

    def prepare(self, sampler: Any, study: Study, finished: int) -> None:
        for generation in range(1, finished // self.population + 1):
            sampler.get_parent_population(study, generation)  # one after the other: it would go down to the first


__all__ = ["GaussianProcess", "Nsga2", "Tpe"]
