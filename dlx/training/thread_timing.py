"""Measure which number of CPU threads is faster: gradients of a batch, timed before the first step and undone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..graph import Graph
from ..lazy import torch
from .device import available_threads, parallel_macs
from .fallback import Rollback
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


def measure(job: Job, graph: Graph) -> dict[int, float]:
    """Return milliseconds of a batch's gradients by number of threads, the one to use first.

    Empty, without a measurement, where the spec says how many, is `deterministic`, or has too little to gain.
    """
    if not _should_measure(job, graph):
        return {}
    counts, times = (1, available_threads()), {1: list[float](), available_threads(): list[float]()}
    gradients = gradients_of(job.supervised)
    index = torch.arange(job.train.per_update(len(job.parts["train"])), device=job.parts["train"].x.device)
    before = torch.get_num_threads()
    job.learner.freezing.apply(job.progress.step)
    job.learner.set_training_mode()
    with Rollback(job.network):
        for turn in range(ROUNDS + 1):
            for count in counts:
                torch.set_num_threads(count)
                began = time.perf_counter()
                gradients(index)
                if turn:  # in the first one memory is taken and kernels are made
                    times[count].append((time.perf_counter() - began) * 1e3)
    for param in job.network.parameters():
        param.grad = None
    torch.set_num_threads(before)
    found = {count: round(sorted(spent)[ROUNDS // 4], 3) for count, spent in times.items()}  # the calmer ones
    several = found[available_threads()] < WORTHWHILE_RATIO * found[1]
    return dict(sorted(found.items(), reverse=several))


def _should_measure(job: Job, graph: Graph) -> bool:
    train, part = job.train, job.parts["train"]
    said = train.threads != "auto" or train.deterministic or available_threads() == 1
    other = train.optimizer.takes != "gradient" or train.compile or part.streams or bool(train.augment)
    short = job.progress.step > 0 or job.total_steps < MIN_UPDATES or job.learner.compute.device.type != "cpu"
    return not (said or other or short) and MIN_MACS <= parallel_macs(graph) * train.batch(len(part)) <= MAX_MACS
