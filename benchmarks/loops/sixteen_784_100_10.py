"""16 trainings of 784-100-10, batch 10, SGD, 2 epochs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from measure import drawn, epoch, measured
from torch import nn

RATES = np.geomspace(0.03, 0.5, 16)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 100),
        nn.Sigmoid(),
        nn.Linear(100, 10),
    )


def train(_: torch.memory_format) -> Iterator[None]:
    x, y = drawn(10_000, 784)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=float(rate), fused=True)
        for _ in range(2):
            for index in epoch(len(x), 10):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(net(x[index]), y[index]).backward()
                optimizer.step()
                yield


if __name__ == "__main__":
    measured(train)
