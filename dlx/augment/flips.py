"""Flips: positions move, values stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..lazy import torch
from .base import Moving, Probability, per_example

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Move


class _Flip(Moving):
    p: Probability = Field(0.5, description="probability for each example")
    axis: ClassVar[int] = -1

    def draw(self, x: Tensor) -> Move:
        taken = torch.rand(len(x), device=x.device) < self.p
        return lambda t, _: torch.where(per_example(taken, t), t.flip(self.axis), t)


class HorizontalFlip(_Flip):
    """Mirror left and right, each example with probability `p`.

    Shapes: (C, *size) -> (C, *size); the last axis is turned round, so that a signal runs backwards.
    Errors: vectors, which have no positions; targets that are values and no map, unless `keep_targets` is said.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 4.1. torchvision: RandomHorizontalFlip.
    """

    kind: ClassVar[str] = "horizontal_flip"
    ranks: ClassVar[tuple[int, ...]] = (2, 3, 4)


class VerticalFlip(_Flip):
    """Mirror top and bottom, each example with probability `p`.

    Shapes: (C, H, W) -> (C, H, W). Errors: other shapes than pictures and volumes.
    Source: torchvision: RandomVerticalFlip.
    """

    kind: ClassVar[str] = "vertical_flip"
    ranks: ClassVar[tuple[int, ...]] = (3, 4)
    axis: ClassVar[int] = -2
