"""16 trainings of 784-100-10, batch 10, SGD, 2 epochs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from measure import drawn, measured, sgd, trained
from torch import Tensor, nn

RATES = np.geomspace(0.03, 0.5, 16)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 100),
        nn.Sigmoid(),
        nn.Linear(100, 10),
    )


def logits(weights: list[Tensor], x: Tensor) -> Tensor:
    w1, b1, w2, b2 = weights
    return F.linear(torch.sigmoid_(F.linear(x, w1, b1)), w2, b2)


def train(_: torch.memory_format) -> Iterator[torch.Tensor]:
    examples = drawn(10_000, 784)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        weights = list(network().parameters())
        yield from trained(logits, weights, sgd(weights, float(rate)), examples, 10, 2)


if __name__ == "__main__":
    measured(train)
