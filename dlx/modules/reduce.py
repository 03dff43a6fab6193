"""Reductions along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


class Mean(nn.Module):
    """The mean along `dims`. Shapes: (N, *) -> (N, *), without those axes, or with 1 on them.

    `padding` is of the axes `padded`, true where values are left out; where all of them are, the result is 0.
    """

    def __init__(self, dims: Sequence[int], keepdim: bool = False, padded: Sequence[int] = ()) -> None:
        super().__init__()
        self.dims, self.keepdim, self.padded = tuple(dims), keepdim, tuple(padded)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        if padding is None:
            return x.mean(self.dims, keepdim=self.keepdim)
        hidden = self._hidden(x, padding)
        real = (~hidden).sum(self.dims, keepdim=self.keepdim) * self._repeated(x, hidden)
        return x.masked_fill(hidden, 0.0).sum(self.dims, keepdim=self.keepdim) / real.clamp_min(1)

    def _hidden(self, x: Tensor, padding: Tensor) -> Tensor:
        """Return the padding with an axis of 1 for each other one of `x`."""
        axes = {0, *self.padded}
        return padding.view([n if axis in axes else 1 for axis, n in enumerate(x.shape)])

    def _repeated(self, x: Tensor, hidden: Tensor) -> int:
        """Return the number of values for each one of the padding, along the axes that are reduced."""
        return prod(x.shape[axis] // hidden.shape[axis] for axis in self.dims)

    def extra_repr(self) -> str:
        return f"dims={self.dims}, keepdim={self.keepdim}"


class Max(Mean):
    """The largest value along `dims`. Shapes: (N, *) -> (N, *), without those axes, or with 1 on them."""

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        if padding is None:
            return x.amax(self.dims, keepdim=self.keepdim)
        hidden = self._hidden(x, padding)
        made = x.masked_fill(hidden, -torch.inf).amax(self.dims, keepdim=self.keepdim)
        return made.masked_fill(hidden.all(self.dims, keepdim=self.keepdim), 0.0)


class Sum(Mean):
    """The sum along `dims`. Shapes: (N, *) -> (N, *), without those axes, or with 1 on them."""

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        x = x if padding is None else x.masked_fill(self._hidden(x, padding), 0.0)
        return x.sum(self.dims, keepdim=self.keepdim)


class VectorNorm(Mean):
    """The length of the vectors along `dims`. Shapes: (N, *) -> (N, *), without those axes, or with 1 on them."""

    def __init__(self, dims: Sequence[int], keepdim: bool = False, order: float = 2.0) -> None:
        super().__init__(dims, keepdim)
        self.order = order

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        assert padding is None
        length: Tensor = torch.linalg.vector_norm(x, self.order, self.dims, self.keepdim)
        return length

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, order={self.order}"
