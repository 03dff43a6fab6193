"""A dense VAE on digits, batch 64, Adam: a step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from measure import adam, digits, measured
from torch import Tensor, nn

STEPS, BATCH = 1500, 64


def network() -> nn.ModuleDict:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 24))
    decoder = nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)))
    return nn.ModuleDict({"encoder": encoder, "decoder": decoder})


def bound(weights: list[Tensor], x: Tensor) -> Tensor:
    """Return the loss of a batch of rows."""
    w1, b1, w2, b2, w3, b3, w4, b4 = weights
    mean, log_variance = F.linear(torch.relu_(F.linear(x, w1, b1)), w2, b2).chunk(2, 1)
    z = torch.addcmul(mean, (0.5 * log_variance).exp_(), torch.randn(mean.shape))
    decoded = F.linear(torch.relu_(F.linear(z, w3, b3)), w4, b4)
    error = F.binary_cross_entropy_with_logits(decoded, x, reduction="sum")
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (error + divergence) / len(x)


def train(_: torch.memory_format) -> Iterator[Tensor]:
    x = digits().flatten(1)
    weights = list(network().parameters())
    update = adam(weights, 1e-3)
    while True:
        for some in x[torch.randperm(len(x))].split(BATCH):
            loss = bound(weights, some)
            loss.backward()
            update()
            yield loss


if __name__ == "__main__":
    measured(train, STEPS)
