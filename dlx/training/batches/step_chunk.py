"""Updates with nothing between them: which examples they take, and what has to be set before each.

A training is a row of stretches. Between two of them the curve is told, the network judged and saved; inside one
there is nothing but steps, so that neither the loop nor the host's wait for a device costs each step anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from .feed import Examples

if TYPE_CHECKING:
    from torch import Tensor

    from ..fit import Job
    from ..learning_rate import Pace

BRIEF, LONG = 0.05, 0.2
"""Seconds: a stretch that took less is followed by a longer one, one that took more by a shorter."""


class StepChunk:
    """Some updates of a job. What moves the weights calls `before` and `after` each."""

    def __init__(self, job: Job, count: int, index: Tensor | None = None) -> None:
        """`index` has the examples of each update by number, (updates, examples); None where the feed is asked."""
        self.job, self.count, self.rows = job, count, index
        self.progress, self.learner, self.feed = job.progress, job.learner, job.feed
        self.paces, self.averages = list(job.learner.paces.values()), list(job.learner.averages.values())
        self.taken = 0
        self.log_every = job.log_every

    @property
    def left(self) -> int:
        return self.count - self.taken

    @property
    def index(self) -> Tensor:
        """The examples of each update, by number: (updates, examples)."""
        assert self.rows is not None
        return self.rows

    @property
    def pace(self) -> Pace:
        """That of the one optimizer."""
        (pace,) = self.paces
        return pace

    def run(self, update: Callable[[Any], Tensor], count: int | None = None) -> None:
        """The next `count` updates, or all that are left; the losses join the job's without leaving the device."""
        losses = self.progress.losses
        taken = repeat(None, min(self.left, count or self.left))
        for one in self.index[self.taken :][:count].unbind() if self.rows is not None else taken:
            self.before()
            losses.append(update(one))
            self.after()

    def before(self) -> None:
        """What the schedule says is set for the next update."""
        step = self.progress.step
        for pace in self.paces:
            pace.set(pace.at(step))
            if pace.move is not None:
                pace.move(step)

    def after(self) -> None:
        """The weights have been moved."""
        progress = self.progress
        self.taken += 1
        progress.step += 1
        if self.rows is not None:
            self.feed.position += 1  # type: ignore[attr-defined]
        if progress.step % self.log_every == 0:
            progress.marks.append((progress.step, self.feed.epoch, self.learner.rates()))
        for average in self.averages:
            average.follow(progress.step)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the learning rate changes from step to step."""
        return not self.averages and all(pace.move is None for pace in self.paces)

    def took(self, factors: Sequence[float]) -> None:
        """As many updates were made, each with its part of the learning rate, and nothing called in between."""
        for factor in factors:
            self.pace.set(factor)
            self.after()


def step_chunks(job: Job, most: int | None = None) -> Iterator[StepChunk]:
    """All updates that are left, in stretches of at most so many. Each is run before the next is asked for.

    They end where an epoch does and where `job.ahead` says that something comes between; else after a fraction of a
    second.
    """
    job.network.train()
    feed = job.feed if job.learner.by_number else None
    length = 1
    while job.progress.step < job.total_steps:
        if isinstance(feed, Examples):
            feed.begin()
        while job.progress.step < job.total_steps and (not isinstance(feed, Examples) or feed.left):
            count = min(length if most is None else most, job.ahead())
            began = time.perf_counter()
            if isinstance(feed, Examples):
                index = feed.numbers(min(count, feed.left))
                yield StepChunk(job, len(index), index)
            else:
                yield StepChunk(job, count)
            spent = time.perf_counter() - began
            length = 2 * length if spent < BRIEF else max(1, length // 2) if spent > LONG else length
        if isinstance(feed, Examples):
            feed.end()
