"""Two or more tensors into one."""

from __future__ import annotations

from collections.abc import Sequence
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


class Subtract(nn.Module):
    """The first input minus the second; axes of size 1 stretch. Shapes: (N, *) each -> (N, *)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x - y


class Divide(nn.Module):
    """The first input by the second; axes of size 1 stretch. Shapes: (N, *) each -> (N, *)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x / y


class Average(nn.Module):
    """The mean of all inputs; axes of size 1 stretch. Shapes: (N, *) each -> (N, *)."""

    def forward(self, *xs: Tensor) -> Tensor:
        return reduce(add, xs) / len(xs)


class Maximum(nn.Module):
    """The largest of all inputs, value by value; axes of size 1 stretch. Shapes: (N, *) each -> (N, *)."""

    def forward(self, *xs: Tensor) -> Tensor:
        return reduce(torch.maximum, xs)


class WeightedAdd(nn.Module):
    """The sum of all inputs, each times its weight; axes of size 1 stretch. Shapes: (N, *) each -> (N, *)."""

    def __init__(self, weights: Sequence[float], learned: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(w) for w in weights])) if learned else tuple(weights)

    def forward(self, *xs: Tensor) -> Tensor:
        added: Tensor = reduce(add, (w * x for w, x in zip(self.weight, xs, strict=True)))
        return added

    def extra_repr(self) -> str:
        return f"weight={tuple(self.weight)}" if isinstance(self.weight, tuple) else f"inputs={len(self.weight)}"


class Matmul(nn.Module):
    """The matrix product. Shapes: (N, *, M, K) and (N, *, K, L) -> (N, *, M, L)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y
