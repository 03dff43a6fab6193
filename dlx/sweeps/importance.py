"""How much of what trials differ in comes from each key: fANOVA, as Optuna has it, on the trials of a study.

A forest is fitted to the trials, and the variance of what it says over the whole space is split: what each key
explains by itself, and what only their interplay does.
Source: Hutter et al. 2014, An Efficient Approach for Assessing Hyperparameter Importance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from ..spec.sections.sweep_values import Choices, Dimension, Numbers
from .samplers.by_optuna import encoded, quiet
from .space import distribution
from .trial import Trial

FEWEST = 8
"""Trials with a value below which nothing is said."""
SEED = 0
"""Of the forest."""
FAR = 2.5
"""How often the middle half's reach a value may lie beyond the best and still count as what it is."""


def dimensions_of(told: Mapping[str, Mapping[str, Any]]) -> list[Dimension]:
    """What varies, from what `Space.as_json` says, as the journal of a study keeps it."""
    return [_dimension(key, about) for key, about in told.items()]


def _dimension(key: str, about: Mapping[str, Any]) -> Dimension:
    if "choice" in about:
        return Choices(key, tuple(about["choice"]))
    return Numbers(key, about["low"], about["high"], about.get("step"), bool(about.get("log")))


def compared(trials: Sequence[Trial], metric: str) -> dict[int, float]:
    """A metric by the number of each trial, all at the same rung: the last that at least half of them reached.

    So trials that a scheduler stopped count too, and none is compared at its start with another at its end.
    """
    told = {t.number: _by_rung(t, metric) for t in trials}
    reached = sorted((len(values) for values in told.values() if values), reverse=True)
    if not reached:
        return {}
    place = reached[(len(reached) - 1) // 2] - 1
    return {n: v[place] for n, v in told.items() if len(v) > place and isfinite(v[place])}


def _by_rung(trial: Trial, metric: str) -> list[float]:
    values = [trial.value(metric, step) for step in sorted(trial.rungs)]
    return [v for v in values if v is not None]


def limits(values: Sequence[float], rising: bool) -> tuple[float, float]:
    """From the best value to the worst, or as far as FAR times what the better three quarters reach."""
    ordered = sorted(values, reverse=rising)
    best, usual = ordered[0], ordered[(3 * (len(ordered) - 1)) // 4]
    worst = ordered[-1]
    reach = FAR * abs(usual - best)
    if reach and abs(worst - best) > reach:
        worst = best - reach if rising else best + reach
    low, high = min(best, worst), max(best, worst)
    return (low, high) if high > low else (low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0))


def within(values: Mapping[int, float], rising: bool) -> dict[int, float]:
    """The same, with what lies far beyond the rest at the edge of it."""
    low, high = limits(list(values.values()), rising) if values else (0.0, 0.0)
    return {number: min(max(value, low), high) for number, value in values.items()}


def importance(
    trials: Sequence[Trial], dimensions: Sequence[Dimension], metric: str, rising: bool = False
) -> dict[str, float]:
    """The part of the variance that each key explains by itself, the largest first; what is left to 1 is interplay.

    A key that is not in a point, because another key leaves it no place, counts as at its middle. Empty where there
    are too few trials, or all came to the same. Values far beyond the rest count as at the edge of it: a training
    that ran away would else explain everything.
    """
    values = within(compared(trials, metric), rising)
    if len(values) < FEWEST or len(set(values.values())) < 2:
        return {}
    with quiet():
        import optuna
        from optuna.importance import FanovaImportanceEvaluator
        from optuna.trial import create_trial

        distributions = {d.key: distribution(d) for d in dimensions}
        study = optuna.create_study()
        for trial in trials:
            if trial.number in values:
                point = {d.key: encoded(d, trial.point.get(d.key, d.at(0.5))) for d in dimensions}
                study.add_trial(create_trial(value=values[trial.number], params=point, distributions=distributions))
        told = FanovaImportanceEvaluator(seed=SEED).evaluate(study)
    return {key: max(0.0, float(share)) for key, share in told.items()}
