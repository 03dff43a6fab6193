"""A study in MLflow: a parent run, and its trials as children. `python -m dlx.sweep.tracked STUDY` delivers it.

A sweep starts one such process, which reads what stands in the study's folder and never speaks to the sweep: it is
over when its input ends, because the sweep closed it or is gone; then it draws the figures too. A trial's curve comes
when it stands at a rung or at its end, in the mean over its seeds. `mlflow.json` in the study's folder remembers how
far it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any

from filelock import FileLock

from .. import secrets
from ..errors import DlxError
from ..runs import Run
from ..track import content, mirror, store
from ..track.family import Family
from ..track.mirror import TRIES
from ..track.sync import Synced, sentence
from .leaderboard import half_of
from .study import JOURNAL, Study, is_study
from .trial import Trial

PAUSE, LOOK = 1.0, 0.1
"""Seconds between two deliveries at least, and between two looks."""
EASY = 4.0
"""How many times as long as a delivery took it rests."""
DONE = ("finished", "stopped", "failed")


@dataclass
class Told:
    """What MLflow has of one trial."""

    run_id: str
    step: int = 0
    """Up to which step of its curve."""
    state: str = ""
    point: dict[str, Any] = field(default_factory=dict)


@dataclass
class Known:
    """How far one study is in one store."""

    uri: str = ""
    experiment: str = ""
    run_id: str = ""
    trials: dict[int, Told] = field(default_factory=dict)
    best: int | None = None
    bests: int = 0
    """Trials of which the parent has the best so far."""
    state: str = ""
    files: dict[str, str] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @classmethod
    def of(cls, home: Run, uri: str, experiment: str) -> Known:
        """What is known of a study in this store; a fresh start where nothing is, or it cannot be read."""
        try:
            told = home.read_json("mlflow.json")
            if (told.get("uri"), told.get("experiment")) != (uri, experiment):
                return cls(uri, experiment)
            made = cls(**{f.name: told[f.name] for f in fields(cls) if f.name in told})
            made.trials = {int(number): Told(**about) for number, about in told.get("trials", {}).items()}
        except (DlxError, TypeError, ValueError, AttributeError):
            return cls(uri, experiment)
        return made


class Tracked:
    """A study that is delivered, as often as it is asked to."""

    def __init__(
        self, folder: Path, uri: str | None = None, experiment: str | None = None, draws: bool = False
    ) -> None:
        self.home, self.draws = Run(folder), draws
        self.uri = store.tracking_uri(self.home, uri)
        self.experiment = store.experiment_name(self.home, experiment)
        self.family = Family(self.uri, self.experiment, self.home.key)
        self.opened = False
        self.sent = 0

    def sync(self, over: bool = True) -> Synced:
        """Deliver what stands in the folder and is not in MLflow. Never raises. `over`: the sweep has ended."""
        shown, self.sent = secrets.masked(self.uri), 0
        known = Known(shown, self.experiment)
        try:
            with FileLock(self.home.dir / "mlflow.lock"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's are not for the user of dlx
                known = Known.of(self.home, shown, self.experiment)
                known.error = ""
                try:
                    self.deliver(Study.open(self.home.dir), known, over)
                except Exception as error:  # noqa: BLE001  MLflow, its stores and torch.export raise all sorts
                    known.error = secrets.masked(sentence(error, shown))
                self.home.write_json("mlflow.json", asdict(known))
        except (DlxError, OSError) as error:
            known.error = f"{self.home.dir} cannot be written: {error}"
        return Synced(self.sent, not known.error, known.run_id, shown, known.error)

    def deliver(self, study: Study, known: Known, over: bool) -> None:
        self.open(study, known)
        for trial in study.trials:
            self.follow(study, trial, known)
        self.crown(study, known)
        if over:
            self.close(study, known)

    # --- the parent -------------------------------------------------------------------------------------------------

    def open(self, study: Study, known: Known) -> None:
        """The parent run, found or made, and what it says of the study."""
        if self.opened:
            return
        new = self.family.find(self.home.id, self.home.dir.stat().st_mtime, {})
        if new or known.run_id != self.family.run_id:
            known.trials, known.best, known.bests, known.state = {}, None, 0, ""
            known.files, known.model, known.run_id = {}, {}, self.family.run_id
        if not new:
            for number, run_id in self.family.children().items():
                known.trials.setdefault(int(number), Told(run_id))
        identity = study.identity
        words = {
            key: identity.get(key) for key in ("metrics", "sampler", "scheduler", "constraints", "seeds", "seed")
        }
        words |= {f"space.{key}": about for key, about in identity.get("space", {}).items()}
        params = {content.name(f"sweep.{key}"): content.cut(_word(v), content.VALUE) for key, v in words.items() if v}
        self.family.label(known.run_id, {"dlx.metric": _word(study.metrics)}, params)
        if known.state and any(trial.state not in DONE for trial in study.trials):  # it goes on
            self.family.end(known.run_id, "running", 0)
            known.state = ""
        self.opened = True

    def crown(self, study: Study, known: Known) -> None:
        """Mark the best trial, and tell the parent the best so far by trial."""
        if study.drawn:
            return  # each child is a fold or a seed, of which none is chosen
        best = study.best()
        if best is not None and best.number != known.best and best.number in known.trials:
            if known.best is not None:
                self.family.label(known.trials[known.best].run_id, {"dlx.best": "false"})
            self.family.label(known.trials[best.number].run_id, {"dlx.best": "true"})
            tags = {"dlx.best_trial": str(best.number), "dlx.best_run": next(iter(best.runs.values()), "")}
            self.family.label(known.run_id, tags)
            known.best = best.number
        ended = next((i for i, t in enumerate(study.trials) if t.state not in DONE), len(study.trials))
        if ended > known.bests:
            self.family.tell(known.run_id, _bests(study, known.bests, ended, self.home.dir.stat().st_mtime))
            known.bests = ended

    def close(self, study: Study, known: Known) -> None:
        """What comes at the end: the journal, the figures, the best one's model, and how the study stands."""
        if self.draws:
            self.draw(study)
        paths = [self.home.dir / JOURNAL, *sorted((self.home.dir / "figures").glob("*.*"))]
        for path in paths:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if known.files.get(path.name) != digest:
                self.family.attach(known.run_id, path, "figures" if path.name != JOURNAL else "")
                known.files[path.name] = digest
        if known.best is not None:
            run = Run(study.runs / next(iter(study.trials[known.best].runs.values())))
            known.model = self.family.give_model(run, known.trials[known.best].run_id, known.model)
        state = "finished" if all(trial.state in DONE for trial in study.trials) else "stopped"
        if state != known.state:
            self.family.end(known.run_id, state, time.time())
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

    def follow(self, study: Study, trial: Trial, known: Known) -> None:
        """A trial: made where it is new, its curve up to where it stands, and how it ended."""
        told = known.trials.get(trial.number)
        reached = max(trial.rungs, default=0)
        if told is not None and (told.step, told.state, told.point) == (reached, trial.state, trial.point):
            return
        if told is None:
            told = known.trials[trial.number] = self.born(study, trial)
        if told.point != trial.point:  # a scheduler moved it on the way; parameters of MLflow stay as they were
            self.family.label(told.run_id, {"dlx.point": _word(trial.point)})
        points = curve(study, trial, told.step, reached) if reached > told.step else []
        if trial.state in DONE and told.state not in DONE:
            points += closing(trial, content.milliseconds(ended_at(study, trial)))
        self.family.tell(told.run_id, points)
        if trial.state != told.state:
            self.family.end(told.run_id, trial.state, ended_at(study, trial))
            tags = {"dlx.status": trial.state, "dlx.message": trial.message}
            self.family.label(told.run_id, {key: text for key, text in tags.items() if text})
        told.step, told.state, told.point = reached, trial.state, dict(trial.point)
        self.sent += 1

    def born(self, study: Study, trial: Trial) -> Told:
        first = next(iter(trial.runs.values()), "")
        tags = {"dlx.study": self.home.key, "dlx.trial": str(trial.number), "dlx.run": first}
        tags["dlx.runs"] = content.cut(" ".join(trial.runs.values()), content.TAG)
        params = {key: _word(value) for key, value in trial.point.items()}
        sums = {"params": float(trial.params), "macs": float(trial.macs)}
        started = _begun(Run(study.runs / first)) if first else time.time()
        return Told(self.family.bear(f"trial-{trial.number}", started, tags, params, sums), point=dict(trial.point))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _begun(run: Run) -> float:
    """When a run began; now where it has not."""
    first = next(run.records(), None)
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


def _bests(study: Study, first: int, end: int, when: float) -> list[content.Point]:
    """The best of each metric that is searched for, so far, at each trial from `first` on."""
    points: list[content.Point] = []
    for metric, rising in zip(study.metrics, study.rising, strict=True):
        best: float | None = None
        for trial in study.trials[:end]:
            value = trial.value(metric) if trial.state == "finished" else None
            if value is not None and not isnan(value):
                best = value if best is None else (max if rising else min)(best, value)
            if best is not None and trial.number >= first:
                points.append((content.name(f"best/{metric}"), best, content.milliseconds(when), trial.number))
    return points


# --- the process beside the sweep -----------------------------------------------------------------------------------


class Mirror(mirror.Mirror):
    """The process that delivers a study; it ends when its input does."""

    def leave(self) -> None:
        """Tell it that the sweep has ended: it delivers the rest by itself."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def finish(self, timeout: float) -> str:
        """The sweep has ended: how far the mirror is."""
        self.leave()
        return super().finish(timeout)


def start(folder: Path, uri: str | None = None, experiment: str | None = None) -> Mirror:
    """Set a process to delivering the study in a folder. Takes milliseconds and never raises."""
    command = ["dlx.sweep.tracked", str(folder.absolute()), "--follow"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        process = mirror.launched(command, folder / mirror.LOG, uri, experiment, subprocess.PIPE)
    except OSError as error:
        return Mirror(Run(folder), None, f"the mirror could not be started: {error}")
    return Mirror(Run(folder), process)


def follow(folder: Path, uri: str | None, experiment: str | None, over: threading.Event) -> int:
    """Deliver what comes until the sweep is over. 0 where all has arrived."""
    tracked = Tracked(folder, uri, experiment, draws=True)
    failures, seen, journal = 0, -1, folder / JOURNAL
    while True:
        ended = over.is_set()
        size = journal.stat().st_size if journal.exists() else -1
        pause = LOOK
        if size >= 0 and (ended or size != seen):
            begun = time.monotonic()
            result = tracked.sync(over=ended)
            failures, seen = (0, size) if result.complete else (failures + 1, seen)
            if not result.complete:
                print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {result.error}", flush=True)
            pause = max(PAUSE, EASY * (time.monotonic() - begun), min(PAUSE * 2**failures, 30) if failures else 0)
        if ended and (size < 0 or failures == 0 or failures >= TRIES):
            return 1 if failures else 0
        time.sleep(PAUSE) if ended else over.wait(pause)


def studies(text: str | None, runs: Path) -> list[Path]:
    """The study that is meant by its folder or `name/sweep-...`; without a word all below a folder."""
    if text is None:
        return sorted(path.parent for path in runs.glob(f"*/*/{JOURNAL}"))
    return [folder for folder in (Path(text), runs / text) if is_study(folder)][:1]


def _listen(over: threading.Event) -> None:
    """Until the input ends."""
    sys.stdin.buffer.read()
    over.set()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dlx.sweep.tracked", description="Deliver a study to MLflow.")
    parser.add_argument("study", type=Path)
    parser.add_argument(
        "--uri", help="MLflow's tracking URI; else the spec's, the environment's, the runs' own store"
    )
    parser.add_argument("--experiment", help="MLflow's experiment; else the spec's name")
    parser.add_argument("--follow", action="store_true", help="go on until the input ends")
    asked = parser.parse_args()
    if not asked.follow:
        print(result := Tracked(asked.study, asked.uri, asked.experiment).sync())
        return 0 if result.complete else 1
    over = threading.Event()
    threading.Thread(target=_listen, args=[over], daemon=True).start()
    return follow(asked.study, asked.uri, asked.experiment, over)


if __name__ == "__main__":
    sys.exit(main())
