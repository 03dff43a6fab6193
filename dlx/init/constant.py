"""Constant weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..lazy import nn
from .filling import Filling

if TYPE_CHECKING:
    from torch import Tensor


class Constant(Filling):
    """Set every weight to one value; the units of a layer then stay equal during training.

    torch: constant_. Source: Deitke, CNNs for Visual Recognition, section 6.3.
    """

    kind: ClassVar[str] = "constant"
    value: float = Field(description="of each weight")

    def fill(self, weight: Tensor) -> None:
        nn.init.constant_(weight, self.value)


class Zeros(Filling):
    """Set every weight to zero; with `by_name`, for the last layer of a residual branch. torch: zeros_.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 5.1, which does so to the last scale of a block.
    """

    kind: ClassVar[str] = "zeros"

    def fill(self, weight: Tensor) -> None:
        nn.init.zeros_(weight)


class Identity(Filling):
    """Set the identity: ones on the diagonal, or at the centre of a kernel from each channel to its own.

    Where there are more outputs than inputs, the others are zero. torch: eye_ and, for convolutions, dirac_ with
    groups = 1, so that of a grouped convolution only the first channels pass.
    """

    kind: ClassVar[str] = "identity"

    def fill(self, weight: Tensor) -> None:
        fill = nn.init.eye_ if weight.dim() == 2 else nn.init.dirac_
        fill(weight)
