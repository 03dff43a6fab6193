"""From integers and booleans to floats."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LOOKED_UP = (torch.int64, torch.int32)
"""Types of integers that torch's embedding takes."""


class Embedding(nn.Embedding):
    """Torch's, for integers of any width. Shapes: (N, *) -> (N, *, embedding_dim)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.dtype in LOOKED_UP else x.int())


class OneHot(nn.Module):
    """One-hot encoding along a new axis `dim`. Shapes: (N, *) -> (N, *, classes)."""

    def __init__(self, num_classes: int, dim: int = -1) -> None:
        super().__init__()
        self.num_classes, self.dim = num_classes, dim

    def forward(self, x: Tensor) -> Tensor:
        # functional.one_hot reads the largest value back, which a replayed step cannot; scatter refuses one as well
        zeros = torch.zeros(*x.shape, self.num_classes, device=x.device)
        return zeros.scatter(-1, x.long().unsqueeze(-1), 1.0).movedim(-1, self.dim)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, dim={self.dim}"


class ToFloat(nn.Module):
    """Conversion to floats. Shapes: (N, *) -> (N, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float()
