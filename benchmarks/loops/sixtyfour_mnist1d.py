"""64 trainings of the MNIST-1D conv net, batch 100, SGD, 5 epochs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from measure import drawn, measured, sgd, trained
from torch import Tensor, nn

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


def logits(weights: list[Tensor], x: Tensor) -> Tensor:
    """The network on (batch, place, channel): each convolution is one product, of windows and its kernel."""
    *kernels, w, b = weights
    x = x.transpose(1, 2)
    for kernel, bias in zip(kernels[::2], kernels[1::2], strict=True):
        x = torch.relu_(F.linear(x.unfold(1, 3, 2).flatten(2), kernel.flatten(1), bias))
    return F.linear(x.transpose(1, 2).flatten(1), w, b)


def train(_: torch.memory_format) -> Iterator[torch.Tensor]:
    examples = drawn(4000, 1, 40)
    for seed, rate in enumerate(RATES):
        torch.manual_seed(seed)
        weights = list(network().parameters())
        yield from trained(logits, weights, sgd(weights, float(rate)), examples, 100, 5)


if __name__ == "__main__":
    measured(train)
