"""Inputs that are made by gradient: of the greatest activation, of a layer's values, of a style."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...lazy import torch
from ...optim.base import without_wrappers
from .attacks import TINY, gradient_of, lengths

if TYPE_CHECKING:
    from torch import Tensor


def ascend_on_sphere(
    value: Callable[[Tensor], Tensor], start: Tensor, norm: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Return inputs (N, *shape) of L2 norm `norm` and their values (N,), the greatest that an ascent passes.

    A step goes a part of the norm along the gradient and back to the sphere; that part falls from 0.5 to 0.01. A
    linear value w.x + b has its greatest at norm w / ||w||.
    Source: Erhan, Bengio, Courville & Vincent 2009, "Visualizing higher-layer features", section 4.
    """
    x = start * (norm / lengths(start).clamp_min(TINY))
    best, greatest = x, torch.full((len(x),), -torch.inf, device=x.device)
    for i in range(steps + 1):
        found, gradient = gradient_of(value, x)
        better = found > greatest
        greatest = torch.where(better, found, greatest)
        best = torch.where(better.view(-1, *(1,) * (x.dim() - 1)), x, best)
        share = 0.5 * 0.02 ** (i / max(steps, 1))
        x = x + share * norm * gradient / lengths(gradient).clamp_min(TINY)
        x = x * (norm / lengths(x).clamp_min(TINY))
    return best, greatest


def descend(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    lr: float,
    limits: tuple[float, float] | None = None,
) -> Tensor:
    """Return inputs after `steps` of Adam on the sum of a loss of each (N,), with values held in `limits`.

    The rate falls to 0 along a half cosine.
    """
    x = start.detach().clone().requires_grad_()
    optimizer = without_wrappers(torch.optim.Adam)([x], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        with torch.enable_grad():
            (x.grad,) = torch.autograd.grad(loss(x).sum(), x)
        optimizer.step()
        schedule.step()
        if limits is not None:
            with torch.no_grad():
                x.clamp_(*limits)
    return x.detach()


def total_variation(x: Tensor) -> Tensor:
    """Return the mean squared difference of neighbours along the axes of positions of each input, (N,).

    Source: Mahendran & Vedaldi 2015, arXiv:1412.0035, section 2, with exponent 2.
    """
    parts = [x.diff(dim=axis).square().flatten(1).mean(1) for axis in range(2, x.dim()) if x.shape[axis] > 1]
    return torch.stack(parts).sum(0) if parts else x.new_zeros(len(x))


def gram(maps: Tensor) -> Tensor:
    """Return products of channels, means over positions: (N, channels, *size) to (N, channels, channels).

    It is the same for any order of the positions. Source: Gatys, Ecker & Bethge 2016, section 2.2, equation 3.
    """
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Return ||found - wanted||^2 / ||wanted||^2 of each example, (N,)."""
    return (found - wanted).flatten(1).square().sum(1) / wanted.flatten(1).square().sum(1).clamp_min(TINY)
