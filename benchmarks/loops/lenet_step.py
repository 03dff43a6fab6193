"""LeNet on 28x28, batch 64, Adam: a step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from measure import adam, drawn, measured, trained
from torch import Tensor, nn


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def logits(weights: list[Tensor], x: Tensor) -> Tensor:
    """The network: images in oneDNN's own layout, whose maxima are quicker, and ReLU behind them, on a quarter."""
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5 = weights
    x = torch.relu(torch.max_pool2d(torch.conv2d(x.to_mkldnn(), w1, b1, padding=2), 2, 2))
    x = torch.relu(torch.max_pool2d(torch.conv2d(x, w2, b2), 2, 2))
    x = torch.relu_(F.linear(x.to_dense().flatten(1), w3, b3))
    return F.linear(torch.relu_(F.linear(x, w4, b4)), w5, b5)


def train(_: torch.memory_format) -> Iterator[Tensor]:
    weights = list(network().parameters())
    yield from trained(logits, weights, adam(weights, 1e-3), drawn(64 * 500, 1, 28, 28), 64, 1)


if __name__ == "__main__":
    measured(train)
