"""Two or more tensors into one."""

from __future__ import annotations

from functools import reduce
from operator import add, mul

import torch
from torch import Tensor, nn


class Add(nn.Module):
    """The sum of all inputs; axes of size 1 stretch. Shapes: (N, *) each -> (N, *)."""

    def forward(self, *xs: Tensor) -> Tensor:
        return reduce(add, xs)


class Multiply(nn.Module):
    """The product of all inputs; axes of size 1 stretch. Shapes: (N, *) each -> (N, *)."""

    def forward(self, *xs: Tensor) -> Tensor:
        return reduce(mul, xs)


class Concat(nn.Module):
    """All inputs one after the other along `dim`; with `crop` each is cut to the smallest on the axes of positions.

    Shapes: (N, C_i, *size_i) each -> (N, sum of C_i, *smallest size) for dim = 1.
    """

    def __init__(self, dim: int = 1, crop: bool = False) -> None:
        super().__init__()
        self.dim, self.crop = dim, crop

    def forward(self, *xs: Tensor) -> Tensor:
        return torch.cat(self._cropped(xs) if self.crop else xs, self.dim)

    def _cropped(self, xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        dim = self.dim % xs[0].dim()
        for axis in range(2, xs[0].dim()):
            if axis != dim:
                n = min(x.shape[axis] for x in xs)
                xs = tuple(x.narrow(axis, (x.shape[axis] - n) // 2, n) for x in xs)
        return xs

    def extra_repr(self) -> str:
        return f"dim={self.dim}, crop={self.crop}"
