"""Interface of workers, and the trainer that all of them run. Results pass through the run folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ...data import Sets
from ...errors import DlxError, NotWrittenError
from ...experiment import lock, packing, session, stages
from ...experiment.recorder import RunRecorder
from ...graph import Graphs, phase_memory
from ...metrics import RUNNING_LOSS
from ...runs.folder import RunFolder
from ...runs.records import with_current_names
from ...spec import Experiment, load
from ...training.prepared import Prepared, loaded, prepare, ready
from ...utils import files
from ...utils.system import folder_lock
from .gpus import MemoryDemand

if TYPE_CHECKING:
    from ...experiment.results import Result

TaskStatus = Literal["rested", "finished", "failed", "cut off"]
MAX_DATA_SETS = 4
"""Data sets that are held in memory at most."""
SYNC_AFTER = 1.0
"""Seconds of training from which on a trial's files wait for the disk. After a power cut a shorter one is trained
again."""


@dataclass(frozen=True)
class Task:
    """One training, to be brought to the step `until`, or to its end."""

    number: int
    seed: int
    run: str
    """Folder of the run."""
    spec: str
    """Resolved spec."""
    until: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TrialOutcome:
    """The end of a task: how far it came. Cut off: the sweep is to stop, and the task continues another time."""

    number: int
    seed: int
    ended: TaskStatus
    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


ShouldStop = Callable[[], bool]
"""Whether the sweep is to stop."""


class Worker(Protocol):
    """Trains tasks. Outcomes come in any order; once `should_stop` holds, running tasks are cut off and returned
    as such.
    """

    def advance(self, tasks: Sequence[Task], should_stop: ShouldStop) -> Iterator[TrialOutcome]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class LoadedSpec:
    """A spec that was read, and its graphs."""

    experiment: Experiment
    graphs: Graphs


class Trainer:
    """Trains in this process. Data, versions and specs are read once.

    Up to `pack` trainings that differ in numbers only are one stacked network. `remember` spares it reading a spec
    that was read before.
    """

    def __init__(self, pack: int = 1) -> None:
        self.pack = pack
        self.known: dict[str, LoadedSpec] = {}
        self.data: dict[str, Sets] = {}
        self.environment: dict[str, Any] | None = None

    def advance(self, tasks: Sequence[Task], should_stop: ShouldStop) -> Iterator[TrialOutcome]:
        for batch in self.batches(tasks):
            if should_stop():
                yield from (TrialOutcome(task.number, task.seed, "cut off", 0) for task in batch)
            else:
                yield from self.train_batch(batch, should_stop)

    def close(self) -> None:
        """Do nothing: between two tasks nothing is running."""

    def remember(self, run: str, experiment: Experiment, graphs: Graphs) -> None:
        self.known[run] = LoadedSpec(experiment, graphs)

    def forget(self) -> None:
        """Drop all specs: those of a generation that has ended."""
        self.known.clear()

    def memory_demand(self, task: Task) -> MemoryDemand:
        """Return the GPU memory that a remembered task needs."""
        known = self.known.get(task.run)
        if known is None or known.experiment.train is None:
            return MemoryDemand(0)
        sets = self.sets(known.experiment)
        parts = [part for part in (sets.train, sets.valid, sets.test) if part is not None and not part.streams]
        batch = known.experiment.train.largest(len(sets.train))
        step = phase_memory.of_step(known.experiment, known.graphs, batch)
        for stage in known.experiment.stages:
            step = max(step, self.stage_demand(stage.experiment, known.graphs.stages[stage.name]))
        packs = self.pack > 1 and self.packing_key_of(task) is not task
        return MemoryDemand(step, sum(array.nbytes for part in parts for array in part.arrays), packs)

    def stage_demand(self, experiment: Experiment, graphs: Graphs) -> int:
        """Return the bytes of a training step of one stage."""
        assert experiment.train is not None
        batch = experiment.train.largest(len(self.sets(experiment).train))
        return phase_memory.of_step(experiment, graphs, batch)

    def sets(self, experiment: Experiment) -> Sets:
        """Return the data of a spec, loaded once."""
        name = data_name(experiment)
        if name not in self.data:
            while len(self.data) >= MAX_DATA_SETS:
                del self.data[next(iter(self.data))]
            self.data[name] = loaded(experiment)
        return self.data[name]

    def batches(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """Return the tasks in their order, grouped by what can be trained as one."""
        if self.pack < 2:
            return [[task] for task in tasks]
        groups: dict[Any, list[Task]] = {}
        for task in tasks:
            groups.setdefault(self.packing_key_of(task), []).append(task)
        return [group[i : i + self.pack] for group in groups.values() for i in range(0, len(group), self.pack)]

    def packing_key_of(self, task: Task) -> Any:
        """Return a key that is equal for tasks that can be trained as one; the task itself if it cannot be packed."""
        try:
            known = self.read(RunFolder(task.run), task)
            if known.experiment.stages:
                return task
            sets = self.sets(known.experiment)
            form = packing.packing_key(Prepared.unchecked(known.experiment, known.graphs, sets))
        except DlxError:
            return task  # its mistake is told when it is its turn
        return task if form is None else (form, sets.digest, task.until)

    def train_batch(self, batch: Sequence[Task], should_stop: ShouldStop) -> Iterator[TrialOutcome]:
        """Train the tasks of a batch as one, as far as each is to come, while holding the locks of their runs."""
        with ExitStack() as stack:
            # in one order for all processes: two batches that share runs would else wait for each other for ever
            for task in sorted(batch, key=lambda task: task.run):
                (Path(task.run) / "checkpoints").mkdir(parents=True, exist_ok=True)
                stack.enter_context(folder_lock(Path(task.run)))
            # only under the lock: two studies may have a run in common, and the other one may just have finished it
            done = {task: read_back(RunFolder(task.run), task) for task in batch}
            left = [task for task, outcome in done.items() if outcome is None]
            if left:
                done |= dict(zip(left, self._outcomes(left, should_stop), strict=True))
            yield from filter(None, done.values())

    def _outcomes(self, tasks: Sequence[Task], should_stop: ShouldStop) -> list[TrialOutcome]:
        recorders = [RunRecorder(RunFolder(task.run)) for task in tasks]
        try:
            ends = self._train_together(recorders, tasks, should_stop)
        except NotWrittenError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever torch says, it is about these trials
            ends = [error] * len(tasks)
        return [_outcome(recorder, task, end) for recorder, task, end in zip(recorders, tasks, ends, strict=True)]

    def _train_together(
        self, recorders: list[RunRecorder], tasks: Sequence[Task], should_stop: ShouldStop
    ) -> Sequence[Result | Exception]:
        begun = time.monotonic()
        with files.synced(lambda: time.monotonic() - begun > SYNC_AFTER):
            self.environment = self.environment or lock.software_environment()
            if self.read(recorders[0].folder, tasks[0]).experiment.stages:
                return [self._train_stages(recorders, tasks[0], should_stop)]
            many = [
                (recorder, self._prepare(recorder.folder, task))
                for recorder, task in zip(recorders, tasks, strict=True)
            ]
            for recorder in recorders:
                recorder.saved_at = begun  # a checkpoint on the way comes when there is something to lose

            def callback(_: object) -> None:
                if should_stop():
                    for job in filter(None, (recorder.job for recorder in recorders)):
                        job.progress.until = job.progress.step

            session_options = session.Session(callback, tasks[0].until, self.environment)

            # a single one, too, is a stack of one row, so that a trial has the same bits alone as among others
            if packing.packing_key(many[0][1]) is not None:
                return packing.train_together(many, session_options)
            return [session.train_run(*many[0], session_options)]

    def _train_stages(self, recorders: list[RunRecorder], task: Task, should_stop: ShouldStop) -> Result:
        """Train the one task, of a spec with stages; `recorders` then has that of the stage it came to."""
        folder = recorders[0].folder
        known = self.read(folder, task)
        whole = stages.prepared_stages(known.experiment, known.graphs.stages, self.sets, sources=False)
        if not (folder.dir / "plan.json").exists():
            session.describe(folder, whole.last, whole.plans_as_json(known.experiment))

        def watch(recorder: RunRecorder) -> None:
            recorders[0] = recorder
            recorder.saved_at = time.monotonic()

        def callback(_: object) -> None:
            if should_stop() and (job := recorders[0].job) is not None:
                job.progress.until = job.progress.step

        options = session.Session(callback, None, self.environment)
        (result,) = stages.train([(folder, whole)], options, packed=True, watch=watch)
        return result

    def _prepare(self, run: RunFolder, task: Task) -> Prepared:
        """Prepare a training, and write the files that its folder has before the start."""
        known = self.read(run, task)
        prepared = prepare(known.experiment, known.graphs, self.sets, sources=False)  # checked as it was chosen
        if not (run.dir / "plan.json").exists():
            session.describe(run, prepared)
        return prepared

    def read(self, run: RunFolder, task: Task) -> LoadedSpec:
        """Return a task's spec and graph."""
        if task.run not in self.known:
            run.dir.mkdir(parents=True, exist_ok=True)
            if not (run.dir / "spec.yaml").exists():
                run.write_text("spec.yaml", task.spec)
            read = load(run.dir / "spec.yaml")
            self.known[task.run] = LoadedSpec(read, ready(read, sources=False))
        return self.known[task.run]


def data_name(experiment: Experiment) -> str:
    """Return a text that is equal for specs with equal data."""
    assert experiment.data is not None
    return f"{experiment.data.kind} {experiment.data.model_dump_json()}"


def _outcome(recorder: RunRecorder, task: Task, end: Result | Exception) -> TrialOutcome:
    """Return the outcome of a training in this process."""
    outcome = partial(TrialOutcome, task.number, task.seed)
    if isinstance(end, NotWrittenError):
        raise end
    if isinstance(end, DlxError):
        return outcome("failed", recorder.step, {}, recorder.seconds, end.problems[0].message)
    if isinstance(end, Exception):
        return outcome("failed", recorder.step, {}, recorder.seconds, f"{type(end).__name__}: {end}")
    if end.status == "finished" and task.until is None:
        job = recorder.job
        last = {RUNNING_LOSS: job.progress.loss} if job is not None and RUNNING_LOSS in job.learner.losses else {}
        return outcome("finished", end.steps, {**last, **end.metrics}, end.seconds)
    return read_back(recorder.folder, task) or outcome("cut off", end.steps, {}, end.seconds)


def read_back(run: RunFolder, task: Task) -> TrialOutcome | None:
    """Return the outcome of a run whose folder is as far as the task says; else None."""
    end = run.end()
    if end is None or end["status"] not in {"finished", "stopped"}:
        return None
    outcome = partial(TrialOutcome, task.number, task.seed)
    if end["status"] == "finished" and task.until is None:
        return outcome("finished", end["step"], {**last_metrics(run, end["step"]), **end["metrics"]}, end["seconds"])
    if task.until is None or (end["step"] < task.until and end["status"] == "stopped"):
        return None
    return outcome("rested", min(end["step"], task.until), last_metrics(run, task.until), end["seconds"])


def last_metrics(run: RunFolder, step: int) -> dict[str, float]:
    """Return the metrics of the last evaluation up to a step, and the last running loss."""
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
