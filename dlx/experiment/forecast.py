"""How long the training of a spec will take here, by its first steps, taken as `dlx train` takes them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..runs import lookup
from ..spec import Experiment
from ..spec.one_stage import stage_of
from ..spec.syntax.read import Node
from ..track.delivery import STATE_FILE
from .recorder import TrainingStarted
from .runner import run

if TYPE_CHECKING:
    from ..runs.folder import RunFolder
    from ..training.fit import Job, Record
    from ..training.pace import TimeForecast
    from .recorder import TrainingWarning

EVALUATED = 2048
"""Examples that are evaluated to time an evaluation, at most."""
DELIVERIES = 5
"""Earlier runs, the newest, whose deliveries tell how long one takes."""


class _EnoughError(BaseException):
    """Ends a training that has told how long it would take; no handler of errors takes it for a failure."""

    def __init__(self, forecast: TimeForecast) -> None:
        self.forecast = forecast


@dataclass(frozen=True)
class PartForecast:
    """Seconds of one training, or of the seeds or members of one, by what they are spent on."""

    by: dict[str, float]
    counts: dict[str, int]
    trainings: int
    """Seeds, or members of an ensemble."""
    packed: bool
    at_most: bool
    whole: bool
    """Whether the training was over before its steps had told: the seconds are those it took."""

    @property
    def seconds(self) -> float:
        return sum(self.by.values())

    def as_json(self) -> dict[str, Any]:
        by = {name: round(value, 3) for name, value in self.by.items()}
        about = {"trainings": self.trainings, "packed": self.packed, "at_most": self.at_most, "whole": self.whole}
        return {"seconds": round(self.seconds, 3), "by": by, "counts": self.counts, **about}


@dataclass(frozen=True)
class TrainingTime:
    """Seconds of `dlx train` of a spec on this machine."""

    start: float
    """From the start of the process to the first step of the first training: imports, data, networks."""
    parts: dict[str, PartForecast]
    """Of each stage by its name; of a spec without stages that of the empty name."""
    delivery: float | None
    """Until MLflow has everything, after the command is done; None where no earlier run tells, or nothing is
    delivered."""
    mirrored: bool

    @property
    def seconds(self) -> float:
        """Until the command is done."""
        return self.start + sum(one.seconds for one in self.parts.values())

    @property
    def at_most(self) -> bool:
        return any(one.at_most for one in self.parts.values())

    def as_json(self) -> dict[str, Any]:
        """Return the `time` of `dlx inspect --time --json`."""
        found: dict[str, Any] = {"seconds": round(self.seconds, 3), "at_most": self.at_most}
        found |= {"start": round(self.start, 3)}
        found |= {"delivery": None if self.delivery is None else round(self.delivery, 3), "mirrored": self.mirrored}
        if "" in self.parts:
            one = self.parts[""].as_json()
            return found | {key: value for key, value in one.items() if key not in found}
        return found | {"stages": {name: one.as_json() for name, one in self.parts.items()}}


def forecast(experiment: Experiment, runs: Path = Path("runs")) -> TrainingTime:
    """Return how long `dlx train` would take. SpecError or DlxError where the spec cannot be trained here.

    A second or two of steps of each stage are taken in a folder that is deleted. `runs` has the sources of weights,
    and earlier runs whose deliveries tell how long one takes.
    """
    experiment = lookup.with_source(experiment, runs)
    names = [stage.name for stage in experiment.stages]
    starts: list[float] = []
    parts: dict[str, PartForecast] = {}
    called = {str(node.value) for one in experiment.stages for node in _sources(one.experiment)}
    with tempfile.TemporaryDirectory(prefix="dlx-forecast-") as folder:
        for name in names or [""]:
            one = _untracked(stage_of(experiment, name) if name else experiment)
            parts[name], start = _part(one, Path(folder))
            starts.append(start)
            if name in called:
                _leave_run(one, name, Path(folder))
    start = starts[0]
    mirrored = experiment.track.mirrors
    return TrainingTime(start, parts, delivery_of(lookup.all_runs(runs)) if mirrored else None, mirrored)


def _sources(experiment: Experiment) -> list[Node]:
    """Return where the networks of a stage come from that have the weights of a run or of an earlier stage."""
    found = (network.at("from") for network in experiment.networks.values())
    return [node for node in found if node is not None]


def _leave_run(stage: Experiment, name: str, runs: Path) -> None:
    """Leave a run of one step of a stage for the later ones that call its networks: no weights change their time."""
    epochs = ["~train.epochs"] if stage.written.at("train", "epochs") is not None else []
    run(replace(stage.changed([*epochs, "++train.steps=1", "++train.seeds=1"]), name=name), runs)


def _part(experiment: Experiment, runs: Path) -> tuple[PartForecast, float]:
    """Return the seconds of a training, and those up to its first step."""
    train = experiment.train
    count = 1
    if train is not None:
        count = train.ensemble.members or 1 if train.ensemble is not None else train.seeds
    begun, whole = _Begun(), False
    try:
        results = run(experiment, runs, begun, on_forecast=_stop)
    except _EnoughError as enough:
        found = enough.forecast
        by = {name: getattr(found, name) * count for name in ("steps", "evaluations", "checkpoints", "end")}
        counts, at_most = found.counts, found.at_most
    else:
        whole, at_most = True, False
        by = {"steps": sum(one.seconds for one in results.results)}
        counts = {"steps": results.results[0].steps}
    return PartForecast(by, counts, count, begun.packed, at_most, whole), begun.seconds_since_process_began()


class _Begun:
    """When the first training began, and whether it is one of several that are packed."""

    def __init__(self) -> None:
        self.clock, self.packed = 0.0, False

    def __call__(self, event: TrainingStarted | Record | TrainingWarning) -> None:
        if isinstance(event, TrainingStarted) and not self.clock:
            self.clock = time.time()
            self.packed = bool(event.run.lock().get("packed"))

    def seconds_since_process_began(self) -> float:
        import psutil

        return max(0.0, self.clock - psutil.Process().create_time())


def _stop(job: Job, found: TimeForecast) -> None:
    """End a training; one that has not evaluated yet evaluates some examples first, to time them."""
    name = next((name for name in ("valid", "test", "train") if name in job.parts), None)
    if job.pace.examples or name is None:
        raise _EnoughError(found)
    part = job.parts[name].evenly(EVALUATED)
    seconds = []
    for _ in range(2):  # in the first one memory is taken
        began = time.perf_counter()
        job.learner.evaluate(name, part)
        seconds.append(time.perf_counter() - began)
    raise _EnoughError(job.pace.made(job, min(seconds) * job.pace.share / (part.evaluated or len(part))))


def _untracked(experiment: Experiment) -> Experiment:
    """Return a copy of a spec that mirrors nothing."""
    nothing = dict.fromkeys(("mlflow", "csv", "tensorboard", "system_metrics"), False)
    return replace(experiment, track=experiment.track.model_copy(update=nothing))


def delivery_of(runs: Sequence[RunFolder]) -> float | None:
    """Return the median seconds from the end of a run until MLflow had all of it, of the newest; None without any.

    What `dlx runs sync` has delivered later tells nothing.
    """
    found: list[float] = []
    for one in runs[: 4 * DELIVERIES]:
        end = one.end()
        if end is not None and len(found) < DELIVERIES and _by_its_mirror(one):
            found.append(max(0.0, (one.dir / STATE_FILE).stat().st_mtime - float(end["time"])))
    return median(found) if found else None


def _by_its_mirror(run: RunFolder) -> bool:
    """Whether a mirror beside the training delivered a run to its end."""
    with suppress(DlxError):
        return bool(run.read_json(STATE_FILE).get("delivered_by"))
    return False
