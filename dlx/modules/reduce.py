"""Reductions along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Mean(nn.Module):
    """The mean along `dims`. Shapes: (N, *) -> (N, *), without those axes, or with 1 on them."""

    def __init__(self, dims: Sequence[int], keepdim: bool = False) -> None:
        super().__init__()
        self.dims, self.keepdim = tuple(dims), keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.dims, keepdim=self.keepdim)

    def extra_repr(self) -> str:
        return f"dims={self.dims}, keepdim={self.keepdim}"


class Max(Mean):
    """The largest value along `dims`. Shapes: (N, *) -> (N, *), without those axes, or with 1 on them."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(self.dims, keepdim=self.keepdim)


class Sum(Mean):
    """The sum along `dims`. Shapes: (N, *) -> (N, *), without those axes, or with 1 on them."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(self.dims, keepdim=self.keepdim)


class VectorNorm(Mean):
    """The length of the vectors along `dims`. Shapes: (N, *) -> (N, *), without those axes, or with 1 on them."""

    def __init__(self, dims: Sequence[int], keepdim: bool = False, order: float = 2.0) -> None:
        super().__init__(dims, keepdim)
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, self.order, self.dims, self.keepdim)
        return length

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, order={self.order}"
