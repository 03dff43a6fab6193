"""The loop: a generator of records. It has never heard of MLflow, a run folder or a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal

from ..errors import RunError
from ..lazy import torch
from ..objectives import Objective
from ..schedules import Span, Watch
from ..spec import Train
from . import groups
from .parts import Part
from .update import updater

if TYPE_CHECKING:
    from torch import Tensor, nn

EVALUATION_BATCH = 1024
POINTS = 500
"""Points of the loss curve where the spec does not say."""
EVALUATIONS = 100


@dataclass(frozen=True, slots=True)
class Record:
    """Something worth keeping: a point of the loss curve, an evaluation, or the end. `epoch` counts from 1.

    At a rest nothing is pending: what the job holds is all that the next step depends on.
    """

    record: Literal["step", "evaluation", "rest", "end"]
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
    rate: float = 0.0
    """The learning rate of the last update."""
    loss: float = math.nan
    """The last point of the loss curve."""
    losses: list[Tensor] = field(default_factory=list)
    """Losses since that point, on the device."""
    began: Tensor | None = None
    """The generator of the order when this epoch began."""
    optimizer: torch.optim.Optimizer = field(init=False)
    order: torch.Generator = field(init=False)
    rates: list[float] = field(init=False)
    """The learning rate of each of the optimizer's groups, before the schedule."""
    watch: Watch | None = field(init=False)
    """What lowers the rate where a metric stands still."""

    def __post_init__(self) -> None:
        self.optimizer = self.train.optimizer.build(groups.split(self.network, self.train))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.order = torch.Generator().manual_seed(self.train.seed)
        self.watch = self.train.schedule.watch()

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
    def log_every(self) -> int:
        return self.train.log_every or max(1, self.total_steps // POINTS)

    @property
    def rest_every(self) -> int:
        """Steps between two moments at which the job may be saved."""
        return self.train.save_every or self.log_every

    @property
    def evaluate_every(self) -> int:
        """Steps between two evaluations: as given, or one epoch, or as many as keep it to about a hundred."""
        epoch = self.batches_per_epoch
        return self.train.evaluate_every or epoch * math.ceil(self.total_steps / epoch / EVALUATIONS)


def fit(job: Job) -> Iterator[Record]:
    """Train to the end, yielding points of the loss curve and evaluations. RunError where the loss is not finite."""
    log_every, evaluate_every, total = job.log_every, job.evaluate_every, job.total_steps
    rest_every = job.rest_every
    for _ in updates(job, job.losses):
        if job.step % log_every == 0 or job.step == total:
            point = curve_point(job, job.losses)
            job.loss = point["train/loss"]
            yield Record("step", job.step, job.epoch, point)
        if job.step % evaluate_every == 0 and job.step < total:
            check_finite(job, job.losses)
            measured = evaluate(job, "valid")
            watched(job, measured)
            yield Record("evaluation", job.step, job.epoch, measured)
        if job.step % rest_every == 0 or (job.train.save_every is None and job.step % evaluate_every == 0):
            yield Record("rest", job.step, job.epoch, {})
    final = {"train/loss": job.loss} | evaluate(job, "valid")
    yield Record("evaluation", job.step, job.epoch, {k: v for k, v in final.items() if k.startswith("valid/")})
    # how the training set itself fits; its loss is that of the last point of the curve
    yield Record("end", job.step, job.epoch, evaluate(job, "train") | final | evaluate(job, "test"))


def updates(job: Job, losses: list[Tensor]) -> Iterator[None]:
    """Move the weights batch by batch; each loss joins `losses` without leaving the device."""
    optimizer, schedule, watch, span = job.optimizer, job.train.schedule, job.watch, job.span
    factor = math.nan
    job.network.train()
    update = updater(job)
    while job.step < span.steps:
        if job.position == 0:
            job.epoch += 1
            job.began = job.order.get_state()
        for index in islice(order(job, span.per_epoch), job.position, None):
            now = schedule.at(job.step, span) * (watch.factor if watch is not None else 1.0)
            if now != factor:
                factor, job.rate = now, job.train.optimizer.lr * now
                for group, rate in zip(optimizer.param_groups, job.rates, strict=True):
                    group["lr"] = rate * factor
            losses.append(update(index))
            job.step += 1
            job.position += 1
            yield
            if job.step == span.steps:
                return
        job.position = 0


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
    n, batch = len(part), job.train.per_update(len(part))
    drawn = torch.randperm(n, generator=job.order) if job.train.shuffle else torch.arange(n)
    drawn = drawn.to(part.x.device)
    return iter(torch.split(drawn, batch)[:batches])


def curve_point(job: Job, losses: list[Tensor]) -> dict[str, float]:
    """The mean loss since the last point, and the learning rate that was used."""
    values = check_finite(job, losses)
    losses.clear()
    return {"train/loss": sum(values) / len(values), "lr": job.rate}


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
        for x, y in part.chunks(EVALUATION_BATCH):
            evaluation.add(job.network(x), y)
        result = evaluation.result()
    job.network.train()
    return {f"{name}/{key}": value for key, value in result.items()}
