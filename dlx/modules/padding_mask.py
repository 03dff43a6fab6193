"""Where a padded text has ended, and how long it is."""

from __future__ import annotations

from torch import Tensor, nn


class PaddingMask(nn.Module):
    """True at the tokens of padding. Shapes: (N, *) -> (N, *)."""

    def __init__(self, padding: int = 0) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return x == self.padding

    def extra_repr(self) -> str:
        return f"padding={self.padding}"


class TextLength(PaddingMask):
    """Number of tokens that are not padding. Shapes: (N, *, T) -> (N, *, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x != self.padding).sum(-1, keepdim=True)
