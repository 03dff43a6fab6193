"""Noise on the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat

from ..lazy import torch
from .base import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class GaussianNoise(Augmentation):
    """Add normal noise to each value, as the layer of that name does within a network.

    Shapes: any. The noise is on the values that the network sees, after preprocessing, and nothing is cut off.
    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization". torchvision: GaussianNoise,
    which cuts values off at 0 and 1.
    """

    kind: ClassVar[str] = "gaussian_noise"
    std: NonNegativeFloat = Field(0.1, description="standard deviation of the noise")

    def apply(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * self.std
