"""16 trainings of 40-100-100-10, batch 100, Adam, 10 epochs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from measure import adam, drawn, measured, trained
from torch import Tensor, nn

RATES = np.geomspace(1e-4, 1e-2, 16)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(40, 100),
        nn.ReLU(),
        nn.Linear(100, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def logits(weights: list[Tensor], x: Tensor) -> Tensor:
    w1, b1, w2, b2, w3, b3 = weights
    return F.linear(torch.relu_(F.linear(torch.relu_(F.linear(x, w1, b1)), w2, b2)), w3, b3)


def train(_: torch.memory_format) -> Iterator[torch.Tensor]:
    examples = drawn(4000, 40)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        weights = list(network().parameters())
        yield from trained(logits, weights, adam(weights, float(rate)), examples, 100, 10)


if __name__ == "__main__":
    measured(train)
