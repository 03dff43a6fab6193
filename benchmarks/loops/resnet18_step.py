"""ResNet-18 on 32x32, batch 128, SGD with momentum: a step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from blocked import Blocked
from measure import drawn, epoch, measured
from torch import nn


class Basic(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.short = nn.Sequential()
        if stride > 1 or before != width:
            self.short = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x).add_(self.short(x)).relu_()


def network() -> nn.Module:
    blocks, before = [], 64
    for width, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Basic(before, width, first), Basic(width, width, 1)]
        before = width
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def train(_: torch.memory_format) -> Iterator[torch.Tensor]:
    x, y = drawn(128 * 6, 3, 32, 32)
    net = Blocked(network())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)
    for index in epoch(len(x), 128):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(net(x[index]), y[index])
        loss.backward()
        optimizer.step()
        yield loss


if __name__ == "__main__":
    measured(train)
