"""`dlx.sweep`: many trainings of a spec that differ in a few values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import RunError
from ..show import html
from ..show.sweep import sweeping
from ..spec.overrides import ChangeOf
from ..sweeps import plan as plans
from ..sweeps import run as sweeps
from ..sweeps.events import SweepResult
from ..sweeps.leaderboard import rank
from ..sweeps.study import Study, spec_in
from . import frames
from .arguments import Overrides, Spec, check_choice, check_whole, experiment_of, override_texts
from .isolation import TURN, isolated
from .run import Run
from .warn import warn_of_password

if TYPE_CHECKING:
    from pandas import DataFrame

Backend = Literal["local", "ray"]


@dataclass(frozen=True)
class StudyResult:
    """A study on disk and its results. `dlx.sweep` with the same arguments continues it."""

    study: Study
    reason: str
    """`finished`, or `budget` where the time was up."""
    note: str = ""
    """Reason for ending before all trials were run; else empty."""
    next: str = ""
    """Remaining work of the same call, in words; empty where there is none."""

    @property
    def folder(self) -> Path:
        """The folder of the study, with its journal."""
        return self.study.folder

    @property
    def metric(self) -> str:
        """Name of the metric that is optimized; the first of several."""
        return self.study.metrics[0]

    @property
    def leaderboard(self) -> DataFrame:
        """The trials that have a result, the best first. Index: `trial`, the number.

        Columns: `place`, shared by trials whose difference is not significant; `state`; each key that varies; the
        metric, a mean over the seeds; `deviation` over the seeds and `interval95`, half the interval of the mean, NaN
        for one seed; `seeds`; `params`; `macs` of one example, forward; `seconds` of training; `run`, the name of the
        first seed's.
        """
        return frames.leaderboard(rank(self.study.points(), self.metric, self.study.rising[0]), self.metric)

    @property
    def trials(self) -> DataFrame:
        """All trials in the order of suggestion, failed ones too. Index: `trial`.

        Columns: `state`, each key that varies, each metric that is searched for, `steps`, `seconds`, `message`.
        """
        trials, metrics = self.study.trials, self.study.metrics
        keys = list(dict.fromkeys(key for trial in trials for key in trial.point))
        rows = [
            [
                *(one.number, one.state),
                *(one.point.get(key) for key in keys),
                *(one.value(metric) for metric in metrics),
                *(max(one.steps.values(), default=0), one.seconds, one.message),
            ]
            for one in trials
        ]
        return frames.table(["trial", "state", *keys, *metrics, "steps", "seconds", "message"], rows, index="trial")

    @property
    def best(self) -> Run:
        """The run of the best trial, of its first seed. DlxError where none has finished, or only seeds vary."""
        return Run(spec_in(self.folder).parent)

    def __repr__(self) -> str:
        best = self.study.best()
        figure = best.value(self.metric) if best is not None else None
        found = f", best {self.metric} {figure:.4g}" if figure is not None else ""
        return f"<dlx.StudyResult {self.folder.name}: {len(self.study.trials)} trials{found}>"

    def _repr_html_(self) -> str:
        frame = self.leaderboard.reset_index()
        titles = [column if column == "state" else f">{column}" for column in frame.columns]
        rows = ([_cell(value) for value in row] for row in frame.itertuples(index=False))
        return html.table(titles, rows, self.folder.name, [self.note] if self.note else [])


def sweep(
    spec: Spec,
    overrides: Overrides = (),
    *,
    trials: int | None = None,
    sampler: str | None = None,
    jobs: int | Literal["auto"] = 1,
    backend: Backend = "local",
    pack: int | Literal["auto", "off"] = "auto",
    budget: str | None = None,
    retry_failed: bool = False,
    study: str = "",
    figures: bool = False,
    runs: str | os.PathLike[str] = "runs",
    quiet: bool = False,
) -> StudyResult:
    """Search as `dlx sweep` does, with its options; the same call goes on with a study that was cut off.

    Values that vary are written in `overrides` as Hydra has them, `["train.batch_size=16,32"]`, or under
    `sweep: {space: ...}` in the spec. `budget` is a time such as `"30m"`. A mapping of overrides has single values.

    Raises SpecError where nothing varies or the spec is wrong, DlxError where the study is another's or in use, and
    RunError where every trial failed. Ctrl-C is a KeyboardInterrupt once the trials on their way are saved.

    Example: dlx.sweep("specs/digits/lenet.yaml", ["train.batch_size=16,32,64"]).leaderboard
    """
    check_choice("backend", backend, get_args(Backend))
    if trials is not None:
        check_whole("trials", trials, 1)
    changes = [*override_texts(overrides), *([] if sampler is None else [_of_sampler(sampler)])]
    with TURN:
        plan = plans.plan(experiment_of(spec), changes, Path(runs), trials, study)
        warn_of_password(plan.base)
        seconds = sweeps.parse_budget(str(budget) if budget is not None else plan.sweep.budget)
        options = sweeps.SweepOptions(
            sweeps.parse_jobs(str(jobs)), backend, sweeps.parse_pack(str(pack)), seconds, retry_failed, mirror=True
        )
        with isolated(), sweeping(quiet) as callback:
            ending = sweeps.run(plan, options, callback)
    if figures:
        sweeps.draw_figures(ending)
    return _result(ending)


def _of_sampler(name: str) -> str:
    """Return the override that an argument `sampler` stands for."""
    return ChangeOf(f"++sweep.sampler={name}", f"argument `sampler={name!r}`")


def _result(ending: SweepResult) -> StudyResult:
    """Return the results of a study. KeyboardInterrupt after Ctrl-C, RunError where every trial failed."""
    study = ending.study
    if ending.reason == "interrupted":
        raise KeyboardInterrupt(f"{study.folder.name} was stopped; the same call goes on: {ending.next}")
    if ending.exit_code:
        first = study.trials[0].message
        raise RunError(
            f"every trial of {study.folder} failed; the first: {first}", hint="`retry_failed=True` tries again."
        )
    return StudyResult(study, ending.reason, ending.note, ending.next)


def _cell(value: object) -> str:
    """Format a cell of the table; missing values are empty."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"  # noqa: PLR0124 - NaN
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
