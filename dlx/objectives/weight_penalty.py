"""Penalties and limits of an objective on the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..lazy import nn, torch
from ..schedules.values import may_count

if TYPE_CHECKING:
    from torch import Tensor


def weights_of(network: nn.Module) -> list[Tensor]:
    """Return the learned weights with two or more axes, without biases and scales of norms; a shared weight is
    listed once.
    """
    norms = (nn.LayerNorm, nn.RMSNorm)  # their scales may have several axes
    parts = (part for part in network.modules() if not isinstance(part, norms))
    found = {id(p): p for part in parts for p in part.parameters(recurse=False) if p.dim() > 1 and p.requires_grad}
    return list(found.values())


def penalty(network: nn.Module, l1: float | Tensor, l2: float | Tensor) -> Callable[[], Tensor]:
    """Return the function that computes l1 * sum |w| + l2 * sum w^2 (both: elastic net).

    Source: Deitke, CNNs for Visual Recognition, section 3.1.
    """
    weights = weights_of(network)

    def added() -> Tensor:
        total = torch.zeros((), device=weights[0].device if weights else None)
        for weight in weights:
            total = total + l1 * weight.abs().sum() if may_count(l1) else total
            total = total + l2 * weight.square().sum() if may_count(l2) else total
        return total

    return added


def limit(network: nn.Module, length: float) -> Callable[[], None]:
    """Return the function that scales down the weights into each unit (index on axis 0) to norm `length` at most.

    Source: Srivastava et al. 2014, Dropout, section 5.1.
    """
    weights = weights_of(network)

    def shorten() -> None:
        with torch.no_grad():
            for weight in weights:
                weight.renorm_(2, 0, length)

    return shorten
