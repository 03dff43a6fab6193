"""Cross-validation: a study in which nothing but the fold varies, and the mean of each metric over the folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from ..data import DATASETS
from ..errors import DlxError, Problem, SpecError, plural
from ..experiment.results import mean_of
from ..spec import Experiment, load
from ..spec.overrides import mark_of, parse
from ..spec.plugin_list import split
from ..training.prepared import loaded
from .events import SweepResult
from .leaderboard import deviation_of, half_interval
from .plan import SweepPlan, plan
from .study import Study
from .trial import Trial

Folds = int | Literal["leave_one_out"]
DEFAULT_FOLDS = 5
"""Folds where neither the command nor the spec gives their number: Hastie, Tibshirani & Friedman 2009, section
7.10.1, recommend five or ten."""


@dataclass(frozen=True)
class FoldMetric:
    """A metric of a cross-validation: its value in each fold, a mean where a fold has several seeds."""

    name: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean_of(self.values)

    @property
    def standard_error(self) -> float | None:
        """Return the sample standard deviation over the root of the folds; None for one fold or infinite values."""
        n = len(self.values)
        return deviation_of(self.values) / n**0.5 if n > 1 and all(map(isfinite, self.values)) else None

    @property
    def interval95(self) -> float | None:
        """Return half of the 95 % interval of the mean, by Student's t."""
        n = len(self.values)
        return None if self.standard_error is None else half_interval(deviation_of(self.values), n)

    def as_json(self) -> dict[str, Any]:
        """Return the figures; the values in the order of the folds that have finished."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "interval95": self.interval95,
            "folds": list(self.values),
        }


@dataclass(frozen=True)
class CrossValidation:
    """The state of a cross-validation: its trials, a fold each, in the order of the folds."""

    study: Study

    @cached_property
    def trials(self) -> list[Trial]:
        return list(self.study.trials)

    @property
    def finished(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.state == "finished"]

    @property
    def metrics(self) -> list[FoldMetric]:
        """Return each metric that all finished folds report, but those of the curve on the way."""
        done = self.finished
        named = [trial.rungs[max(trial.rungs)] for trial in done]
        names = [name for by_seed in named[:1] for metrics in by_seed.values() for name in metrics]
        shared = [n for n in dict.fromkeys(names) if all(t.value(n) is not None for t in done) and "running" not in n]
        return [FoldMetric(name, tuple(float(t.value(name) or 0.0) for t in done)) for name in shared]

    def as_json(self) -> list[dict[str, Any]]:
        """Return the folds, each with its runs."""
        return [
            {
                "fold": fold_of(trial),
                "state": trial.state,
                "metrics": {one.name: trial.value(one.name) for one in self.metrics if trial.state == "finished"},
                "runs": [str(self.study.runs / key) for key in trial.runs.values()],
                "message": trial.message or None,
            }
            for trial in self.trials
        ]


def fold_of(trial: Trial) -> int:
    """Return the fold that a trial of a cross-validation holds out."""
    return int(next(iter(trial.point.values())))


def is_cross_validation(study: Study) -> bool:
    """Whether nothing but the fold of the data varies in a study."""
    return bool(study.trials) and all(
        len(trial.point) == 1 and next(iter(trial.point)).rpartition(".")[2] == "fold" for trial in study.trials
    )


def document(found: SweepResult) -> dict[str, Any]:
    """Return the document that `dlx crossval --json` ends with."""
    folds = CrossValidation(found.study)
    return {
        "study": found.study.folder.name,
        "dir": str(found.study.folder),
        "ended": found.reason,
        "seconds": round(found.seconds, 3),
        "folds": folds.as_json(),
        "finished": len(folds.finished),
        "metrics": {metric.name: metric.as_json() for metric in folds.metrics},
        "tracking": found.tracking or None,
        "next": found.next or None,
    }


def plan_folds(
    spec: Path | Experiment,
    changes: Sequence[str],
    runs: Path,
    folds: Folds | None = None,
    study: str = "",
    plugins: Sequence[str] = (),
) -> tuple[SweepPlan, str]:
    """Plan a cross-validation; return the plan, and a note where the spec's own parts give way to the folds.

    SpecError or DlxError where the spec cannot be trained, its data has no folds, or something else varies.
    """

    def changed(more: Sequence[str]) -> Experiment:
        return spec.changed(more) if isinstance(spec, Experiment) else load(spec, more, plugins=plugins)

    _check_fixed(changes)
    own, dropped = fold_changes(changed(changes), folds)
    first = changed([*changes, *own])  # of all changes at once, whose mistakes are told with their places
    if first.problems:
        raise SpecError(*first.problems)
    count = _count(first)
    numbers = ",".join(map(str, range(1, count + 1)))
    assert first.data is not None
    searched = [f"++sweep.metric={metric}" for metric in _metrics(first)]
    # a generation of all folds, so that those of one shape can be trained side by side
    own = [*_drop(first, "sweep"), *searched, f"++sweep.generation={min(count, 10_000)}"]
    made = plan(first, [f"data.{first.data.kind}.fold={numbers}", *own], runs, study=study)
    gives = "gives" if len(dropped) == 1 else "give"
    note = f"{' and '.join(dropped)} of the spec {gives} way to {plural(count, 'fold')}" if dropped else ""
    return made, note


def _metrics(experiment: Experiment) -> list[str]:
    """Return the metric that the spec searches for, where it names one: an objective may have no main one."""
    metric = experiment.sweep.metric if experiment.sweep is not None else None
    return [metric] if isinstance(metric, str) else (metric or [])[:1]


def _check_fixed(changes: Sequence[str]) -> None:
    """Raise SpecError where an override gives a key several values, or one of the folds."""
    problems = []
    for text in split(changes)[1]:
        change = parse(text)
        key = str(change.key_or_group)
        if key.startswith("data.") and key.endswith(".fold"):
            message = "each fold is held out in turn, and an override picks some"
            hint = "Leave it out; `dlx train` trains a single fold."
            problems.append(Problem(message, hint, mark_of(text), key))
        elif change.is_sweep_override():
            message = f"`{key}` varies, and a cross-validation is of one spec"
            hint = "`dlx sweep` searches; `data.KIND.folds=5 data.KIND.fold=1,2,3,4,5` averages there over folds."
            problems.append(Problem(message, hint, mark_of(text), key))
    if problems:
        raise SpecError(*problems)


def fold_changes(experiment: Experiment, folds: Folds | None) -> tuple[list[str], list[str]]:
    """Return the overrides that make a spec hold out its first fold, and the parts that they take out, in words.

    SpecError where its data has no folds.
    """
    node = experiment.root.at("data")
    kind = experiment.data.kind if experiment.data is not None else _kind_of(node)
    if kind is None:
        raise SpecError(*experiment.problems) if experiment.problems else SpecError(_no_data(experiment))
    if kind in DATASETS and "folds" not in DATASETS[kind].model_fields:
        message = f"`{kind}` has parts of its own, and no examples to share out among folds"
        hint = "Data with one pool of examples has `folds`: table, images, arrays, digits, cifar10, ..."
        raise SpecError(Problem(message, hint, experiment.place("data"), "data"))
    written = _fields(node, kind)
    changes = [text for name in ("train", "valid") if name in written for text in [f"~data.{kind}.{name}"]]
    count = folds or written.get("folds") or DEFAULT_FOLDS
    dropped = [f"`{name}` {written[name]}" for name in ("train", "valid") if written.get(name) is not None]
    return [*changes, f"++data.{kind}.folds={count}", f"++data.{kind}.fold=1"], dropped


def _fields(node: Any, kind: str) -> dict[str, Any]:
    """Return what a spec writes about its data, as plain values by field."""
    inner = node.at(kind) if node is not None else None
    plain = inner.plain() if inner is not None else {}
    return plain if isinstance(plain, dict) else {}


def _kind_of(node: Any) -> str | None:
    """Return the kind of the data that is written, where its fields have mistakes."""
    plain = node.plain() if node is not None else None
    kind = next(iter(plain)) if isinstance(plain, dict) and len(plain) == 1 else plain
    return kind if isinstance(kind, str) and kind in DATASETS else None


def _no_data(experiment: Experiment) -> Problem:
    hint = "Add a section `data`, such as `data: digits`."
    return Problem("there is no data to share out among folds", hint, experiment.place(), "data")


def _drop(experiment: Experiment, section: str) -> list[str]:
    return [f"~{section}"] if experiment.root.at(section) is not None else []


def _count(experiment: Experiment) -> int:
    """Return the number of folds; leaving one out, the data is loaded for it."""
    data: Any = experiment.data
    if data.folds != "leave_one_out":
        return int(data.folds)
    sets = loaded(experiment)
    assert sets.valid is not None
    return len(sets.train) + len(sets.valid)


def parse_folds(text: str | None) -> Folds | None:
    """Parse `--folds`. DlxError where it is neither a number from 2 on nor `leave_one_out`."""
    if text is None:
        return None
    if text == "leave_one_out":
        return "leave_one_out"
    if text.isdigit() and int(text) >= 2:
        return int(text)
    hint = "`--folds 5` holds out a fifth each time."
    raise DlxError(f"--folds takes a number from 2 on, or leave_one_out, not {text}", hint=hint)
