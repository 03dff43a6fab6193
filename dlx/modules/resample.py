"""Resampling for which torch has no module, or one for images only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

POOL: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


class PixelShuffle(nn.Module):
    """Channels become positions. Shapes: (N, C * r^axes, *size) -> (N, C, *(size * r))."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, x: Tensor) -> Tensor:
        n, channels, *size = x.shape
        r, rank = self.upscale_factor, len(size)
        blocks = x.reshape(n, channels // r**rank, *(r,) * rank, *size)
        order = [axis for i in range(rank) for axis in (2 + rank + i, 2 + i)]
        return blocks.permute(0, 1, *order).reshape(n, channels // r**rank, *(s * r for s in size))

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(nn.Module):
    """Positions become channels. Shapes: (N, C, *size) -> (N, C * r^axes, *(size / r))."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, x: Tensor) -> Tensor:
        n, channels, *size = x.shape
        r, rank = self.downscale_factor, len(size)
        blocks = x.reshape(n, channels, *(part for s in size for part in (s // r, r)))
        order = [3 + 2 * i for i in range(rank)] + [2 + 2 * i for i in range(rank)]
        return blocks.permute(0, 1, *order).reshape(n, channels * r**rank, *(s // r for s in size))

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class MaxUnpool(nn.Module):
    """Values at the positions of maxima, zeros elsewhere.

    Shapes: values (N, C, *size) and the pooled input (N, C, *size') -> (N, C, *size').
    """

    def __init__(self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil_mode: bool) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = tuple(kernel), tuple(stride), tuple(padding)
        self.ceil_mode = ceil_mode

    def forward(self, values: Tensor, pooled: Tensor) -> Tensor:
        _, where = POOL[pooled.dim() - 2](
            pooled.detach(), self.kernel, self.stride, self.padding, ceil_mode=self.ceil_mode, return_indices=True
        )
        empty = values.new_zeros(values.shape[0], values.shape[1], pooled[0, 0].numel())
        return empty.scatter(2, where.flatten(2), values.flatten(2)).view(pooled.shape)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel}, stride={self.stride}, padding={self.padding}, ceil_mode={self.ceil_mode}"
