"""Mixing of two examples and their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..lazy import torch
from .base import Mixing
from .ranges import Positive

if TYPE_CHECKING:
    from torch import Tensor


class Mixup(Mixing):
    """lam * x + (1 - lam) * another example of the batch; the loss is mixed with the same lam.

    lam is of the Beta(alpha, alpha) distribution, one draw for a batch, as in the paper's algorithm.
    Shapes: any. Loss: lam * loss(output, y_a) + (1 - lam) * loss(output, y_b), for every loss of classes.
    Errors: objectives other than classes, one an example; mixing twice.
    Source: Zhang et al. 2018, arXiv:1710.09412, section 2. torchvision: MixUp, whose alpha is 1.
    """

    kind: ClassVar[str] = "mixup"
    alpha: Positive = Field(1.0, description="of the Beta distribution: small leaves most examples nearly alone")

    def mix(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        lam = beta(self.alpha, x)
        return torch.lerp(other, x, lam), lam


class CutMix(Mixing):
    """Replace a box of each example by that of another example of the batch; the loss is mixed by the area.

    The box has 1 - lam of the area and the proportions of the picture, its middle is uniform, and what leaves the
    picture is cut off; lam is then what is left. One lam, uniform with alpha 1, and one box for a batch, as in the
    paper's algorithm.
    Shapes: (C, *size) -> (C, *size). Loss: lam * loss(output, y_a) + (1 - lam) * loss(output, y_b).
    Errors: objectives other than classes, one an example; vectors, which have no positions; mixing twice.
    Source: Yun et al. 2019, arXiv:1905.04899, section 3 and algorithm A1. torchvision: CutMix.
    """

    kind: ClassVar[str] = "cutmix"
    ranks: ClassVar[tuple[int, ...]] = (2, 3, 4)
    alpha: Positive = Field(1.0, description="of the Beta distribution that the area left is drawn from")

    def mix(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        axes = x.dim() - 2
        part = (1 - beta(self.alpha, x)) ** (1 / axes)
        inside = torch.ones((), dtype=torch.bool, device=x.device)
        for axis, n in enumerate(x.shape[2:], start=2):
            middle = torch.randint(n, (), device=x.device)
            half = (part * n).long() // 2
            positions = torch.arange(n, device=x.device).view(-1, *(1,) * (x.dim() - 1 - axis))
            inside = inside & (positions >= middle - half) & (positions < middle + half)
        return torch.where(inside, other, x), 1 - inside.to(x.dtype).mean()


def beta(alpha: float, x: Tensor) -> Tensor:
    """Draw from Beta(alpha, alpha), a scalar on the device of `x`."""
    both = torch.full((2,), alpha, device=x.device)
    sample = torch.distributions.Dirichlet(both, validate_args=False).sample()
    return sample[0].to(x.dtype)
