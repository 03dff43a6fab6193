"""A layer with the weight of another layer."""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TiedLinear(nn.Module):
    """A linear layer on the weight of another layer, transposed or not; only the bias is its own.

    Shapes: x (N, *, in_features) and weight (in_features, out_features) -> (N, *, out_features); where it is not
    transposed, the weight is (out_features, in_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, transposed: bool = True) -> None:
        super().__init__()
        self.transposed = transposed
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1 / sqrt(in_features), 1 / sqrt(in_features))  # as nn.Linear does

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight.t() if self.transposed else weight, self.bias)
