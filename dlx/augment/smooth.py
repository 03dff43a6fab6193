"""Gaussian blur as a product with matrices, one for rows and one for columns."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ..lazy import torch
from .base import Augmentation, Probability, apply_with_probability, uniform
from .ranges import Range, Width, ordered

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

WIDE = 4
"""Number of standard deviations at which a Gaussian kernel is cut off."""


class GaussianBlur(Augmentation):
    """Blur each example by a Gaussian whose standard deviation is uniform in `sigma`; borders are mirrored.

    Shapes: (C, *size) -> (C, *size) of signals and pictures.
    Cost: a matrix product of H x H and W x W for each channel.
    Source: torchvision: GaussianBlur, with a kernel as wide as the largest sigma wants instead of `kernel_size`.
    """

    kind: ClassVar[str] = "gaussian_blur"
    ranks: ClassVar[tuple[int, ...]] = (2, 3)
    sigma: Annotated[Range[Width], ordered("sigma")] = Field(
        [0.1, 2.0], description="least and largest, in positions"
    )
    p: Probability = Field(1.0, description="probability for each example")

    def apply(self, x: Tensor) -> Tensor:
        sigma = uniform(x, self.sigma)
        picture = x.unsqueeze(2) if x.dim() == 3 else x
        down, across = (blurring(n, sigma, self.sigma[1])[:, None] for n in picture.shape[2:])
        found = down @ picture @ across.mT
        return apply_with_probability(self.p, x, found.squeeze(2) if x.dim() == 3 else found)


def blurring(size: int, sigma: Tensor, largest: float) -> Tensor:
    """Return the matrices that blur an axis of `size` by each of `sigma`: (N, size, size)."""
    if size == 1:
        return torch.ones(len(sigma), 1, 1, device=sigma.device)
    radius = math.ceil(WIDE * largest)
    taps = torch.arange(-radius, radius + 1, device=sigma.device)
    weights = torch.exp(-0.5 * (taps / sigma[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    return (weights @ _mirrored_taps(size, radius, sigma.device).view(len(taps), -1)).view(-1, size, size)


def smoothing(size: int, sigma: float, device: Device) -> Tensor:
    """Return the matrix that blurs an axis of `size`: (size, size), with rows that sum to 1."""
    return blurring(size, torch.full((1,), sigma, device=device), sigma)[0]


@cache
def _mirrored_taps(size: int, radius: int, device: Device) -> Tensor:
    """Return 1 where tap t of position i reads position j, with borders mirrored about their last value: (taps,
    size, size).
    """
    taps = torch.arange(-radius, radius + 1, device=device)
    period = 2 * (size - 1)
    folded = (taps[:, None] + torch.arange(size, device=device)) % period
    there = torch.minimum(folded, period - folded)
    return torch.nn.functional.one_hot(there, size).float()
