"""Samplers of Optuna. Each request creates a study in memory, adds the history to it, and asks it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...lazy import torch
from ...spec.sections.sweep_values import Choices, Dimension
from ..space import Space
from ..trial import Point, Trial
from .base import BuiltinSampler, SampleRequest, objective_value

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


class OptunaSampler(BuiltinSampler):
    """Base class of Optuna's samplers."""

    attempts: ClassVar[int] = 5
    """Suggestions that may have been tried already, for each that is wanted."""

    def sampler(self, seed: int) -> BaseSampler:
        """Return Optuna's sampler."""
        raise TypeError(f"{type(self).__name__} has no sampler()")

    def system_attrs(self, index: int) -> dict[str, Any]:
        """Return what Optuna would have recorded with the finished trial of this index."""
        return {}

    def prepare(self, sampler: BaseSampler, study: Study, finished: int) -> None:
        """Prepare a sampler before the first request to a study with so many finished trials."""

    def pick(self, request: SampleRequest) -> list[Point]:
        with quiet():
            import optuna

            down, up = optuna.study.StudyDirection.MINIMIZE, optuna.study.StudyDirection.MAXIMIZE
            sampler = self.sampler(request.rng_seed)
            study_directions = [up if rising else down for rising in self.rising_metrics(request)]
            study = optuna.create_study(directions=study_directions, sampler=sampler)
            history = self.frozen_trials(request)
            study.add_trials(history)
            self.prepare(sampler, study, len(history))
            return request.completed(request.untried(self.suggestions(request, study)))

    def rising_metrics(self, request: SampleRequest) -> Sequence[bool]:
        """Return for each metric that is followed whether higher is better."""
        return request.rising if self.several else request.rising[:1]

    def suggestions(self, request: SampleRequest, study: Study) -> Iterator[Point]:
        """Yield suggestions of the study, which counts each as running and looks elsewhere for the next."""
        distributions = request.space.optuna()
        for _ in range(self.attempts * request.count):
            trial = study.ask(distributions)
            yield request.space.active({d.key: decoded(d, trial.params[d.key]) for d in request.space.dimensions})

    def frozen_trials(self, request: SampleRequest) -> list[FrozenTrial]:
        """Return the history as Optuna's trials. One that failed or diverged has the worst value of all."""
        rising = self.rising_metrics(request)
        metrics = request.metrics[: len(rising)]
        values = [[objective_value(trial, metric) for metric in metrics] for trial in request.history]
        worst = [_worst([row[i] for row in values], up) for i, up in enumerate(rising)]
        made: list[FrozenTrial] = []
        converter = _TrialConverter(request.space, metrics)
        for trial, row in zip(request.history, values, strict=True):
            full = [w if v is None else v for v, w in zip(row, worst, strict=True)]
            if None not in full:
                made.append(
                    converter.converted(trial, [v for v in full if v is not None], self.system_attrs(len(made)))
                )
        return made


class _TrialConverter:
    """Converter of trials to Optuna's."""

    def __init__(self, space: Space, metrics: Sequence[str]) -> None:
        self.space, self.metrics, self.distributions = space, metrics, space.optuna()
        self.now = datetime.now()

    def converted(self, trial: Trial, values: list[float], system_attrs: dict[str, Any]) -> FrozenTrial:
        from optuna.trial import TrialState

        point = self.space.filled(trial.point)
        steps: dict[int, float] = {}
        # Optuna has pruned trials for a single metric only
        if pruned := trial.state == "stopped" and len(self.metrics) == 1 and bool(trial.rungs):
            by_step = {step: trial.value(self.metrics[0], step) for step in trial.rungs}
            steps = {step: value for step, value in by_step.items() if value is not None}
        return _shared_trial()(
            number=-1,  # the storage numbers them
            trial_id=-1,
            state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            value=None,
            values=values,
            datetime_start=self.now,
            datetime_complete=self.now,
            params={d.key: encoded(d, point[d.key]) for d in self.space.dimensions},
            distributions=self.distributions,
            user_attrs={},
            system_attrs={} if pruned else system_attrs,
            intermediate_values=steps,
        )


@cache
def _shared_trial() -> type[FrozenTrial]:
    """Return the class of trials that a storage takes as they are.

    Optuna's storage in memory copies each trial deeply, so that nobody changes it afterwards. These are made for one
    study, and nobody else has them: of a history of 1,000 trials, the copies took half the time of a suggestion.
    """
    from optuna.trial import FrozenTrial

    class SharedTrial(FrozenTrial):
        def __deepcopy__(self, _: dict[int, Any]) -> SharedTrial:
            return self

    return SharedTrial


def _worst(values: Sequence[float | None], rising: bool) -> float | None:
    known = [v for v in values if v is not None]
    return (min if rising else max)(known, default=None)


def encoded(dimension: Dimension, value: Any) -> Any:
    """Return a value as in Optuna's distribution of the dimension: choices by their index."""
    return dimension.index(value) if isinstance(dimension, Choices) else value


def decoded(dimension: Dimension, value: Any) -> Any:
    """Return the value of one in Optuna's distribution."""
    return dimension.ranks[value] if isinstance(dimension, Choices) else dimension.nearest(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's message for each study, and its warnings of experimental features."""
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
    """Suggest points where good ones are dense and bad ones are not: tree-structured Parzen estimator, Optuna's
    TPESampler.

    Source: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization; Falkner et al. 2018 (multivariate).
    """

    kind: ClassVar[str] = "tpe"
    several: ClassVar[bool] = True
    startup: NonNegativeInt = Field(10, description="trials by chance before the first that follows from results")
    multivariate: bool = Field(True, description="look at keys together, and not one by one")
    candidates: PositiveInt = Field(24, le=1_000_000, description="draws, of which the most promising is taken")

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
    """Suggest points with the largest expected improvement of a Gaussian process. Optuna's GPSampler.

    Its time grows with the cube of the trials: for some hundred. Source: Snoek et al. 2012, Practical Bayesian
    Optimization of Machine Learning Algorithms.
    """

    kind: ClassVar[str] = "gp"
    several: ClassVar[bool] = True
    attempts: ClassVar[int] = 1
    startup: NonNegativeInt = Field(10, description="trials by chance before the first that follows from results")

    def sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.startup, seed=seed)

    def pick(self, request: SampleRequest) -> list[Point]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # its matrices are small: more threads wait for each other, tenfold where others run
        try:
            return super().pick(request)
        finally:
            torch.set_num_threads(threads)


class Nsga2(OptunaSampler):
    """Evolve a population towards the Pareto front of several metrics. Optuna's NSGAIISampler.

    Source: Deb et al. 2002, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II.
    """

    kind: ClassVar[str] = "nsga2"
    several: ClassVar[bool] = True
    population: Annotated[int, Field(ge=2, le=100_000)] = Field(
        24, description="points of which the next ones are made"
    )
    crossover: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="part of the points with two parents")
    mutation: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="chance of each key to change; else 1 over their number"
    )

    def sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(
            population_size=self.population, mutation_prob=self.mutation, crossover_prob=self.crossover, seed=seed
        )

    def system_attrs(self, index: int) -> dict[str, Any]:
        from optuna.samplers import NSGAIISampler

        # Optuna 5 has no public name for it; without it every added trial would count as of generation 0
        return {NSGAIISampler._get_generation_key(): index // self.population}

    def prepare(self, sampler: Any, study: Study, finished: int) -> None:
        for generation in range(1, finished // self.population + 1):
            # in ascending order: each call caches its result, and asks for the generation before, recursively
            sampler.get_parent_population(study, generation)


__all__ = ["GaussianProcess", "Nsga2", "Tpe"]
