"""Importance of each key for the metric of a study: fANOVA, by Optuna.

A random forest is fitted to the trials, and the variance of its prediction over the whole space is decomposed: into
what each key explains by itself, and the rest, which is interaction.
Source: Hutter et al. 2014, An Efficient Approach for Assessing Hyperparameter Importance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from ..spec.sections.sweep_values import Choices, Dimension, NumberRange
from .samplers.by_optuna import encoded, quiet
from .space import distribution
from .trial import Trial

MIN_TRIALS = 8
"""Trials with a value below which no importance is computed."""
SEED = 0
"""Seed of the forest."""
OUTLIER_FACTOR = 2.5
"""Distance from the best value, in multiples of that of the third quartile, beyond which a value is an outlier."""


def dimensions_of(document: Mapping[str, Mapping[str, Any]]) -> list[Dimension]:
    """Return the dimensions of a space, from the document of `Space.as_json` in the journal."""
    return [_dimension(key, about) for key, about in document.items()]


def _dimension(key: str, about: Mapping[str, Any]) -> Dimension:
    if "choice" in about:
        return Choices(key, tuple(about["choice"]))
    return NumberRange(key, about["low"], about["high"], about.get("step"), bool(about.get("log")))


def comparable_values(trials: Sequence[Trial], metric: str) -> dict[int, float]:
    """Return a metric by trial number, all at one rung: the last that at least half of the trials came to.

    So trials that a scheduler stopped count too, and none is compared at its start with another at its end.
    """
    by_trial = {t.number: _by_rung(t, metric) for t in trials}
    rung_counts = sorted((len(values) for values in by_trial.values() if values), reverse=True)
    if not rung_counts:
        return {}
    place = rung_counts[(len(rung_counts) - 1) // 2] - 1
    return {n: v[place] for n, v in by_trial.items() if len(v) > place and isfinite(v[place])}


def _by_rung(trial: Trial, metric: str) -> list[float]:
    values = [trial.value(metric, step) for step in sorted(trial.rungs)]
    return [v for v in values if v is not None]


def limits(values: Sequence[float], rising: bool) -> tuple[float, float]:
    """Return the range of values from the best on, without outliers; never empty."""
    ordered = sorted(values, reverse=rising)
    best, usual = ordered[0], ordered[(3 * (len(ordered) - 1)) // 4]
    worst = ordered[-1]
    margin = OUTLIER_FACTOR * abs(usual - best)
    if margin and abs(worst - best) > margin:
        worst = best - margin if rising else best + margin
    low, high = min(best, worst), max(best, worst)
    return (low, high) if high > low else (low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0))


def clipped(values: Mapping[int, float], rising: bool) -> dict[int, float]:
    """Return the values with outliers moved to the limits."""
    low, high = limits(list(values.values()), rising) if values else (0.0, 0.0)
    return {number: min(max(value, low), high) for number, value in values.items()}


def importance(
    trials: Sequence[Trial], dimensions: Sequence[Dimension], metric: str, rising: bool = False
) -> dict[str, float]:
    """Return the fraction of the variance that each key explains by itself, the largest first; the rest to 1 is
    interaction.

    A key that is not in a point, because another key leaves it no place, counts as its middle. Outliers count as the
    limit: a diverged training would else explain everything. Empty where there are too few trials, or all are equal.
    """
    values = clipped(comparable_values(trials, metric), rising)
    if len(values) < MIN_TRIALS or len(set(values.values())) < 2:
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
        shares = FanovaImportanceEvaluator(seed=SEED).evaluate(study)
    return {key: max(0.0, float(share)) for key, share in shares.items()}
