"""`dlx.baseline`, `dlx.crossval` and `dlx.compare`: estimators beside a network, folds, and differences of runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import RunError
from ..experiment import baselines as estimators
from ..experiment.folds import FoldMetric
from ..show import baselines as shown
from ..show import html
from ..show.sweep import sweeping
from ..spec.baseline_list import with_baselines
from ..sweeps import folds as cross_validation
from ..sweeps import run as sweeps
from ..sweeps.study import Study
from ..trained import difference
from . import frames
from .arguments import AnyRun, Overrides, Spec, check_choice, check_whole, experiment_of, override_texts
from .isolation import TURN, isolated
from .run import Run
from .warn import warn_of_password

if TYPE_CHECKING:
    from pandas import DataFrame

Folds = int | Literal["leave_one_out"]


class Framed:
    """Base class of results that are a table; a notebook shows it."""

    @property
    def frame(self) -> DataFrame:
        """The table."""
        raise TypeError(f"{type(self).__name__} has no frame()")

    def _repr_html_(self) -> str:
        frame = self.frame.reset_index()
        texts = [frame[column].dtype == object for column in frame.columns]
        titles = [str(name) if text else f">{name}" for name, text in zip(frame.columns, texts, strict=True)]
        return html.table(titles, ([_cell(one) for one in row] for row in frame.itertuples(index=False)), "", [])


@dataclass(frozen=True)
class BaselineTable(Framed):
    """Baselines that were fitted to the data of a spec; each fit is a run."""

    found: estimators.BaselineResults

    @cached_property
    def frame(self) -> DataFrame:
        """A row for each baseline, in their order. Index: `baseline`, its kind and options.

        Columns: each metric, a mean over the folds or the seeds, NaN where a baseline has none; `features`, the
        values of an input as the baseline takes it; `runs`, how many there are.
        """
        names = list(dict.fromkeys(one.name for group in self.found.groups for one in group.metrics))
        rows = []
        for group in self.found.groups:
            means = {one.name: one.mean for one in group.metrics}
            figures = [means.get(name, float("nan")) for name in names]
            rows.append([group.baseline.label, *figures, group.runs[0].features, len(group.runs)])
        return frames.table(["baseline", *names, "features", "runs"], rows, index="baseline")

    @property
    def intervals(self) -> DataFrame:
        """Half the 95 % interval of each mean of `frame`; NaN for one fold or seed. Index: `baseline`."""
        names = [name for name in self.frame.columns if name not in ("features", "runs")]
        rows = []
        for group in self.found.groups:
            halves = {one.name: one.interval95 for one in group.metrics}
            rows.append([group.baseline.label, *(_number(halves.get(name)) for name in names)])
        return frames.table(["baseline", *names], rows, index="baseline")

    @property
    def runs(self) -> dict[str, tuple[Run, ...]]:
        """The runs of each baseline, one for each fold and seed."""
        groups = self.found.groups
        return {group.baseline.label: tuple(Run(one.result.run.dir) for one in group.runs) for group in groups}

    @property
    def notes(self) -> dict[str, list[str]]:
        """Notes on each baseline that has some, such as ties of neighbours and metrics that were left out."""
        return {group.baseline.label: group.notes for group in self.found.groups if group.notes}

    def __repr__(self) -> str:
        return f"<dlx.BaselineTable: {', '.join(self.runs)}>"


@dataclass(frozen=True)
class FoldTable(Framed):
    """A cross-validation on disk. `dlx.crossval` with the same arguments continues it."""

    study: Study
    note: str = ""
    """Parts of the spec that the folds replace; else empty."""

    @property
    def folder(self) -> Path:
        """The folder of the study, with its journal."""
        return self.study.folder

    @cached_property
    def _metrics(self) -> list[FoldMetric]:
        return cross_validation.CrossValidation(self.study).metrics

    @cached_property
    def frame(self) -> DataFrame:
        """A row for each metric over the finished folds. Index: `metric`.

        Columns: `mean`; `standard_error` of that mean and `interval95`, half of its 95 % interval (Student's t), NaN
        for one fold.
        """
        rows = [[one.name, one.mean, _number(one.standard_error), _number(one.interval95)] for one in self._metrics]
        return frames.table(["metric", "mean", "standard_error", "interval95"], rows, index="metric")

    @property
    def folds(self) -> DataFrame:
        """A row for each fold. Index: `fold`. Columns: `state`, each metric, `message` of a failure."""
        names = [one.name for one in self._metrics]
        rows = []
        for trial in cross_validation.CrossValidation(self.study).trials:
            values = [trial.value(name) if trial.state == "finished" else None for name in names]
            rows.append([cross_validation.fold_of(trial), trial.state, *map(_number, values), trial.message])
        return frames.table(["fold", "state", *names, "message"], rows, index="fold")

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of all folds, in their order, of each seed."""
        return tuple(Run(self.study.runs / key) for trial in self.study.trials for key in trial.runs.values())

    def __repr__(self) -> str:
        return f"<dlx.FoldTable {self.folder.name}: {len(self.study.trials)} folds>"


@dataclass(frozen=True)
class ComparisonTable(Framed):
    """Differences of several groups of runs from the first one, metric by metric."""

    found: tuple[difference.Comparison, ...]

    @cached_property
    def frame(self) -> DataFrame:
        """A row for each other group and metric. Index: `of`, the label of the group, and `metric`.

        Columns: `first` and `second`, the means of both; `difference`, second minus first; `interval95`, half of its
        95 % interval, NaN where there is none; `verdict`: `differs`, `not told apart`, `equal`, or empty; `pairs`, 0
        where nothing was paired.
        """
        titles = ["of", "metric", "first", "second", "difference", "interval95", "verdict", "pairs"]
        return frames.table(titles, self._rows()).set_index(["of", "metric"])

    def _rows(self) -> Iterator[list[Any]]:
        for one in self.found:
            for m in one.metrics:
                figures = [m.first, m.second, m.mean, _number(m.interval), m.verdict]
                yield [one.second.label, m.metric, *figures, len(one.pairs)]

    @property
    def remarks(self) -> dict[str, str]:
        """By the label of each other group what was paired, or why nothing was."""
        return {one.second.label: one.remark for one in self.found}

    def __repr__(self) -> str:
        return f"<dlx.ComparisonTable: {self.found[0].first.label} with {', '.join(self.remarks)}>"


def baseline(
    spec: Spec,
    kinds: str | Sequence[str] = (),
    overrides: Overrides = (),
    *,
    folds: Folds | None = None,
    runs: str | os.PathLike[str] = "runs",
    quiet: bool = False,
) -> BaselineTable:
    """Fit estimators of scikit-learn as `dlx baseline` does: the parts, inputs and metrics of the network.

    `kinds` are texts such as `"knn"`, `"knn=1,3,5"` and `"svm={C: 0.1}"`; without them the spec has `baselines`.
    MLflow shows each as a run. Raises SpecError or DlxError before anything is fitted where a baseline cannot learn
    the data, and RunError where scikit-learn refuses it.

    Example: dlx.baseline("digits/lenet", ["knn=1,3,5", "svm"]).frame
    """
    _check_folds(folds)
    with TURN:
        experiment = experiment_of(spec, overrides)
        if kinds:
            experiment = with_baselines(experiment, [kinds] if isinstance(kinds, str) else list(kinds))
        warn_of_password(experiment)
        with isolated():
            return BaselineTable(estimators.run(experiment, Path(runs), folds, shown.progress(quiet=quiet)))


def crossval(
    spec: Spec,
    overrides: Overrides = (),
    *,
    folds: Folds | None = None,
    jobs: int | Literal["auto"] = 1,
    pack: int | Literal["auto", "off"] = "auto",
    budget: str | None = None,
    retry_failed: bool = False,
    runs: str | os.PathLike[str] = "runs",
    quiet: bool = False,
) -> FoldTable:
    """Cross-validate as `dlx crossval` does: a training for each fold, and means with intervals.

    `folds` are those of the spec's data without it, or else 5. The same call goes on with one that was cut off.
    Raises SpecError where the spec is wrong or its data has no folds, and RunError where a fold failed; Ctrl-C is a
    KeyboardInterrupt once the folds on their way are saved.

    Example: dlx.crossval("digits/lenet", folds=5).frame
    """
    _check_folds(folds)
    with TURN:
        plan, note = cross_validation.plan_folds(experiment_of(spec), override_texts(overrides), Path(runs), folds)
        warn_of_password(plan.base)
        options = sweeps.SweepOptions(
            sweeps.parse_jobs(str(jobs)),
            "local",
            sweeps.parse_pack(str(pack)),
            sweeps.parse_budget(budget),
            retry_failed,
            mirror=True,
        )
        with isolated(), sweeping(quiet) as callback:
            ending = sweeps.run(plan, options, callback)
    if ending.reason == "interrupted":
        raise KeyboardInterrupt(f"{ending.study.folder.name} was stopped; the same call goes on: {ending.next}")
    if failed := ending.study.in_state("failed"):
        message = f"{len(failed)} of {len(ending.study.trials)} folds of {ending.study.folder} failed"
        raise RunError(f"{message}; the first: {failed[0].message}", hint="`retry_failed=True` tries again.")
    return FoldTable(ending.study, note)


def compare(*names: AnyRun | FoldTable | Study, runs: str | os.PathLike[str] = "runs") -> ComparisonTable:
    """Compare results as `dlx compare` does, each with the first: paired where seeds, folds and data agree.

    A run stands for all finished runs that differ from it in seed and fold alone, a name for the newest of it and its
    baselines, a study for its folds or its best trial. DlxError where there is nothing to compare.

    Example: dlx.compare("wide", "narrow").frame
    """
    with TURN:
        return ComparisonTable(tuple(difference.compare([_name_of(one) for one in names], Path(runs))))


def _name_of(one: AnyRun | FoldTable | Study) -> str:
    return os.fspath(one.folder if isinstance(one, Run | FoldTable | Study) else one)


def _check_folds(folds: object) -> None:
    if isinstance(folds, str):
        check_choice("folds", folds, ["leave_one_out"])
    elif folds is not None:
        check_whole("folds", folds, 2)


def _number(value: float | None) -> float:
    """Return a figure for a column of numbers, NaN for a missing one."""
    return float("nan") if value is None else value


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if isnan(value) else f"{value:.4g}"
    return str(value)
