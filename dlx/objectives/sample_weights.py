"""Weights of the examples in the training loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Weighted:
    """Targets of a batch (N, ...), and the weights (N,) of its examples."""

    target: Any
    weight: Tensor


def one_by_one(loss: Function) -> Function:
    """Return the loss of each example (N,), as if it were alone."""
    # of the few losses that torch computes example by example, such as hinge, it says so once a process
    warnings.filterwarnings("ignore", message="There is a performance drop because we have not yet implemented")
    each: Function = torch.vmap(lambda output, target: loss(output[None], target[None]))
    return each


def weighing(normalizer: Callable[[Tensor], Any], *, summed: bool = False) -> Callable[[Function], Function]:
    """Return a wrapper that makes a loss the mean over examples by their weights, where targets are `Weighted`.

    The mean of a batch is the sum of n l over the sum of n, for the loss l of an example and what its mean is divided
    by, n = `normalizer(target)`: positions that count, class weights. Weighted, it is the sum of w n l over the sum
    of w n, so that an example of weight 2 counts as two of it; `summed`, it is the sum of w l.
    """

    def around(loss: Function) -> Function:
        each = one_by_one(loss)

        def weighted(output: Any, target: Any) -> Tensor:
            if not isinstance(target, Weighted):
                return loss(output, target)
            values = each(output, target.target)
            if summed:
                found: Tensor = (target.weight * values).sum()
                return found
            shares = target.weight * _divisors(normalizer, target.target)
            mean: Tensor = (shares * values).sum() / shares.sum()
            return mean

        return weighted

    return around


def divisor(normalizer: Callable[[Tensor], Any], target: Weighted) -> Tensor:
    """Return what the weighted mean loss of a batch is divided by."""
    total: Tensor = (target.weight * _divisors(normalizer, target.target)).sum()
    return total


def _divisors(normalizer: Callable[[Tensor], Any], target: Tensor) -> Any:
    """Return what the mean of each example is divided by: a number for all, or (N,)."""
    one = normalizer(target[:1])
    return torch.vmap(lambda each: normalizer(each[None]))(target) if isinstance(one, torch.Tensor) else one
