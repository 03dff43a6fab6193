"""What the loops share: how they are called, their data, their optimizers without a class around them, the clock."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # what dlx sets; the loops get it too

import numpy as np
import torch

Loop = Callable[[torch.memory_format], Iterator[torch.Tensor]]
"""The loss of each step, behind it; a memory format where there are images."""
Update = Callable[[], None]


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
    if hasattr(
        library := ctypes.CDLL(None), "gnu_get_libc_version"
    ):  # as in dlx, freed memory stays for the next step
        library.mallopt(-3, 32 * 2**20)
        library.mallopt(-1, 2**31 - 1)
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


def sgd(weights: Iterable[torch.Tensor], rate: float) -> Update:
    """Return what moves weights and clears gradients: one call for all, without what `torch.optim` does around it."""
    weights = list(weights)
    values = [one.detach() for one in weights]

    def update() -> None:
        torch._foreach_add_(values, [one.grad for one in weights], alpha=-rate)
        for one in weights:
            one.grad = None

    return update


def adam(weights: Iterable[torch.Tensor], rate: float) -> Update:
    """The same with the kernel of `Adam(fused=True)`."""
    weights = list(weights)
    values = [one.detach() for one in weights]
    first, second = ([torch.zeros_like(one) for one in values] for _ in range(2))
    step = torch.zeros(())
    options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, "maximize": False}

    def update() -> None:
        step.add_(1)
        gradients = [one.grad for one in weights]
        torch._fused_adam_(values, gradients, first, second, [], [step] * len(values), lr=rate, **options)
        for one in weights:
            one.grad = None

    return update


def batches(x: torch.Tensor, y: torch.Tensor, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the batches of an epoch: all of it in its new order at once, then views."""
    order = torch.randperm(len(x))
    yield from zip(x.index_select(0, order).split(size), y.index_select(0, order).split(size), strict=True)


def epoch(examples: int, batch: int) -> Iterator[torch.Tensor]:
    """Yield the indices of the batches of an epoch."""
    yield from torch.randperm(examples).split(batch)
