"""The loop: a generator of records. It has never heard of MLflow, a run folder or a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..data.feed import Feed
from ..errors import RunError
from ..lazy import torch
from ..objectives import Objective, Supervised
from ..schedules import Timeline
from ..spec import Train
from . import early_stopping, weight_averages
from .batches.augmentation import augmented
from .batches.data_part import DataPart
from .batches.feed import Examples
from .batches.step_chunk import StepChunk, step_chunks
from .learner import EVALUATION_BATCH, Learner
from .phased import Phased
from .progress import Progress
from .supervised import SupervisedLearner

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.preprocess import Fitted

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


class Job:
    """A training in progress: a learner, the feed of its batches, how far it is, and the parts of the data."""

    def __init__(
        self,
        network: nn.Module | Mapping[str, nn.Module],
        objective: Objective,
        train: Train,
        parts: dict[str, DataPart],
        *,
        feed: Feed | None = None,
        preprocess: tuple[Fitted, ...] = (),
        class_names: tuple[str, ...] = (),
    ) -> None:
        """`parts` are "train", and "valid" and "test" where there are any; `preprocess` are steps of the inputs."""
        self.train, self.objective = train, objective
        self.parts = parts
        self.progress = Progress()
        if isinstance(objective, Supervised) and not isinstance(network, Mapping):
            self.parts = augmented(parts, train, objective, preprocess)
            examples = Examples(self.parts["train"], train)
            self.feed: Feed = examples
            self.learner: Learner = SupervisedLearner(network, objective, train, self.progress, examples, class_names)
        else:
            networks = network if isinstance(network, Mapping) else {"network": network}
            module = torch.nn.ModuleDict(networks) if isinstance(network, Mapping) else network
            self.feed = feed if feed is not None else Examples(self.parts["train"], train)
            self.learner = Phased(networks, module, objective, train, self.progress, self.feed)
        self.span = self.learner.span
        early = train.early_stopping
        self.progress.stopping = early_stopping.Stopping(early, objective) if early is not None else None
        for pace in self.learner.paces.values():
            if pace.watch is not None and pace.watch.mode is None:
                pace.watch.mode = early_stopping.mode_of(pace.watch.metric, objective)

    @property
    def supervised(self) -> SupervisedLearner:
        """Its learner, where one network learns targets."""
        assert isinstance(self.learner, SupervisedLearner), "it was not asked whether one network learns targets"
        return self.learner

    @property
    def network(self) -> nn.Module:
        """The module that holds all weights."""
        return self.learner.module

    @property
    def total_steps(self) -> int:
        return self.span.steps

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
        step = self.progress.step
        ends = [_next(step, self.evaluate_every), self.total_steps]
        ends += [_next(step, self.train.save_every)] if self.train.save_every else []
        ends += [_next(step, self.log_every)] if self.learner.compute.scaler is not None else []
        ends += [at for at in (*self.cycles, self.progress.until or 0) if at > step]
        return min(ends) - step


def _next(step: int, every: int) -> int:
    return step + every - step % every


def evaluation_period(train: Train, span: Timeline) -> int:
    """Steps between two evaluations."""
    return train.evaluate_every or span.per_epoch * math.ceil(span.steps / span.per_epoch / EVALUATIONS)


def fit(job: Job) -> Iterator[Record]:
    """Train to the end, yielding points of the loss curve and evaluations. RunError where the loss is not finite."""
    update = job.learner.updater()
    for event in walked(job):
        if isinstance(event, StepChunk):
            event.run(update)
        else:
            yield event


def updates(job: Job, losses: list[Tensor]) -> Iterator[None]:
    """Move the weights update by update; each loss joins `losses` without leaving the device."""
    update = job.learner.updater()
    for chunk in step_chunks(job, most=1):
        chunk.run(update)
        losses += job.progress.losses
        job.progress.losses.clear()
        job.progress.marks.clear()
        yield


def walked(job: Job) -> Iterator[Record | StepChunk]:
    """The same, but whoever drives it moves the weights: each stretch is to be run before the next event."""
    evaluate_every, total, cycles = job.evaluate_every, job.total_steps, set(job.cycles)
    time_is_up = early_stopping.ends_at(job.train)
    if job.progress.is_far_enough and job.progress.step < total:
        yield Record("halt", job.progress.step, job.feed.epoch, {})
        return
    for chunk in step_chunks(job, most=1 if time_is_up is not None else None):
        yield chunk
        judges = job.progress.step % evaluate_every == 0 and job.progress.step < total
        if job.progress.marks or judges:
            yield from curve(job)
        if judges:
            with job.learner.judged():
                measured = seen(job, evaluate(job, "valid"))
                job.learner.watched(measured)
                yield Record("evaluation", job.progress.step, job.feed.epoch, measured)
        if job.progress.step in cycles:
            yield Record("cycle", job.progress.step, job.feed.epoch, {})
        if job.progress.stopping is not None and job.progress.stopping.over:
            break
        if job.progress.step < total and (
            job.progress.is_far_enough or (time_is_up is not None and early_stopping.now() >= time_is_up)
        ):
            yield Record("halt", job.progress.step, job.feed.epoch, {})
            return
        if job.train.save_every is None or job.progress.step % job.train.save_every == 0:
            yield Record("rest", job.progress.step, job.feed.epoch, {})
    yield from ended(job)


def ended(job: Job) -> Iterator[Record]:
    """What comes after the last update: the weights that are to stay, and all that they give."""
    if job.progress.losses:  # it ends between two points of the curve
        job.progress.marks.append((job.progress.step, job.feed.epoch, job.learner.rates()))
        yield from curve(job)
    early = job.progress.stopping
    for average in job.learner.averages.values():
        average.stay()
    valid = None
    if early is None or not early.over:
        weight_averages.renewed(job, EVALUATION_BATCH)
        valid = seen(job, evaluate(job, "valid"))
        yield Record("evaluation", job.progress.step, job.feed.epoch, valid)
    if early is not None and early.brings_back(job.progress.step, job.network):
        valid = None
    if valid is None:
        weight_averages.renewed(job, EVALUATION_BATCH)
        valid = evaluate(job, "valid")
    yield Record("end", job.progress.step, job.feed.epoch, evaluate(job, "train") | valid | evaluate(job, "test"))


def seen(job: Job, measured: dict[str, float]) -> dict[str, float]:
    """An evaluation of the weights that the network has, which early stopping takes in."""
    if job.progress.stopping is not None:
        job.progress.stopping.see(job.progress.step, measured, job.network)
    return measured


def curve(job: Job) -> Iterator[Record]:
    """A point for each mark: the mean losses since the one before, and the learning rates that were used.

    RunError where a loss is not finite, behind the points before it. The one place where the host waits for the
    device.
    """
    progress, learner = job.progress, job.learner
    names, width = learner.losses, len(learner.losses)
    rows: list[list[float]] = []
    if progress.losses:
        rows = torch.cat([loss.reshape(-1) for loss in progress.losses]).view(-1, width).tolist()
    first = next((i for i, row in enumerate(rows) if not all(map(math.isfinite, row))), len(rows))
    begun, told = progress.step - len(rows), 0
    for step, epoch, rates in progress.marks:
        if step - begun > first:
            break
        part, steps, told = rows[told : step - begun], range(begun + told, step), step - begun
        means: dict[str, float] = {}
        for column, (name, every) in enumerate(zip(names, learner.periods, strict=True)):
            values = [row[column] for row, at in zip(part, steps, strict=True) if at % every == 0]
            if values:
                means[name] = sum(values) / len(values)
        progress.loss = next(iter(means.values()), progress.loss)
        yield Record("step", step, epoch, {**means, **rates, **learner.compute.figures()})
    progress.marks.clear()
    if first < len(rows):
        column = next(i for i, value in enumerate(rows[first]) if not math.isfinite(value))
        which = "the loss" if width == 1 else f"the loss {names[column]}"
        raise RunError(
            f"{which} is {rows[first][column]} at step {begun + first + 1:,}",
            hint="Lower the learning rate, or look for a division by zero or a logarithm of zero in the data.",
        )
    left = torch.cat([loss.reshape(-1) for loss in progress.losses])[told * width :] if told < len(rows) else None
    progress.losses[:] = [] if left is None else [left]


def evaluate(job: Job, name: str) -> dict[str, float]:
    """Loss and metrics over one part, `valid/loss` and so on; nothing where the part is empty."""
    part = job.parts.get(name)
    return {} if part is None else job.learner.evaluate(name, part)
