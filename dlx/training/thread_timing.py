"""Measure which number of CPU threads is faster: gradients of a step, timed before the first one and undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..data.batch import Batch
from ..graph import Graphs
from ..lazy import torch
from .batches.example_order import Examples
from .device import available_threads, parallel_macs
from .fallback import Rollback
from .phased import Phased
from .supervised import gradients_of

if TYPE_CHECKING:
    from .fit import Job

MIN_UPDATES = 400
"""Updates of a training below which measuring does not pay."""
MIN_MACS, MAX_MACS = 1_000_000, 1_000_000_000
"""MACs of a batch, forward, that are computed at once: with fewer threads wait for each other, with more the question
takes too long."""
ROUNDS = 6
WORTHWHILE_RATIO = 0.85
"""The time on several threads, as a part of that on one, from which on they are taken: other work may come to the
machine, and then several are slower."""


def measure(job: Job, graphs: Graphs) -> dict[int, float]:
    """Return milliseconds of a step's gradients by number of threads, the one to use first.

    Empty, without a measurement, where the spec says how many, is `deterministic`, or has too little to gain.
    """
    if not _should_measure(job, graphs):
        return {}
    counts, times = (1, available_threads()), {1: list[float](), available_threads(): list[float]()}
    before = torch.get_num_threads()
    job.learner.freezing.apply(job.progress.step)
    job.learner.set_training_mode()
    with _gradients_without_traces(job) as gradients:
        for turn in range(ROUNDS + 1):
            for count in counts:
                torch.set_num_threads(count)
                began = time.perf_counter()
                gradients()
                if turn:  # in the first one memory is taken and kernels are made
                    times[count].append((time.perf_counter() - began) * 1e3)
    for param in job.network.parameters():
        param.grad = None
    torch.set_num_threads(before)
    found = {count: round(sorted(spent)[ROUNDS // 4], 3) for count, spent in times.items()}  # the calmer ones
    several = found[available_threads()] < WORTHWHILE_RATIO * found[1]
    return dict(sorted(found.items(), reverse=several))


def _should_measure(job: Job, graphs: Graphs) -> bool:
    train, part = job.train, job.parts["train"]
    said = train.threads != "auto" or train.deterministic or available_threads() == 1
    other = train.optimizer.takes != "gradient" or train.compile or part.streams or bool(train.augment)
    other |= not isinstance(job.feed, Examples)  # what it gives next cannot be put back
    short = job.progress.step > 0 or job.total_steps < MIN_UPDATES or job.learner.compute.device.type != "cpu"
    macs = sum(map(parallel_macs, graphs.values())) * train.batch(len(part))
    return not (said or other or short) and MIN_MACS <= macs <= MAX_MACS


@contextmanager
def _gradients_without_traces(job: Job) -> Iterator[Callable[[], object]]:
    """Give a function that computes the gradients of a step, all of its phases; what it moves is undone then."""
    learner, feed = job.learner, job.feed
    assert isinstance(feed, Examples), "ask `_should_measure` first"
    index = torch.arange(job.train.per_update(len(feed.part)), device=feed.part.x.device)
    if not isinstance(learner, Phased):
        gradients = gradients_of(job.supervised)
        with Rollback(job.network):
            yield lambda: gradients(index)
        return

    def of_phases() -> None:
        for number, batch in learner.repetitions(lambda _: feed.batch(index)):
            phases[number](Batch({}) if batch is None else batch)

    objective, phases = learner.objective, learner.gradients_of_phases()
    learner.objective = objective.model_copy(deep=True)  # it may keep something of each step
    try:
        with Rollback(job.network, [learner.rng]):
            yield of_phases
    finally:
        learner.objective = objective
