"""Deliver a study to MLflow: a parent run, and its trials as children. `python -m dlx.sweeps.mlflow_study STUDY`
does it.

A sweep starts one such process, which reads the study's folder and never talks to the sweep: it ends when its input
ends, because the sweep closed it or is gone; its pictures are drawn after that. The curve of a trial is delivered at
each rung and at its end, averaged over its seeds.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any, ClassVar

from ..runs import origin
from ..runs.folder import RunFolder
from ..track import Mirror, SyncResult, content, start_all
from ..track.delivery import STATUS, Delivery, MlflowRunState, SyncState
from ..track.mirror import main
from ..track.scalars import FilesOfMany, error_of
from ..track.seeds import PARENT
from ..utils import imports
from .folds import CrossValidation, is_cross_validation
from .leaderboard import interval_of
from .study import JOURNAL, Study, is_study
from .trial import Trial

DONE = ("finished", "stopped", "failed")
"""States of a trial that has ended."""
PAGE = 1000
"""MLflow runs in one answer of a search."""


@dataclass
class ChildRun(MlflowRunState):
    """State of one trial's MLflow run."""

    step: int = 0
    """Last step of its curve that has arrived."""
    state: str = ""
    point: dict[str, Any] = field(default_factory=dict)


@dataclass
class StudyState(SyncState):
    """Record of what one store has of a study."""

    trials: dict[int, ChildRun] = field(default_factory=dict)
    best: int | None = None
    bests: int = 0
    """Trials for which the parent has the best value so far."""
    state: str = ""


class StudyDelivery(Delivery[StudyState]):
    """Delivery of a study."""

    state_type: ClassVar[type[SyncState]] = StudyState
    rest_factor: ClassVar[float] = 4.0
    opened = False

    def start_time(self) -> float:
        return self.folder.dir.stat().st_mtime

    def tags(self) -> dict[str, str]:
        return {"dlx.study": self.folder.key, "dlx.kind": "study"}

    def run_name(self) -> str:
        """Return what varies, with the folder of the study: two studies may vary the same."""
        study = Study.open(self.folder.dir)
        if is_cross_validation(study):
            return f"{len(study.trials)} folds, {self.folder.id}"
        return ", ".join([*content.short_keys(study.identity.get("space", {})), self.folder.id])

    def revision(self) -> int | None:
        """Return the length of the journal."""
        journal = self.folder.dir / JOURNAL
        return journal.stat().st_size if journal.exists() else None

    def watch(self, pid: int) -> Callable[[], bool]:
        """Return a predicate: whether the input has ended, because the sweep closed it or is gone."""
        final = threading.Event()

        def wait_for_end() -> None:
            sys.stdin.buffer.read()
            final.set()

        threading.Thread(target=wait_for_end, daemon=True).start()
        return final.is_set

    def deliver(self, final: bool) -> None:
        study = Study.open(self.folder.dir)
        if self.origin != "known" or not self.opened:
            self.open(study)
        for trial in study.trials:
            self.follow(study, trial)
        if not study.replicate_keys:  # else each child is a fold or a seed, of which none is chosen
            self.mark_best(study)
        if final:
            self.close(study)

    # --- the parent -------------------------------------------------------------------------------------------------

    def open(self, study: Study) -> None:
        """Find the children that MLflow has, and send the study itself as tags and parameters of the parent."""
        known = self.state
        # a kill between `create_run` and the record of it leaves a child that mlflow.json lacks: found by its tag,
        # not made anew
        for number, run_id in self.children().items():
            known.trials.setdefault(number, ChildRun(run_id))
        identity = study.identity
        words = {
            key: identity.get(key) for key in ("metrics", "sampler", "scheduler", "constraints", "seeds", "seed")
        }
        words |= {f"space.{key}": about for key, about in identity.get("space", {}).items()}
        params = content.overrides({f"sweep.{key}": value for key, value in words.items() if value})
        params |= content.overrides(origin.overrides_of(self.folder))
        self.log_labels(known.run_id, {"dlx.metric": content.as_text(study.metrics)}, params)
        if known.state and any(trial.state not in DONE for trial in study.trials):  # it goes on
            self.set_status(known.run_id, "RUNNING", 0)
            known.state = ""
        self.opened = True

    def children(self) -> dict[int, str]:
        """Return the MLflow runs of the trials that MLflow has, by number."""
        found: dict[int, str] = {}
        token = None
        while True:
            search = f"tags.`{PARENT}` = '{self.state.run_id}'"
            page = self.client.search_runs([self.state.experiment_id], search, max_results=PAGE, page_token=token)
            tagged = [run for run in page if "dlx.trial" in run.data.tags]
            found |= {int(run.data.tags["dlx.trial"]): run.info.run_id for run in tagged}
            token = page.token
            if not token:
                return found

    def mark_best(self, study: Study) -> None:
        """Tag the best trial, and send the best value so far by trial to the parent."""
        known, best = self.state, study.best()
        if best is not None and best.number != known.best and best.number in known.trials:
            if known.best is not None:
                self.log_labels(known.trials[known.best].run_id, {"dlx.best": "false"})
            self.log_labels(known.trials[best.number].run_id, {"dlx.best": "true"})
            tags = {"dlx.best_trial": str(best.number), "dlx.best_run": next(iter(best.runs.values()), "")}
            self.log_labels(known.run_id, tags)
            known.best = best.number
        ended = next((i for i, t in enumerate(study.trials) if t.state not in DONE), len(study.trials))
        if ended > known.bests:
            self.log_metrics(known, _bests(study, known.bests, ended, self.started))
            known.bests = ended

    def close(self, study: Study) -> None:
        """Send what comes at the end: the journal, the best trial's model, and the status."""
        known = self.state
        if is_cross_validation(study) and state_of(study) != known.state:
            self.log_metrics(known, fold_points(study))
        self.log_file(self.folder.dir / JOURNAL)
        if known.best is not None:
            run = RunFolder(study.runs / next(iter(study.trials[known.best].runs.values())))
            self.log_model(run, run.end(), known.trials[known.best].run_id)
        state = state_of(study)
        if state != known.state:
            self.set_status(known.run_id, STATUS[state], time.time())
            known.state = state

    # --- a child ----------------------------------------------------------------------------------------------------

    def follow(self, study: Study, trial: Trial) -> None:
        """Send a trial: create its run, then its curve up to its last rung, and its status."""
        known, child = self.state, self.state.trials.get(trial.number)
        last_step = max(trial.rungs, default=0)
        if child is not None and (child.step, child.state, child.point) == (last_step, trial.state, trial.point):
            return
        moved = child is not None and child.point != trial.point
        began = _start_time(study, trial) if child is None or not child.point else 0.0
        if child is None:
            child = known.trials[trial.number] = self.create_child(trial, began)
            self.save()
        if not child.point:
            self.log_point(trial, child, began)
        if moved:  # a scheduler moved it on the way; parameters of MLflow stay as they were
            named = {"mlflow.runName": self.trial_name(trial), "dlx.point": content.as_text(trial.point)}
            self.log_labels(child.run_id, named)
        points = curve(study, trial, child.step, last_step) if last_step > child.step else []
        if trial.state in DONE and child.state not in DONE:
            points += final_points(trial, content.milliseconds(last_record_time(study, trial)))
        self.log_metrics(child, points)
        if trial.state != child.state:
            self.set_status(child.run_id, STATUS.get(trial.state, "RUNNING"), last_record_time(study, trial))
            tags = {"dlx.status": trial.state, "dlx.message": trial.message}
            self.log_labels(child.run_id, {key: text for key, text in tags.items() if text})
        child.step, child.state, child.point = last_step, trial.state, dict(trial.point)
        self.save()
        self.sent += 1

    def create_child(self, trial: Trial, began: float) -> ChildRun:
        first = next(iter(trial.runs.values()), "")
        tags = content.run_tags(first) | {PARENT: self.state.run_id, "dlx.study": self.folder.key}
        tags |= {"dlx.trial": str(trial.number), "dlx.runs": content.cut(" ".join(trial.runs.values()), content.TAG)}
        when = content.milliseconds(began)
        made = self.client.create_run(self.state.experiment_id, when, tags, self.trial_name(trial))
        return ChildRun(made.info.run_id, sure=True)

    def trial_name(self, trial: Trial) -> str:
        """Return the name of a trial's run: its number and its point, or its fold."""
        point = content.run_name(trial.point)
        is_fold = len(trial.point) == 1 and next(iter(trial.point)).endswith(".fold")
        return point.replace("fold=", "fold ") if is_fold else f"trial {trial.number}: {point}"

    def log_point(self, trial: Trial, child: ChildRun, began: float) -> None:
        """Send its point as parameters, and its counts."""
        params = content.overrides(origin.overrides_of(self.folder) | trial.point)
        totals = {"params": float(trial.params), "macs": float(trial.macs)}
        self.log_labels(child.run_id, {}, params, totals, began)


def _start_time(study: Study, trial: Trial) -> float:
    """Return the start of the first of its runs; now if none has begun."""
    key = next(iter(trial.runs.values()), None)
    first = next(RunFolder(study.runs / key).records(), None) if key else None
    return float(first["time"]) if first is not None else time.time()


def last_record_time(study: Study, trial: Trial) -> float:
    """Return the time of the last record of its runs."""
    last = [RunFolder(study.runs / key).last() for key in trial.runs.values()]
    return max((float(record["time"]) for record in last if record is not None), default=time.time())


def curve(study: Study, trial: Trial, after: int, until: int) -> list[content.Point]:
    """Return the metrics of a trial in steps (after, until]: the means of what all of its seeds have reported."""
    by_point: dict[tuple[str, int], list[tuple[float, int]]] = {}
    for key in trial.runs.values():
        own: dict[tuple[str, int], tuple[float, int]] = {}
        for record in RunFolder(study.runs / key).records():
            if after < int(record.get("step", 0)) <= until:
                own |= {(name, step): (value, when) for name, value, when, step in content.points(record, {})}
        for place, value in own.items():
            by_point.setdefault(place, []).append(value)
    return [
        (name, sum(v for v, _ in values) / len(values), max(when for _, when in values), step)
        for (name, step), values in by_point.items()
        if len(values) == len(trial.runs) and name != "seconds"
    ]


def final_points(trial: Trial, when: int) -> list[content.Point]:
    """Return its seconds, and the 95 % intervals of its means, at its last step."""
    step = max(trial.rungs, default=0)
    names = sorted({name for metrics in trial.rungs.get(step, {}).values() for name in metrics})
    halves = [(content.name(f"{name}/interval95"), interval_of(trial, name)) for name in names]
    return [("seconds", trial.seconds, when, step), *((n, h, when, step) for n, h in halves if h is not None)]


def state_of(study: Study) -> str:
    """Return `finished` where all trials have ended, else `stopped`."""
    return "finished" if all(trial.state in DONE for trial in study.trials) else "stopped"


def fold_points(study: Study) -> list[content.Point]:
    """Return the means over the folds of a cross-validation, with standard errors and 95 % intervals."""
    found = CrossValidation(study)
    step = max((max(trial.rungs) for trial in found.finished), default=0)
    when = content.milliseconds(
        max((last_record_time(study, trial) for trial in found.finished), default=time.time())
    )
    points: list[content.Point] = []
    for metric in found.metrics:
        figures = {"": metric.mean, "/standard_error": metric.standard_error, "/interval95": metric.interval95}
        points += [
            (content.name(f"{metric.name}{suffix}"), value, when, step)
            for suffix, value in figures.items()
            if value is not None
        ]
    return points


def _bests(study: Study, first: int, end: int, when: int) -> list[content.Point]:
    """Return the best value so far of each metric that is searched for, at each trial from `first` on."""
    points: list[content.Point] = []
    for metric, rising in zip(study.metrics, study.rising, strict=True):
        best: float | None = None
        for trial in study.trials[:end]:
            value = trial.value(metric) if trial.state == "finished" else None
            if value is not None and not isnan(value):
                best = value if best is None else (max if rising else min)(best, value)
            if best is not None and trial.number >= first:
                points.append((content.name(f"best/{metric}"), best, when, trial.number))
    return points


# --- the process beside the sweep -----------------------------------------------------------------------------------


def files_of(folder: Path) -> FilesOfMany:
    """Return the writer of the files of scalars that the trials of a study ask for."""

    def runs() -> list[Path]:
        if not is_study(folder):
            return []
        study = Study.open(folder)
        return [study.runs / key for trial in study.trials for key in trial.runs.values()]

    return FilesOfMany(folder, runs)


def start(
    folder: Path,
    uri: str | None = None,
    experiment: str | None = None,
    *,
    mlflow: bool = True,
    system_metrics: bool = False,
) -> Mirror:
    """Start a process that delivers the study in a folder until `close_input`. Takes milliseconds and never
    raises. Without `mlflow` it writes files alone; with `system_metrics` it measures the machine.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    module, stdin = "dlx.sweeps.mlflow_study", subprocess.PIPE
    runs = [RunFolder(folder)]
    (mirror,) = start_all(runs, uri, experiment, module, stdin, mlflow=mlflow, system_metrics=system_metrics)
    return mirror


def deliver(folder: Path, uri: str | None = None) -> SyncResult:
    """Deliver what a study holds and MLflow does not, and write the files of its trials. Never raises."""
    error = error_of(files_of(folder))
    return StudyDelivery(folder, uri).sync().with_error(error)


def studies(text: str | None, runs: Path) -> list[Path]:
    """Return the study of that folder or `name/sweep-...`; without a text all studies below a folder."""
    if text is None:
        return sorted(path.parent for path in runs.glob(f"*/*/{JOURNAL}"))
    return [folder for folder in (Path(text), runs / text) if is_study(folder)][:1]


if __name__ == "__main__":
    imports.own_process()
    sys.exit(main(StudyDelivery, "dlx.sweeps.mlflow_study", files_of))
