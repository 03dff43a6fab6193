"""The loop: a generator of records. It has never heard of MLflow, a run folder or a terminal."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal

from ..errors import RunError
from ..lazy import torch
from ..objectives import Objective
from ..schedules import Span, Watch
from ..spec import Train
from . import averages, groups, stopping
from .augmented import augmented
from .bootstrap import sample
from .compute import Compute
from .momentum import mover
from .parts import Part
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
    """Losses since that point, on the device."""
    began: Tensor | None = None
    """The generator of the order when this epoch began."""
    chance: torch.Generator | None = None
    """What torch draws for this job, where it is one of several in a process; else torch's own generator."""
    way: dict[str, str] = field(default_factory=dict)
    """How a step is computed, and why so."""
    preprocess: tuple[Fitted, ...] = ()
    """What the inputs went through, which changes of colour undo."""
    compute: Compute = field(init=False)
    tables: dict[str, dict[str, list[list[int]]]] = field(default_factory=dict)
    """By part of the data, what its last evaluation gave beside numbers."""
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
        """What torch would draw next is this job's, though others draw before it."""
        self.chance = torch.Generator()
        self.chance.set_state(torch.get_rng_state())

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
    def rest_every(self) -> int:
        """Steps between two moments at which the job may be saved."""
        return self.train.save_every or self.log_every

    @property
    def evaluate_every(self) -> int:
        """Steps between two evaluations: as given, or one epoch, or as many as keep it to about a hundred."""
        return evaluation_period(self.train, self.span)


def evaluation_period(train: Train, span: Span) -> int:
    """Steps between two evaluations."""
    return train.evaluate_every or span.per_epoch * math.ceil(span.steps / span.per_epoch / EVALUATIONS)


def fit(job: Job) -> Iterator[Record]:
    """Train to the end, yielding points of the loss curve and evaluations. RunError where the loss is not finite."""
    walk, update = walked(job), updater(job)
    given: Tensor | None = None
    with suppress(StopIteration):
        while True:
            event = walk.send(given)  # type: ignore[arg-type] # a generator is started with None
            given = None
            if isinstance(event, Record):
                yield event
            else:
                given = update(event)


def walked(job: Job) -> Generator[Record | Tensor, Tensor, None]:
    """The same, but whoever drives it moves the weights: it gives the examples of each update and takes the loss."""
    log_every, evaluate_every, total = job.log_every, job.evaluate_every, job.total_steps
    rest_every, time_is_up = job.rest_every, stopping.ends_at(job.train)
    cycles = set(job.cycles)
    if job.is_far_enough and job.step < total:
        yield Record("halt", job.step, job.epoch, {})
        return
    for index in turns(job):
        taken(job, job.losses, (yield index))
        if job.step % log_every == 0 or job.step == total:
            yield curve_point(job, job.losses)
        if job.step % evaluate_every == 0 and job.step < total:
            check_finite(job, job.losses)
            with averages.judged(job):
                measured = seen(job, evaluate(job, "valid"))
                watched(job, measured)
                yield Record("evaluation", job.step, job.epoch, measured)
        if cycles and job.step in cycles:
            yield Record("cycle", job.step, job.epoch, {})
        if job.stopping is not None and job.stopping.over:
            break
        if job.step < total and (job.is_far_enough or (time_is_up is not None and stopping.now() >= time_is_up)):
            yield Record("halt", job.step, job.epoch, {})
            return
        if job.step % rest_every == 0 or (job.train.save_every is None and job.step % evaluate_every == 0):
            yield Record("rest", job.step, job.epoch, {})
    yield from ended(job)


def ended(job: Job) -> Iterator[Record]:
    """What comes after the last update: the weights that are to stay, and all that they give."""
    if job.losses:  # it stopped between two points of the curve
        yield curve_point(job, job.losses)
    early, last = job.stopping, {"train/loss": job.loss}
    if job.average is not None:
        job.average.stay()
    valid = None
    if early is None or not early.over:
        averages.renewed(job, EVALUATION_BATCH)
        valid = seen(job, evaluate(job, "valid"))
        yield Record("evaluation", job.step, job.epoch, valid)
    if early is not None and early.brings_back(job.step, job.network):
        valid, last = None, {}
    if valid is None:
        averages.renewed(job, EVALUATION_BATCH)
        valid = evaluate(job, "valid")
    if job.average is not None and job.average.count:
        last = {}
    # how the training set itself fits; its loss is that of the last point of the curve, if that is of these weights
    yield Record("end", job.step, job.epoch, evaluate(job, "train") | last | valid | evaluate(job, "test"))


def seen(job: Job, measured: dict[str, float]) -> dict[str, float]:
    """An evaluation of the weights that the network has, which early stopping takes in."""
    if job.stopping is not None:
        job.stopping.see(job.step, measured, job.network)
    return measured


def updates(job: Job, losses: list[Tensor]) -> Iterator[None]:
    """Move the weights batch by batch; each loss joins `losses` without leaving the device."""
    update = updater(job)
    for index in turns(job):
        taken(job, losses, update(index))
        yield


def turns(job: Job) -> Iterator[Tensor]:
    """The examples of each update, by number, with the learning rate set for it. Each is `taken` before the next."""
    optimizer, schedule, watch, span = job.optimizer, job.train.schedule, job.watch, job.span
    factor = math.nan
    job.network.train()
    move = mover(job)
    while job.step < span.steps:
        if job.position == 0:
            job.epoch += 1
            job.began = job.order.get_state()
        batches = job.train.updates(len(job.parts["train"]), job.epoch - 1)
        for index in islice(order(job, batches), job.position, None):
            now = schedule.at(job.step, span) * (watch.factor if watch is not None else 1.0)
            if now != factor:
                factor, job.rate = now, job.train.optimizer.lr * now
                for group, rate in zip(optimizer.param_groups, job.rates, strict=True):
                    group["lr"] = rate * factor
            if move is not None:
                move()
            yield index
            if job.step == span.steps:
                return
        job.position = 0


def taken(job: Job, losses: list[Tensor], loss: Tensor) -> None:
    """The weights have been moved by the examples of a turn."""
    losses.append(loss)
    job.step += 1
    job.position += 1
    if job.average is not None:
        job.average.follow(job.step)


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


def order(job: Job, batches: int) -> Iterator[Tensor]:
    """The examples of each update of one epoch."""
    part = job.parts["train"]
    n, epoch = len(part), max(0, job.epoch - 1)
    batch = job.train.per_update(n, epoch)
    drawn = torch.randperm(n, generator=job.order) if job.train.shuffle else torch.arange(n)
    drawn = (drawn if job.sample is None else job.sample[drawn]).to(part.x.device)
    part.expect(
        drawn[job.position * batch : batches * batch], batch if job.train.accumulate == 1 else job.train.batch(n)
    )
    return iter(torch.split(drawn, batch)[:batches])


def curve_point(job: Job, losses: list[Tensor]) -> Record:
    """The mean loss since the last point, and the learning rate that was used."""
    values = check_finite(job, losses)
    losses.clear()
    job.loss = sum(values) / len(values)
    return Record("step", job.step, job.epoch, {"train/loss": job.loss, "lr": job.rate, **job.compute.figures()})


def check_finite(job: Job, losses: list[Tensor]) -> list[float]:
    """The losses as numbers: the one place where the host waits for the device."""
    values: list[float] = torch.stack(losses).tolist() if losses else []
    first = next((i for i, value in enumerate(values) if not math.isfinite(value)), None)
    if first is not None:
        raise RunError(
            f"the loss is {values[first]} at step {job.step - len(values) + 1 + first:,}",
            hint="Lower the learning rate, or look for a division by zero or a logarithm of zero in the data.",
        )
    return values


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
    if tables:
        job.tables[name] = tables
    job.network.train()
    return {f"{name}/{key}": value for key, value in result.items()}
