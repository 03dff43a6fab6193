"""The loop: a generator of records. It has never heard of MLflow, a run folder or a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..errors import RunError
from ..lazy import torch
from ..metrics import RUNNING_LOSS
from ..objectives import Objective
from ..schedules import Span, Watch
from ..spec import Train
from . import averages, groups, state, stopping
from .augmented import augmented
from .bootstrap import sample
from .compute import Compute
from .parts import Part
from .stretch import Stretch, stretches
from .update import updater

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.preprocess import Fitted

EVALUATION_BATCH = 1024
POINTS = 500
"""Points of the loss curve where the spec does not say."""
EVALUATIONS = 100


@dataclass(frozen=True, slots=True)
class Record:
    """Something worth keeping: a point of the loss curve, an evaluation, or the end. `epoch` counts from 1.

    A cycle is one of the schedule's that has ended. At a rest nothing is pending: what the job holds is all that the
    next step depends on. A halt is a rest that nothing comes after, because the time is up or the job is far enough.
    At an evaluation the network has the weights that were evaluated.
    """

    record: Literal["step", "evaluation", "cycle", "rest", "halt", "end"]
    step: int
    epoch: int
    metrics: dict[str, float]


@dataclass
class Job:
    """A training in progress: everything that `fit` moves, and where it stands."""

    network: nn.Module
    objective: Objective
    train: Train
    parts: dict[str, Part]
    """"train", and "valid" and "test" where there are any."""
    step: int = 0
    epoch: int = 0
    position: int = 0
    """Updates done in this epoch."""
    until: int | None = None
    """The step at which to halt, to go on later; the schedule knows nothing of it."""
    rate: float = 0.0
    """The learning rate of the last update."""
    loss: float = math.nan
    """The last point of the loss curve."""
    losses: list[Tensor] = field(default_factory=list)
    """Losses since that point, on the device, one or several in a tensor."""
    marks: list[tuple[int, float]] = field(default_factory=list)
    """Where points of the curve belong that are not told yet: the step, and the learning rate there."""
    began: Tensor | None = None
    """The generator of the order when this epoch began."""
    chance: torch.Generator | None = None
    """What torch draws for this job, where it is one of several in a process; else torch's own generator."""
    host_random: dict[str, Any] | None = None
    """The generators of Python and NumPy beside `chance`, from which no training draws."""
    way: dict[str, str] = field(default_factory=dict)
    """How a step is computed, and why so."""
    faults: list[str] = field(default_factory=list)
    """What went wrong in the quicker ways to compute it, and what was done instead."""
    preprocess: tuple[Fitted, ...] = ()
    """What the inputs went through, which changes of colour undo."""
    compute: Compute = field(init=False)
    tables: dict[str, dict[str, list[list[int]]]] = field(default_factory=dict)
    """By part of the data, what its last evaluation gave beside numbers."""
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    """By part of the data and metric, what its last evaluation left out."""
    class_names: tuple[str, ...] = ()
    optimizer: torch.optim.Optimizer = field(init=False)
    order: torch.Generator = field(init=False)
    rates: list[float] = field(init=False)
    """The learning rate of each of the optimizer's groups, before the schedule."""
    watch: Watch | None = field(init=False)
    """What lowers the rate where a metric stands still."""
    average: averages.Averaged | None = field(init=False)
    stopping: stopping.Stopping | None = field(init=False)
    sample: Tensor | None = field(init=False)
    """Which example stands at each place of the training set, where it is a bootstrap of it."""

    def __post_init__(self) -> None:
        self.parts = augmented(self.parts, self.train, self.objective, self.preprocess)
        self.compute = Compute(self)
        self.optimizer = self.train.optimizer.build(groups.split(self.network, self.train))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.order = torch.Generator().manual_seed(self.train.seed)
        self.watch = self.train.schedule.watch()
        if self.watch is not None and self.watch.mode is None:
            self.watch.mode = stopping.mode_of(self.watch.metric, self.objective)
        average, early = self.train.average, self.train.early_stopping
        self.average = averages.Averaged(average, self.network, self.span) if average is not None else None
        self.stopping = stopping.Stopping(early, self.objective) if early is not None else None
        self.sample = sample(len(self.parts["train"]), self.train.seed) if self.train.bootstrap else None

    def remember_chance(self) -> None:
        """Save the state of the global generator, to restore it after other jobs have drawn from it."""
        self.chance = torch.Generator()
        self.chance.set_state(torch.get_rng_state())
        self.host_random = state.host_random()

    @property
    def span(self) -> Span:
        return self.train.span(len(self.parts["train"]))

    @property
    def batches_per_epoch(self) -> int:
        """Updates in an epoch."""
        return self.span.per_epoch

    @property
    def total_steps(self) -> int:
        return self.span.steps

    @property
    def is_far_enough(self) -> bool:
        """Whether it has come to where it is to halt."""
        return self.until is not None and self.step >= self.until

    @property
    def cycles(self) -> list[int]:
        """The steps at which a snapshot is taken."""
        wanted = self.train.ensemble is not None and self.train.ensemble.snapshots
        return self.train.schedule.cycles(self.span) if wanted else []

    @property
    def log_every(self) -> int:
        return self.train.log_every or max(1, self.total_steps // POINTS)

    @property
    def evaluate_every(self) -> int:
        """Steps between two evaluations: as given, or one epoch, or as many as keep it to about a hundred."""
        return evaluation_period(self.train, self.span)

    def ahead(self) -> int:
        """Updates until the next after which something comes between: an evaluation, a state, a snapshot, the end."""
        ends = [_next(self.step, self.evaluate_every), self.total_steps]
        ends += [_next(self.step, self.train.save_every)] if self.train.save_every else []
        ends += [_next(self.step, self.log_every)] if self.compute.scaler is not None else []
        ends += [at for at in (*self.cycles, self.until or 0) if at > self.step]
        return min(ends) - self.step


def _next(step: int, every: int) -> int:
    return step + every - step % every


def evaluation_period(train: Train, span: Span) -> int:
    """Steps between two evaluations."""
    return train.evaluate_every or span.per_epoch * math.ceil(span.steps / span.per_epoch / EVALUATIONS)


def fit(job: Job) -> Iterator[Record]:
    """Train to the end, yielding points of the loss curve and evaluations. RunError where the loss is not finite."""
    update = updater(job)
    for event in walked(job):
        if isinstance(event, Stretch):
            event.run(update)
        else:
            yield event


def walked(job: Job) -> Iterator[Record | Stretch]:
    """The same, but whoever drives it moves the weights: each stretch is to be run before the next event."""
    evaluate_every, total, cycles = job.evaluate_every, job.total_steps, set(job.cycles)
    time_is_up = stopping.ends_at(job.train)
    if job.is_far_enough and job.step < total:
        yield Record("halt", job.step, job.epoch, {})
        return
    for stretch in stretches(job, most=1 if time_is_up is not None else None):
        yield stretch
        judges = job.step % evaluate_every == 0 and job.step < total
        if job.marks or judges:
            yield from curve(job)
        if judges:
            with averages.judged(job):
                measured = seen(job, evaluate(job, "valid"))
                watched(job, measured)
                yield Record("evaluation", job.step, job.epoch, measured)
        if job.step in cycles:
            yield Record("cycle", job.step, job.epoch, {})
        if job.stopping is not None and job.stopping.over:
            break
        if job.step < total and (job.is_far_enough or (time_is_up is not None and stopping.now() >= time_is_up)):
            yield Record("halt", job.step, job.epoch, {})
            return
        if job.train.save_every is None or job.step % job.train.save_every == 0:
            yield Record("rest", job.step, job.epoch, {})
    yield from ended(job)


def ended(job: Job) -> Iterator[Record]:
    """What comes after the last update: the weights that are to stay, and all that they give."""
    if job.losses:  # it ends between two points of the curve
        job.marks.append((job.step, job.rate))
        yield from curve(job)
    early = job.stopping
    if job.average is not None:
        job.average.stay()
    valid = None
    if early is None or not early.over:
        averages.renewed(job, EVALUATION_BATCH)
        valid = seen(job, evaluate(job, "valid"))
        yield Record("evaluation", job.step, job.epoch, valid)
    if early is not None and early.brings_back(job.step, job.network):
        valid = None
    if valid is None:
        averages.renewed(job, EVALUATION_BATCH)
        valid = evaluate(job, "valid")
    yield Record("end", job.step, job.epoch, evaluate(job, "train") | valid | evaluate(job, "test"))


def seen(job: Job, measured: dict[str, float]) -> dict[str, float]:
    """An evaluation of the weights that the network has, which early stopping takes in."""
    if job.stopping is not None:
        job.stopping.see(job.step, measured, job.network)
    return measured


def watched(job: Job, measured: dict[str, float]) -> None:
    """Tell what lowers the rate where a metric stands still. RunError where it is not among those measured."""
    if job.watch is None:
        return
    if job.watch.metric not in measured:
        there = f"there are {', '.join(measured)}" if measured else "the data has no `valid` part"
        raise RunError(
            f"the schedule follows {job.watch.metric}, and {there}",
            hint="Name one of them: `schedule: {plateau: valid/loss}`."
            if measured
            else "`valid: 0.1` holds some out.",
        )
    job.watch.see(measured[job.watch.metric])


def curve(job: Job) -> Iterator[Record]:
    """A point for each mark: the mean loss since the one before, and the learning rate that was used.

    RunError where a loss is not finite, behind the points before it. The one place where the host waits for the
    device.
    """
    values: list[float] = torch.cat([loss.reshape(-1) for loss in job.losses]).tolist() if job.losses else []
    first = next((i for i, value in enumerate(values) if not math.isfinite(value)), len(values))
    begun, told = job.step - len(values), 0
    for step, rate in job.marks:
        if step - begun > first:
            break
        part, told = values[told : step - begun], step - begun
        job.loss = sum(part) / len(part)
        yield Record("step", step, job.epoch, {RUNNING_LOSS: job.loss, "lr": rate, **job.compute.figures()})
    job.marks.clear()
    if first < len(values):
        raise RunError(
            f"the loss is {values[first]} at step {begun + first + 1:,}",
            hint="Lower the learning rate, or look for a division by zero or a logarithm of zero in the data.",
        )
    job.losses[:] = [torch.cat([loss.reshape(-1) for loss in job.losses])[told:]] if told < len(values) else []


def evaluate(job: Job, name: str) -> dict[str, float]:
    """Loss and metrics over one part, `valid/loss` and so on; nothing where the part is empty."""
    part = job.parts.get(name)
    if part is None:
        return {}
    job.network.eval()
    evaluation = job.objective.evaluation()
    with torch.inference_mode():
        for outputs, y in part.answers(job.compute.of(job.network), EVALUATION_BATCH):
            evaluation.add(outputs, y)
        result, tables = evaluation.result(), evaluation.tables()
    job.left_out[name] = evaluation.notes(job.class_names)
    if tables:
        job.tables[name] = tables
    job.network.train()
    return {f"{name}/{key}": value for key, value in result.items()}
