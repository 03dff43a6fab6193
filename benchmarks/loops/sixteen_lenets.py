"""16 trainings of LeNet on 28x28, batch 64, SGD, 3 epochs of 1,920, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from lenet_step import logits, network
from measure import drawn, measured, sgd, trained

RATES = np.geomspace(0.01, 0.1, 16)


def train(_: torch.memory_format) -> Iterator[torch.Tensor]:
    examples = drawn(1920, 1, 28, 28)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        weights = list(network().parameters())
        yield from trained(logits, weights, sgd(weights, float(rate)), examples, 64, 3)


if __name__ == "__main__":
    measured(train)
