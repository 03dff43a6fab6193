"""Cross-validation: a study in which nothing but the fold varies, and the mean of each metric over the folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import Problem, SpecError
from ..experiment.folds import FoldMetric, Folds, count_of, fold_changes, note_of
from ..spec import Experiment, load
from ..spec.overrides import mark_of, parse
from ..spec.plugin_list import split
from ..utils import option_bounds
from .events import SweepResult
from .plan import SweepPlan, plan
from .study import Study
from .trial import Trial


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
    count = count_of(first)
    option_bounds.check("--folds", count, option_bounds.FOLDS)
    numbers = ",".join(map(str, range(1, count + 1)))
    assert first.data is not None
    searched = [f"++sweep.metric={metric}" for metric in _metrics(first)]
    # a generation of all folds, so that those of one shape can be trained side by side
    own = [*_drop(first, "sweep"), *searched, f"++sweep.generation={min(count, 10_000)}"]
    made = plan(first, [f"data.{first.data.kind}.fold={numbers}", *own], runs, study=study)
    return made, note_of(dropped, count)


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


def _drop(experiment: Experiment, section: str) -> list[str]:
    return [f"~{section}"] if experiment.written.at(section) is not None else []
