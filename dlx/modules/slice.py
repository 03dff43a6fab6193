"""Slices of a tensor."""

from __future__ import annotations

from torch import Tensor, nn

from .recurrent import packed


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


class Gather(nn.Module):
    """The entries of x along `dim` whose numbers the index holds.

    Shapes: x (N, *) and index (N, K) or (N, *), K along `dim` -> (N, *), K along `dim`.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        if index.dim() < x.dim():
            axes = [len(index), *(1 for _ in x.shape[1:])]
            axes[self.dim] = index.shape[1]
            index = index.view(axes).expand(*x.shape[: self.dim], index.shape[1], *x.shape[self.dim + 1 :])
        return x.gather(self.dim, index)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class TopK(nn.Module):
    """The k largest or smallest values along `dim`, in order. Shapes: (N, *) -> (N, *), k along `dim`."""

    def __init__(self, k: int, dim: int, largest: bool = True) -> None:
        super().__init__()
        self.k, self.dim, self.largest = k, dim, largest
        self.packs = False
        """Whether the indices are packed behind the values, as float32, which holds them up to 2^24."""

    def forward(self, x: Tensor) -> Tensor:
        values, indices = x.topk(self.k, self.dim, self.largest)
        return packed(values, indices.float()) if self.packs else values

    def extra_repr(self) -> str:
        return f"k={self.k}, dim={self.dim}, largest={self.largest}"
