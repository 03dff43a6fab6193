"""Convolutions over rotations by 90 degrees and positions."""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class P4Conv(nn.Module):
    """A convolution whose filters are turned four ways. Shapes: (N, turns * C, H, W) -> (N, 4 * out, H', W').

    `turns` is 1 for an image, and 4 for channels that are rotations of one another, side by side.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        turns: int = 4,
    ) -> None:
        super().__init__()
        between = (turns,) if turns > 1 else ()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *between, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.stride, self.padding, self.turns = stride, padding, turns
        nn.init.kaiming_uniform_(self.weight, a=sqrt(5))  # as torch's convolutions
        if self.bias is not None:
            bound = 1 / sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return F.conv2d(x, self.turned(), bias, self.stride, self.padding)

    def turned(self) -> Tensor:
        """Return the filters in four rotations: (4 * out, turns * C, k, k)."""
        # rotation r of a filter reads the slice s - r of its input's rotations s
        each = [self.weight.roll(r, 2) if self.turns > 1 else self.weight for r in range(4)]
        four = torch.stack([w.rot90(r, (-2, -1)) for r, w in enumerate(each)], 1)
        return four.view(-1, self.turns * self.weight.shape[1], *self.weight.shape[-2:])

    def extra_repr(self) -> str:
        out, into = self.weight.shape[:2]
        return f"{into}, {out}, kernel_size={self.weight.shape[-1]}, stride={self.stride}, padding={self.padding}"
