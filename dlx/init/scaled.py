"""Base class of initialisers whose standard deviation depends on the size of the layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from ..lazy import nn
from .filling import Filling

if TYPE_CHECKING:
    from torch import Tensor


def fans(weight: Tensor) -> tuple[int, int]:
    """Return fan_in and fan_out as torch counts them: axis 1 and axis 0 of the weight, times the taps of a kernel.

    For a transposed convolution, whose weight is (in, out, *taps), the two are swapped.
    """
    taps = math.prod(weight.shape[2:])
    return weight.shape[1] * taps, weight.shape[0] * taps


class FanScaled(Filling):
    """Base class of initialisers whose standard deviation follows from fan_in and fan_out."""

    draws: ClassVar[bool] = True
    uniform: ClassVar[bool] = False

    def std(self, fan_in: int, fan_out: int) -> float:
        raise TypeError(f"{type(self).__name__} has no std()")

    def fill(self, weight: Tensor) -> None:
        self.draw(weight, weight)

    def draw(self, values: Tensor, weight: Tensor) -> None:
        std = self.std(*fans(weight))
        if self.uniform:
            bound = math.sqrt(3.0) * std
            nn.init.uniform_(values, -bound, bound)
        else:
            nn.init.normal_(values, 0.0, std)
