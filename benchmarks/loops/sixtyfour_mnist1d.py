"""64 trainings of the MNIST-1D conv net, batch 100, SGD, 5 epochs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from measure import drawn, epoch, measured
from torch import nn

RATES = np.full(64, 0.01)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 15, 3, stride=2),
        nn.ReLU(),
        nn.Conv1d(15, 15, 3, stride=2),
        nn.ReLU(),
        nn.Conv1d(15, 15, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(60, 10),
    )


def train(_: torch.memory_format) -> Iterator[None]:
    x, y = drawn(4000, 1, 40)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=float(rate), fused=True)
        for _ in range(5):
            for index in epoch(len(x), 100):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(net(x[index]), y[index]).backward()
                optimizer.step()
                yield


if __name__ == "__main__":
    measured(train)
