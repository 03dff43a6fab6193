"""A study in MLflow: a parent run, and its trials as children. `python -m dlx.sweeps.mlflow_study STUDY` delivers it.

A sweep starts one such process, which reads what stands in the study's folder and never speaks to the sweep: it is
over when its input ends, because the sweep closed it or is gone; then it draws the figures too. A trial's curve comes
when it stands at a rung or at its end, in the mean over its seeds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any, ClassVar

from ..runs.folder import Run
from ..track import Mirror, content, start_all
from ..track.delivery import STATUS, Arrived, Delivery, SyncState
from ..track.mirror import main
from .leaderboard import half_of
from .study import JOURNAL, Study, is_study
from .trial import Trial

DONE = ("finished", "stopped", "failed")
PARENT = "mlflow.parentRunId"
PAGE = 1000


@dataclass
class Child(Arrived):
    """How far one trial is in MLflow."""

    step: int = 0
    """Up to which step of its curve."""
    state: str = ""
    point: dict[str, Any] = field(default_factory=dict)


@dataclass
class StudyState(SyncState):
    """How far one study is in one store."""

    trials: dict[int, Child] = field(default_factory=dict)
    best: int | None = None
    bests: int = 0
    """Trials of which the parent has the best so far."""
    state: str = ""


class StudyDelivery(Delivery[StudyState]):
    """A study that is delivered."""

    memory: ClassVar[type[SyncState]] = StudyState
    rests: ClassVar[float] = 4.0
    opened = False

    def begun(self) -> float:
        return self.home.dir.stat().st_mtime

    def tags(self) -> dict[str, str]:
        return {"dlx.study": self.home.key, "dlx.kind": "study"}

    def glance(self) -> int | None:
        """How long the journal is."""
        journal = self.home.dir / JOURNAL
        return journal.stat().st_size if journal.exists() else None

    def watch(self, pid: int) -> Callable[[], bool]:
        """From now on: whether the input has ended, because the sweep closed it or is gone."""
        over = threading.Event()

        def listen() -> None:
            sys.stdin.buffer.read()
            over.set()

        threading.Thread(target=listen, daemon=True).start()
        return over.is_set

    def deliver(self, over: bool) -> None:
        study = Study.open(self.home.dir)
        if self.origin != "known" or not self.opened:
            self.open(study)
        for trial in study.trials:
            self.follow(study, trial)
        if not study.replicate_keys:  # else each child is a fold or a seed, of which none is chosen
            self.crown(study)
        if over:
            self.close(study)

    # --- the parent -------------------------------------------------------------------------------------------------

    def open(self, study: Study) -> None:
        """The children that MLflow has already, and the study itself in tags and parameters of the parent."""
        known = self.state
        for number, run_id in self.children().items():
            known.trials.setdefault(number, Child(run_id))
        identity = study.identity
        words = {
            key: identity.get(key) for key in ("metrics", "sampler", "scheduler", "constraints", "seeds", "seed")
        }
        words |= {f"space.{key}": about for key, about in identity.get("space", {}).items()}
        params = {f"sweep.{key}": _word(value) for key, value in words.items() if value}
        self.label(known.run_id, {"dlx.metric": _word(study.metrics)}, _params(params))
        if known.state and any(trial.state not in DONE for trial in study.trials):  # it goes on
            self.stand(known.run_id, "RUNNING", 0)
            known.state = ""
        self.opened = True

    def children(self) -> dict[int, str]:
        """The MLflow runs of the trials that are there, by number."""
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

    def crown(self, study: Study) -> None:
        """Mark the best trial, and tell the parent the best so far by trial."""
        known, best = self.state, study.best()
        if best is not None and best.number != known.best and best.number in known.trials:
            if known.best is not None:
                self.label(known.trials[known.best].run_id, {"dlx.best": "false"})
            self.label(known.trials[best.number].run_id, {"dlx.best": "true"})
            tags = {"dlx.best_trial": str(best.number), "dlx.best_run": next(iter(best.runs.values()), "")}
            self.label(known.run_id, tags)
            known.best = best.number
        ended = next((i for i, t in enumerate(study.trials) if t.state not in DONE), len(study.trials))
        if ended > known.bests:
            self.tell(known, _bests(study, known.bests, ended, self.started))
            known.bests = ended

    def close(self, study: Study) -> None:
        """What comes at the end: the journal, the figures, the best one's model, and how the study stands."""
        known = self.state
        if self.following:
            self.draw(study)
        self.attach(self.home.dir / JOURNAL)
        for path in sorted((self.home.dir / "figures").glob("*.*")):
            self.attach(path, "figures")
        if known.best is not None:
            run = Run(study.runs / next(iter(study.trials[known.best].runs.values())))
            self.give_model(run, run.end(), known.trials[known.best].run_id)
        state = "finished" if all(trial.state in DONE for trial in study.trials) else "stopped"
        if state != known.state:
            self.stand(known.run_id, STATUS[state], time.time())
            known.state = state

    def draw(self, study: Study) -> None:
        """The figures, unless they are newer than the journal. What goes wrong with them is told in the log."""
        from . import figures

        drawn = [file.stat().st_mtime for file in (self.home.dir / figures.FOLDER).glob("*.png")]
        if min(drawn, default=0) >= (self.home.dir / JOURNAL).stat().st_mtime:
            return
        try:
            figures.of_study(study)
        except Exception as error:  # noqa: BLE001  what was measured is delivered all the same
            print(f"the figures could not be drawn: {type(error).__name__}: {error}", flush=True)

    # --- a child ----------------------------------------------------------------------------------------------------

    def follow(self, study: Study, trial: Trial) -> None:
        """A trial: made where it is new, its curve up to where it stands, and how it ended."""
        known, child = self.state, self.state.trials.get(trial.number)
        reached = max(trial.rungs, default=0)
        if child is not None and (child.step, child.state, child.point) == (reached, trial.state, trial.point):
            return
        moved = child is not None and child.point != trial.point
        began = _begun(study, trial) if child is None or not child.point else 0.0
        if child is None:
            child = known.trials[trial.number] = self.born(trial, began)
            self.save()
        if not child.point:
            self.introduce(trial, child, began)
        if moved:  # a scheduler moved it on the way; parameters of MLflow stay as they were
            self.label(child.run_id, {"dlx.point": _word(trial.point)})
        points = curve(study, trial, child.step, reached) if reached > child.step else []
        if trial.state in DONE and child.state not in DONE:
            points += closing(trial, content.milliseconds(ended_at(study, trial)))
        self.tell(child, points)
        if trial.state != child.state:
            self.stand(child.run_id, STATUS.get(trial.state, "RUNNING"), ended_at(study, trial))
            tags = {"dlx.status": trial.state, "dlx.message": trial.message}
            self.label(child.run_id, {key: text for key, text in tags.items() if text})
        child.step, child.state, child.point = reached, trial.state, dict(trial.point)
        self.save()
        self.sent += 1

    def born(self, trial: Trial, began: float) -> Child:
        first = next(iter(trial.runs.values()), "")
        tags = content.run_tags(first) | {PARENT: self.state.run_id, "dlx.study": self.home.key}
        tags |= {"dlx.trial": str(trial.number), "dlx.runs": content.cut(" ".join(trial.runs.values()), content.TAG)}
        when = content.milliseconds(began)
        made = self.client.create_run(self.state.experiment_id, when, tags, f"trial-{trial.number}")
        return Child(made.info.run_id, sure=True)

    def introduce(self, trial: Trial, child: Child, began: float) -> None:
        """Its point as parameters, and its counts."""
        params = {key: _word(value) for key, value in trial.point.items()}
        totals = {"params": float(trial.params), "macs": float(trial.macs)}
        self.label(child.run_id, {}, _params(params), totals, began)


def _params(words: Mapping[str, str]) -> dict[str, str]:
    return {content.name(key): content.cut(text, content.VALUE) for key, text in words.items()}


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _begun(study: Study, trial: Trial) -> float:
    """When the first of its runs began; now where none has."""
    key = next(iter(trial.runs.values()), None)
    first = next(Run(study.runs / key).records(), None) if key else None
    return float(first["time"]) if first is not None else time.time()


def ended_at(study: Study, trial: Trial) -> float:
    """When the last of its runs was at its last record."""
    last = [Run(study.runs / key).last() for key in trial.runs.values()]
    return max((float(record["time"]) for record in last if record is not None), default=time.time())


def curve(study: Study, trial: Trial, after: int, until: int) -> list[content.Point]:
    """The metrics of a trial behind a step, up to another: the means of what all of its seeds report."""
    told: dict[tuple[str, int], list[tuple[float, int]]] = {}
    for key in trial.runs.values():
        own: dict[tuple[str, int], tuple[float, int]] = {}
        for record in Run(study.runs / key).records():
            if after < int(record.get("step", 0)) <= until:
                own |= {(name, step): (value, when) for name, value, when, step in content.points(record, {})}
        for place, value in own.items():
            told.setdefault(place, []).append(value)
    return [
        (name, sum(v for v, _ in values) / len(values), max(when for _, when in values), step)
        for (name, step), values in told.items()
        if len(values) == len(trial.runs) and name != "seconds"
    ]


def closing(trial: Trial, when: int) -> list[content.Point]:
    """What stands beside the last values: the time, and how sure the means over several seeds are."""
    step = max(trial.rungs, default=0)
    names = sorted({name for metrics in trial.rungs.get(step, {}).values() for name in metrics})
    halves = [(content.name(f"{name}/interval95"), half_of(trial, name)) for name in names]
    return [("seconds", trial.seconds, when, step), *((n, h, when, step) for n, h in halves if h is not None)]


def _bests(study: Study, first: int, end: int, when: int) -> list[content.Point]:
    """The best of each metric that is searched for, so far, at each trial from `first` on."""
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


def start(folder: Path, uri: str | None = None, experiment: str | None = None) -> Mirror:
    """Set a process to delivering the study in a folder, until `leave`. Takes milliseconds and never raises."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    (mirror,) = start_all([Run(folder)], uri, experiment, "dlx.sweeps.mlflow_study", subprocess.PIPE)
    return mirror


def studies(text: str | None, runs: Path) -> list[Path]:
    """The study that is meant by its folder or `name/sweep-...`; without a word all below a folder."""
    if text is None:
        return sorted(path.parent for path in runs.glob(f"*/*/{JOURNAL}"))
    return [folder for folder in (Path(text), runs / text) if is_study(folder)][:1]


if __name__ == "__main__":
    sys.exit(main(StudyDelivery, "dlx.sweeps.mlflow_study"))
