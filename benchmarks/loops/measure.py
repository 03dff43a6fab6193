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
import torch.nn.functional as F
from torch import Tensor

Loop = Callable[[torch.memory_format], Iterator[Tensor]]
"""The loss of each step, behind it; a memory format where there are images."""
Update = Callable[[], None]
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def measured(loop: Loop, most: int = 0) -> None:
    """Take all steps of a loop, which yields after each of them, and print its seconds.

    `step` is what a step takes behind the first third of them, in which caches fill, by the clock or, where that is
    asked for, of the processor; `held` the most bytes of memory.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true", help="memory format of the DCGAN")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="of `step`")
    parser.add_argument("--steps", type=int, default=most, help="at most so many; 0 for all")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if hasattr(
        library := ctypes.CDLL(None), "gnu_get_libc_version"
    ):  # as in dlx, freed memory stays for the next step
        library.mallopt(-3, 32 * 2**20)
        library.mallopt(-1, 2**31 - 1)
    form = torch.channels_last if asked.channels_last else torch.contiguous_format
    now, times = CLOCKS[asked.clock], list[float]()
    wall, processor = time.perf_counter(), time.process_time()
    for _ in loop(form):
        times.append(now())
        if len(times) == asked.steps:
            break
    seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    first = len(times) // 3
    step = (times[-1] - times[first]) / (len(times) - 1 - first)
    held = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(seconds | {"step": step, "steps": len(times), "threads": asked.threads, "held": held}))


def drawn(examples: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Return inputs and classes, the same for each loop of a shape."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((examples, *shape), dtype=np.float32))
    return x, torch.from_numpy(rng.integers(0, 10, examples))


def digits() -> Tensor:
    """Return the pictures that `data: {digits: {test: 0.2}}` trains on, (1438, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    pictures = torch.from_numpy(load_digits().images.astype("float32") / 16)[:, None]
    return pictures[: len(pictures) - round(0.2 * len(pictures))]


def characters(count: int) -> tuple[Tensor, Tensor]:
    """Return so many numbers of 65 characters, and the one behind each of them."""
    numbers = torch.from_numpy(np.random.default_rng(0).integers(0, 65, count + 1))
    return numbers[:-1], numbers[1:]


def sgd(weights: Iterable[Tensor], rate: float) -> Update:
    """Return what moves weights and clears gradients: one call for all, without what `torch.optim` does around it."""
    weights = list(weights)
    values = [one.detach() for one in weights]

    def update() -> None:
        torch._foreach_add_(values, [one.grad for one in weights], alpha=-rate)
        for one in weights:
            one.grad = None

    return update


def adam(weights: Iterable[Tensor], rate: float) -> Update:
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


def trained(
    logits: Callable[[list[Tensor], Tensor], Tensor],
    weights: list[Tensor],
    update: Update,
    examples: tuple[Tensor, Tensor],
    size: int,
    epochs: int,
) -> Iterator[Tensor]:
    """Train a classifier, a function of its weights and a batch; yield the loss of each step."""
    for _ in range(epochs):
        for xs, ys in batches(*examples, size):
            loss = F.cross_entropy(logits(weights, xs), ys)
            loss.backward()
            update()
            yield loss


def batches(x: Tensor, y: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch: a hundred of them in their new order at once, then views."""
    for order in torch.randperm(len(x)).split(100 * size):
        yield from zip(x.index_select(0, order).split(size), y.index_select(0, order).split(size), strict=True)


def epoch(examples: int, batch: int) -> Iterator[Tensor]:
    """Yield the indices of the batches of an epoch."""
    yield from torch.randperm(examples).split(batch)
