"""Learned and given tensors, and scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .steps import Cache


class Parameter(nn.Module):
    """A learned tensor for each sample of the batch, drawn normal around `mean`. Shapes: (N, *) -> (N, *shape)."""

    def __init__(self, shape: Sequence[int], mean: float = 0.0, std: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.empty(*shape))
        nn.init.normal_(self.value, mean, std) if std else nn.init.constant_(self.value, mean)

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(x.shape[0], *self.value.shape)

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        """The rows of the next tokens, where each token has a row, as learned positions have."""
        start, cache.length = cache.length, cache.length + x.shape[1]
        return self.value[start : cache.length].expand(x.shape[0], -1, *self.value.shape[1:])

    def extra_repr(self) -> str:
        return f"shape={tuple(self.value.shape)}"


class Constant(nn.Module):
    """Given values for each sample of the batch. Shapes: (N, *) -> (N, *shape)."""

    value: Tensor

    def __init__(self, value: Any, shape: Sequence[int], integers: bool = False) -> None:
        super().__init__()
        tensor = torch.tensor(value, dtype=torch.long if integers else torch.get_default_dtype())
        self.register_buffer("value", tensor.expand(*shape).clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(x.shape[0], *self.value.shape)

    def extra_repr(self) -> str:
        return f"shape={tuple(self.value.shape)}"


class Scale(nn.Module):
    """The input times a fixed factor. Shapes: (N, *) -> (N, *)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


class LearnedScale(nn.Module):
    """The input times `factors` learned factors, on the axis that `after` others follow. Shapes: (N, *) -> (N, *)."""

    def __init__(self, factor: float, factors: int = 1, after: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((factors,), factor))
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(-1, *(1,) * self.after)

    def extra_repr(self) -> str:
        return f"factors={len(self.weight)}, after={self.after}"
