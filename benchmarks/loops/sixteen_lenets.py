"""16 trainings of LeNet on 28x28, batch 64, SGD, 3 epochs of 1,920, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from lenet_step import network
from measure import drawn, epoch, measured
from torch import nn

RATES = np.geomspace(0.01, 0.1, 16)


def train(form: torch.memory_format) -> Iterator[None]:
    x, y = drawn(1920, 1, 28, 28)
    x = x.to(memory_format=form)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        net = network().to(memory_format=form)
        optimizer = torch.optim.SGD(net.parameters(), lr=float(rate), fused=True)
        for _ in range(3):
            for index in epoch(len(x), 64):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(net(x[index]), y[index]).backward()
                optimizer.step()
                yield


if __name__ == "__main__":
    measured(train)
