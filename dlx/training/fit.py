"""The training loop as a generator of records; it knows no tracker, no run folder and no terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
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
from .batches.example_order import Examples
from .batches.step_chunk import StepChunk, step_chunks
from .batches.views import viewed
from .batches.windows import carried
from .following import Following
from .freezing import Freezing
from .learner import EVALUATION_BATCH, Learner
from .pace import Pace
from .phased import Phased
from .progress import Progress
from .pruning import Pruning
from .supervised import SupervisedLearner

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.preprocess import Fitted

CURVE_POINTS = 500
"""Points of the loss curve where the spec does not say."""
EVALUATIONS = 100
"""Evaluations of a training, about, where the spec does not say."""

EVALUATED_AT_LEAST = 10_000
"""Examples of the training part up to which all are evaluated at the end, however few were trained on."""


@dataclass(frozen=True, slots=True)
class Record:
    """Event of a training: a point of the loss curve, an evaluation, the end, ... `epoch` counts from 1.

    step: a point of the loss curve, with mean losses and learning rates.
    evaluation: metrics of the validation part; the network has the evaluated weights while it is handled.
    sample: a text or sheet is to be made; the network has the evaluated weights while it is handled.
    cycle: a cycle of the schedule has ended, and a snapshot may be taken.
    safe_point: nothing is pending, so that a checkpoint taken now has all that the next step depends on.
    halt: a safe point after which nothing comes, for the time or the step at which to stop is reached.
    end: metrics of all parts, with the final weights.
    """

    record: Literal["step", "evaluation", "sample", "cycle", "safe_point", "halt", "end"]
    step: int
    epoch: int
    metrics: dict[str, float]


class Job:
    """Training in progress: a learner, the feed of its batches, its progress, and the parts of the data."""

    def __init__(
        self,
        network: nn.Module | Mapping[str, nn.Module],
        objective: Objective,
        train: Train,
        parts: dict[str, DataPart],
        *,
        feed: Feed | None = None,
        preprocess: tuple[Fitted, ...] = (),
        class_names: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        freezing: Freezing | None = None,
        sources: Mapping[str, nn.Module] | None = None,
        pruning: Pruning | None = None,
        followings: Mapping[str, Following] = MappingProxyType({}),
    ) -> None:
        """`parts` has "train", and "valid" and "test" where there are any; `preprocess` are steps of the inputs,
        `class_names` those of each target.

        `sources` are networks that the objective calls beside those of `network`; no checkpoint has their weights.
        `followings` are those of `network` that follow others, by name.
        """
        self.train, self.objective = train, objective
        self.parts = parts
        self.progress, self.pace = Progress(), Pace()
        if isinstance(objective, Supervised) and not isinstance(network, Mapping):
            names = next(iter(class_names.values()), ())
            self.parts = carried(augmented(parts, train, objective, preprocess, names), train.batch)
            examples = Examples(self.parts["train"], train, objective)
            self.feed: Feed = examples
            self.learner: Learner = SupervisedLearner(
                network, objective, train, self.progress, examples, class_names, freezing, pruning
            )
        else:
            self.parts = viewed(parts, train, objective, preprocess)
            networks = network if isinstance(network, Mapping) else {"network": network}
            module = torch.nn.ModuleDict(networks) if isinstance(network, Mapping) else network
            self.feed = feed if feed is not None else Examples(self.parts["train"], train, objective)
            called = {**(sources or {}), **networks}
            self.learner = Phased(called, module, objective, train, self.progress, self.feed, freezing, pruning)
            self.learner.follow(followings)
        self.span = self.learner.span
        early = train.early_stopping
        self.progress.stopping = early_stopping.EarlyStoppingState(early, objective) if early is not None else None
        for scheduled in self.learner.optimizers.values():
            if scheduled.watch is not None and scheduled.watch.mode is None:
                scheduled.watch.mode = early_stopping.mode_of(scheduled.watch.metric, objective)

    @property
    def supervised(self) -> SupervisedLearner:
        """The learner of a job in which one network learns targets."""
        assert isinstance(self.learner, SupervisedLearner), "check that one network learns targets first"
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
        """Steps at which a snapshot is taken: the ends of the schedule's cycles, for an ensemble of snapshots."""
        wanted = self.train.ensemble is not None and self.train.ensemble.snapshots
        return self.train.schedule.cycles(self.span) if wanted else []

    @property
    def log_every(self) -> int:
        return curve_period(self.train, self.total_steps)

    @property
    def evaluate_every(self) -> int:
        """Steps between two evaluations."""
        return evaluation_period(self.train, self.span)

    def examples_per_step(self, epoch: int) -> float:
        """Return the examples that an update takes from the training part, in an epoch counted from 1."""
        part = self.parts["train"]
        update = self.train.per_update(len(part), max(0, epoch - 1))
        if isinstance(self.learner, SupervisedLearner) or not self.feed.batches:
            return update
        return len(part) / self.span.per_epoch  # phases may take several batches, or none

    @property
    def examples_at_end(self) -> int:
        """Examples of the training part that the last evaluation takes at most: as many as the steps had."""
        part = self.parts.get("train")
        return 0 if part is None else max(self.total_steps * self.train.largest(len(part)), EVALUATED_AT_LEAST)

    @property
    def samples_now(self) -> bool:
        """Whether a text or sheet is to be made at this step; one at the end comes with the final weights."""
        asked, step = self.train.samples, self.progress.step
        return asked is not None and step % asked.every == 0 and step < self.total_steps

    def steps_until_event(self) -> int:
        """Return the updates until an evaluation, a checkpoint, a snapshot, a halt or the end comes between."""
        step = self.progress.step
        ends = [_next(step, self.evaluate_every), self.total_steps]
        ends += [_next(step, self.train.save_every)] if self.train.save_every else []
        ends += [_next(step, self.train.samples.every)] if self.train.samples is not None else []
        # a point of the curve has the loss scale of its own step, which no later one can tell
        ends += [_next(step, self.log_every)] if self.learner.compute.scaler is not None else []
        ends += [at for at in (*self.cycles, *self.learner.freezing.steps, self.progress.until or 0) if at > step]
        return min(ends) - step


def _next(step: int, every: int) -> int:
    return step + every - step % every


def curve_period(train: Train, steps: int) -> int:
    """Return the steps between two points of the curve: as the spec says, else about `CURVE_POINTS` in all."""
    return train.log_every or max(1, steps // CURVE_POINTS)


def evaluation_period(train: Train, span: Timeline) -> int:
    """Return the steps between two evaluations: as the spec says, else whole epochs, about `EVALUATIONS` in all."""
    return train.evaluate_every or span.per_epoch * math.ceil(span.steps / span.per_epoch / EVALUATIONS)


def fit(job: Job) -> Iterator[Record]:
    """Train to the end and yield its records. RunError where the loss is not finite."""
    for event in training_events(job):
        if isinstance(event, StepChunk):
            event.run(job.learner.current_update())
        else:
            yield event


def updates(job: Job, losses: list[Tensor]) -> Iterator[None]:
    """Take one update at a time; its loss is appended to `losses`, on the device. Nothing is evaluated."""
    for chunk in step_chunks(job, most=1):
        chunk.run(job.learner.current_update())
        losses += job.progress.losses
        job.progress.losses.clear()
        job.progress.pending_points.clear()
        yield


def training_events(job: Job) -> Iterator[Record | StepChunk]:
    """Yield chunks of steps and the records between them; the caller runs each chunk before it asks for the next."""
    evaluate_every, total, cycles = job.evaluate_every, job.total_steps, set(job.cycles)
    time_is_up = early_stopping.ends_at(job.train)
    if job.progress.has_to_halt and job.progress.step < total:
        yield Record("halt", job.progress.step, job.feed.epoch, {})
        return
    for chunk in step_chunks(job, most=1 if time_is_up is not None else None):
        yield chunk
        evaluates = job.progress.step % evaluate_every == 0 and job.progress.step < total
        if job.progress.pending_points or evaluates:
            yield from curve_points(job)
        if evaluates:
            # yielded inside the context: what saves the best weights on this record has to see the evaluated ones
            with job.learner.evaluation_weights():
                measured = record_evaluation(job, evaluate(job, "valid"))
                job.learner.report_metrics(measured)
                yield Record("evaluation", job.progress.step, job.feed.epoch, measured)
        if job.samples_now:
            with job.learner.evaluation_weights():
                yield Record("sample", job.progress.step, job.feed.epoch, {})
        if job.progress.step in cycles:
            yield Record("cycle", job.progress.step, job.feed.epoch, {})
        if job.progress.stopping is not None and job.progress.stopping.should_stop:
            break
        if job.progress.step < total and (
            job.progress.has_to_halt or (time_is_up is not None and early_stopping.now() >= time_is_up)
        ):
            yield Record("halt", job.progress.step, job.feed.epoch, {})
            return
        # last, after all that an evaluation changes (plateau, early stopping): a run that is resumed from here goes
        # on with the next step and must not evaluate again
        if job.train.save_every is None or job.progress.step % job.train.save_every == 0:
            yield Record("safe_point", job.progress.step, job.feed.epoch, {})
    yield from final_records(job)


def final_records(job: Job) -> Iterator[Record]:
    """Yield what comes after the last update: the last point of the curve, and the metrics of the final weights."""
    if job.progress.losses:  # the training ends between two points of the curve
        job.progress.pending_points.append((job.progress.step, job.feed.epoch, job.learner.rates()))
        yield from curve_points(job)
    early = job.progress.stopping
    for average in job.learner.averages.values():
        average.apply()
    valid = None
    # early stopping has just evaluated these weights: no second record of that, and nothing for it to count again
    if early is None or not early.should_stop:
        weight_averages.recompute_if_needed(job, EVALUATION_BATCH)
        valid = record_evaluation(job, evaluate(job, "valid"))
        yield Record("evaluation", job.progress.step, job.feed.epoch, valid)
    if early is not None and early.restore_best(job.progress.step, job.network):
        valid = None  # of weights that are no longer there
    if valid is None:
        weight_averages.recompute_if_needed(job, EVALUATION_BATCH)
        valid = evaluate(job, "valid")
    found = evaluate_trained_on(job) | valid | evaluate(job, "test")
    yield Record("end", job.progress.step, job.feed.epoch, found)


def evaluate_trained_on(job: Job) -> dict[str, float]:
    """Return the metrics of the training part, or of as many of its examples as the steps had, where they are fewer.

    A short training on a large part would otherwise end in an evaluation many times as long. It is noted.
    """
    part = job.parts.get("train")
    trained_on = job.progress.step * job.train.largest(len(part)) if part is not None else 0
    most = max(trained_on, EVALUATED_AT_LEAST)
    if part is None or most >= len(part):
        return evaluate(job, "train")
    with job.pace.spending("evaluations", most):
        found = job.learner.evaluate("train", part.evenly(most))
    notes = job.progress.metric_notes.setdefault("train", {})
    for name in (key.removeprefix("train/") for key in found):
        more = f"; {notes[name]}" if name in notes else ""
        notes[name] = f"of {most:,} of the {len(part):,} examples, for no more were trained on{more}"
    return found


def record_evaluation(job: Job, measured: dict[str, float]) -> dict[str, float]:
    """Pass an evaluation to early stopping, which may copy the network's weights, and return it."""
    if job.progress.stopping is not None:
        job.progress.stopping.update(job.progress.step, measured, job.network)
    return measured


def curve_points(job: Job) -> Iterator[Record]:
    """Yield the pending points of the curve: mean losses since the point before, and the learning rates used.

    RunError where a loss is not finite, after the points before it.
    """
    progress, learner = job.progress, job.learner
    names, width = learner.losses, len(learner.losses)
    rows: list[list[float]] = []
    if progress.losses:
        # the one place of the loop where the host waits for the device, once for all losses since the last time
        rows = torch.cat([loss.reshape(-1) for loss in progress.losses]).view(-1, width).tolist()
    # a NaN is found here and not in its step, where looking would cost each step a wait
    first = next((i for i, row in enumerate(rows) if not all(map(math.isfinite, row))), len(rows))
    begun, reported = progress.step - len(rows), 0
    for step, epoch, rates in progress.pending_points:
        if step - begun > first:
            break
        part, steps, reported = rows[reported : step - begun], range(begun + reported, step), step - begun
        means: dict[str, float] = {}
        for column, (name, every) in enumerate(zip(names, learner.periods, strict=True)):
            values = [row[column] for row, at in zip(part, steps, strict=True) if at % every == 0]
            if values:
                means[name] = sum(values) / len(values)
        progress.loss = next(iter(means.values()), progress.loss)
        sizes = learner.scales.written(step) if learner.scales is not None else {}
        yield Record("step", step, epoch, {**means, **rates, **learner.compute.figures(), **sizes})
    progress.pending_points.clear()
    if first < len(rows):
        column = next(i for i, value in enumerate(rows[first]) if not math.isfinite(value))
        which = "the loss" if width == 1 else f"the loss {names[column]}"
        raise RunError(
            f"{which} is {rows[first][column]} at step {begun + first + 1:,}",
            hint="Lower the learning rate, or look for a division by zero or a logarithm of zero in the data.",
        )
    # losses after the last point go into the next one; they stay on the device, in one tensor
    rest = (
        torch.cat([loss.reshape(-1) for loss in progress.losses])[reported * width :]
        if reported < len(rows)
        else None
    )
    progress.losses[:] = [] if rest is None else [rest]


def evaluate(job: Job, name: str) -> dict[str, float]:
    """Return loss and metrics over one part as `valid/loss` and so on; an empty dict where the part is empty."""
    part = job.parts.get(name)
    if part is None:
        return {}
    with job.pace.spending("evaluations", len(part)):
        return job.learner.evaluate(name, part)
