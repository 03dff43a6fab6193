"""Where the time of a training goes, and from its first steps how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fit import Job

MEASURED_SECONDS = 1.0
"""Seconds of steps, after the first ones, from which on a forecast is made."""
LONGEST_SECONDS = 20.0
"""Seconds after which one step is enough, where a step takes long."""
AWAITED_SECONDS = 3.0
"""Seconds that a forecast waits for the first evaluation."""
FEWEST_STEPS = 3
PARTS = ("train", "valid", "test")
FORWARD_SHARE = 1 / 3
"""The time of an example in an evaluation that was not measured yet, of that in a step: a backward pass costs about
two forward passes."""
SAVED_EVERY = 5.0
"""Seconds between two training states, where the spec does not say."""


@dataclass(frozen=True)
class TimeForecast:
    """Seconds that a training will take from its first step to its end, by what they are spent on."""

    steps: float
    evaluations: float
    checkpoints: float
    end: float
    """The last evaluation, of all parts, and the final weights."""
    counts: dict[str, int]
    """Steps, evaluations and checkpoints in all."""
    at_step: int
    """The step after which it was made."""
    at_most: bool = False
    """Whether the training may end sooner: by early stopping or a time limit."""

    @property
    def seconds(self) -> float:
        return self.steps + self.evaluations + self.checkpoints + self.end

    def as_json(self) -> dict[str, Any]:
        seconds = {name: round(getattr(self, name), 3) for name in ("steps", "evaluations", "checkpoints", "end")}
        return {
            "seconds": round(self.seconds, 3),
            "by": seconds,
            "counts": self.counts,
            "at_step": self.at_step,
            "at_most": self.at_most,
        }


@dataclass
class Pace:
    """What the time of a training was spent on: evaluations and checkpoints are timed, the rest is steps.

    Nothing of it is on the path of a step: it is looked at between two chunks of steps.
    """

    spent: dict[str, float] = field(default_factory=lambda: {"evaluations": 0.0, "checkpoints": 0.0})
    counts: dict[str, int] = field(default_factory=lambda: {"evaluations": 0, "checkpoints": 0})
    examples: int = 0
    """Examples that evaluations have taken."""
    share: float = 1.0
    """The part of the seconds spent here that counts, where several trainings are stepped at a time."""
    sharing: int = 1
    """Trainings that are stepped together, this one included."""
    start: int = 0
    """The step from which the training goes on in this process."""
    first: tuple[int, float] | None = None
    """Step and seconds of steps when the first ones were over, which record and time the ways to compute one."""
    each: float = 0.0
    """Seconds of a step."""
    forecast: TimeForecast | None = None

    @contextmanager
    def spending(self, what: str, examples: int = 0) -> Iterator[None]:
        """Time an evaluation of some examples, or a checkpoint."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent[what] += (time.perf_counter() - began) * self.share
            self.counts[what] += 1
            self.examples += examples

    def steps_seconds(self, elapsed: float) -> float:
        """Return the seconds of steps alone, of those of the training."""
        return max(0.0, elapsed - sum(self.spent.values()))

    def look(self, job: Job, elapsed: float) -> TimeForecast | None:
        """Return the forecast as soon as enough steps were timed, once; None before and after.

        Arguments:
            job: between two chunks of its steps.
            elapsed: seconds of the training up to now, its share where several are stepped together.
        """
        step = job.progress.step
        if self.forecast is not None or step <= self.start or step >= job.total_steps:
            return None
        spent = self.steps_seconds(elapsed)
        if self.first is None:
            self.first = step, spent
            return None
        taken, seconds = step - self.first[0], (spent - self.first[1]) * self.sharing
        if taken < 1 or seconds < MEASURED_SECONDS or (taken < FEWEST_STEPS and seconds < LONGEST_SECONDS):
            return None
        self.each = (spent - self.first[1]) / taken
        soon = (job.evaluate_every - step) * self.each
        if not self.examples and "valid" in job.parts and 0 <= soon < AWAITED_SECONDS:
            return None  # the first evaluation comes soon
        self.forecast = self.made(job)
        return self.forecast

    def made(self, job: Job, example: float | None = None) -> TimeForecast:
        """Return the forecast; `example` are the seconds of one in an evaluation, where they were measured apart."""
        assert self.first is not None
        step, total, each = job.progress.step, job.total_steps, self.each
        first = max(0.0, self.first[1] - (self.first[0] - self.start) * each)  # what the first ones took longer
        steps = first + total * each
        count = ceil(total / job.evaluate_every) - 1
        trained, valid, tested = (len(job.parts[name]) if name in job.parts else 0 for name in PARTS)
        example = self._example(job, each) if example is None else example
        evaluations = count * valid * example
        last = (valid + tested + min(job.examples_at_end, trained)) * example
        saved = self.spent["checkpoints"] / max(1, self.counts["checkpoints"])
        every = job.train.save_every
        checkpoints = total // every if every else 1 + int((steps + evaluations) / SAVED_EVERY)
        if job.train.limit is not None:  # `max_time` counts them
            steps = min(steps, max(0.0, job.train.limit - evaluations - checkpoints * saved))
        early = job.train.early_stopping is not None or job.train.max_time is not None
        counts = {"steps": total, "evaluations": count, "checkpoints": checkpoints}
        return TimeForecast(steps, evaluations, checkpoints * saved, last + saved, counts, step, early)

    def _example(self, job: Job, each: float) -> float:
        """Return the seconds of an example in an evaluation, from those there were, else from those of steps."""
        if self.examples:
            return self.spent["evaluations"] / self.examples
        return FORWARD_SHARE * each / max(1.0, job.examples_per_step(job.feed.epoch))
