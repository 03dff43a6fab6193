"""Functions of each value."""

from __future__ import annotations

from torch import Tensor, nn


class Sin(nn.Module):
    """sin(x). Shapes: (N, *) -> (N, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


class Cos(nn.Module):
    """cos(x). Shapes: (N, *) -> (N, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.cos()


class Exp(nn.Module):
    """exp(x). Shapes: (N, *) -> (N, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


class Log(nn.Module):
    """The natural logarithm. Shapes: (N, *) -> (N, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.log()
