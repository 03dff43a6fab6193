"""Who trains: one interface, whether in this process, in others or on a cluster. The folders carry the results."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ...data import Sets
from ...errors import DlxError
from ...experiment import lock, packing, session
from ...experiment.recorder import RunRecorder
from ...graph import Graphs, memory
from ...metrics import RUNNING_LOSS
from ...runs.folder import Run
from ...runs.records import with_current_names
from ...spec import Experiment, load
from ...training.checkpoints.checkpoint import NotWrittenError
from ...training.prepared import Prepared, loaded, prepare, ready
from ...utils import files
from .gpus import MemoryDemand

if TYPE_CHECKING:
    from ...experiment.results import Result

Ended = Literal["rested", "finished", "failed", "cut off"]
KEPT = 4
"""Data sets that are kept in memory at most."""
BRIEF = 1.0
"""Seconds of training below which a trial's files do not wait for the disk: after a power cut it is trained again."""


@dataclass(frozen=True)
class Task:
    """One training to bring to a step: `until`, or its end."""

    number: int
    seed: int
    run: str
    """Its folder."""
    spec: str
    """Its resolved spec."""
    until: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TrialOutcome:
    """How far a task came. Cut off: the sweep is to stop, and the task goes on another time."""

    number: int
    seed: int
    ended: Ended
    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Halting = Callable[[], bool]
"""Whether the sweep is to stop."""


class Worker(Protocol):
    """Trains. Outcomes come in any order; once `halting` says so, what is on its way is cut off and told."""

    def advance(self, tasks: Sequence[Task], halting: Halting) -> Iterator[TrialOutcome]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class LoadedSpec:
    """A spec that was read, and its graphs."""

    experiment: Experiment
    graphs: Graphs


class Trainer:
    """Trains in this process. Data, versions and specs are read once.

    Up to `pack` trainings that differ in numbers alone are one stacked network. `remember` spares it reading a spec
    that was read before.
    """

    def __init__(self, pack: int = 1) -> None:
        self.pack = pack
        self.known: dict[str, LoadedSpec] = {}
        self.data: dict[str, Sets] = {}
        self.environment: dict[str, Any] | None = None

    def advance(self, tasks: Sequence[Task], halting: Halting) -> Iterator[TrialOutcome]:
        for batch in self.batches(tasks):
            if halting():
                yield from (TrialOutcome(task.number, task.seed, "cut off", 0) for task in batch)
            else:
                yield from self.trained(batch, halting)

    def close(self) -> None:
        """Nothing is on its way between two tasks."""

    def remember(self, run: str, experiment: Experiment, graphs: Graphs) -> None:
        self.known[run] = LoadedSpec(experiment, graphs)

    def forget(self) -> None:
        """All specs: those of a generation that has ended."""
        self.known.clear()

    def wants(self, task: Task) -> MemoryDemand:
        """What a task that is known wants of a GPU."""
        known = self.known.get(task.run)
        if known is None or known.experiment.train is None:
            return MemoryDemand(0)
        sets = self.sets(known.experiment)
        parts = [part for part in (sets.train, sets.valid, sets.test) if part is not None and not part.streams]
        batch = known.experiment.train.largest(len(sets.train))
        step = sum(one.total for one in memory.of_each(known.experiment, known.graphs, batch).values())
        packs = self.pack > 1 and self.likeness(task) is not task
        return MemoryDemand(step, sum(part.x.nbytes + part.y.nbytes for part in parts), packs)

    def sets(self, experiment: Experiment) -> Sets:
        """The data of a spec, loaded once."""
        name = data_name(experiment)
        if name not in self.data:
            while len(self.data) >= KEPT:
                del self.data[next(iter(self.data))]
            self.data[name] = loaded(experiment)
        return self.data[name]

    def batches(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """The tasks in their order, those together that can be trained as one."""
        if self.pack < 2:
            return [[task] for task in tasks]
        groups: dict[Any, list[Task]] = {}
        for task in tasks:
            groups.setdefault(self.likeness(task), []).append(task)
        return [group[i : i + self.pack] for group in groups.values() for i in range(0, len(group), self.pack)]

    def likeness(self, task: Task) -> Any:
        """The same for tasks that can be trained as one."""
        try:
            known = self.read(Run(task.run), task)
            sets = self.sets(known.experiment)
            form = packing.packing_key(Prepared.unchecked(known.experiment, known.graphs, sets))
        except DlxError:
            return task  # its mistake is told when it is its turn
        return task if form is None else (form, sets.digest, task.until)

    def trained(self, batch: Sequence[Task], halting: Halting) -> Iterator[TrialOutcome]:
        """Tasks that are one, as far as they come. Whoever else is at the same run is waited for."""
        with ExitStack() as stack:
            for task in sorted(batch, key=lambda task: task.run):
                (Path(task.run) / "checkpoints").mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(Path(task.run)))
            done = {task: read_back(Run(task.run), task) for task in batch}
            left = [task for task, outcome in done.items() if outcome is None]
            if left:
                done |= dict(zip(left, self._outcomes(left, halting), strict=True))
            yield from filter(None, done.values())

    def _outcomes(self, tasks: Sequence[Task], halting: Halting) -> list[TrialOutcome]:
        recorders = [RunRecorder(Run(task.run)) for task in tasks]
        try:
            ends = self._followed(recorders, tasks, halting)
        except NotWrittenError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever torch says, it is about these trials
            ends = [error] * len(tasks)
        return [_outcome(recorder, task, end) for recorder, task, end in zip(recorders, tasks, ends, strict=True)]

    def _followed(
        self, recorders: Sequence[RunRecorder], tasks: Sequence[Task], halting: Halting
    ) -> Sequence[Result | Exception]:
        begun = time.monotonic()
        with files.synced(lambda: time.monotonic() - begun > BRIEF):
            many = [
                (recorder, self._described(recorder.folder, task))
                for recorder, task in zip(recorders, tasks, strict=True)
            ]
            self.environment = self.environment or lock.software_environment()
            for recorder in recorders:
                recorder.saved_at = begun  # a checkpoint on the way comes when there is something to lose

            def callback(_: object) -> None:
                if halting():
                    for job in filter(None, (recorder.job for recorder in recorders)):
                        job.progress.until = job.progress.step

            told = session.Session(callback, tasks[0].until, self.environment)
            # one alone is a stack of one row: the same bits as among others
            if packing.packing_key(many[0][1]) is not None:
                return packing.train_together(many, told)
            return [session.follow(*many[0], told)]

    def _described(self, run: Run, task: Task) -> Prepared:
        """What is to be trained, once its folder has all that stands in it before the start."""
        known = self.read(run, task)
        prepared = prepare(known.experiment, known.graphs, self.sets)
        if not (run.dir / "plan.json").exists():
            session.describe(run, prepared)
        return prepared

    def read(self, run: Run, task: Task) -> LoadedSpec:
        """A task's spec and graph."""
        if task.run not in self.known:
            run.dir.mkdir(parents=True, exist_ok=True)
            if not (run.dir / "spec.yaml").exists():
                run.write_text("spec.yaml", task.spec)
            read = load(run.dir / "spec.yaml")
            self.known[task.run] = LoadedSpec(read, ready(read))
        return self.known[task.run]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile: whoever does, on this machine, is waited for."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems of clusters lock no folders
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def data_name(experiment: Experiment) -> str:
    """The same for specs that have the same data."""
    assert experiment.data is not None
    return f"{experiment.data.kind} {experiment.data.model_dump_json()}"


def _outcome(recorder: RunRecorder, task: Task, end: Result | Exception) -> TrialOutcome:
    """How a task ended."""
    tell = partial(TrialOutcome, task.number, task.seed)
    if isinstance(end, NotWrittenError):
        raise end
    if isinstance(end, DlxError):
        return tell("failed", recorder.step, {}, recorder.seconds, end.problems[0].message)
    if isinstance(end, Exception):
        return tell("failed", recorder.step, {}, recorder.seconds, f"{type(end).__name__}: {end}")
    if end.status == "finished" and task.until is None:
        job = recorder.job
        last = {RUNNING_LOSS: job.progress.loss} if job is not None and RUNNING_LOSS in job.learner.losses else {}
        return tell("finished", end.steps, {**last, **end.metrics}, end.seconds)
    return read_back(recorder.folder, task) or tell("cut off", end.steps, {}, end.seconds)


def read_back(run: Run, task: Task) -> TrialOutcome | None:
    """What a run came to, where it is as far as it is to come."""
    end = run.end()
    if end is None or end["status"] not in {"finished", "stopped"}:
        return None
    tell = partial(TrialOutcome, task.number, task.seed)
    if end["status"] == "finished" and task.until is None:
        return tell("finished", end["step"], {**figures(run, end["step"]), **end["metrics"]}, end["seconds"])
    if task.until is None or (end["step"] < task.until and end["status"] == "stopped"):
        return None
    return tell("rested", min(end["step"], task.until), figures(run, task.until), end["seconds"])


def figures(run: Run, step: int) -> dict[str, float]:
    """The last evaluation of a run up to a step, and the last point of its loss curve, if it is one."""
    found: dict[str, float] = {}
    for record in run.records():
        if record.get("step", 0) > step:
            continue
        if record["record"] == "evaluation":
            found |= record["metrics"]
        elif record["record"] == "step":
            found |= {
                name: value for name, value in with_current_names(record["metrics"]).items() if name == RUNNING_LOSS
            }
    return found
