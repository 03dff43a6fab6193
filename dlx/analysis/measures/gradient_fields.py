"""Effective receptive fields, and how units agree with parts of pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...lazy import torch
from .input_space import resized

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1 - 0.9545
"""Share of the greatest gradient that a position of the field has at least: a Gaussian has it at two deviations."""


def gradient_energy(maps: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator) -> Tensor:
    """Return the squared gradient of the centre of a layer by each position of the input, (*size).

    maps(x) is (N, channels, *size'). Channels are added with random normal factors, so that the mean over them is the
    sum of the squares of all; squares are summed over the channels of the input and averaged over the examples.
    Source: Luo, Li, Urtasun & Zemel 2016, arXiv:1701.04128, section 2.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        found = maps(x)
        centre = middle(found)
        factors = torch.randn(centre.shape, generator=generator).to(centre.device)
        (gradient,) = torch.autograd.grad((centre * factors).sum(), x)
    return gradient.detach().square().sum(1).mean(0)


def middle(maps: Tensor) -> Tensor:
    """Return the values in the middle of maps: (N, channels, *size) to (N, channels)."""
    place: Any = (..., *(n // 2 for n in maps.shape[2:]))
    values: Tensor = maps[place]
    return values


def spread(energy: Tensor) -> float:
    """Return the standard deviation of positions weighed by `energy` (*size): root of the mean over the axes.

    n layers of kernels of k random weights have sqrt(n (k^2 - 1) / 12): the square is n uniform ones convolved.
    """
    weights = energy.double() / energy.double().sum()
    variances = []
    for axis in range(energy.dim()):
        others = [other for other in range(energy.dim()) if other != axis]
        along = weights.sum(others) if others else weights
        places = torch.arange(len(along), dtype=torch.float64, device=along.device)
        mean = (along * places).sum()
        variances.append((along * (places - mean) ** 2).sum())
    return float(torch.stack(variances).mean().sqrt())


def positions_seen(energy: Tensor) -> float:
    """Return the side of a square of as many positions as have a gradient of `LEAST` of the greatest at least."""
    root = energy.sqrt()
    count = float((root >= LEAST * root.max()).sum())
    return float(count ** (1 / energy.dim()))


def overlaps(maps: Tensor, masks: Tensor, classes: int, share: float) -> Tensor:
    """Return intersection over union of units and classes of positions, (units, classes).

    A unit's map is on at positions where it is among the greatest `share` of its values over all examples; `maps`
    (N, units, *size) are brought to the size of `masks` (N, *size') by linear interpolation.
    Source: Bau, Zhou, Khosla, Oliva & Torralba 2017, arXiv:1704.05796, section 2.2.
    """
    size = tuple(masks.shape[1:])
    if tuple(maps.shape[2:]) != size:
        maps = resized(maps.flatten(0, 1), size).view(*maps.shape[:2], *size)
    units = maps.transpose(0, 1).flatten(1)
    count = max(1, round(share * units.shape[1]))
    thresholds = units.topk(count, dim=1).values[:, -1:]
    on = (units >= thresholds) & (units > units.amin(1, keepdim=True))
    concepts = torch.nn.functional.one_hot(masks.flatten().long(), classes).bool()
    both = on.double() @ concepts.double()
    union = on.sum(1, keepdim=True) + concepts.sum(0, keepdim=True) - both
    return (both / union.clamp_min(1)).float()
