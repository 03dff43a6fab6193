"""Layers in oneDNN's own layout of images, and bounds on the values there: what `training/blocked_layout` calls.

A tensor in blocks is torch's `Tensor.to_mkldnn()`: of the same shape, and of float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, reduce
from operator import add
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .merge import Add
from .moving import MovingDropout
from .pool import AvgPool2d, GlobalAvgPool, MaxPool2d

PASSING = (nn.Dropout, nn.Dropout2d, MovingDropout, nn.Identity)
"""Modules that give their input in evaluation."""
LARGEST = 1e37
"""Bound of values up to which none has overflowed; the rest of the range is for the rounding of the bound itself."""


def supported(module: Any, gradients: bool) -> bool:
    """Return whether torch has what a module does for oneDNN's layout. Classes derived from these may do anything."""
    kind = type(module)
    if kind is nn.Conv2d:
        # with groups it may take six times as long
        return bool(module.padding_mode == "zeros" and module.groups == 1)
    if kind is nn.BatchNorm2d:
        return bool(module.affine) and module.running_mean is not None and (module.training or not gradients)
    if kind is MaxPool2d:
        return module.dilation in {1, (1, 1)}
    if kind in {AvgPool2d, nn.AvgPool2d}:
        return not module.ceil_mode and module.divisor_override is None  # with `ceil_mode` oneDNN counts otherwise
    if kind in {*PASSING, GlobalAvgPool}:
        # oneDNN's gradients of the means take longer than all the rest of a small network
        return not gradients or kind is nn.Identity
    return kind in {nn.ReLU, Add}


def operation(module: nn.Module) -> tuple[Callable[..., Tensor] | None, tuple[Any, ...]]:
    """Return what a module does in blocks, with its options behind the inputs; None where its own `forward` can."""
    if isinstance(module, Add):
        return total, ()
    if isinstance(module, GlobalAvgPool):
        return mean, (module.keepdim,)
    if isinstance(module, nn.AvgPool2d):
        return F.avg_pool2d, (module.kernel_size, module.stride, module.padding, False, module.count_include_pad)
    return None, ()


# ---- operations ----------------------------------------------------------------------------------------------------


def relu(x: Tensor) -> Tensor:
    """Return max(x, 0), and NaN where x is NaN. Shapes: (N, C, *size) -> (N, C, *size)."""
    return torch.prelu(x, _no_slopes(x.shape[1]))


@cache
def _no_slopes(channels: int) -> Tensor:
    # with one slope for all channels oneDNN takes 50 times as long
    with torch.inference_mode(False):
        return torch.zeros(channels).to_mkldnn()


def maximum(x: Tensor, bound: Tensor, rectify: bool, *window: Any) -> Tensor:
    """Return the maximum of each window, 0 at least where `rectify`; by torch where a value may have overflowed."""
    if bound < LARGEST:
        found = torch.max_pool2d(x, *window)
        return torch.relu_(found) if rectify else found
    found = torch.max_pool2d(x.to_dense(), *window)
    return (torch.relu(found) if rectify else found).to_mkldnn()


def mean(x: Tensor, keepdim: bool) -> Tensor:
    """Return the mean over all positions, as torch lays it out. Shapes: (N, C, *size) -> (N, C)."""
    found = F.adaptive_avg_pool2d(x, 1).to_dense()
    return found if keepdim else found.flatten(1)


def total(*xs: Tensor) -> Tensor:
    """Return the sum of all; oneDNN has none in which axes of size 1 stretch."""
    if all(x.shape == xs[0].shape for x in xs):
        return reduce(add, xs)
    return reduce(add, (x.to_dense() for x in xs)).to_mkldnn()


def visible(output: Tensor, *bounds: Tensor) -> Tensor:
    """Return an output; NaN where a bound says that a value may have overflowed."""
    return output + 0 * reduce(add, bounds) if output.is_floating_point() else output


# ---- bounds --------------------------------------------------------------------------------------------------------


def norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm of all values: above each of them, and quicker to compute than the largest."""
    found: Tensor = torch.linalg.vector_norm(x.detach())
    return found


def behind_convolution(bound: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return a bound behind a convolution: each output is a product of so many values with weights."""
    return _plus(bound * norm(weight) * float(weight.shape[1:].numel()) ** 0.5, bias)


def behind_norm(
    bound: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, eps: float
) -> Tensor:
    """Return a bound behind a batch norm in evaluation."""
    return _plus((bound + norm(running_mean)) * norm(weight * torch.rsqrt(running_var + eps)), bias)


def behind_standardised(bound: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a bound behind a batch norm in training: of n values none is over sqrt(n) deviations from the mean."""
    values = x.numel() // x.shape[1]
    return _plus(float(values) ** 0.5 * norm(weight) + 0 * bound.square(), bias)


def _plus(bound: Tensor, bias: Tensor | None) -> Tensor:
    return bound if bias is None else bound + norm(bias)
