"""Slices of a tensor."""

from __future__ import annotations

from torch import Tensor, nn


class Slice(nn.Module):
    """The values from `start` up to `stop` along `dim`. Shapes: (N, *) -> (N, *), fewer along `dim`."""

    def __init__(self, dim: int, start: int = 0, stop: int | None = None, step: int = 1) -> None:
        super().__init__()
        self.dim, self.start, self.stop, self.step = dim, start, stop, step

    def forward(self, x: Tensor) -> Tensor:
        return x[(slice(None),) * self.dim + (slice(self.start, self.stop, self.step),)]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, start={self.start}, stop={self.stop}, step={self.step}"


class Select(nn.Module):
    """The entry at `index` along `dim`, which is lost. Shapes: (N, *) -> (N, *), without the axis `dim`."""

    def __init__(self, dim: int, index: int) -> None:
        super().__init__()
        self.dim, self.index = dim, index

    def forward(self, x: Tensor) -> Tensor:
        return x.select(self.dim, self.index)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, index={self.index}"
