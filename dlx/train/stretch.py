"""Updates with nothing between them: which examples they take, and what has to be set before each.

A training is a row of stretches. Between two of them the curve is told, the network judged and saved; inside one
there is nothing but steps, so that neither the loop nor the host's wait for a device costs each step anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..lazy import torch
from .momentum import mover

if TYPE_CHECKING:
    from torch import Tensor

    from .fit import Job

BRIEF, LONG = 0.05, 0.2
"""Seconds: a stretch that took less is followed by a longer one, one that took more by a shorter."""


class Stretch:
    """Some updates of a job, all with as many examples. What moves the weights calls `before` and `after` each."""

    def __init__(self, job: Job, index: Tensor, pace: Pace) -> None:
        self.job, self.index, self.pace = job, index, pace
        """`index` has the examples of each, by number: (updates, examples)."""
        self.taken = 0
        self.log_every = job.log_every

    @property
    def left(self) -> int:
        return len(self.index) - self.taken

    def run(self, update: Callable[[Tensor], Tensor], count: int | None = None) -> None:
        """The next `count` updates, or all that are left; the losses join the job's without leaving the device."""
        losses = self.job.losses
        for index in self.index[self.taken :][:count].unbind():
            self.before()
            losses.append(update(index))
            self.after()

    def before(self) -> None:
        """What the schedule says is set for the next update."""
        self.pace.set(self.pace.at(self.job.step))
        if self.pace.move is not None:
            self.pace.move()

    def after(self) -> None:
        """The weights have been moved."""
        job = self.job
        self.taken += 1
        job.step += 1
        job.position += 1
        if job.step % self.log_every == 0:
            job.marks.append((job.step, job.rate))
        if job.average is not None:
            job.average.follow(job.step)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the learning rate changes from step to step."""
        return self.pace.move is None and self.job.average is None

    def took(self, factors: Sequence[float]) -> None:
        """As many updates were made, each with its part of the learning rate, and nothing called in between."""
        for factor in factors:
            self.pace.set(factor)
            self.after()


class Pace:
    """What sets the learning rate, and the momentum where it moves."""

    def __init__(self, job: Job) -> None:
        self.job, self.span, self.move = job, job.span, mover(job)
        self.factor = math.nan

    def at(self, step: int) -> float:
        """The part of the learning rate that the schedule, and what watches a metric, leave at a step."""
        return self.job.train.schedule.at(step, self.span) * (self.job.watch.factor if self.job.watch else 1.0)

    def set(self, factor: float) -> None:
        if factor == self.factor:
            return
        job, self.factor = self.job, factor
        job.rate = job.train.optimizer.lr * factor
        for group, rate in zip(job.optimizer.param_groups, job.rates, strict=True):
            group["lr"] = rate * factor


def stretches(job: Job, most: int | None = None) -> Iterator[Stretch]:
    """All updates that are left, in stretches of at most so many. Each is run before the next is asked for.

    They end where an epoch does and where `job.ahead` says that something comes between; else after a fraction of a
    second.
    """
    total, pace, length = job.total_steps, Pace(job), 1
    job.network.train()
    while job.step < total:
        if job.position == 0:
            job.epoch += 1
            job.began = job.order.get_state()
        drawn, batch, updates = order(job)
        while job.position < updates and job.step < total:
            count = min(length if most is None else most, job.ahead(), updates - job.position)
            examples = drawn[job.position * batch : (job.position + count) * batch]
            if len(examples) < count * batch and count > 1:  # the last update of an epoch may have fewer
                count -= 1
                examples = examples[: count * batch]
            began = time.perf_counter()
            yield Stretch(job, examples.view(count, -1), pace)
            spent = time.perf_counter() - began
            length = 2 * length if spent < BRIEF else max(1, length // 2) if spent > LONG else length
        if job.position == updates:
            job.position = 0


def order(job: Job) -> tuple[Tensor, int, int]:
    """The examples of this epoch in their order, how many of them an update takes, and how many updates there are."""
    part, epoch = job.parts["train"], max(0, job.epoch - 1)
    n = len(part)
    batch, count = job.train.per_update(n, epoch), job.train.updates(n, epoch)
    drawn = torch.randperm(n, generator=job.order) if job.train.shuffle else torch.arange(n)
    drawn = (drawn if job.sample is None else job.sample[drawn]).to(part.x.device)[: count * batch]
    part.expect(drawn[job.position * batch :], batch if job.train.accumulate == 1 else job.train.batch(n))
    return drawn, batch, count
