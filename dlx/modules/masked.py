"""Layers some of whose weights are held at zero, so that an output depends on variables before it alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv import CONV, CONVOLVE


class MaskedLinear(nn.Linear):
    """torch's, whose weights count where the mask is 1. Shapes: (N, *, in) -> (N, *, out)."""

    mask: Tensor

    def __init__(self, below: Sequence[int], above: Sequence[int], strict: bool, bias: bool = True) -> None:
        """`below` and `above` are the degrees of inputs and outputs; an output sees those of a lower degree, or,
        where it is not `strict`, of its own.
        """
        super().__init__(len(below), len(above), bias)
        inputs, outputs = torch.tensor(below), torch.tensor(above).unsqueeze(1)
        seen = inputs < outputs if strict else inputs <= outputs
        self.register_buffer("mask", seen.to(self.weight), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


def masked_conv(in_channels: int, kernel: Sequence[int], own: bool, **options: Any) -> nn.Module:
    """Return the convolution of one to three axes that sees the positions before each, and its `own`."""
    rank = len(kernel)
    base: Any = CONV[rank]

    class MaskedConv(base):  # type: ignore[misc]  # torch has one class a rank
        """torch's, whose taps count where the mask is 1."""

        mask: Tensor

        def __init__(self) -> None:
            super().__init__(in_channels, kernel_size=tuple(kernel), padding="same", **options)
            size = self.weight[0, 0].numel()
            seen = torch.arange(size) < size // 2 + own
            self.register_buffer("mask", seen.reshape(self.weight.shape[2:]).to(self.weight), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = CONVOLVE[rank](
                x, self.weight * self.mask, self.bias, padding="same", dilation=self.dilation
            )
            return made

    return MaskedConv()
