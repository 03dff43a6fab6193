"""Standard deviations of the values of a network, and the sizes of the gradients that arrive at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import torch
from .walk import Output, values_of

if TYPE_CHECKING:
    from torch import Tensor, fx


@dataclass(frozen=True)
class Scale:
    """Sizes at one place of a network, over all examples and units.

    Attributes:
        mean: of the values.
        std: standard deviation of the values, divisor n.
        gradient: root mean square of the gradients of the loss of a batch by each value; NaN where none arrives.
    """

    mean: float
    std: float
    gradient: float


def scales(
    network: fx.GraphModule, inputs: Sequence[Tensor], loss: Callable[[Output], Tensor], names: Sequence[str]
) -> dict[str, Scale]:
    """Return the sizes of some values of a network, by their names in the spec, in one pass forward and backward."""
    output, values = values_of(network, inputs, names)
    by_gradient = {name: values[name] for name in names if values[name].requires_grad}
    wanted = list(by_gradient.values())
    found = torch.autograd.grad(loss(output), wanted, allow_unused=True, materialize_grads=True) if wanted else ()
    gradients = dict(zip(by_gradient, map(_root_mean_square, found), strict=True))
    return {name: _scale(values[name].detach(), gradients.get(name)) for name in names}


def _scale(values: Tensor, gradient: Tensor | None) -> Scale:
    mean = values.mean(dtype=torch.float32)
    std = _root_mean_square(values - mean)
    return Scale(float(mean), float(std), float("nan") if gradient is None else float(gradient))


def _root_mean_square(values: Tensor) -> Tensor:
    # the norm first: squares of values near the ends of float32 are beyond them
    found: Tensor = torch.linalg.vector_norm(values) / values.numel() ** 0.5
    return found
