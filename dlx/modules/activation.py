"""Activations that torch does not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from .norm import along_channels


class Swish(nn.Module):
    """x * sigmoid(beta * x) with a learned beta, one for all channels or one for each. Shapes: (N, *) -> (N, *)."""

    def __init__(self, init: float = 1.0, num_parameters: int = 1) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.full((num_parameters,), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(along_channels(self.beta, x) * x)

    def extra_repr(self) -> str:
        return f"num_parameters={len(self.beta)}"


class Heaviside(nn.Module):
    """0 below 0, 1 above it, `at_zero` between; the gradient is 0. Shapes: (N, *) -> (N, *)."""

    def __init__(self, at_zero: float = 1.0) -> None:
        super().__init__()
        self.at_zero = at_zero

    def forward(self, x: Tensor) -> Tensor:
        return _flat((x > 0) + self.at_zero * (x == 0), x)

    def extra_repr(self) -> str:
        return f"at_zero={self.at_zero}"


class Sign(Heaviside):
    """-1 below 0, 1 above it, `at_zero` between; the gradient is 0. Shapes: (N, *) -> (N, *)."""

    def __init__(self, at_zero: float = 0.0) -> None:
        super().__init__(at_zero)

    def forward(self, x: Tensor) -> Tensor:
        return x.sign() + self.at_zero * (x == 0)


class Rect(nn.Module):
    """1 from 0 to 1, both included, and 0 elsewhere; the gradient is 0. Shapes: (N, *) -> (N, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return _flat((x >= 0) & (x <= 1), x)


def _flat(values: Tensor, x: Tensor) -> Tensor:
    """Return `values` as floats whose gradient with respect to `x` is 0."""
    return values.to(x.dtype) + 0 * x.sign()


class CReLU(nn.Module):
    """[max(0, x), max(0, -x)] along `dim`, or [max(0, x), min(0, x)]. Shapes: (N, C, *) -> (N, 2 * C, *)."""

    def __init__(self, form: Literal["paper", "book"] = "paper", dim: int = 1) -> None:
        super().__init__()
        self.form, self.dim = form, dim

    def forward(self, x: Tensor) -> Tensor:
        negative = torch.relu(-x)
        return torch.cat([torch.relu(x), negative if self.form == "paper" else -negative], self.dim)

    def extra_repr(self) -> str:
        return f"form={self.form}, dim={self.dim}"


class Maxout(nn.Module):
    """The largest of every `pieces` neighbours along `dim`. Shapes: (N, C, *) -> (N, C / pieces, *)."""

    def __init__(self, pieces: int = 2, dim: int = 1) -> None:
        super().__init__()
        self.pieces, self.dim = pieces, dim

    def forward(self, x: Tensor) -> Tensor:
        dim = self.dim % x.dim()
        parted = x.reshape(*x.shape[:dim], x.shape[dim] // self.pieces, self.pieces, *x.shape[dim + 1 :])
        return parted.max(dim + 1).values

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}, dim={self.dim}"


class PerUnit(nn.ModuleList):
    """The i-th module for the i-th value along `dim`. Shapes: (N, *) -> (N, *)."""

    def __init__(self, modules: Iterable[nn.Module], dim: int = 1) -> None:
        super().__init__(modules)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        units = torch.split(x, 1, self.dim)
        return torch.cat([module(unit) for module, unit in zip(self, units, strict=True)], self.dim)
