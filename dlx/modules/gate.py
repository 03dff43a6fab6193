"""Gates: values between 0 and 1 that scale or mix signals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PARTS = {"relu": nn.ReLU, "silu": nn.SiLU, "hardswish": nn.Hardswish, "sigmoid": nn.Sigmoid}
PARTS["hardsigmoid"] = nn.Hardsigmoid


class Gate(nn.Module):
    """h * t + x * (1 - t); axes of size 1 stretch. Shapes: x, h and t of (N, *) -> (N, *)."""

    def forward(self, x: Tensor, h: Tensor, t: Tensor) -> Tensor:
        return torch.lerp(x, h, t)


class Highway(nn.Module):
    """h * t + x * (1 - t) with t = sigmoid(W x + b), W linear or a convolution that keeps the size.

    Shapes: x and h of (N, C, *size) -> (N, C, *size).
    """

    def __init__(self, weight: Sequence[int], initial_bias: float = -1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*weight))
        self.gate_bias = nn.Parameter(torch.full((weight[0],), initial_bias))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Linear and nn.Conv do

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.lerp(x, h, torch.sigmoid(self._mixed(x)))

    def _mixed(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return F.linear(x, self.weight, self.gate_bias)
        slide = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.dim()]
        return slide(x, self.weight, self.gate_bias, padding="same")


class SqueezeExcitation(nn.Module):
    """Each channel times a gate computed from the means of all. Shapes: (N, C, *size) -> (N, C, *size).

    The names of its parts are torchvision's.
    """

    def __init__(
        self,
        rank: int,
        channels: int,
        squeezed: int,
        activation: str = "relu",
        gate: str = "sigmoid",
        bias: bool = True,
    ) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[rank]
        self.fc1, self.fc2 = conv(channels, squeezed, 1, bias=bias), conv(squeezed, channels, 1, bias=bias)
        self.activation, self.gate = PARTS[activation](), PARTS[gate]()

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(tuple(range(2, x.dim())), keepdim=True)
        scale: Tensor = self.gate(self.fc2(self.activation(self.fc1(pooled))))
        return x * scale
