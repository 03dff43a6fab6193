"""Noise on the input in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GaussianNoise(nn.Module):
    """x + std * e, or x * (1 + std * e), with e normal; x itself in evaluation. Shapes: (N, *) -> (N, *)."""

    def __init__(self, std: float = 0.1, relative: bool = False) -> None:
        super().__init__()
        self.std, self.relative = std, relative

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.std:
            return x
        noise = torch.randn_like(x) * self.std
        return x * (1 + noise) if self.relative else x + noise

    def extra_repr(self) -> str:
        return f"std={self.std}, relative={self.relative}"


class Cutout(nn.Module):
    """Each sample with `holes` patches of `length` set to 0, in training. Shapes: (N, C, *size) -> (N, C, *size)."""

    def __init__(self, length: Sequence[int], holes: int = 1) -> None:
        super().__init__()
        self.length, self.holes = tuple(length), holes

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        hidden = self._patch(x)
        for _ in range(self.holes - 1):
            hidden = hidden | self._patch(x)
        return x.masked_fill(hidden, 0)

    def _patch(self, x: Tensor) -> Tensor:
        """Return the mask of one random patch for each sample: (N, 1, *size)."""
        inside = torch.ones(x.shape[0], 1, *(1,) * len(self.length), dtype=torch.bool, device=x.device)
        for axis, (n, length) in enumerate(zip(x.shape[2:], self.length, strict=True), start=2):
            middle = (torch.rand(x.shape[0], device=x.device) * n).long()
            first = (middle - length // 2).view(-1, *(1,) * (x.dim() - 1))
            place = torch.arange(n, device=x.device).view(*(n if k == axis else 1 for k in range(x.dim())))
            inside = inside & (place >= first) & (place < first + length)
        return inside

    def extra_repr(self) -> str:
        return f"length={self.length}, holes={self.holes}"
