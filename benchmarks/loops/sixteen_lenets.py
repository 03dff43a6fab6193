"""16 trainings of LeNet on 28x28, batch 64, SGD, 3 epochs of 1,920, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from lenet_step import logits, network
from measure import batches, drawn, measured, sgd

RATES = np.geomspace(0.01, 0.1, 16)


def train(_: torch.memory_format) -> Iterator[torch.Tensor]:
    x, y = drawn(1920, 1, 28, 28)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        weights = list(network().parameters())
        update = sgd(weights, float(rate))
        for _ in range(3):
            for xs, ys in batches(x, y, 64):
                loss = F.cross_entropy(logits(weights, xs), ys)
                loss.backward()
                update()
                yield loss


if __name__ == "__main__":
    measured(train)
