"""The same values on other axes."""

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
