"""What the loops share: how they are called, their data, and the clock."""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # what dlx sets; the loops get it too

import numpy as np
import torch

Loop = Callable[[torch.memory_format], Iterator[None]]


def measured(loop: Loop) -> None:
    """Take all steps of a loop, which yields after each of them, and print its seconds.

    `step` is what a step takes behind the first third of them, in which caches fill; `held` the most bytes of memory.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true", help="memory format, where there are images")
    parser.add_argument("--steps", type=int, default=0, help="at most so many; 0 for all")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    form = torch.channels_last if asked.channels_last else torch.contiguous_format
    wall, processor, times = time.perf_counter(), time.process_time(), list[float]()
    for _ in loop(form):
        times.append(time.perf_counter())
        if len(times) == asked.steps:
            break
    first = len(times) // 3
    seconds = {"wall": times[-1] - wall, "processor": time.process_time() - processor}
    step = (times[-1] - times[first]) / (len(times) - 1 - first)
    held = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(seconds | {"step": step, "steps": len(times), "threads": asked.threads, "held": held}))


def drawn(examples: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and classes, the same for each loop of a shape."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((examples, *shape), dtype=np.float32))
    return x, torch.from_numpy(rng.integers(0, 10, examples))


def epoch(examples: int, batch: int) -> Iterator[torch.Tensor]:
    """Yield the indices of the batches of an epoch."""
    yield from torch.randperm(examples).split(batch)
