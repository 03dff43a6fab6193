"""How many CPU threads are quicker: gradients of a batch, timed before the first step, and taken back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..graph import Graph
from ..lazy import torch
from .device import at_once, share
from .fallback import Before
from .supervised import gradients_of

if TYPE_CHECKING:
    from .fit import Job

SHORTEST = 400
"""Updates below which it does not pay."""
LEAST, MOST = 1_000_000, 1_000_000_000
"""MACs of a batch, forward, that are computed at once: with fewer threads wait for each other, with more the question
takes too long."""
ROUNDS = 6
PART = 0.85
"""The time on several threads, as a part of that on one, from which on they are taken: other work may come to the
machine, and then several are slower."""


def measured(job: Job, graph: Graph) -> dict[int, float]:
    """Milliseconds of a batch's gradients by number of threads, that to take first; empty where it is not asked.

    It is not where the spec says how many, wants the same bits everywhere, or has too little to win.
    """
    if not _is_open(job, graph):
        return {}
    counts, times = (1, share()), {1: list[float](), share(): list[float]()}
    gradients = gradients_of(job.supervised)
    index = torch.arange(job.train.per_update(len(job.parts["train"])), device=job.parts["train"].x.device)
    before = torch.get_num_threads()
    job.network.train()
    with Before(job.network):
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
    several = found[share()] < PART * found[1]
    return dict(sorted(found.items(), reverse=several))


def _is_open(job: Job, graph: Graph) -> bool:
    train, part = job.train, job.parts["train"]
    said = train.threads != "auto" or train.deterministic or share() == 1
    other = train.optimizer.takes != "gradient" or train.compile or part.streams or bool(train.augment)
    short = job.progress.step > 0 or job.total_steps < SHORTEST or job.learner.compute.device.type != "cpu"
    return not (said or other or short) and LEAST <= at_once(graph) * train.batch(len(part)) <= MOST
