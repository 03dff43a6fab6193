"""A DCGAN on digits, batch 64, Adam: an update of the discriminator and one of the generator."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from measure import adam, digits, measured
from torch import Tensor, nn

STEPS, BATCH = 400, 64


def network() -> nn.ModuleDict:
    generator = nn.Sequential(
        nn.Linear(32, 512, bias=False),
        nn.Unflatten(1, (128, 2, 2)),
        nn.BatchNorm2d(128),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(64, 1, 4, 2, 1),
        nn.Sigmoid(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        nn.Linear(256, 1),
    )
    return nn.ModuleDict({"generator": generator, "discriminator": discriminator})


def train(form: torch.memory_format) -> Iterator[Tensor]:
    x = digits()
    generator, discriminator = network().to(memory_format=form).values()
    moved = list(generator.parameters())
    first, second = adam(discriminator.parameters(), 1e-3), adam(moved, 1e-3)
    while True:
        for some in x[torch.randperm(len(x))].split(BATCH):
            with torch.no_grad():
                made = generator(torch.randn(len(some), 32))
            (F.softplus(-discriminator(some)).mean() + F.softplus(discriminator(made)).mean()).backward()
            first()
            loss = F.softplus(-discriminator(generator(torch.randn(len(some), 32)))).mean()
            loss.backward(inputs=moved)
            second()
            yield loss


if __name__ == "__main__":
    measured(train, STEPS)
