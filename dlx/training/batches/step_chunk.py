"""Chunks of updates: which examples they take, and what is set before and counted after each update.

A training is a sequence of chunks. Points of the curve, evaluations and checkpoints come between two chunks; inside
one there are only updates, so that neither the loop nor a wait for the device costs each step time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

from .example_order import Examples

if TYPE_CHECKING:
    from torch import Tensor

    from ..fit import Job
    from ..learning_rate import ScheduledOptimizer

SHORT, LONG = 0.05, 0.2
"""Seconds: a chunk that took less than the first is followed by one twice as long, more than the second by a half."""


class StepChunk:
    """Consecutive updates of a job. Code that takes the steps itself calls `before` and `after` around each."""

    def __init__(self, job: Job, count: int, index: Tensor | None = None) -> None:
        """`index` has the examples of each update, (updates, examples); None where the learner asks the feed."""
        self.job, self.count, self.indices = job, count, index
        self.progress, self.learner, self.feed = job.progress, job.learner, job.feed
        self.optimizers, self.averages = list(job.learner.optimizers.values()), list(job.learner.averages.values())
        self.followings = list(job.learner.followings.values())
        self.values = job.learner.values
        self.scales = job.learner.scales
        self.done = 0
        self.log_every = job.log_every

    @property
    def remaining(self) -> int:
        return self.count - self.done

    @property
    def index(self) -> Tensor:
        """Indices of the examples of each update: (updates, examples)."""
        assert self.indices is not None
        return self.indices

    @property
    def scheduled(self) -> ScheduledOptimizer:
        """The optimizer, where there is one."""
        (scheduled,) = self.optimizers
        return scheduled

    def run(self, update: Callable[[Any], Tensor], count: int | None = None) -> None:
        """Take the next `count` updates, or all that remain; losses are appended to the job's, on the device."""
        at_once: Callable[[StepChunk], bool] | None = getattr(update, "take", None)
        if count is None and at_once is not None and at_once(self):
            return
        losses = self.progress.losses
        from_feed = repeat(None, min(self.remaining, count or self.remaining))
        # unbind() makes the rows in one call: indexing row by row would cost each step a view
        for one in self.index[self.done :][:count].unbind() if self.indices is not None else from_feed:
            self.before()
            losses.append(update(one))
            self.after()

    def before(self) -> None:
        """Set the learning rate, the momentum and the values that move for the next update."""
        step = self.progress.step
        for scheduled in self.optimizers:
            scheduled.set_factor(scheduled.factor_at(step))
            if scheduled.set_momentum is not None:
                scheduled.set_momentum(step)
        if self.values:
            self.values.set(step)
        if self.scales is not None and (step + 1) % self.log_every == 0:
            self.scales.before()

    def after(self) -> None:
        """Count an update that has been taken; averages of the weights and networks that follow others take part."""
        progress = self.progress
        self.done += 1
        progress.step += 1
        if self.indices is not None:
            self.feed.position += 1  # type: ignore[attr-defined]
        if progress.step % self.log_every == 0:
            # only noted here: its mean loss would make the host wait for the device
            progress.pending_points.append((progress.step, self.feed.epoch, self.learner.rates()))
            if self.scales is not None:
                self.scales.after(progress.step)
        for average in self.averages:
            average.update(progress.step)
        for following in self.followings:
            following.update(progress.step)

    @property
    def changes_only_rates(self) -> bool:
        """Whether nothing but the learning rate has to be set from step to step."""
        still = not self.averages and not self.values and not self.followings and self.scales is None
        return still and all(scheduled.set_momentum is None for scheduled in self.optimizers)

    def advance(self, count: int) -> None:
        """Count updates that were taken elsewhere, with the learning rates of their steps.

        Only where `changes_only_rates`.
        """
        progress = self.progress
        end = progress.step + count
        while progress.step < end:
            # the steps had their rates as numbers: only those of points of the curve, and of the last one, are set
            point = progress.step + self.log_every - progress.step % self.log_every
            skipped = min(point, end) - progress.step - 1
            self.done += skipped
            progress.step += skipped
            if self.indices is not None:
                self.feed.position += skipped  # type: ignore[attr-defined]
            self.before()
            self.after()


def step_chunks(job: Job, most: int | None = None) -> Iterator[StepChunk]:
    """Yield all updates that remain, in chunks of at most `most`. Each has to be run before the next is asked for.

    A chunk ends with its epoch, with the step after which something comes between (`Job.steps_until_event`), or else
    after a fraction of a second, so that a checkpoint or Ctrl-C does not wait long.
    """
    # once a training, not once a step: evaluations and the timing of threads set it back to training themselves
    job.learner.set_training_mode()
    feed = job.feed if job.learner.by_index else None
    length = 1
    while job.progress.step < job.total_steps:
        if isinstance(feed, Examples):
            feed.begin()
        while job.progress.step < job.total_steps and (not isinstance(feed, Examples) or feed.remaining):
            if job.progress.step in job.learner.freezing.steps:
                job.learner.set_training_mode()  # what was held in evaluation goes on to training
            count = min(length if most is None else most, job.steps_until_event())
            began = time.perf_counter()
            if isinstance(feed, Examples):
                index = feed.next_indices(min(count, feed.remaining))
                yield StepChunk(job, len(index), index)
            else:
                yield StepChunk(job, count)
            spent = time.perf_counter() - began
            length = 2 * length if spent < SHORT else max(1, length // 2) if spent > LONG else length
        if isinstance(feed, Examples):
            feed.end()
