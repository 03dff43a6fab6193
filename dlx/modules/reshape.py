"""Reshaping: the same values on other axes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Reshape(nn.Module):
    """Each sample in a given shape. Shapes: (N, *) -> (N, *shape)."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], *self.shape)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


class Permute(nn.Module):
    """The axes in the order `dims`, after the batch. Shapes: (N, *) -> (N, *), reordered."""

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.dims = tuple(dims)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, *self.dims)

    def extra_repr(self) -> str:
        return f"dims={self.dims}"


class Roll(nn.Module):
    """The values moved by `shifts` along `dims`, round the end. Shapes: (N, *) -> (N, *)."""

    def __init__(self, shifts: Sequence[int], dims: Sequence[int]) -> None:
        super().__init__()
        self.shifts, self.dims = tuple(shifts), tuple(dims)

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(self.shifts, self.dims)

    def extra_repr(self) -> str:
        return f"shifts={self.shifts}, dims={self.dims}"
