"""16 trainings of 40-100-100-10, batch 100, Adam, 10 epochs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from measure import drawn, epoch, measured
from torch import nn

RATES = np.geomspace(1e-4, 1e-2, 16)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(40, 100),
        nn.ReLU(),
        nn.Linear(100, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def train(_: torch.memory_format) -> Iterator[None]:
    x, y = drawn(4000, 40)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        net = network()
        optimizer = torch.optim.Adam(net.parameters(), lr=float(rate), fused=True)
        for _ in range(10):
            for index in epoch(len(x), 100):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(net(x[index]), y[index]).backward()
                optimizer.step()
                yield


if __name__ == "__main__":
    measured(train)
