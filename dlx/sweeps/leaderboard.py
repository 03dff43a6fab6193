"""Which trials are best, and which of them chance alone may have set apart.

A trial with several seeds is its mean. Two trials are compared seed by seed: the same seed draws the same examples in
the same order, so what it does to both falls out of the difference. They are told apart where the 95 % interval of
the mean difference (Student's t) leaves out 0; trials that are not share a place. With one seed nothing is known of
chance, and only equal values share one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, inf, isfinite, sqrt
from typing import Any

from ..errors import plural
from ..experiment.results import mean_of, student_t_quantile
from .trial import Trial

COSTS: Mapping[str, Callable[[Trial], float]] = {
    "params": lambda trial: trial.params,
    "macs": lambda trial: trial.macs,
    "seconds": lambda trial: trial.seconds,
}
"""What a trial may cost; the seconds are those of all its seeds."""


@dataclass(frozen=True)
class Difference:
    """How much more of a metric one trial has than another, in the mean over the seeds that both have."""

    mean: float
    interval: float | None
    """Half of its 95 % interval; None for fewer than two seeds."""
    seeds: int

    @property
    def real(self) -> bool:
        """Whether it is more than chance; with one seed, whether there is any."""
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
    """What it has more than the best; None for the best itself, and where they have no seed in common."""

    @property
    def label(self) -> str:
        return f"{self.place}{'=' if self.tied else ''}"

    def as_json(self) -> dict[str, Any]:
        """A row of `dlx sweep --json`; what is no number is a word."""
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
    """The finished trials in the order of their means, and behind them the stopped ones, who came furthest first.

    Whatever cannot be told apart from the best shares its place, even one whose spread hides a mean far behind it.
    Any other shares the place of the one that heads its group: of those before it, as far as they are alike.
    Trials without a value are left out.
    """
    sign = -1 if rising else 1

    def order(trial: Trial) -> tuple[bool, int, float, int]:
        mean, came = _mean(measured(trial, metric)), max(trial.rungs) if trial.state == "stopped" else 0
        return trial.state == "stopped", -came, sign * mean if isfinite(mean) else inf, trial.number

    there = sorted((t for t in trials if t.state in {"finished", "stopped"} and measured(t, metric)), key=order)
    places = _places(there, metric)
    shared = Counter(places)
    return [
        _placed(trial, metric, place, shared[place] > 1, there[0]) for trial, place in zip(there, places, strict=True)
    ]


def _places(ordered: Sequence[Trial], metric: str) -> list[int]:
    """The place of each; `first` is the one whose place is shared, `at` where that is."""
    places: list[int] = []
    first, at = None, 0
    for position, trial in enumerate(ordered, 1):
        if not _apart(trial, ordered[0], metric):
            places.append(1)
            continue
        if first is None or _apart(trial, first, metric):
            first, at = trial, position
        places.append(at)
    return places


def _apart(one: Trial, other: Trial, metric: str) -> bool:
    """Whether there is more than chance between two trials; always where only one finished, or they came less far."""
    if one.state != other.state or (one.state == "stopped" and max(one.rungs) != max(other.rungs)):
        return True
    between = difference(one, other, metric)
    return between is None or between.real


def _placed(trial: Trial, metric: str, place: int, tied: bool, best: Trial) -> LeaderboardRow:
    values = measured(trial, metric)
    behind = difference(trial, best, metric) if trial is not best else None
    told = list(values.values())
    deviation = _deviation(told) if len(told) > 1 and all(map(isfinite, told)) else None
    return LeaderboardRow(trial, place, tied, _mean(values), deviation, half_of(trial, metric), len(told), behind)


def half_of(trial: Trial, metric: str) -> float | None:
    """Half of the 95 % interval of a trial's mean, as far as it came; None for one seed or none."""
    values = list(measured(trial, metric).values())
    return _half(_deviation(values), len(values)) if len(values) > 1 and all(map(isfinite, values)) else None


def difference(one: Trial, other: Trial, metric: str) -> Difference | None:
    """How much more of a metric one trial has than the other, each as far as it came; None without a common seed."""
    ours, theirs = measured(one, metric), measured(other, metric)
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences or not all(map(isfinite, differences)):
        return None
    n = len(differences)
    half = _half(_deviation(differences), n) if n > 1 else None
    return Difference(fsum(differences) / n, half, n)


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation that a sample lets expect."""
    mean = fsum(values) / len(values)
    return sqrt(fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _half(deviation: float, n: int) -> float:
    """Half of the 95 % interval of a mean of n values."""
    return student_t_quantile(n - 1) * deviation / sqrt(n)


def measured(trial: Trial, metric: str) -> dict[int, float]:
    """A metric by seed, as far as the trial came."""
    told = trial.rungs[max(trial.rungs)] if trial.rungs else {}
    return {seed: metrics[metric] for seed, metrics in told.items() if metric in metrics}


def _mean(values: Mapping[int, float]) -> float:
    return mean_of(values.values())


def _number(value: float) -> float | str:
    return value if isfinite(value) else str(value)


# --- what a metric costs --------------------------------------------------------------------------------------------


def front(trials: Sequence[Trial], metric: str, rising: bool, cost: str) -> list[Trial]:
    """The finished trials that no other is better than at the same or a lower cost, the cheapest first.

    `cost` is one of COSTS. That is the Pareto front of the means.
    """
    sign = -1 if rising else 1
    finished = [t for t in trials if t.state == "finished" and (v := t.value(metric)) is not None and isfinite(v)]
    rows = [(COSTS[cost](t), sign * (t.value(metric) or 0.0)) for t in finished]
    return [finished[i] for i in undominated(rows)]


def front_of(trials: Sequence[Trial], metrics: Sequence[str], rising: Sequence[bool]) -> list[Trial]:
    """The same for several metrics: the finished trials than which no other is better in one and as good in all."""
    told = {t.number: [t.value(metric) for metric in metrics] for t in trials if t.state == "finished"}
    known = [t for t in trials if t.number in told and all(v is not None and isfinite(v) for v in told[t.number])]
    rows = [
        tuple(-v if up else v for v, up in zip(told[t.number], rising, strict=True) if v is not None) for t in known
    ]
    return [known[i] for i in undominated(rows)]


def undominated(rows: Sequence[tuple[float, ...]]) -> list[int]:
    """The indices of the rows that no other undercuts in one column without exceeding it in another, in their order.

    Of equal rows all stay.
    """
    kept: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: rows[i]):  # what undercuts a row comes before it
        if not any(_undercuts(rows[k], rows[i]) for k in kept):
            kept.append(i)
    return kept


def _undercuts(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


# --- whether it is worth going on -----------------------------------------------------------------------------------


ENOUGH = 3
"""Seeds below which nearly nothing can be told apart, and no search has settled."""


def settled(trials: Sequence[Trial], metric: str, rising: bool, best: int = 3, generations: int = 2) -> str | None:
    """Why a search need not go on, in a sentence; None where it should.

    It has settled where the `best` trials cannot be told apart, and nothing that was suggested in the last
    `generations` is better by more than chance than what was best before them. It takes three seeds to say so.
    """
    last = max((t.generation for t in trials), default=-1)
    before = rank([t for t in trials if t.generation <= last - generations and t.state == "finished"], metric, rising)
    tied = [place for place in rank(trials, metric, rising) if place.place == 1][:best]
    if not before or len(tied) < best or min(place.seeds for place in tied) < ENOUGH:
        return None
    old, new = before[0].trial, tied[0].trial
    if new is not old and _apart(new, old, metric):
        return None
    widest = max((abs(place.behind.mean) for place in tied if place.behind is not None), default=0.0)
    numbers = ", ".join(str(place.trial.number) for place in tied)
    return (
        f"trials {numbers} are the best and cannot be told apart: {metric} differs by {widest:.2g} at most, which "
        f"{tied[0].seeds} seeds leave to chance; and the last {plural(generations, 'generation')} brought nothing "
        f"that is better than trial {old.number} by more than chance"
    )
