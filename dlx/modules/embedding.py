"""From integers and booleans to floats."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class OneHot(nn.Module):
    """One-hot encoding along a new axis `dim`. Shapes: (N, *) -> (N, *, classes)."""

    def __init__(self, num_classes: int, dim: int = -1) -> None:
        super().__init__()
        self.num_classes, self.dim = num_classes, dim

    def forward(self, x: Tensor) -> Tensor:
        return F.one_hot(x, self.num_classes).float().movedim(-1, self.dim)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, dim={self.dim}"


class ToFloat(nn.Module):
    """Conversion to floats. Shapes: (N, *) -> (N, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float()
