"""Padding and cropping of any rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Pad(nn.Module):
    """Positions added before and after each axis. Shapes: (N, C, *size) -> (N, C, *(size + before + after))."""

    def __init__(self, pairs: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> None:
        super().__init__()
        self.sides = [n for pair in reversed(pairs) for n in pair]
        self.mode, self.value = mode, value

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "constant":
            return F.pad(x, self.sides, value=self.value)
        return F.pad(x, self.sides, self.mode)

    def extra_repr(self) -> str:
        return f"{self.sides}, mode={self.mode}"


class PadChannels(nn.Module):
    """Channels of zeros before and after. Shapes: (N, C, *size) -> (N, before + C + after, *size)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, [0, 0] * (x.dim() - 2) + [self.before, self.after])

    def extra_repr(self) -> str:
        return f"before={self.before}, after={self.after}"


class Crop(nn.Module):
    """Positions cut off before and after each axis. Shapes: (N, C, *size) -> (N, C, *(size - before - after))."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.pairs = tuple(pairs)

    def forward(self, x: Tensor) -> Tensor:
        for axis, (before, after) in enumerate(self.pairs, start=2):
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        return x

    def extra_repr(self) -> str:
        return f"{self.pairs}"
