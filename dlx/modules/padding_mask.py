"""Where a padded text has ended, how long it is, and which document each token is of."""

from __future__ import annotations

import torch
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


class TextDocument(PaddingMask):
    """Number of documents that began before each token, -1 of padding. Shapes: (N, *, T), unchanged."""

    def __init__(self, padding: int = 0, begin: int = 1) -> None:
        super().__init__(padding)
        self.begin = begin

    def forward(self, x: Tensor) -> Tensor:
        begins = x == self.begin
        number = begins.cumsum(-1) - begins[..., :1].long()
        return number.masked_fill(x == self.padding, -1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, begin={self.begin}"


class TextPosition(TextDocument):
    """Tokens since the last begin. Shapes: (N, *, T), unchanged."""

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[-1], device=x.device).expand_as(x)
        return place - place.where(x == self.begin, 0).cummax(-1).values
