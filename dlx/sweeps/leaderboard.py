"""Leaderboard: trials by rank, with ties where differences are not significant.

A trial with several seeds is its mean. Two trials are compared seed by seed: the same seed gives both the same
examples in the same order, and this common effect cancels in the differences. They are distinguishable where the 95 %
interval of the mean difference (Student's t, paired) excludes 0; others share a place. With one seed there is no
estimate of the noise, and only equal values share a place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, inf, isfinite, sqrt
from typing import Any

from ..errors import plural
from ..utils.intervals import mean_of, student_t_quantile
from .trial import Trial

COSTS: Mapping[str, Callable[[Trial], float]] = {
    "params": lambda trial: trial.params,
    "macs": lambda trial: trial.macs,
    "seconds": lambda trial: trial.seconds,
}
"""Costs of a trial; the seconds are those of all its seeds."""


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two trials, averaged over the seeds that both have."""

    mean: float
    interval: float | None
    """Half of its 95 % interval; None for fewer than two seeds."""
    seeds: int

    @property
    def significant(self) -> bool:
        """Whether its 95 % interval excludes 0; with one seed, whether it is not 0."""
        return abs(self.mean) > (self.interval or 0.0)


@dataclass(frozen=True)
class LeaderboardRow:
    """A trial on the leaderboard."""

    trial: Trial
    place: int
    tied: bool
    """Whether others share the place."""
    mean: float
    deviation: float | None
    """Standard deviation over the seeds; None for one seed."""
    interval: float | None
    """Half of the mean's 95 % interval."""
    seeds: int
    behind: Difference | None
    """Difference from the best trial; None for the best itself, and without a common seed."""

    @property
    def label(self) -> str:
        return f"{self.place}{'=' if self.tied else ''}"

    def as_json(self) -> dict[str, Any]:
        """Return a row of `dlx sweep --json`; infinities and NaN as words."""
        difference = self.behind
        return {
            "place": self.place,
            "tied": self.tied,
            "trial": self.trial.number,
            "state": self.trial.state,
            "point": self.trial.point,
            "mean": _number(self.mean),
            "deviation": self.deviation,
            "interval95": self.interval,
            "seeds": self.seeds,
            "behind": None
            if difference is None
            else {"mean": _number(difference.mean), "interval95": difference.interval},
            "params": self.trial.params,
            "macs": self.trial.macs,
            "seconds": round(self.trial.seconds, 3),
        }


def rank(trials: Sequence[Trial], metric: str, rising: bool) -> list[LeaderboardRow]:
    """Rank trials: finished ones by their means, then stopped ones, those with the most steps first.

    A trial that is not distinguishable from the best shares its place, even if its mean is far behind. Any other
    shares the place of the first trial of its group, as long as it is not distinguishable from it. Trials without a
    value are left out.
    """
    sign = -1 if rising else 1

    def order(trial: Trial) -> tuple[bool, int, float, int]:
        mean, last_step = _mean(values_by_seed(trial, metric)), max(trial.rungs) if trial.state == "stopped" else 0
        return trial.state == "stopped", -last_step, sign * mean if isfinite(mean) else inf, trial.number

    ranked = sorted(
        (t for t in trials if t.state in {"finished", "stopped"} and values_by_seed(t, metric)), key=order
    )
    places = _places(ranked, metric)
    shared = Counter(places)
    return [
        _row(trial, metric, place, shared[place] > 1, ranked[0]) for trial, place in zip(ranked, places, strict=True)
    ]


def _places(ordered: Sequence[Trial], metric: str) -> list[int]:
    """Return the place of each trial."""
    places: list[int] = []
    first, at = None, 0  # the first trial of the present group, and its place
    for position, trial in enumerate(ordered, 1):
        if not _distinguishable(trial, ordered[0], metric):
            places.append(1)
            continue
        if first is None or _distinguishable(trial, first, metric):
            first, at = trial, position
        places.append(at)
    return places


def _distinguishable(one: Trial, other: Trial, metric: str) -> bool:
    """Whether two trials differ significantly; always where only one finished, or they stopped at different steps."""
    if one.state != other.state or (one.state == "stopped" and max(one.rungs) != max(other.rungs)):
        return True
    between = difference(one, other, metric)
    return between is None or between.significant


def _row(trial: Trial, metric: str, place: int, tied: bool, best: Trial) -> LeaderboardRow:
    values = values_by_seed(trial, metric)
    behind = difference(trial, best, metric) if trial is not best else None
    numbers = list(values.values())
    deviation = _deviation(numbers) if len(numbers) > 1 and all(map(isfinite, numbers)) else None
    return LeaderboardRow(
        trial, place, tied, _mean(values), deviation, interval_of(trial, metric), len(numbers), behind
    )


def interval_of(trial: Trial, metric: str) -> float | None:
    """Return half of the 95 % interval of a trial's mean at its last rung; None with fewer than two finite values."""
    values = list(values_by_seed(trial, metric).values())
    return _half_interval(_deviation(values), len(values)) if len(values) > 1 and all(map(isfinite, values)) else None


def difference(one: Trial, other: Trial, metric: str) -> Difference | None:
    """Return the difference of a metric between two trials, each at its last rung; None without a common seed."""
    ours, theirs = values_by_seed(one, metric), values_by_seed(other, metric)
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences or not all(map(isfinite, differences)):
        return None
    n = len(differences)
    half = _half_interval(_deviation(differences), n) if n > 1 else None
    return Difference(fsum(differences) / n, half, n)


def _deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation, with n - 1 in the denominator."""
    mean = fsum(values) / len(values)
    return sqrt(fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _half_interval(deviation: float, n: int) -> float:
    """Return half of the 95 % interval of a mean of n values, by Student's t."""
    return student_t_quantile(n - 1) * deviation / sqrt(n)


def values_by_seed(trial: Trial, metric: str) -> dict[int, float]:
    """Return a metric by seed, at the last rung of the trial."""
    by_seed = trial.rungs[max(trial.rungs)] if trial.rungs else {}
    return {seed: metrics[metric] for seed, metrics in by_seed.items() if metric in metrics}


def _mean(values: Mapping[int, float]) -> float:
    return mean_of(values.values())


def _number(value: float) -> float | str:
    return value if isfinite(value) else str(value)


# --- what a metric costs --------------------------------------------------------------------------------------------


def front(trials: Sequence[Trial], metric: str, rising: bool, cost: str) -> list[Trial]:
    """Return the Pareto front of means and cost: finished trials that none beats at an equal or lower cost,
    cheapest first.

    `cost` is one of COSTS.
    """
    sign = -1 if rising else 1
    finished = [t for t in trials if t.state == "finished" and (v := t.value(metric)) is not None and isfinite(v)]
    rows = [(COSTS[cost](t), sign * (t.value(metric) or 0.0)) for t in finished]
    return [finished[i] for i in undominated(rows)]


def front_of(trials: Sequence[Trial], metrics: Sequence[str], rising: Sequence[bool]) -> list[Trial]:
    """Return the Pareto front of several metrics: finished trials that none beats in one metric and equals in all
    others.
    """
    values = {t.number: [t.value(metric) for metric in metrics] for t in trials if t.state == "finished"}
    known = [t for t in trials if t.number in values and all(v is not None and isfinite(v) for v in values[t.number])]
    rows = [
        tuple(-v if up else v for v, up in zip(values[t.number], rising, strict=True) if v is not None) for t in known
    ]
    return [known[i] for i in undominated(rows)]


def undominated(rows: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the indices of the rows that no other dominates, in lexicographic order. Equal rows all stay.

    Row a dominates b where it is smaller in one column and in none larger.
    """
    front: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: rows[i]):  # what undercuts a row comes before it
        if not any(_undercuts(rows[k], rows[i]) for k in front):
            front.append(i)
    return front


def _undercuts(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one row dominates another."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


# --- whether it is worth going on -----------------------------------------------------------------------------------


MIN_SEEDS = 3
"""Seeds below which nearly no difference is significant, and no search counts as converged."""


def converged(trials: Sequence[Trial], metric: str, rising: bool, best: int = 3, generations: int = 2) -> str | None:
    """Return why a search need not go on, in a sentence; None where it should.

    It has converged where the `best` trials are not distinguishable, and no trial of the last `generations` is
    significantly better than the best before them. That takes three seeds.
    """
    last = max((t.generation for t in trials), default=-1)
    before = rank([t for t in trials if t.generation <= last - generations and t.state == "finished"], metric, rising)
    tied = [place for place in rank(trials, metric, rising) if place.place == 1][:best]
    if not before or len(tied) < best or min(place.seeds for place in tied) < MIN_SEEDS:
        return None
    old, new = before[0].trial, tied[0].trial
    if new is not old and _distinguishable(new, old, metric):
        return None
    widest = max((abs(place.behind.mean) for place in tied if place.behind is not None), default=0.0)
    numbers = ", ".join(str(place.trial.number) for place in tied)
    return (
        f"trials {numbers} are the best and cannot be told apart: {metric} differs by {widest:.2g} at most, which "
        f"{tied[0].seeds} seeds leave to chance; and the last {plural(generations, 'generation')} brought nothing "
        f"that is better than trial {old.number} by more than chance"
    )
